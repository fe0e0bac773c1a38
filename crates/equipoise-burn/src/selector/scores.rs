//! Scores of rows as tensors, to go on computing with.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use equipoise_core::cpu::row_scores;
use equipoise_core::{Error as CoreError, Head, Pool};
use equipoise_gpu::{GpuEngine, ScoreTargets, Target};

use super::rows::{Located, Place, caught, located, located_int};
use super::{Kind, Selector, TensorPool, ToHead};
use crate::Error;

/// What a head says of N rows, on the rows' device. Rows that are not finite have −1 and NaN.
///
/// They are f32, and on a GPU may differ from another one's in their last bits: good to compute with, not to pick
/// by. Definitions are those of [`equipoise_core::cpu::RowScores`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Scores {
    /// (N): the predicted class.
    pub predicted: Tensor<1, Int>,
    /// (N): the class of the nearest boundary; −1 where C = 1.
    pub runner_up: Tensor<1, Int>,
    /// (N): the distance to the nearest boundary, MASE's score.
    pub distance: Tensor<1>,
    /// (N): the most probable class's probability less the second's.
    pub margin: Tensor<1>,
    /// (N): the most probable class's probability.
    pub confidence: Tensor<1>,
    /// (N): the entropy of the probabilities, in nats.
    pub entropy: Tensor<1>,
}

impl Selector {
    /// Scores of the rows of `embeddings`, (N, M), as tensors on the same device. On a wgpu device nothing but the
    /// head travels, and the call returns while the device computes.
    ///
    /// ```
    /// use burn::tensor::{Device, Distribution, Tensor};
    /// use equipoise_burn::Selector;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let device = Device::flex();
    /// let random = |shape| Tensor::<2>::random(shape, Distribution::Default, &device);
    /// let scores = Selector::new(&device)?.scores(random([50, 8]), &random([3, 8]))?;
    /// let unsure = scores.margin.lower_elem(0.1).int().sum();
    /// # let _ = unsure;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`super::Query::select`].
    pub fn scores(&self, embeddings: Tensor<2>, head: &impl ToHead) -> Result<Scores, Error> {
        let head = head.to_head()?;
        let pool = self.scored(embeddings, &head)?;
        let rows = pool.rows();
        match (&pool.0, &self.engine) {
            (Place::Device(pool), Kind::Gpu(engine)) => {
                let scores = Scores {
                    predicted: self.empty_classes(rows)?,
                    runner_up: self.empty_classes(rows)?,
                    distance: self.empty([rows])?,
                    margin: self.empty([rows])?,
                    confidence: self.empty([rows])?,
                    entropy: self.empty([rows])?,
                };
                if rows > 0 {
                    let places = scores.places(engine)?;
                    let [predicted, runner_up, distance, margin, confidence, entropy] =
                        places.each_ref().map(target);
                    let targets = ScoreTargets {
                        predicted,
                        runner_up,
                        distance,
                        margin,
                        confidence,
                        entropy,
                        distances: None,
                    };
                    engine.write_scores(&head, pool, &targets)?;
                }
                Ok(scores)
            }
            _ => {
                let scores = row_scores(&pool, &head)?;
                Ok(Scores {
                    predicted: self.classes(scores.predicted)?,
                    runner_up: self.classes(scores.runner_up)?,
                    distance: self.numbers(scores.distance, [rows])?,
                    margin: self.numbers(scores.margin, [rows])?,
                    confidence: self.numbers(scores.confidence, [rows])?,
                    entropy: self.numbers(scores.entropy, [rows])?,
                })
            }
        }
    }

    /// BASE scores of the rows of `embeddings`, (N, M), as a tensor (N, C) on the same device: for the predicted class
    /// the distance to the nearest boundary, for another class that to the boundary with it. +∞ where there is no
    /// boundary. See [`Selector::scores`].
    ///
    /// # Errors
    /// As [`super::Query::select`].
    pub fn distances(&self, embeddings: Tensor<2>, head: &impl ToHead) -> Result<Tensor<2>, Error> {
        let head = head.to_head()?;
        let pool = self.scored(embeddings, &head)?;
        let shape = [pool.rows(), head.classes()];
        match (&pool.0, &self.engine) {
            (Place::Device(pool), Kind::Gpu(engine)) => {
                let distances = self.empty(shape)?;
                if pool.rows() > 0 {
                    let place = located(engine, distances.clone())?;
                    let targets = ScoreTargets {
                        distances: target(&place),
                        ..ScoreTargets::default()
                    };
                    engine.write_scores(&head, pool, &targets)?;
                }
                Ok(distances)
            }
            _ => self.numbers(row_scores(&pool, &head)?.distances, shape),
        }
    }

    /// The pool of one tensor that a head fits.
    fn scored(&self, embeddings: Tensor<2>, head: &Head) -> Result<TensorPool, Error> {
        let pool = self.pool(vec![embeddings])?;
        match pool.dim() == head.dim() {
            true => Ok(pool),
            false => Err(Error::Core(CoreError::Dimension {
                head: head.dim(),
                pool: pool.dim(),
            })),
        }
    }

    fn empty<const D: usize>(&self, shape: [usize; D]) -> Result<Tensor<D>, Error> {
        self.made(|device| Tensor::empty(shape, (device, DType::F32)))
    }

    fn empty_classes(&self, rows: usize) -> Result<Tensor<1, Int>, Error> {
        self.made(|device| Tensor::empty([rows], (device, DType::I32)))
    }

    fn numbers<const D: usize>(&self, of: Vec<f32>, shape: [usize; D]) -> Result<Tensor<D>, Error> {
        let data = TensorData::new(of, shape);
        self.made(|device| Tensor::from_data(data, (device, DType::F32)))
    }

    fn classes(&self, of: Vec<i32>) -> Result<Tensor<1, Int>, Error> {
        let rows = of.len();
        let data = TensorData::new(of, [rows]);
        self.made(|device| Tensor::from_data(data, (device, DType::I32)))
    }

    /// A tensor that burn makes on the device.
    fn made<T>(&self, make: impl FnOnce(&Device) -> T) -> Result<T, Error> {
        caught(self.engine().name(), || Ok(make(&self.device)))
    }
}

impl Scores {
    /// Where the columns are, in the order of the fields.
    fn places(&self, engine: &GpuEngine) -> Result<[Located; 6], Error> {
        Ok([
            located_int(engine, self.predicted.clone())?,
            located_int(engine, self.runner_up.clone())?,
            located(engine, self.distance.clone())?,
            located(engine, self.margin.clone())?,
            located(engine, self.confidence.clone())?,
            located(engine, self.entropy.clone())?,
        ])
    }
}

fn target(place: &Located) -> Option<Target<'_>> {
    Some(Target {
        buffer: &place.buffer,
        offset: place.offset,
    })
}
