//! Linear evaluation: a head trained on stored embeddings by mini-batch SGD with momentum, as papers on
//! self-supervised learning and on active learning do it. [`crate::fit()`] finds the minimum of a
//! penalised loss instead, and is the better choice where nothing is to be reproduced.

use burn::tensor::activation::softmax;
use burn::tensor::{Int, Tensor, TensorData};
use equipoise_core::Head;
use equipoise_core::random::{Philox, Purpose};

use crate::fit::Standard;
use crate::labelled::{check_finite, check_labels};
use crate::sgd::class_weights;
use crate::{Error, ModelDevice, Sgd};

/// Embeddings with their labels.
#[derive(Debug, Clone, Copy)]
pub struct LabelledEmbeddings<'a> {
    /// (n, M) row-major.
    pub values: &'a [f32],
    /// M, at least 1.
    pub dim: usize,
    /// n labels, below `classes`.
    pub labels: &'a [u32],
    /// C.
    pub classes: usize,
}

/// A trained head, and how it came about.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LinearFit {
    /// For embeddings as they are stored.
    pub head: Head,
    /// Epochs trained.
    pub epochs: usize,
    /// The epoch, from 1, whose head it is.
    pub best_epoch: usize,
    /// Its share of right evaluation rows; `None` where there are none.
    pub evaluation_accuracy: Option<f64>,
}

/// Trains a head from zero weights on `rows`, and chooses the best epoch by `evaluation`, if there is one.
/// `standardise` brings columns to mean 0 and deviation 1 first; the head is folded back.
///
/// On the CPU the same input gives the same bits, on one machine and with as many threads.
///
/// # Errors
/// [`Error::Shape`], [`Error::Option`], [`Error::NoLabels`], [`Error::LabelRange`] and
/// [`Error::NonFinite`] before it starts; [`Error::Diverged`]; [`Error::Device`].
pub fn train_linear(
    rows: &LabelledEmbeddings<'_>,
    evaluation: Option<&LabelledEmbeddings<'_>>,
    options: &Sgd,
    standardise: bool,
    device: &ModelDevice,
) -> Result<LinearFit, Error> {
    options.check()?;
    check(rows)?;
    let evaluation = evaluation.filter(|evaluation| !evaluation.labels.is_empty());
    if let Some(evaluation) = evaluation {
        check(evaluation)?;
        if (evaluation.dim, evaluation.classes) != (rows.dim, rows.classes) {
            return Err(Error::Shape {
                what: "evaluation rows",
                expected: format!("{} numbers, {} classes", rows.dim, rows.classes),
                found: format!("{} and {}", evaluation.dim, evaluation.classes),
            });
        }
    }
    let all: Vec<usize> = (0..rows.labels.len()).collect();
    let standard = standardise.then(|| Standard::of(rows.values, rows.dim, &all));
    let seen = Examples::new(rows, standard.as_ref(), device);
    let unseen = evaluation.map(|rows| Examples::new(rows, standard.as_ref(), device));
    let class_weights = options
        .class_weights
        .then(|| class_weights(rows.labels, rows.classes));
    let mut learner = Learner::new(rows.dim, rows.classes, class_weights, device);
    let mut best = (learner.clone(), 0, None);
    let mut epochs = 0;
    for epoch in 0..options.epochs {
        let random = Philox::new(options.seed, Purpose::Training, options.round, epoch as u32);
        let order = random.permutation(rows.labels.len());
        let rate = options.rate(epoch);
        learner.epoch(&seen, &order, rate, options);
        epochs = epoch + 1;
        if !learner.is_finite(device)? {
            return Err(Error::Diverged { epoch, step: 0 });
        }
        let accuracy = unseen.as_ref().map(|rows| learner.accuracy(rows, device));
        let accuracy = accuracy.transpose()?;
        if accuracy.is_none() || accuracy > best.2 {
            best = (learner.clone(), epochs, accuracy);
        }
        if accuracy.is_some() && options.patience.is_some_and(|most| epochs - best.1 >= most) {
            break;
        }
    }
    let (learner, best_epoch, evaluation_accuracy) = best;
    Ok(LinearFit {
        head: learner.head(standard.as_ref(), device)?,
        epochs,
        best_epoch,
        evaluation_accuracy,
    })
}

