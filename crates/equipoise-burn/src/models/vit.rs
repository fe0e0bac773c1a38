//! Vision transformers: Dosovitskiy et al., *An Image is Worth 16x16 Words* (arXiv 2010.11929),
//! named as timm names their parts, with what self-supervised ones add: LayerScale (Touvron et
//! al., arXiv 2103.17239) and register tokens (Darcet et al., arXiv 2309.16588).

use burn::tensor::activation::gelu;
use burn::tensor::module::{attention, conv2d, layer_norm, linear};
use burn::tensor::ops::{AttentionModuleOptions, ConvOptions};
use burn::tensor::{Device, Tensor, TensorData, s};

use super::positions::Positions;
use super::{COLOURS, Pooling, Required, Values, Weights};

/// Added to a variance before its root, in all published ones.
const EPSILON: f64 = 1e-6;

/// Sizes: name, numbers per token, blocks, attention heads.
const SIZES: [(&str, usize, usize, usize); 3] = [
    ("small", 384, 12, 6),
    ("base", 768, 12, 12),
    ("large", 1024, 24, 16),
];

/// Sides of a patch in pixels.
const PATCHES: [usize; 3] = [8, 14, 16];

/// The shape of a network: what its name, its weights and the options decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    width: usize,
    depth: usize,
    heads: usize,
    patch: usize,
    pooling: Pooling,
    class_token: bool,
    registers: usize,
    /// Position embeddings, and how many of them are not of patches.
    positions: usize,
    positions_before: usize,
    hidden: usize,
    qkv_bias: bool,
    layer_scale: bool,
    /// Whether each token is normalised at the end, and whether their mean is.
    norm: bool,
    mean_norm: bool,
}

/// The names of all networks.
pub(super) fn names() -> impl Iterator<Item = String> {
    SIZES.iter().flat_map(|(size, ..)| {
        PATCHES
            .iter()
            .map(move |patch| format!("vit_{size}_patch{patch}"))
    })
}

impl Shape {
    /// The network called `model`, with what `weights` hold of it.
    pub(super) fn named(
        model: &str,
        weights: &Weights,
        pooling: Option<Pooling>,
        heads: Option<usize>,
    ) -> Option<Self> {
        let (size, patch) = model.strip_prefix("vit_")?.split_once("_patch")?;
        let (_, width, depth, usual) = *SIZES.iter().find(|(name, ..)| *name == size)?;
        let patch = patch.parse().ok().filter(|patch| PATCHES.contains(patch))?;
        let rows = |name: &str| match weights.shape(name) {
            Some([.., rows, _]) => *rows,
            _ => 0,
        };
        let has = |name: &str| weights.shape(name).is_some();
        let (class_token, registers) = (has("cls_token"), rows("reg_token"));
        let (positions, classes) = (rows("pos_embed"), usize::from(class_token));
        // Only patches may have positions, or the class token, or registers too.
        let positions_before = [classes, 0, classes + registers]
            .into_iter()
            .find(|before| is_square(positions.saturating_sub(*before)));
        let mean_norm = has("fc_norm.weight");
        Some(Self {
            width,
            depth,
            heads: heads.unwrap_or(usual),
            patch,
            pooling: pooling.unwrap_or(match class_token && !mean_norm {
                true => Pooling::ClassToken,
                false => Pooling::MeanOfPatches,
            }),
            class_token,
            registers,
            positions,
            positions_before: positions_before.unwrap_or(classes),
            hidden: match weights.shape("blocks.0.mlp.fc1.weight") {
                Some([hidden, _]) => *hidden,
                _ => 4 * width,
            },
            qkv_bias: has("blocks.0.attn.qkv.bias"),
            layer_scale: has("blocks.0.ls1.gamma"),
            norm: has("norm.weight") || !mean_norm,
            mean_norm,
        })
    }

    /// Numbers per embedding.
    pub(super) fn dim(&self) -> usize {
        self.width
    }

    /// Side of a patch in pixels.
    pub(super) fn patch(&self) -> usize {
        self.patch
    }

    /// Attention heads.
    pub(super) fn heads(&self) -> usize {
        self.heads
    }

    /// What becomes the embedding.
    pub(super) fn pooling(&self) -> Pooling {
        self.pooling
    }

    /// What cannot be computed, in words.
    pub(super) fn problem(&self) -> Option<String> {
        if !self.width.is_multiple_of(self.heads.max(1)) || self.heads == 0 {
            let (width, heads) = (self.width, self.heads);
            return Some(format!(
                "{width} numbers a token cannot be cut into {heads} heads"
            ));
        }
        if self.pooling == Pooling::ClassToken && !self.class_token {
            return Some("there is no class token; hint: take the mean of patches".into());
        }
        if !is_square(self.positions - self.positions_before.min(self.positions)) {
            return Some(format!(
                "pos_embed: {} positions are no square of patches, with or without those of the other tokens",
                self.positions
            ));
        }
        None
    }

