//! Fine-tuning: the whole network learns, and the pool is embedded anew in every round.

use std::path::{Path, PathBuf};
use std::time::Instant;

use equipoise_burn::{Backbone, Images, LoadOptions, ModelDevice, Tuner, logits};
use equipoise_core::{Head, Pool, RowSet};

use crate::learner::Embedded;
use crate::stored_images::StoredImages;
use crate::{Config, DataSet, Error, Learned, Learner, Model, Result, Scores, Task, Training};

/// Images that go through the network at once where nothing learns.
const TOGETHER: usize = 256;

/// Fine-tunes a checkpoint on the images that stores were embedded from.
pub struct FineTuned<'a> {
    pool: StoredImages<'a>,
    test: StoredImages<'a>,
    tuner: Tuner,
    training: &'a Training,
    model: String,
    device: &'a ModelDevice,
}

impl<'a> FineTuned<'a> {
    /// For pool and test stores, by the model and weights of `config`.
    ///
    /// # Errors
    /// Where model or weights are not given or can't be tuned, or a store doesn't tell its images.
    pub fn new(
        pool: &'a DataSet,
        test: &'a DataSet,
        config: &'a Config,
        device: &'a ModelDevice,
    ) -> Result<Self> {
        let needed = |field: &str| {
            Error::config(
                format!("data.{field}"),
                "fine-tuning needs it: the checkpoint to begin with",
            )
        };
        let model = config.data.model.clone().ok_or_else(|| needed("model"))?;
        let weights: &PathBuf = config
            .data
            .weights
            .as_ref()
            .ok_or_else(|| needed("weights"))?;
        let (tuner, _) = Tuner::load(&model, weights, &LoadOptions::default(), device)?;
        Ok(Self {
            pool: StoredImages::new(pool)?,
            test: StoredImages::new(test)?,
            tuner,
            training: &config.training,
            model,
            device,
        })
    }

    /// The pool's embeddings; zeros for rows that are not among `rows`, which nobody asks for.
    fn embed(&self, backbone: &Backbone, rows: &RowSet) -> Result<Embedded<'static>> {
        let dim = backbone.dim();
        let mut values = vec![0.0; self.pool.data.pool.rows() * dim];
        let wanted: Vec<usize> = rows.iter().collect();
        for rows in wanted.chunks(TOGETHER) {
            let images = self.pool.batch(rows, None)?;
            let made = backbone.embed(&images.values, rows.len(), images.height, images.width)?;
            for (row, embedding) in rows.iter().zip(made.chunks_exact(dim)) {
                values[row * dim..(row + 1) * dim].copy_from_slice(embedding);
            }
        }
        Ok(Embedded::Made { values, dim })
    }

    fn scores(&self, backbone: &Backbone, head: &Head) -> Result<Scores> {
        let labels = &self.test.data.labels;
        let rows: Vec<usize> = (0..labels.len()).collect();
        let mut scores = Scores::default();
        for rows in rows.chunks(TOGETHER) {
            let images = self.test.batch(rows, None)?;
            let made = backbone.embed(&images.values, rows.len(), images.height, images.width)?;
            let logits = logits(head, &made, self.device)?;
            scores.add(
                &logits,
                head.classes(),
                &labels[rows[0]..rows[0] + rows.len()],
            );
        }
        Ok(scores)
    }
}

impl Learner for FineTuned<'_> {
    fn pool(&self) -> &DataSet {
        self.pool.data
    }

    fn test(&self) -> &DataSet {
        self.test.data
    }

    fn device(&self) -> &ModelDevice {
        self.device
    }

    fn learn(&self, task: &Task<'_>) -> Result<Learned<'_>> {
        let started = Instant::now();
        let data = self.pool.data;
        let labelled = |row: usize| (row, data.labels[row]);
        let seen: Vec<(usize, u32)> = task.labelled.iter().map(|row| labelled(row.row)).collect();
        let unseen: Vec<(usize, u32)> = task.evaluation.iter().map(|row| labelled(*row)).collect();
        let options = self.training.sgd(task.seed, task.round);
        let tuned = self
            .tuner
            .tune(&self.pool, &seen, &unseen, data.classes.len(), &options)?;
        let train_seconds = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let scores = self.scores(&tuned.backbone, &tuned.head)?;
        let test_seconds = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let pool = self.embed(&tuned.backbone, task.rows)?;
        Ok(Learned {
            model: Model {
                head: tuned.head,
                pool,
                weights: Some(tuned.weights),
            },
            scores,
            epochs: tuned.epochs,
            best_epoch: tuned.best_epoch,
            evaluation_accuracy: tuned.evaluation_accuracy,
            // Embedding the pool is the price of training.
            train_seconds: train_seconds + started.elapsed().as_secs_f64(),
            test_seconds,
        })
    }

    fn remember(&self, model: &Model<'_>, path: &Path) -> Result<()> {
        match &model.weights {
            Some(weights) => Ok(weights.save(path)?),
            None => Ok(()),
        }
    }

    fn recall(&self, path: &Path, rows: &RowSet) -> Result<Model<'_>> {
        let options = LoadOptions::default();
        let (backbone, _) = Backbone::load(&self.model, path, &options, self.device)?;
        let head = backbone.head().cloned().ok_or_else(|| {
            Error::from(equipoise_burn::Error::NoClassifier { path: path.into() })
        })?;
        Ok(Model {
            pool: self.embed(&backbone, rows)?,
            head,
            weights: None,
        })
    }
}
