//! The ImageNet residual networks of He et al. (arXiv 1512.03385), section 4.1, as torchvision
//! builds them: four stages, a convolution in the shortcut where a stage begins (their option B),
//! the stride in the 3×3 convolution of a bottleneck; and the wide one of Zagoruyko and Komodakis
//! (arXiv 1605.07146). A 3×3 stem of stride 1 makes them networks for images of 32×32: then there
//! is no pooling after it.

use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;

use super::COLOURS;
use super::Weights;
use super::convolution::{Layer, LayerShape, mean_of_places};

/// Their names, blocks of each stage, what a block is, and channels within a block of the first
/// stage.
const MODELS: [(&str, [usize; 4], Block, usize); 5] = [
    ("resnet18", [2, 2, 2, 2], Block::Basic, 64),
    ("resnet34", [3, 4, 6, 3], Block::Basic, 64),
    ("resnet50", [3, 4, 6, 3], Block::Bottleneck, 64),
    ("resnet101", [3, 4, 23, 3], Block::Bottleneck, 64),
    ("wide_resnet50_2", [3, 4, 6, 3], Block::Bottleneck, 128),
];

/// Channels that the stem makes.
const STEM: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    /// Two 3×3 convolutions.
    Basic,
    /// 1×1, 3×3 and 1×1 convolutions.
    Bottleneck,
}

/// The shape of a network: all that its name and its stem decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    blocks: [usize; 4],
    block: Block,
    /// Channels within a block of the first stage.
    width: usize,
    /// Whether the stem is a 3×3 convolution of stride 1, without pooling.
    small_stem: bool,
}

/// One residual block.
#[derive(Debug)]
struct Residual<L> {
    /// One after the other, each with a rectifier.
    inner: Vec<L>,
    last: L,
    shortcut: Option<L>,
}

/// A network of layers, however those keep their weights.
#[derive(Debug)]
pub(crate) struct Network<L> {
    stem: L,
    pooled: bool,
    blocks: Vec<Residual<L>>,
}

/// The names of all networks.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    MODELS.iter().map(|(name, ..)| *name)
}

impl Shape {
    /// The network called `model`, with the stem that `weights` hold.
    pub(super) fn named(model: &str, weights: &Weights) -> Option<Self> {
        let (_, blocks, block, width) = *MODELS.iter().find(|(name, ..)| *name == model)?;
        let small_stem = matches!(weights.shape("conv1.weight"), Some([.., 3, 3]));
        Some(Self {
            blocks,
            block,
            width,
            small_stem,
        })
    }

    /// Whether the stem is that for 32×32 images.
    pub(crate) fn has_small_stem(&self) -> bool {
        self.small_stem
    }

    /// Numbers per embedding.
    pub(super) fn dim(&self) -> usize {
        let grown = match self.block {
            Block::Basic => 1,
            Block::Bottleneck => 4,
        };
        512 * grown
    }

    fn stem(&self) -> LayerShape {
        LayerShape {
            convolution: "conv1".into(),
            normalisation: "bn1".into(),
            input: COLOURS,
            output: STEM,
            size: if self.small_stem { 3 } else { 7 },
            stride: if self.small_stem { 1 } else { 2 },
        }
    }

    /// All blocks in order.
    fn blocks(&self) -> Vec<Residual<LayerShape>> {
        let mut blocks = Vec::new();
        let mut input = STEM;
        for (stage, count) in self.blocks.into_iter().enumerate() {
            for block in 0..count {
                let place = format!("layer{}.{block}", stage + 1);
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let layer = |part: usize, input, output, size, stride| LayerShape {
                    convolution: format!("{place}.conv{part}"),
                    normalisation: format!("{place}.bn{part}"),
                    input,
                    output,
                    size,
                    stride,
                };
                let width = self.width << stage;
                let output = self.dim() >> (3 - stage);
                let (inner, last) = match self.block {
                    Block::Basic => (
                        vec![layer(1, input, width, 3, stride)],
                        layer(2, width, output, 3, 1),
                    ),
                    Block::Bottleneck => (
                        vec![
                            layer(1, input, width, 1, 1),
                            layer(2, width, width, 3, stride),
                        ],
                        layer(3, width, output, 1, 1),
                    ),
                };
                let shortcut = (stride > 1 || input != output).then(|| LayerShape {
                    convolution: format!("{place}.downsample.0"),
                    normalisation: format!("{place}.downsample.1"),
                    ..layer(0, input, output, 1, stride)
                });
                blocks.push(Residual {
                    inner,
                    last,
                    shortcut,
                });
                input = output;
            }
        }
        blocks
    }

    /// All layers.
    pub(super) fn layers(&self) -> Vec<LayerShape> {
        let mut layers = vec![self.stem()];
        for block in self.blocks() {
            layers.extend(block.inner);
            layers.push(block.last);
            layers.extend(block.shortcut);
        }
        layers
    }
}

impl<L: Layer> Network<L> {
    /// The network whose layers `layer` makes, in the order of [`Shape::layers`].
    pub(crate) fn new(shape: &Shape, mut layer: impl FnMut(&LayerShape) -> L) -> Self {
        Self {
            stem: layer(&shape.stem()),
            pooled: !shape.small_stem,
            blocks: shape
                .blocks()
                .into_iter()
                .map(|block| Residual {
                    inner: block.inner.iter().map(&mut layer).collect(),
                    last: layer(&block.last),
                    shortcut: block.shortcut.as_ref().map(&mut layer),
                })
                .collect(),
        }
    }

    /// Embeddings (N, M) of images (N, 3, H, W).
    pub(crate) fn embed(&self, images: Tensor<4>) -> Tensor<2> {
        let mut x = relu(self.stem.apply(images));
        if self.pooled {
            let options = MaxPoolOptions::new([3; 2]);
            x = max_pool2d(x, options.with_stride([2; 2]).with_padding([1; 2]));
        }
        for block in &self.blocks {
            x = block.apply(x);
        }
        mean_of_places(x)
    }
}

impl<L: Layer> Residual<L> {
    fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        let shortcut = match &self.shortcut {
            Some(layer) => layer.apply(x.clone()),
            None => x.clone(),
        };
        let inner = self.inner.iter().fold(x, |x, layer| relu(layer.apply(x)));
        relu(self.last.apply(inner) + shortcut)
    }
}
