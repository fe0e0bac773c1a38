//! Fine-tuning: a residual network and a head over it, trained end to end from a checkpoint.
//!
//! Batch normalisation keeps the checkpoint's statistics, gains and offsets: with the few labels of a round
//! they would be estimated badly. What learns are the convolutions and the head.

use std::path::Path;

use burn::tensor::activation::log_softmax;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Int, Tensor, TensorData};
use equipoise_core::Head;
use equipoise_core::random::{Philox, Purpose};

use crate::backbone::Backbone;
use crate::labelled::check_labels;
use crate::loading::{LoadOptions, LoadReport, Loaded};
use crate::models::convolution::{Affine, Layer, LayerShape};
use crate::models::{Architecture, COLOURS, Values, cifar, resnet};
use crate::sgd::class_weights;
use crate::{Error, ModelDevice, Sgd, Trained};

/// Images that are ready for a network.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ImageBatch {
    /// Normalised, (n, 3, height, width).
    pub values: Vec<f32>,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
}

/// How images are changed at random: by a stream of random numbers of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Of the run.
    pub seed: u64,
    /// Of the experiment.
    pub round: u32,
    /// From 0.
    pub epoch: u32,
}

/// Where images come from.
pub trait Images: Sync {
    /// The images of some rows, all of one size; changed at random where that is asked for.
    ///
    /// # Errors
    /// [`Error::Image`] names the first that can't be read.
    fn batch(&self, rows: &[usize], change: Option<Change>) -> Result<ImageBatch, Error>;
}

/// A checkpoint that networks are tuned from, again and again.
#[derive(Debug)]
pub struct Tuner {
    model: String,
    architecture: Architecture,
    layers: Vec<LayerShape>,
    values: Values,
    device: ModelDevice,
}

/// A tuned network, and how it came about.
#[derive(Debug)]
#[non_exhaustive]
pub struct Tuned {
    /// Its weights, the head's too, as a checkpoint that [`Backbone::load`] reads.
    pub weights: Trained,
    /// The same network, ready to embed.
    pub backbone: Backbone,
    /// The head over its embeddings.
    pub head: Head,
    /// Epochs trained.
    pub epochs: usize,
    /// The epoch, from 1, whose weights they are.
    pub best_epoch: usize,
    /// Its share of right evaluation rows; `None` where there are none.
    pub evaluation_accuracy: Option<f64>,
}

impl Tuner {
    /// Reads the weights of `model`, as [`Backbone::load`].
    ///
    /// # Errors
    /// As there; [`Error::NotTrainable`] for vision transformers.
    pub fn load(
        model: &str,
        weights: &Path,
        options: &LoadOptions,
        device: &ModelDevice,
    ) -> Result<(Self, LoadReport), Error> {
        let Loaded {
            architecture,
            values,
            report,
            ..
        } = Loaded::read(model, weights, options)?.0;
        let layers = architecture.layers().ok_or_else(|| Error::NotTrainable {
            name: model.into(),
            hint: "residual networks are".into(),
        })?;
        let tuner = Self {
            model: model.into(),
            architecture,
            layers,
            values,
            device: device.clone(),
        };
        Ok((tuner, report))
    }