/// The logits (n, C) of n embeddings, in float32 on the device: for measuring accuracy. What is picked is
/// decided exactly elsewhere.
///
/// # Errors
/// [`Error::Shape`] where the embeddings don't fit the head; [`Error::Device`].
pub fn logits(head: &Head, embeddings: &[f32], device: &ModelDevice) -> Result<Vec<f32>, Error> {
    let (dim, classes) = (head.dim(), head.classes());
    if !embeddings.len().is_multiple_of(dim) {
        return Err(Error::Shape {
            what: "embeddings",
            expected: format!("rows of {dim} numbers"),
            found: format!("{} numbers", embeddings.len()),
        });
    }
    let place = device.burn();
    let weight = TensorData::new(head.weight().to_vec(), [classes, dim]);
    let bias = TensorData::new(head.bias().to_vec(), [1, classes]);
    let rows = TensorData::new(embeddings.to_vec(), [embeddings.len() / dim, dim]);
    let weight = Tensor::<2>::from_data(weight, place).transpose();
    let logits = Tensor::<2>::from_data(rows, place).matmul(weight);
    let logits = (logits + Tensor::from_data(bias, place)).try_into_vec_as::<f32>();
    logits.map_err(|error| device.failed(error))
}

/// Labelled rows on the device.
struct Examples {
    values: Tensor<2>,
    labels: Tensor<1, Int>,
}

impl Examples {
    fn new(
        rows: &LabelledEmbeddings<'_>,
        standard: Option<&Standard>,
        device: &ModelDevice,
    ) -> Self {
        let (count, place) = (rows.labels.len(), device.burn());
        let mut values = rows.values.to_vec();
        if let Some(standard) = standard {
            for row in values.chunks_exact_mut(rows.dim) {
                for ((value, mean), scale) in
                    row.iter_mut().zip(&standard.mean).zip(&standard.scale)
                {
                    *value = ((f64::from(*value) - mean) * scale) as f32;
                }
            }
        }
        let labels: Vec<i32> = rows.labels.iter().map(|label| *label as i32).collect();
        Self {
            values: Tensor::from_data(TensorData::new(values, [count, rows.dim]), place),
            labels: Tensor::from_data(TensorData::new(labels, [count]), place),
        }
    }
}

/// Parameters and their velocities.
#[derive(Clone)]
struct Learner {
    /// (M, C).
    weight: Tensor<2>,
    /// (1, C).
    bias: Tensor<2>,
    weight_velocity: Tensor<2>,
    bias_velocity: Tensor<2>,
    /// Of each class, where they differ.
    class_weights: Option<Tensor<1>>,
}

impl Learner {
    fn new(
        dim: usize,
        classes: usize,
        class_weights: Option<Vec<f32>>,
        device: &ModelDevice,
    ) -> Self {
        let place = device.burn();
        let (weight, bias) = (
            Tensor::zeros([dim, classes], place),
            Tensor::zeros([1, classes], place),
        );
        let class_weights = class_weights
            .map(|weights| Tensor::from_data(TensorData::new(weights, [classes]), place));
        Self {
            weight_velocity: weight.clone(),
            bias_velocity: bias.clone(),
            weight,
            bias,
            class_weights,
        }
    }

    fn logits(&self, values: Tensor<2>) -> Tensor<2> {
        values.matmul(self.weight.clone()) + self.bias.clone()
    }

