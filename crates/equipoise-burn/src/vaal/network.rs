//! The variational autoencoder and the discriminator of VAAL.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use equipoise_core::random::{Philox, Purpose};

use super::VaalOptions;
use crate::models::COLOURS;
use crate::models::convolution::EPSILON;
use crate::train::normal;

/// Rows and columns where the encoder ends and the decoder begins.
const INNERMOST: usize = 2;

/// Stages after which channels grow no more.
const GROWING: u32 = 3;

/// Numbers in the discriminator's hidden layers, as published.
const HIDDEN: usize = 512;

/// Weights from streams of random numbers, one a layer.
struct Weights {
    seed: u64,
    layer: u32,
}

impl Weights {
    fn next<const D: usize>(
        &mut self,
        shape: [usize; D],
        inputs: usize,
        device: &Device,
    ) -> Param<Tensor<D>> {
        let random = Philox::new(self.seed, Purpose::Weights, self.layer, 1);
        self.layer += 1;
        let values = normal(&random, shape.iter().product(), inputs);
        Param::from_data(TensorData::new(values, shape), device)
    }

    fn linear(&mut self, inputs: usize, outputs: usize, device: &Device) -> Linear {
        let mut linear = LinearConfig::new(inputs, outputs).init(device);
        linear.weight = self.next([inputs, outputs], inputs, device);
        linear.bias = Some(zeros(outputs, device));
        linear
    }
}

fn zeros(count: usize, device: &Device) -> Param<Tensor<1>> {
    Param::from_data(TensorData::zeros::<f32, _>([count]), device)
}

fn norm(channels: usize, device: &Device) -> BatchNorm {
    BatchNormConfig::new(channels)
        .with_epsilon(EPSILON)
        .init(device)
}

/// Halves the sides.
#[derive(Module, Debug)]
struct Down {
    convolution: Conv2d,
    normalisation: BatchNorm,
}

/// Doubles the sides.
#[derive(Module, Debug)]
struct Up {
    convolution: ConvTranspose2d,
    normalisation: Option<BatchNorm>,
}

/// Encoder and decoder.
#[derive(Module, Debug)]
pub(super) struct Autoencoder {
    down: Vec<Down>,
    mean: Linear,
    log_variance: Linear,
    start: Linear,
    up: Vec<Up>,
}

/// What an image is encoded to.
pub(super) struct Code {
    /// (N, Z).
    pub(super) mean: Tensor<2>,
    /// (N, Z).
    pub(super) log_variance: Tensor<2>,
}

impl Autoencoder {
    pub(super) fn new(options: &VaalOptions, seed: u64, device: &Device) -> Self {
        let mut weights = Weights { seed, layer: 0 };
        let stages = options.stages();
        let channels = |stage: u32| options.width << stage.min(GROWING);
        let mut down = Vec::new();
        let mut input = COLOURS;
        for stage in 0..stages {
            let output = channels(stage);
            let mut convolution = Conv2dConfig::new([input, output], [4, 4])
                .with_stride([2, 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .with_bias(false)
                .init(device);
            convolution.weight = weights.next([output, input, 4, 4], input * 16, device);
            down.push(Down {
                convolution,
                normalisation: norm(output, device),
            });
            input = output;
        }
        let flat = input * INNERMOST * INNERMOST;
        let (mean, log_variance) = (
            weights.linear(flat, options.latent, device),
            weights.linear(flat, options.latent, device),
        );
        let start = weights.linear(options.latent, flat, device);
        let mut up = Vec::new();
        for stage in (0..stages).rev() {
            let output = match stage {
                0 => COLOURS,
                _ => channels(stage - 1),
            };
            let mut convolution = ConvTranspose2dConfig::new([input, output], [4, 4])
                .with_stride([2, 2])
                .with_padding([1, 1])
                .init(device);
            // Of 16 taps a place is reached by 4.
            convolution.weight = weights.next([input, output, 4, 4], input * 4, device);
            convolution.bias = Some(zeros(output, device));
            up.push(Up {
                convolution,
                normalisation: (stage > 0).then(|| norm(output, device)),
            });
            input = output;
        }
        Self {
            down,
            mean,
            log_variance,
            start,
            up,
        }
    }

    /// Codes of images (N, 3, side, side).
    pub(super) fn encode(&self, images: Tensor<4>) -> Code {
        let inner = self.down.iter().fold(images, |x, stage| {
            relu(stage.normalisation.forward(stage.convolution.forward(x)))
        });
        let [images, channels, height, width] = inner.dims();
        let flat = inner.reshape([images, channels * height * width]);
        Code {
            mean: self.mean.forward(flat.clone()),
            log_variance: self.log_variance.forward(flat),
        }
    }

    /// Images in −1 to 1 of points (N, Z).
    pub(super) fn decode(&self, points: Tensor<2>) -> Tensor<4> {
        let flat = self.start.forward(points);
        let [images, numbers] = flat.dims();
        let channels = numbers / (INNERMOST * INNERMOST);
        let inner = relu(flat).reshape([images, channels, INNERMOST, INNERMOST]);
        let outer = self.up.iter().fold(inner, |x, stage| {
            let x = stage.convolution.forward(x);
            match &stage.normalisation {
                Some(normalisation) => relu(normalisation.forward(x)),
                None => x,
            }
        });
        outer.tanh()
    }
}

/// Tells labelled codes from others.
#[derive(Module, Debug)]
pub(super) struct Discriminator {
    first: Linear,
    second: Linear,
    last: Linear,
}

impl Discriminator {
    pub(super) fn new(options: &VaalOptions, seed: u64, device: &Device) -> Self {
        // Far from the autoencoder's layers.
        let mut weights = Weights { seed, layer: 1000 };
        Self {
            first: weights.linear(options.latent, HIDDEN, device),
            second: weights.linear(HIDDEN, HIDDEN, device),
            last: weights.linear(HIDDEN, 1, device),
        }
    }

    /// Logits (N, 1) of being labelled, of codes (N, Z).
    pub(super) fn logits(&self, codes: Tensor<2>) -> Tensor<2> {
        let hidden = relu(self.first.forward(codes));
        let hidden = relu(self.second.forward(hidden));
        self.last.forward(hidden)
    }
}
