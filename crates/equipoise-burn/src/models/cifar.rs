//! The CIFAR residual networks of He et al., *Deep Residual Learning for Image Recognition*
//! (arXiv 1512.03385), section 4.2: three stages of 3×3 convolutions, shortcuts that are the
//! identity, subsampled and padded with zero channels where a stage begins (their option A).

use burn::tensor::activation::relu;
use burn::tensor::{Tensor, s};

use super::COLOURS;
use super::convolution::{Layer, LayerShape, mean_of_places};

/// Their names.
pub(crate) const MODELS: [&str; 4] = ["resnet20", "resnet32", "resnet44", "resnet56"];

/// Channels of the first stage, as published.
pub const PUBLISHED_WIDTH: usize = 16;

/// The shape of a network: all that its name and width decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Residual blocks in each of the three stages.
    pub(crate) blocks: usize,
    /// Channels of the first stage.
    pub(crate) width: usize,
}

impl Shape {
    /// The network called `model`, with `width` channels in its first stage.
    pub(crate) fn named(model: &str, width: usize) -> Option<Self> {
        let blocks = match model {
            "resnet20" => 3,
            "resnet32" => 5,
            "resnet44" => 7,
            "resnet56" => 9,
            _ => return None,
        };
        Some(Self { blocks, width })
    }

    /// Numbers per embedding.
    pub(crate) fn dim(&self) -> usize {
        4 * self.width
    }

    /// All layers in order: the stem, then two for each block.
    pub(crate) fn layers(&self) -> Vec<LayerShape> {
        let mut layers = vec![LayerShape {
            convolution: "conv1".into(),
            normalisation: "bn1".into(),
            input: COLOURS,
            output: self.width,
            size: 3,
            stride: 1,
        }];
        let mut input = self.width;
        for stage in 0..3 {
            let output = self.width << stage;
            for block in 0..self.blocks {
                let place = format!("layer{}.{block}", stage + 1);
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                for (part, stride) in [(1, stride), (2, 1)] {
                    layers.push(LayerShape {
                        convolution: format!("{place}.conv{part}"),
                        normalisation: format!("{place}.bn{part}"),
                        input,
                        output,
                        size: 3,
                        stride,
                    });
                    input = output;
                }
            }
        }
        layers
    }
}

/// Embeddings (N, M) of images (N, 3, H, W), given all layers in order.
pub(crate) fn embed<L: Layer>(layers: &[L], images: Tensor<4>) -> Tensor<2> {
    let mut x = relu(layers[0].apply(images));
    for block in layers[1..].chunks_exact(2) {
        let (channels, stride) = block[0].shape();
        let inner = relu(block[0].apply(x.clone()));
        x = relu(block[1].apply(inner) + shortcut(x, channels, stride));
    }
    mean_of_places(x)
}

/// The identity, of every `stride`-th row and column, amid zero channels up to `channels`.
fn shortcut(x: Tensor<4>, channels: usize, stride: usize) -> Tensor<4> {
    let x = match stride {
        1 => x,
        _ => {
            let stride = stride as isize;
            x.slice(s![.., .., ..;stride, ..;stride])
        }
    };
    let [images, had, height, width] = x.dims();
    if had == channels {
        return x;
    }
    let zeros = |count| Tensor::zeros([images, count, height, width], &x.device());
    let before = (channels - had) / 2;
    let after = channels - had - before;
    Tensor::cat(vec![zeros(before), x.clone(), zeros(after)], 1)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn depths_are_those_of_the_names() {
        for name in MODELS {
            let layers = Shape::named(name, PUBLISHED_WIDTH).unwrap().layers();
            let depth: usize = name.trim_start_matches("resnet").parse().unwrap();
            // The linear classifier counts as a layer in the name.
            assert_eq!(layers.len() + 1, depth);
            assert_eq!(layers.iter().filter(|layer| layer.stride == 2).count(), 2);
            assert_eq!(layers.last().unwrap().output, 64);
        }
        assert_eq!(Shape::named("resnet19", 16), None);
    }

    #[test]
    fn the_shortcut_subsamples_and_pads_on_both_sides() {
        let device = Device::flex();
        let values: Vec<f32> = (0..2 * 3 * 3).map(|i| i as f32).collect();
        let x = Tensor::<4>::from_data(TensorData::new(values, [1, 2, 3, 3]), &device);
        let y = shortcut(x, 4, 2);
        assert_eq!(y.dims(), [1, 4, 2, 2]);
        let expected = [
            0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 6.0, 8.0, 9.0, 11.0, 15.0, 17.0, 0.0, 0.0, 0.0, 0.0,
        ];
        assert_eq!(y.into_data().try_to_vec::<f32>().unwrap(), expected);
    }
}
