//! The network while it learns: the layers of [`crate::models::cifar`] with weights that burn's autodiff
//! follows.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor, TensorData};
use equipoise_core::random::{Philox, Purpose};

use crate::models::cifar::{Shape, embed};
use crate::models::convolution::{EPSILON, Layer, LayerShape};
use crate::{Error, ModelDevice};

/// A network with a classifier.
#[derive(Module, Debug)]
pub(crate) struct Network {
    layers: Vec<Learning>,
    linear: Linear,
}

/// A layer that learns.
#[derive(Module, Debug)]
struct Learning {
    convolution: Conv2d,
    normalisation: BatchNorm,
}

/// A tensor's name, shape and values.
type Named = (String, Vec<usize>, Vec<f32>);

impl Network {
    /// A network with normally distributed weights of variance 2 / inputs (He et al., *Delving deep
    /// into rectifiers*, arXiv 1502.01852), from `seed`.
    pub(crate) fn random(architecture: &Shape, classes: usize, seed: u64, device: &Device) -> Self {
        let shapes = architecture.layers();
        let random = |round: usize| Philox::new(seed, Purpose::Weights, round as u32, 0);
        let layers = shapes
            .iter()
            .enumerate()
            .map(|(round, shape)| Learning::random(shape, &random(round), device))
            .collect();
        let dim = architecture.dim();
        let mut linear = LinearConfig::new(dim, classes).init(device);
        let weight = normal(&random(shapes.len()), dim * classes, dim);
        linear.weight = Param::from_data(TensorData::new(weight, [dim, classes]), device);
        linear.bias = Some(Param::from_data(
            TensorData::zeros::<f32, _>([classes]),
            device,
        ));
        Self { layers, linear }
    }

    /// Logits (N, C) of images (N, 3, H, W).
    pub(crate) fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        self.linear.forward(embed(&self.layers, images))
    }

    /// All tensors, named as checkpoints name them.
    pub(crate) fn tensors(
        &self,
        architecture: &Shape,
        device: &ModelDevice,
    ) -> Result<Vec<Named>, Error> {
        let mut tensors = Vec::new();
        for (shape, layer) in architecture.layers().iter().zip(&self.layers) {
            let norm = &layer.normalisation;
            let values = [
                read(layer.convolution.weight.val(), device)?,
                read(norm.gamma.val(), device)?,
                read(norm.beta.val(), device)?,
                read(norm.running_mean.value_sync(), device)?,
                read(norm.running_var.value_sync(), device)?,
            ];
            let named = shape.tensors().into_iter().zip(values);
            tensors.extend(named.map(|(tensor, values)| (tensor.name, tensor.shape, values)));
        }
        let weight = self.linear.weight.val().transpose();
        let shape = weight.dims().to_vec();
        let classes = shape[0];
        tensors.push(("linear.weight".into(), shape, read(weight, device)?));
        if let Some(bias) = &self.linear.bias {
            let bias = read(bias.val(), device)?;
            tensors.push(("linear.bias".into(), vec![classes], bias));
        }
        Ok(tensors)
    }
}

impl Learning {
    fn random(shape: &LayerShape, random: &Philox, device: &Device) -> Self {
        let mut convolution = Conv2dConfig::new([shape.input, shape.output], [3, 3])
            .with_stride([shape.stride; 2])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .with_bias(false)
            .init(device);
        let inputs = shape.input * 9;
        let weight = normal(random, inputs * shape.output, inputs);
        convolution.weight = Param::from_data(TensorData::new(weight, shape.kernel()), device);
        Self {
            convolution,
            normalisation: BatchNormConfig::new(shape.output)
                .with_epsilon(EPSILON)
                .init(device),
        }
    }
}

impl Layer for Learning {
    fn apply(&self, input: Tensor<4>) -> Tensor<4> {
        self.normalisation.forward(self.convolution.forward(input))
    }

    fn shape(&self) -> (usize, usize) {
        let [output, ..] = self.convolution.weight.val().dims();
        (output, self.convolution.stride[0])
    }
}

/// `count` normally distributed numbers of variance 2 / `inputs`, by Box and Muller.
pub(crate) fn normal(random: &Philox, count: usize, inputs: usize) -> Vec<f32> {
    let deviation = (2.0 / inputs as f64).sqrt();
    let number = |i: usize| {
        // 1 − u is in (0, 1], which has a logarithm.
        let radius = (-2.0 * (1.0 - random.uniform(2 * i as u64)).ln()).sqrt();
        let angle = std::f64::consts::TAU * random.uniform(2 * i as u64 + 1);
        (deviation * radius * angle.cos()) as f32
    };
    (0..count).map(number).collect()
}

fn read<const D: usize>(tensor: Tensor<D>, device: &ModelDevice) -> Result<Vec<f32>, Error> {
    let values = tensor.without_autodiff().try_into_vec_as::<f32>();
    values.map_err(|error| device.failed(error))
}