    /// Trains from the checkpoint on labelled rows and chooses the best epoch by `evaluation`, if there is
    /// one. The head begins at zero.
    ///
    /// # Errors
    /// [`Error::Option`], [`Error::NoLabels`], [`Error::LabelRange`], [`Error::Image`];
    /// [`Error::Diverged`]; [`Error::Device`].
    pub fn tune(
        &self,
        images: &dyn Images,
        labelled: &[(usize, u32)],
        evaluation: &[(usize, u32)],
        classes: usize,
        options: &Sgd,
    ) -> Result<Tuned, Error> {
        options.check()?;
        let labels: Vec<u32> = labelled.iter().map(|(_, label)| *label).collect();
        check_labels(&labels, classes)?;
        if !evaluation.is_empty() {
            let labels: Vec<u32> = evaluation.iter().map(|(_, label)| *label).collect();
            check_labels(&labels, classes)?;
        }
        let weights = options
            .class_weights
            .then(|| class_weights(&labels, classes));
        let mut learning = Learning::new(self, classes, weights);
        let mut best: Option<Best> = None;
        let mut epochs = 0;
        for epoch in 0..options.epochs {
            learning.epoch(images, labelled, epoch, options)?;
            epochs = epoch + 1;
            if evaluation.is_empty() {
                continue;
            }
            let (kernels, head) = learning.read()?;
            let backbone = self.backbone(&kernels, &head);
            let accuracy = accuracy(&backbone, &head, images, evaluation)?;
            if best
                .as_ref()
                .is_none_or(|best| Some(accuracy) > best.accuracy)
            {
                best = Some(Best {
                    kernels,
                    head,
                    epoch: epochs,
                    accuracy: Some(accuracy),
                });
            }
            let since = best.as_ref().map_or(0, |best| epochs - best.epoch);
            if options.patience.is_some_and(|most| since >= most) {
                break;
            }
        }
        let best = match best {
            Some(best) => best,
            None => {
                let (kernels, head) = learning.read()?;
                Best {
                    kernels,
                    head,
                    epoch: epochs,
                    accuracy: None,
                }
            }
        };
        Ok(Tuned {
            backbone: self.backbone(&best.kernels, &best.head),
            weights: self.trained(best.kernels, &best.head),
            head: best.head,
            epochs,
            best_epoch: best.epoch,
            evaluation_accuracy: best.accuracy,
        })
    }

    /// The network with these convolutions.
    fn backbone(&self, kernels: &[Vec<f32>], head: &Head) -> Backbone {
        let mut values = self.values.clone();
        for (layer, kernel) in self.layers.iter().zip(kernels) {
            values.0.insert(kernel_name(layer), kernel.clone());
        }
        Backbone::of_values(
            &self.architecture,
            &values,
            Some(head.clone()),
            &self.device,
        )
    }

    /// All tensors, named as the network names them.
    fn trained(&self, kernels: Vec<Vec<f32>>, head: &Head) -> Trained {
        let mut tensors = Vec::new();
        for (layer, kernel) in self.layers.iter().zip(kernels) {
            let [convolution, norm @ ..] = layer.tensors();
            tensors.push((convolution.name, convolution.shape, kernel));
            for tensor in norm {
                let values = self.values.get(&tensor.name).to_vec();
                tensors.push((tensor.name, tensor.shape, values));
            }
        }
        let (classes, dim) = (head.classes(), head.dim());
        tensors.push((
            "fc.weight".into(),
            vec![classes, dim],
            head.weight().to_vec(),
        ));
        tensors.push(("fc.bias".into(), vec![classes], head.bias().to_vec()));
        Trained {
            model: self.model.clone(),
            tensors,
        }
    }
}

/// The weights of the best epoch so far.
struct Best {
    kernels: Vec<Vec<f32>>,
    head: Head,
    epoch: usize,
    accuracy: Option<f64>,
}

fn kernel_name(layer: &LayerShape) -> String {
    let [convolution, ..] = layer.tensors();
    convolution.name
}

/// A layer whose kernel learns; its normalisation is affine and stays.
#[derive(Debug, Clone)]
struct Convolution {
    kernel: Tensor<4>,
    /// (output, 1, 1, 1).
    scale: Tensor<4>,
    offset: Tensor<1>,
    shape: LayerShape,
}

impl Layer for Convolution {
    fn apply(&self, input: Tensor<4>) -> Tensor<4> {
        let kernel = self.kernel.clone() * self.scale.clone();
        let padding = self.shape.padding();
        let options = ConvOptions::new([self.shape.stride; 2], [padding; 2], [1; 2], 1);
        conv2d(input, kernel, Some(self.offset.clone()), options)
    }

    fn shape(&self) -> (usize, usize) {
        (self.shape.output, self.shape.stride)
    }
}

/// A tensor that learns, and its velocity.
struct Parameter<const D: usize> {
    value: Tensor<D>,
    velocity: Tensor<D>,
}

