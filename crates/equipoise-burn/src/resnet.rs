//! The CIFAR residual networks of He et al., *Deep Residual Learning for Image Recognition*
//! (arXiv 1512.03385), section 4.2: three stages of 3×3 convolutions, shortcuts that are the
//! identity, subsampled and padded with zero channels where a stage begins (their option A).

use burn::tensor::activation::relu;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData, s};

use crate::Error;

/// The models there are.
pub const MODELS: &[&str] = &["resnet20", "resnet32", "resnet44", "resnet56"];

/// Channels of the first stage, as published.
pub const PUBLISHED_WIDTH: usize = 16;

/// Added to a variance before its root, as PyTorch does.
pub(crate) const EPSILON: f64 = 1e-5;

/// Colour channels of an image.
pub(crate) const COLOURS: usize = 3;

/// One convolution and the batch normalisation after it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LayerShape {
    /// Name of the convolution in a checkpoint.
    pub(crate) convolution: String,
    /// Name of the normalisation in a checkpoint.
    pub(crate) normalisation: String,
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) stride: usize,
}

impl LayerShape {
    /// Shape of the kernel: (output, input, 3, 3).
    pub(crate) fn kernel(&self) -> [usize; 4] {
        [self.output, self.input, 3, 3]
    }

    /// Names and shapes of the layer's tensors.
    pub(crate) fn tensors(&self) -> [(String, Vec<usize>); 5] {
        let norm = |part| (format!("{}.{part}", self.normalisation), vec![self.output]);
        [
            (
                format!("{}.weight", self.convolution),
                self.kernel().to_vec(),
            ),
            norm("weight"),
            norm("bias"),
            norm("running_mean"),
            norm("running_var"),
        ]
    }
}

/// The shape of a network: all that its name and width decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Architecture {
    /// Residual blocks in each of the three stages.
    pub(crate) blocks: usize,
    /// Channels of the first stage.
    pub(crate) width: usize,
}

impl Architecture {
    /// The network called `model`, with `width` channels in its first stage.
    pub(crate) fn named(model: &str, width: usize) -> Result<Self, Error> {
        let blocks = match model {
            "resnet20" => 3,
            "resnet32" => 5,
            "resnet44" => 7,
            "resnet56" => 9,
            _ => return Err(Error::UnknownModel { name: model.into() }),
        };
        Ok(Self { blocks, width })
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
                        stride,
                    });
                    input = output;
                }
            }
        }
        layers
    }
}

/// What a layer computes, however its weights are kept.
pub(crate) trait Layer {
    /// Convolution and normalisation of (N, C, H, W).
    fn apply(&self, input: Tensor<4>) -> Tensor<4>;

    /// Output channels and stride.
    fn shape(&self) -> (usize, usize);
}

/// Embeddings (N, M) of images (N, 3, H, W), given all layers in order.
pub(crate) fn embed<L: Layer>(layers: &[L], images: Tensor<4>) -> Tensor<2> {
    let mut x = relu(layers[0].apply(images));
    for block in layers[1..].chunks_exact(2) {
        let (channels, stride) = block[0].shape();
        let inner = relu(block[0].apply(x.clone()));
        x = relu(block[1].apply(inner) + shortcut(x, channels, stride));
    }
    let [images, channels, height, width] = x.dims();
    x.reshape([images, channels, height * width])
        .mean_dim(2)
        .reshape([images, channels])
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

/// Options of the 3×3 convolutions: the image keeps its size, but for the stride.
pub(crate) fn convolution_options(stride: usize) -> ConvOptions<2> {
    ConvOptions::new([stride; 2], [1; 2], [1; 2], 1)
}

/// A layer for inference: its normalisation, which is affine then, is folded into the kernel.
#[derive(Debug, Clone)]
pub(crate) struct Folded {
    kernel: Tensor<4>,
    bias: Tensor<1>,
    output: usize,
    stride: usize,
}

/// Values of a layer's tensors, in the order of [`LayerShape::tensors`].
pub(crate) type LayerValues = [Vec<f32>; 5];

impl Folded {
    /// The layer of `shape` with `values`, folded in float64.
    pub(crate) fn new(shape: &LayerShape, values: &LayerValues, device: &Device) -> Self {
        let [kernel, gain, offset, mean, variance] = values;
        let scale: Vec<f64> = std::iter::zip(gain, variance)
            .map(|(gain, variance)| f64::from(*gain) / (f64::from(*variance) + EPSILON).sqrt())
            .collect();
        let taps = kernel.len() / shape.output;
        let folded: Vec<f32> = kernel
            .chunks_exact(taps)
            .zip(&scale)
            .flat_map(|(taps, scale)| taps.iter().map(move |w| (f64::from(*w) * scale) as f32))
            .collect();
        let bias: Vec<f32> = (0..shape.output)
            .map(|c| (f64::from(offset[c]) - f64::from(mean[c]) * scale[c]) as f32)
            .collect();
        Self {
            kernel: Tensor::from_data(TensorData::new(folded, shape.kernel()), device),
            bias: Tensor::from_data(TensorData::new(bias, [shape.output]), device),
            output: shape.output,
            stride: shape.stride,
        }
    }
}

impl Layer for Folded {
    fn apply(&self, input: Tensor<4>) -> Tensor<4> {
        conv2d(
            input,
            self.kernel.clone(),
            Some(self.bias.clone()),
            convolution_options(self.stride),
        )
    }

    fn shape(&self) -> (usize, usize) {
        (self.output, self.stride)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depths_are_those_of_the_names() {
        for name in MODELS {
            let layers = Architecture::named(name, PUBLISHED_WIDTH).unwrap().layers();
            let depth: usize = name.trim_start_matches("resnet").parse().unwrap();
            // The linear classifier counts as a layer in the name.
            assert_eq!(layers.len() + 1, depth);
            assert_eq!(layers.iter().filter(|layer| layer.stride == 2).count(), 2);
            assert_eq!(layers.last().unwrap().output, 64);
        }
        let error = Architecture::named("resnet19", 16).unwrap_err().to_string();
        assert!(
            error.contains("resnet19") && error.contains("resnet56"),
            "{error}"
        );
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
