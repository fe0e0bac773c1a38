//! What learns from the labels of a round.

use std::path::Path;
use std::time::Instant;

use equipoise_burn::{LabelledEmbeddings, ModelDevice, Trained, logits, train_linear};
use equipoise_core::{Head, LabelledRow, MemoryPool, Pool, RowSet, Values};
use equipoise_pool::HeadFile;

use crate::{DataSet, Result, Scores, Training};

/// Test rows whose logits are made at once.
const TOGETHER: usize = 4096;

/// What there is to learn from.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// Labelled rows, each with its class, in the order of their labels.
    pub labelled: &'a [LabelledRow],
    /// Rows held out to choose the best epoch.
    pub evaluation: &'a [usize],
    /// Rows that are labelled, or may be.
    pub rows: &'a RowSet,
    /// Makes training reproducible.
    pub seed: u64,
    /// The round, from 0.
    pub round: u32,
}

/// A trained model, ready to pick with.
pub struct Model<'a> {
    /// The head.
    pub head: Head,
    /// The pool as the model sees it.
    pub pool: Embedded<'a>,
    /// The network's weights, where they are the model's own.
    pub weights: Option<Trained>,
}

/// The embeddings of a pool.
pub enum Embedded<'a> {
    /// Those that are stored.
    Stored(&'a dyn Pool),
    /// Those that a model made.
    Made {
        /// (N, M) row-major.
        values: Vec<f32>,
        /// M.
        dim: usize,
    },
}

impl Embedded<'_> {
    /// Has `work` done with the pool.
    ///
    /// # Errors
    /// Whatever `work` says.
    pub fn with<T>(&self, work: impl FnOnce(&dyn Pool) -> Result<T>) -> Result<T> {
        match self {
            Self::Stored(pool) => work(*pool),
            Self::Made { values, dim } => work(&MemoryPool::new(Values::F32(values), *dim)?),
        }
    }
}

/// What was learnt.
pub struct Learned<'a> {
    /// The model.
    pub model: Model<'a>,
    /// On the test rows.
    pub scores: Scores,
    /// Epochs trained.
    pub epochs: usize,
    /// The epoch that was best, from 1.
    pub best_epoch: usize,
    /// Its accuracy on the evaluation rows, where there are any.
    pub evaluation_accuracy: Option<f64>,
    /// Seconds of training.
    pub train_seconds: f64,
    /// Seconds of testing.
    pub test_seconds: f64,
}

/// Trains models, and remembers them in files.
pub trait Learner: Sync {
    /// The pool that labels are drawn from.
    fn pool(&self) -> &DataSet;

    /// What is tested on.
    fn test(&self) -> &DataSet;

    /// Where it is trained.
    fn device(&self) -> &ModelDevice;

    /// Trains and tests.
    ///
    /// # Errors
    /// Where training or the storage fails.
    fn learn(&self, task: &Task<'_>) -> Result<Learned<'_>>;

    /// Writes what [`Self::recall`] needs. The file appears whole or not at all.
    ///
    /// # Errors
    /// Where it can't be written.
    fn remember(&self, model: &Model<'_>, path: &Path) -> Result<()>;

    /// The model in a file, for picking among `rows`.
    ///
    /// # Errors
    /// Where it can't be read.
    fn recall(&self, path: &Path, rows: &RowSet) -> Result<Model<'_>>;
}

/// Linear evaluation: a head on stored embeddings.
pub struct Frozen<'a> {
    /// The pool.
    pub pool: &'a DataSet,
    /// What is tested on.
    pub test: &'a DataSet,
    /// How the head is trained.
    pub training: &'a Training,
    /// Where it is trained.
    pub device: &'a ModelDevice,
}

impl Frozen<'_> {
    fn scores(&self, head: &Head) -> Result<Scores> {
        let (pool, mut scores) = (&self.test.pool, Scores::default());
        let mut start = 0;
        let mut values = Vec::new();
        while start < pool.rows() {
            let chunk = pool.chunk(start, TOGETHER)?;
            values.resize(chunk.values.len(), 0.0);
            chunk.values.widen(&mut values);
            let rows = chunk.values.len() / pool.dim();
            let logits = logits(head, &values, self.device)?;
            scores.add(
                &logits,
                head.classes(),
                &self.test.labels[start..start + rows],
            );
            start += rows;
        }
        Ok(scores)
    }
}

/// Rows of a pool, copied out.
struct Taken {
    values: Vec<f32>,
    dim: usize,
    labels: Vec<u32>,
    classes: usize,
}

impl Taken {
    fn of(data: &DataSet, rows: &[usize]) -> Result<Self> {
        Ok(Self {
            values: data.embeddings(rows)?,
            dim: data.pool.dim(),
            labels: rows.iter().map(|row| data.labels[*row]).collect(),
            classes: data.classes.len(),
        })
    }

    fn rows(&self) -> LabelledEmbeddings<'_> {
        LabelledEmbeddings {
            values: &self.values,
            dim: self.dim,
            labels: &self.labels,
            classes: self.classes,
        }
    }
}

impl Learner for Frozen<'_> {
    fn pool(&self) -> &DataSet {
        self.pool
    }

    fn test(&self) -> &DataSet {
        self.test
    }

    fn device(&self) -> &ModelDevice {
        self.device
    }

    fn learn(&self, task: &Task<'_>) -> Result<Learned<'_>> {
        let started = Instant::now();
        let rows: Vec<usize> = task.labelled.iter().map(|labelled| labelled.row).collect();
        let (seen, unseen) = (
            Taken::of(self.pool, &rows)?,
            Taken::of(self.pool, task.evaluation)?,
        );
        let options = self.training.sgd(task.seed, task.round);
        let standardise = self.training.standardise;
        let fit = train_linear(
            &seen.rows(),
            Some(&unseen.rows()),
            &options,
            standardise,
            self.device,
        )?;
        let train_seconds = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let scores = self.scores(&fit.head)?;
        Ok(Learned {
            scores,
            model: Model {
                head: fit.head,
                pool: Embedded::Stored(&self.pool.pool),
                weights: None,
            },
            epochs: fit.epochs,
            best_epoch: fit.best_epoch,
            evaluation_accuracy: fit.evaluation_accuracy,
            train_seconds,
            test_seconds: started.elapsed().as_secs_f64(),
        })
    }

    fn remember(&self, model: &Model<'_>, path: &Path) -> Result<()> {
        let classes = self.pool.classes.clone();
        let file = HeadFile::for_pool(model.head.clone(), classes, &self.pool.pool);
        Ok(file.write(path, true)?)
    }

    fn recall(&self, path: &Path, _: &RowSet) -> Result<Model<'_>> {
        Ok(Model {
            head: HeadFile::read(path)?.head,
            pool: Embedded::Stored(&self.pool.pool),
            weights: None,
        })
    }
}