    /// Names and shapes of all tensors.
    pub(super) fn tensors(&self) -> Vec<Required> {
        let (width, patch) = (self.width, self.patch);
        let mut tensors = vec![
            Required::new("pos_embed", [1, self.positions, width]),
            Required::new("patch_embed.proj.weight", [width, COLOURS, patch, patch]),
            Required::new("patch_embed.proj.bias", [width]),
        ];
        if self.class_token {
            tensors.push(Required::new("cls_token", [1, 1, width]));
        }
        if self.registers > 0 {
            tensors.push(Required::new("reg_token", [1, self.registers, width]));
        }
        let norm = |name: &str| {
            ["weight", "bias"].map(|part| Required::new(format!("{name}.{part}"), [width]))
        };
        let map = |name: &str, inputs: usize, outputs: usize, bias: bool| {
            let weight = Required::new(format!("{name}.weight"), [outputs, inputs]);
            let bias = bias.then(|| Required::new(format!("{name}.bias"), [outputs]));
            std::iter::once(weight).chain(bias)
        };
        for block in 0..self.depth {
            let part = |name: &str| format!("blocks.{block}.{name}");
            tensors.extend(norm(&part("norm1")));
            tensors.extend(map(&part("attn.qkv"), width, 3 * width, self.qkv_bias));
            tensors.extend(map(&part("attn.proj"), width, width, true));
            tensors.extend(norm(&part("norm2")));
            tensors.extend(map(&part("mlp.fc1"), width, self.hidden, true));
            tensors.extend(map(&part("mlp.fc2"), self.hidden, width, true));
            if self.layer_scale {
                let scales = ["ls1.gamma", "ls2.gamma"];
                tensors.extend(scales.map(|name| Required::new(part(name), [width])));
            }
        }
        if self.norm {
            tensors.extend(norm("norm"));
        }
        if self.mean_norm {
            tensors.extend(norm("fc_norm"));
        }
        tensors
    }
}

fn is_square(count: usize) -> bool {
    count > 0 && count.isqrt().pow(2) == count
}

/// A gain and an offset after normalisation.
#[derive(Debug)]
struct Norm(Tensor<1>, Tensor<1>);

/// An affine map of tokens; its weight (inputs, outputs).
#[derive(Debug)]
struct Map(Tensor<2>, Option<Tensor<1>>);

#[derive(Debug)]
struct Block {
    norms: [Norm; 2],
    qkv: Map,
    projection: Map,
    /// Up and down again.
    perceptron: [Map; 2],
}

/// A network for inference.
#[derive(Debug)]
pub(crate) struct Network {
    shape: Shape,
    patches: (Tensor<4>, Tensor<1>),
    /// Class token, where there is one, and registers, with their positions: (1, T, width).
    prefix: Option<Tensor<3>>,
    positions: Positions,
    blocks: Vec<Block>,
    norm: Option<Norm>,
    mean_norm: Option<Norm>,
}

/// Makes the parts of a network on a device.
struct Maker<'a> {
    values: &'a Values,
    device: &'a Device,
}

impl Maker<'_> {
    fn tensor<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values, shape), self.device)
    }

    fn vector(&self, name: &str) -> Tensor<1> {
        let values = self.values.get(name).to_vec();
        let length = values.len();
        self.tensor(values, [length])
    }

    fn norm(&self, name: &str) -> Norm {
        let part = |part| self.vector(&format!("{name}.{part}"));
        Norm(part("weight"), part("bias"))
    }

    /// The map `name` of `inputs` numbers. Where its outputs are scaled afterwards (LayerScale),
    /// the scales go into it.
    fn map(&self, name: &str, inputs: usize, scale: Option<&[f32]>) -> Map {
        let scale = |output: usize| scale.map_or(1.0, |scale| scale[output]);
        let weight = self.values.get(&format!("{name}.weight"));
        let outputs = weight.len() / inputs;
        let mut turned = vec![0.0; weight.len()];
        for (output, row) in weight.chunks_exact(inputs).enumerate() {
            for (input, value) in row.iter().enumerate() {
                turned[input * outputs + output] = value * scale(output);
            }
        }
        let bias = self.values.find(&format!("{name}.bias")).map(|bias| {
            let scaled = bias.iter().enumerate().map(|(o, value)| value * scale(o));
            self.tensor(scaled.collect(), [outputs])
        });
        Map(self.tensor(turned, [inputs, outputs]), bias)
    }

    fn block(&self, shape: &Shape, block: usize) -> Block {
        let part = |name: &str| format!("blocks.{block}.{name}");
        let scale = |name: &str| self.values.find(&part(name));
        Block {
            norms: [self.norm(&part("norm1")), self.norm(&part("norm2"))],
            qkv: self.map(&part("attn.qkv"), shape.width, None),
            projection: self.map(&part("attn.proj"), shape.width, scale("ls1.gamma")),
            perceptron: [
                self.map(&part("mlp.fc1"), shape.width, None),
                self.map(&part("mlp.fc2"), shape.hidden, scale("ls2.gamma")),
            ],
        }
    }

    /// Class token and registers, each with its position where it has one.
    fn prefix(&self, shape: &Shape) -> Option<Tensor<3>> {
        let tokens = ["cls_token", "reg_token"].map(|name| self.values.find(name));
        let mut tokens = tokens
            .into_iter()
            .flatten()
            .flatten()
            .copied()
            .collect::<Vec<_>>();
        let placed = &self.values.get("pos_embed")[..shape.positions_before * shape.width];
        for (token, position) in tokens.iter_mut().zip(placed) {
            *token += position;
        }
        let count = tokens.len() / shape.width;
        (count > 0).then(|| self.tensor(tokens, [1, count, shape.width]))
    }
}