impl<const D: usize> Parameter<D> {
    /// `value` is without autodiff.
    fn new(value: Tensor<D>) -> Self {
        Self {
            velocity: value.zeros_like(),
            value: Tensor::from_inner(value).require_grad(),
        }
    }

    fn step(&mut self, gradient: Option<Tensor<D>>, rate: f64, options: &Sgd) {
        let value = self.value.clone().inner();
        let decay = value.clone() * options.weight_decay;
        let gradient = match gradient {
            Some(gradient) => gradient + decay,
            None => decay,
        };
        self.velocity = self.velocity.clone() * options.momentum + gradient;
        let value = value - self.velocity.clone() * rate;
        self.value = Tensor::from_inner(value).require_grad();
    }
}

/// A network while it learns.
struct Learning<'a> {
    tuner: &'a Tuner,
    kernels: Vec<Parameter<4>>,
    /// As [`Convolution`] has them, layer by layer.
    affine: Vec<(Tensor<4>, Tensor<1>)>,
    /// (M, C).
    weight: Parameter<2>,
    /// (1, C).
    bias: Parameter<2>,
    class_weights: Option<Vec<f32>>,
    place: Device,
}

impl<'a> Learning<'a> {
    fn new(tuner: &'a Tuner, classes: usize, class_weights: Option<Vec<f32>>) -> Self {
        let plain = tuner.device.burn();
        let place = plain.clone().autodiff();
        let kernel = |layer: &LayerShape| {
            let values = tuner.values.get(&kernel_name(layer)).to_vec();
            Parameter::new(Tensor::from_data(
                TensorData::new(values, layer.kernel()),
                plain,
            ))
        };
        let affine = |layer: &LayerShape| {
            let Affine { scale, offset } = Affine::of(layer, &tuner.values);
            let narrow =
                |values: Vec<f64>| -> Vec<f32> { values.iter().map(|x| *x as f32).collect() };
            let scale = TensorData::new(narrow(scale), [layer.output, 1, 1, 1]);
            let offset = TensorData::new(narrow(offset), [layer.output]);
            (
                Tensor::from_data(scale, &place),
                Tensor::from_data(offset, &place),
            )
        };
        let dim = tuner.architecture.dim();
        Self {
            kernels: tuner.layers.iter().map(kernel).collect(),
            affine: tuner.layers.iter().map(affine).collect(),
            weight: Parameter::new(Tensor::zeros([dim, classes], plain)),
            bias: Parameter::new(Tensor::zeros([1, classes], plain)),
            class_weights,
            tuner,
            place,
        }
    }

    /// Embeddings (N, M) of images (N, 3, H, W).
    fn embed(&self, images: Tensor<4>) -> Tensor<2> {
        let mut next = 0;
        // Networks ask for their layers in the order of `Tuner::layers`.
        let layer = |shape: &LayerShape| {
            let (scale, offset) = self.affine[next].clone();
            let kernel = self.kernels[next].value.clone();
            next += 1;
            Convolution {
                kernel,
                scale,
                offset,
                shape: shape.clone(),
            }
        };
        match &self.tuner.architecture {
            Architecture::Resnet(shape) => resnet::Network::new(shape, layer).embed(images),
            _ => {
                let layers: Vec<Convolution> = self.tuner.layers.iter().map(layer).collect();
                cifar::embed(&layers, images)
            }
        }
    }

    /// One pass over the labelled rows.
    fn epoch(
        &mut self,
        images: &dyn Images,
        labelled: &[(usize, u32)],
        epoch: usize,
        options: &Sgd,
    ) -> Result<(), Error> {
        let change = Change {
            seed: options.seed,
            round: options.round,
            epoch: epoch as u32,
        };
        let random = Philox::new(options.seed, Purpose::Training, options.round, change.epoch);
        let order = random.permutation(labelled.len());
        for (step, batch) in order.chunks(options.batch).enumerate() {
            let batch = batch.iter().map(|place| labelled[*place]);
            let (rows, labels): (Vec<usize>, Vec<u32>) = batch.unzip();
            let ready = images.batch(&rows, Some(change))?;
            let loss = self.step(&ready, &labels, options.rate(epoch), options)?;
            if !loss.is_finite() {
                return Err(Error::Diverged { epoch, step });
            }
        }
        Ok(())
    }

