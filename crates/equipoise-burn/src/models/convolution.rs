//! A convolution and the batch normalisation after it: of what every residual network is made.

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};

use super::{Required, Values};

/// Added to a variance before its root, as PyTorch does.
pub(crate) const EPSILON: f64 = 1e-5;

/// One convolution and the batch normalisation after it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LayerShape {
    /// Name of the convolution in a checkpoint.
    pub(crate) convolution: String,
    /// Name of the normalisation in a checkpoint.
    pub(crate) normalisation: String,
    pub(crate) input: usize,
    pub(crate) output: usize,
    /// Side of the kernel: 1, 3 or 7.
    pub(crate) size: usize,
    pub(crate) stride: usize,
}

impl LayerShape {
    /// Shape of the kernel: (output, input, size, size).
    pub(crate) fn kernel(&self) -> [usize; 4] {
        [self.output, self.input, self.size, self.size]
    }

    /// The image keeps its size, but for the stride.
    pub(crate) fn padding(&self) -> usize {
        self.size / 2
    }

    /// Names and shapes of the layer's tensors.
    pub(crate) fn tensors(&self) -> [Required; 5] {
        let norm = |part| {
            let name = format!("{}.{part}", self.normalisation);
            Required::new(name, [self.output])
        };
        [
            Required::new(format!("{}.weight", self.convolution), self.kernel()),
            norm("weight"),
            norm("bias"),
            norm("running_mean"),
            norm("running_var"),
        ]
    }
}

/// What a layer computes, however its weights are kept.
pub(crate) trait Layer {
    /// Convolution and normalisation of (N, C, H, W).
    fn apply(&self, input: Tensor<4>) -> Tensor<4>;

    /// Output channels and stride.
    fn shape(&self) -> (usize, usize);
}

/// What a normalisation does with the statistics of its checkpoint: x · scale + offset, by channel.
pub(crate) struct Affine {
    pub(crate) scale: Vec<f64>,
    pub(crate) offset: Vec<f64>,
}

impl Affine {
    /// That of the layer of `shape`, from its tensors among `values`.
    pub(crate) fn of(shape: &LayerShape, values: &Values) -> Self {
        let [_, gain, offset, mean, variance] =
            shape.tensors().map(|tensor| values.get(&tensor.name));
        let scale: Vec<f64> = std::iter::zip(gain, variance)
            .map(|(gain, variance)| f64::from(*gain) / (f64::from(*variance) + EPSILON).sqrt())
            .collect();
        let channels = offset.iter().zip(mean).zip(&scale);
        let offset = channels
            .map(|((offset, mean), scale)| f64::from(*offset) - f64::from(*mean) * scale)
            .collect();
        Self { scale, offset }
    }
}

/// A layer for inference: its normalisation, which is affine then, is folded into the kernel.
#[derive(Debug, Clone)]
pub(crate) struct Folded {
    kernel: Tensor<4>,
    bias: Tensor<1>,
    output: usize,
    stride: usize,
    padding: usize,
}

impl Folded {
    /// The layer of `shape` with its tensors among `values`, folded in float64.
    pub(crate) fn new(shape: &LayerShape, values: &Values, device: &Device) -> Self {
        let kernel = values.get(&shape.tensors()[0].name);
        let Affine { scale, offset } = Affine::of(shape, values);
        let taps = kernel.len() / shape.output;
        let folded: Vec<f32> = kernel
            .chunks_exact(taps)
            .zip(&scale)
            .flat_map(|(taps, scale)| taps.iter().map(move |w| (f64::from(*w) * scale) as f32))
            .collect();
        let bias: Vec<f32> = offset.iter().map(|offset| *offset as f32).collect();
        Self {
            kernel: Tensor::from_data(TensorData::new(folded, shape.kernel()), device),
            bias: Tensor::from_data(TensorData::new(bias, [shape.output]), device),
            output: shape.output,
            stride: shape.stride,
            padding: shape.padding(),
        }
    }
}

impl Layer for Folded {
    fn apply(&self, input: Tensor<4>) -> Tensor<4> {
        let options = ConvOptions::new([self.stride; 2], [self.padding; 2], [1; 2], 1);
        conv2d(input, self.kernel.clone(), Some(self.bias.clone()), options)
    }

    fn shape(&self) -> (usize, usize) {
        (self.output, self.stride)
    }
}

/// The mean over all places of (N, C, H, W): (N, C).
pub(crate) fn mean_of_places(x: Tensor<4>) -> Tensor<2> {
    let [images, channels, height, width] = x.dims();
    x.reshape([images, channels, height * width])
        .mean_dim(2)
        .reshape([images, channels])
}