    /// One pass over the rows in that order.
    fn epoch(&mut self, rows: &Examples, order: &[usize], rate: f64, options: &Sgd) {
        let place = rows.values.device();
        let classes = self.bias.dims()[1];
        for batch in order.chunks(options.batch) {
            let count = batch.len();
            let batch: Vec<i32> = batch.iter().map(|row| *row as i32).collect();
            let batch = Tensor::<1, Int>::from_data(TensorData::new(batch, [count]), &place);
            let values = rows.values.clone().select(0, batch.clone());
            let labels = rows.labels.clone().select(0, batch);
            // The cross-entropy's gradient by the logits, the mean over the batch taken.
            let wanted = labels.clone().one_hot::<2>(classes).float();
            let error = softmax(self.logits(values.clone()), 1) - wanted;
            let error = match &self.class_weights {
                Some(weights) => {
                    let weights = weights.clone().select(0, labels);
                    let sum = weights.clone().sum();
                    error * (weights / sum).unsqueeze_dim::<2>(1)
                }
                None => error / count as f64,
            };
            let by_weight = values.transpose().matmul(error.clone());
            let by_bias = error.sum_dim(0);
            let decay = options.weight_decay;
            let by_weight = by_weight + self.weight.clone() * decay;
            let by_bias = by_bias + self.bias.clone() * decay;
            self.weight_velocity = self.weight_velocity.clone() * options.momentum + by_weight;
            self.bias_velocity = self.bias_velocity.clone() * options.momentum + by_bias;
            self.weight = self.weight.clone() - self.weight_velocity.clone() * rate;
            self.bias = self.bias.clone() - self.bias_velocity.clone() * rate;
        }
    }

    /// Whether every parameter is.
    fn is_finite(&self, device: &ModelDevice) -> Result<bool, Error> {
        let sum = self.weight.clone().abs().sum() + self.bias.clone().abs().sum();
        let sum = sum.try_into_scalar::<f32>();
        Ok(sum.map_err(|error| device.failed(error))?.is_finite())
    }

    /// Share of rows that are right.
    fn accuracy(&self, rows: &Examples, device: &ModelDevice) -> Result<f64, Error> {
        let count = rows.labels.dims()[0];
        let predicted = self.logits(rows.values.clone()).argmax(1).reshape([-1]);
        let right = predicted.equal(rows.labels.clone()).int().sum();
        let right = right.try_into_scalar::<i32>();
        let right = right.map_err(|error| device.failed(error))?;
        Ok(f64::from(right) / count as f64)
    }

    /// The head over embeddings as they are stored.
    fn head(&self, standard: Option<&Standard>, device: &ModelDevice) -> Result<Head, Error> {
        let read = |tensor: Tensor<2>| {
            let values = tensor.try_into_vec_as::<f32>();
            values.map_err(|error| device.failed(error))
        };
        let dim = self.weight.dims()[0];
        let mut weight = read(self.weight.clone().transpose())?;
        let mut bias = read(self.bias.clone())?;
        if let Some(standard) = standard {
            for (weight, bias) in weight.chunks_exact_mut(dim).zip(&mut bias) {
                let mut offset = f64::from(*bias);
                for ((value, scale), mean) in
                    weight.iter_mut().zip(&standard.scale).zip(&standard.mean)
                {
                    let raw = f64::from(*value) * scale;
                    offset -= raw * mean;
                    *value = raw as f32;
                }
                *bias = offset as f32;
            }
        }
        Ok(Head::new(weight, bias, dim)?)
    }
}

fn check(rows: &LabelledEmbeddings<'_>) -> Result<(), Error> {
    let (dim, labels) = (rows.dim, rows.labels);
    check_labels(labels, rows.classes)?;
    if dim == 0 || labels.len().checked_mul(dim) != Some(rows.values.len()) {
        return Err(Error::Shape {
            what: "embeddings",
            expected: format!(
                "{} labelled rows of {dim} numbers, at least 1",
                labels.len()
            ),
            found: format!("{} numbers", rows.values.len()),
        });
    }
    check_finite(rows.values, dim)
}

#[cfg(test)]
mod tests;