    /// One step; the batch's loss.
    fn step(
        &mut self,
        images: &ImageBatch,
        labels: &[u32],
        rate: f64,
        options: &Sgd,
    ) -> Result<f32, Error> {
        let shape = [labels.len(), COLOURS, images.height, images.width];
        let input = Tensor::from_data(TensorData::new(images.values.clone(), shape), &self.place);
        let logits = self.embed(input).matmul(self.weight.value.clone()) + self.bias.value.clone();
        let classes = self.bias.value.dims()[1];
        let wanted: Vec<i32> = labels.iter().map(|label| *label as i32).collect();
        let wanted = TensorData::new(wanted, [labels.len()]);
        let wanted = Tensor::<1, Int>::from_data(wanted, &self.place);
        let wanted = wanted.one_hot::<2>(classes).float();
        let losses = (log_softmax(logits, 1) * wanted).sum_dim(1).neg();
        let weights: Vec<f32> = match &self.class_weights {
            Some(weights) => labels
                .iter()
                .map(|label| weights[*label as usize])
                .collect(),
            None => vec![1.0; labels.len()],
        };
        let sum: f32 = weights.iter().sum();
        let weights: Vec<f32> = weights.iter().map(|weight| weight / sum).collect();
        let weights = TensorData::new(weights, [labels.len(), 1]);
        let loss = (losses * Tensor::<2>::from_data(weights, &self.place)).sum();
        let gradients = loss.backward();
        for kernel in &mut self.kernels {
            kernel.step(kernel.value.grad(&gradients), rate, options);
        }
        for parameter in [&mut self.weight, &mut self.bias] {
            parameter.step(parameter.value.grad(&gradients), rate, options);
        }
        let loss = loss.inner().try_into_scalar::<f32>();
        loss.map_err(|error| self.tuner.device.failed(error))
    }

    /// The kernels and the head.
    fn read(&self) -> Result<(Vec<Vec<f32>>, Head), Error> {
        let kernels = self.kernels.iter().map(|kernel| self.values(kernel));
        let kernels = kernels.collect::<Result<Vec<_>, _>>()?;
        let weight = self.weight.value.clone().inner().transpose();
        let dim = weight.dims()[1];
        let weight = weight.try_into_vec_as::<f32>();
        let weight = weight.map_err(|error| self.tuner.device.failed(error))?;
        Ok((kernels, Head::new(weight, self.values(&self.bias)?, dim)?))
    }

    fn values<const D: usize>(&self, parameter: &Parameter<D>) -> Result<Vec<f32>, Error> {
        let values = parameter.value.clone().inner().try_into_vec_as::<f32>();
        values.map_err(|error| self.tuner.device.failed(error))
    }
}

/// Images that go through the network at once where nothing learns.
const TOGETHER: usize = 256;

/// Share of rows that are right.
fn accuracy(
    backbone: &Backbone,
    head: &Head,
    images: &dyn Images,
    rows: &[(usize, u32)],
) -> Result<f64, Error> {
    let mut right = 0;
    for part in rows.chunks(TOGETHER) {
        let of: Vec<usize> = part.iter().map(|(row, _)| *row).collect();
        let batch = images.batch(&of, None)?;
        let logits = backbone.logits(&batch.values, of.len(), batch.height, batch.width)?;
        for (logits, (_, label)) in logits.chunks_exact(head.classes()).zip(part) {
            let own = logits[*label as usize];
            let before = |(class, logit): (usize, &f32)| {
                *logit > own || (*logit == own && class < *label as usize)
            };
            right += usize::from(!logits.iter().enumerate().any(before));
        }
    }
    Ok(right as f64 / rows.len() as f64)
}

#[cfg(test)]
mod tests;