impl Network {
    pub(super) fn new(shape: &Shape, values: &Values, device: &Device) -> Self {
        let maker = Maker { values, device };
        let kernel = values.get("patch_embed.proj.weight").to_vec();
        let kernel_shape = [shape.width, COLOURS, shape.patch, shape.patch];
        let positions = &values.get("pos_embed")[shape.positions_before * shape.width..];
        Self {
            patches: (
                maker.tensor(kernel, kernel_shape),
                maker.vector("patch_embed.proj.bias"),
            ),
            prefix: maker.prefix(shape),
            positions: Positions::new(positions.to_vec(), shape.width, device),
            blocks: (0..shape.depth)
                .map(|block| maker.block(shape, block))
                .collect(),
            norm: shape.norm.then(|| maker.norm("norm")),
            mean_norm: shape.mean_norm.then(|| maker.norm("fc_norm")),
            shape: shape.clone(),
        }
    }

    /// Embeddings (N, M) of images (N, 3, H, W) whose sides are whole patches.
    pub(super) fn embed(&self, images: Tensor<4>) -> Tensor<2> {
        let (kernel, bias) = self.patches.clone();
        let options = ConvOptions::new([self.shape.patch; 2], [0; 2], [1; 2], 1);
        let patches = conv2d(images, kernel, Some(bias), options);
        let [count, width, rows, columns] = patches.dims();
        let patches = patches
            .reshape([count, width, rows * columns])
            .swap_dims(1, 2);
        let patches = patches + self.positions.of(rows, columns);
        let (mut x, before) = match &self.prefix {
            Some(prefix) => {
                let [_, before, _] = prefix.dims();
                let prefix = prefix.clone().expand([count, before, width]);
                (Tensor::cat(vec![prefix, patches], 1), before)
            }
            None => (patches, 0),
        };
        for block in &self.blocks {
            x = block.apply(x, self.shape.heads);
        }
        let x = match self.shape.pooling {
            // Tokens are normalised one by one: the others need not be.
            Pooling::ClassToken => self.normed(x.slice(s![.., 0..1, ..])),
            Pooling::MeanOfPatches => self.normed(x.slice(s![.., before.., ..])).mean_dim(1),
        };
        let x = x.reshape([count, width]);
        match &self.mean_norm {
            Some(norm) => norm.apply(x),
            None => x,
        }
    }

    fn normed(&self, x: Tensor<3>) -> Tensor<3> {
        match &self.norm {
            Some(norm) => norm.apply(x),
            None => x,
        }
    }
}

impl Norm {
    fn apply<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        layer_norm(x, self.0.clone(), Some(self.1.clone()), EPSILON)
    }
}

impl Map {
    fn apply(&self, x: Tensor<3>) -> Tensor<3> {
        linear(x, self.0.clone(), self.1.clone())
    }
}

impl Block {
    /// The block's output for tokens (N, T, width).
    fn apply(&self, x: Tensor<3>, heads: usize) -> Tensor<3> {
        let [first, second] = &self.norms;
        let x = x.clone() + self.attend(first.apply(x), heads);
        let [up, down] = &self.perceptron;
        x.clone() + down.apply(gelu(up.apply(second.apply(x))))
    }

    fn attend(&self, x: Tensor<3>, heads: usize) -> Tensor<3> {
        let [count, tokens, width] = x.dims();
        let qkv = self.qkv.apply(x);
        let qkv = qkv.reshape([count, tokens, 3, heads, width / heads]);
        // (3, N, heads, T, width / heads)
        let qkv = qkv.permute([2, 0, 3, 1, 4]);
        let [q, k, v] = [0, 1, 2].map(|part| {
            qkv.clone()
                .slice(s![part..part + 1, .., .., .., ..])
                .reshape([count, heads, tokens, width / heads])
        });
        let mixed = attention(q, k, v, None, None, AttentionModuleOptions::default());
        let mixed = mixed.swap_dims(1, 2).reshape([count, tokens, width]);
        self.projection.apply(mixed)
    }
}
