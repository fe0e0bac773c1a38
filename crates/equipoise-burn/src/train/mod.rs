//! Training a small backbone: mini-batch SGD with momentum and a cosine schedule, on labelled images
//! in memory.

mod augment;
mod network;

use std::path::Path;

use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Int, Tensor, TensorData};
use equipoise_core::random::{Philox, Purpose};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::labelled::{check_finite, check_labels, check_several_classes};
use crate::models::COLOURS;
use crate::models::cifar::{MODELS, PUBLISHED_WIDTH, Shape};
use crate::{Error, ModelDevice};
use augment::Augment;
use network::Network;

pub(crate) use network::normal;

/// Labelled images in memory.
#[derive(Debug, Clone, Copy)]
pub struct LabelledImages<'a> {
    /// Normalised values, (N, 3, height, width).
    pub values: &'a [f32],
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// N labels, below `classes`.
    pub labels: &'a [u32],
    /// Number of classes.
    pub classes: usize,
}

impl LabelledImages<'_> {
    /// Numbers per image.
    fn pixels(&self) -> usize {
        COLOURS
            .saturating_mul(self.height)
            .saturating_mul(self.width)
    }
}

/// How to train.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainOptions {
    /// `resnet20`, `resnet32`, `resnet44` or `resnet56`.
    pub model: String,
    /// Channels of the first stage; embeddings have four times as many numbers.
    pub width: usize,
    /// How many times each image is shown.
    pub epochs: usize,
    /// Images per step.
    pub batch: usize,
    /// Learning rate of the first step; falls to 0 along half a cosine.
    pub learning_rate: f64,
    /// Momentum, in [0, 1).
    pub momentum: f64,
    /// Weight of the L2 penalty on all parameters.
    pub weight_decay: f32,
    /// Images are moved by up to this many pixels, what comes in being 0.
    pub shift: usize,
    /// Whether images are mirrored at random.
    pub mirror: bool,
    /// Seed of the first weights, the order of the images, and their changes.
    pub seed: u64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            model: "resnet20".into(),
            width: PUBLISHED_WIDTH,
            epochs: 10,
            batch: 128,
            learning_rate: 0.1,
            momentum: 0.9,
            weight_decay: 1e-4,
            shift: 4,
            mirror: true,
            seed: 0,
        }
    }
}

/// How far training has come, after each step.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct TrainProgress {
    /// Epoch, from 0.
    pub epoch: usize,
    /// Steps done, of all epochs.
    pub step: usize,
    /// Steps there are, of all epochs.
    pub steps: usize,
    /// Mean cross-entropy of the step's images.
    pub loss: f32,
    /// Share of them that were right.
    pub accuracy: f32,
}

/// A trained network, in host memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    pub(crate) model: String,
    pub(crate) tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
}

impl Trained {
    /// Writes the weights, the classifier's too, as safetensors that [`crate::Backbone::load`]
    /// reads. The file appears whole or not at all, replacing one that is there.
    ///
    /// # Errors
    /// [`Error::Io`] where it can't be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let bytes: Vec<Vec<u8>> = self
            .tensors
            .iter()
            .map(|(.., values)| values.iter().flat_map(|x| x.to_le_bytes()).collect())
            .collect();
        let io = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let other = |error: safetensors::SafeTensorError| io(std::io::Error::other(error));
        let mut views = Vec::with_capacity(bytes.len());
        for ((name, shape, _), bytes) in self.tensors.iter().zip(&bytes) {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(other)?;
            views.push((name.as_str(), view));
        }
        let metadata = [("model".to_owned(), self.model.clone())].into();
        let bytes = safetensors::serialize(views, Some(metadata)).map_err(other)?;
        write_whole(path, &bytes).map_err(io)
    }
}

/// Writes beside `path`, syncs and renames.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let aside = path.with_file_name(name);
    let written = std::fs::File::create(&aside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&aside, path));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = std::fs::remove_file(&aside);
    }
    written
}

/// Trains a network on `images`, calling `progress` after each step.
///
/// # Errors
/// [`Error::UnknownModel`], [`Error::Option`], [`Error::Shape`], [`Error::NoLabels`],
/// [`Error::SingleClass`], [`Error::LabelRange`] and [`Error::NonFinite`] before it starts;
/// [`Error::Diverged`] where the loss is not finite any more; [`Error::Device`].
pub fn train(
    images: &LabelledImages<'_>,
    options: &TrainOptions,
    device: &ModelDevice,
    mut progress: impl FnMut(&TrainProgress),
) -> Result<Trained, Error> {
    check(images, options)?;
    let architecture = Shape::named(&options.model, options.width);
    let architecture = architecture.ok_or_else(|| Error::NotTrainable {
        name: options.model.clone(),
        hint: format!("one of {}", MODELS.join(", ")),
    })?;
    let place = device.burn().clone().autodiff();
    let mut network = Network::random(&architecture, images.classes, options.seed, &place);
    let mut optimiser = optimiser(options);
    let loss_of = CrossEntropyLossConfig::new().init(&place);
    let count = images.labels.len();
    let steps = options.epochs * count.div_ceil(options.batch);
    let mut step = 0;
    for epoch in 0..options.epochs {
        let augment = Augment::new(images, options, epoch);
        let order =
            Philox::new(options.seed, Purpose::Training, epoch as u32, 0).permutation(count);
        for rows in order.chunks(options.batch) {
            let shape = [rows.len(), COLOURS, images.height, images.width];
            let batch = Tensor::from_data(TensorData::new(augment.batch(rows), shape), &place);
            let labels: Vec<i32> = rows.iter().map(|row| images.labels[*row] as i32).collect();
            let labels = TensorData::new(labels, [rows.len()]);
            let labels = Tensor::<1, Int>::from_data(labels, &place);
            let logits = network.logits(batch);
            let right = logits.clone().argmax(1).reshape([-1]).equal(labels.clone());
            let loss = loss_of.forward(logits, labels);
            let gradients = GradientsParams::from_grads(loss.backward(), &network);
            let part = step as f64 / steps as f64;
            let rate = options.learning_rate * (1.0 + (std::f64::consts::PI * part).cos()) / 2.0;
            network = optimiser.step(rate, network, gradients);
            let read = |tensor: Tensor<1>| {
                let value = tensor.try_into_scalar::<f32>();
                value.map_err(|error| device.failed(error))
            };
            let loss = read(loss.inner())?;
            if !loss.is_finite() {
                let step = step % (steps / options.epochs);
                return Err(Error::Diverged { epoch, step });
            }
            step += 1;
            progress(&TrainProgress {
                epoch,
                step,
                steps,
                loss,
                accuracy: read(right.float().mean().inner())?,
            });
        }
    }
    Ok(Trained {
        tensors: network.tensors(&architecture, device)?,
        model: options.model.clone(),
    })
}

/// SGD as PyTorch does it: undamped momentum, and decay added to the gradient.
fn optimiser(options: &TrainOptions) -> ModuleOptimizer {
    let momentum = MomentumConfig {
        momentum: options.momentum,
        dampening: 0.0,
        nesterov: false,
    };
    SgdConfig::new()
        .with_momentum(Some(momentum))
        .with_weight_decay(Some(WeightDecayConfig::new(options.weight_decay)))
        .init()
}

fn check(images: &LabelledImages<'_>, options: &TrainOptions) -> Result<(), Error> {
    let option = |option, value: String, hint| Error::Option {
        option,
        value,
        hint,
    };
    let positive = [
        ("width", options.width),
        ("epochs", options.epochs),
        ("batch", options.batch),
    ];
    if let Some((name, value)) = positive.into_iter().find(|(_, value)| *value == 0) {
        return Err(option(name, value.to_string(), "at least 1"));
    }
    let rate = options.learning_rate;
    if !(rate.is_finite() && rate > 0.0) {
        return Err(option(
            "learning rate",
            rate.to_string(),
            "a positive number, 0.1 for example",
        ));
    }
    if !(0.0..1.0).contains(&options.momentum) {
        let hint = "a share from 0 to below 1, 0.9 for example";
        return Err(option("momentum", options.momentum.to_string(), hint));
    }
    if !(options.weight_decay.is_finite() && options.weight_decay >= 0.0) {
        let hint = "0 or a positive number, 0.0001 for example";
        return Err(option(
            "weight decay",
            options.weight_decay.to_string(),
            hint,
        ));
    }
    let (labels, pixels) = (images.labels, images.pixels());
    if pixels == 0 || labels.len().checked_mul(pixels) != Some(images.values.len()) {
        let (height, width) = (images.height, images.width);
        return Err(Error::Shape {
            what: "images",
            expected: format!("{} of 3×{height}×{width}, no side 0", labels.len()),
            found: format!("{} numbers", images.values.len()),
        });
    }
    check_labels(labels, images.classes)?;
    check_several_classes(labels)?;
    check_finite(images.values, pixels)
}

#[cfg(test)]
mod tests;
