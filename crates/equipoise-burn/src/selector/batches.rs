//! A selection whose embeddings come in batches, as a model makes them.

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use burn::tensor::Tensor;
use equipoise_core::engine::Task;
use equipoise_core::memory::ScanShape;
use equipoise_core::{Head, Pool, RowSet, Selection, Stream, StreamOptions};

use super::rows::Form;
use super::{Query, TensorPool};
use crate::Error;

/// Collects batches of embeddings, and picks among all of them. Made by [`Query::scan`].
///
/// Strategies that rank rows or classes by scores (BASE, MASE, margin, confidence, entropy) look at a batch once and keep
/// lists alone: the pool never exists as a whole, anywhere. Strategies that look at the pool again and again (coreset,
/// BADGE, …) keep the batches, on the device they come from. The picks are those of [`Query::select`].
///
/// ```
/// # use burn::nn::LinearConfig;
/// # use burn::tensor::{Device, Distribution, Tensor};
/// # use equipoise_burn::Selector;
/// # use equipoise_core::strategies::Margin;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let device = Device::flex();
/// # let (model, head) = (LinearConfig::new(6, 8).init(&device), LinearConfig::new(8, 3).init(&device));
/// # let images = (0..4).map(|_| Tensor::<2>::random([16, 6], Distribution::Default, &device));
/// let selector = Selector::new(&device)?;
/// let mut scan = selector.strategy(Margin).budget(5).scan(&head)?;
/// for batch in images {
///     scan.push(model.forward(batch))?;
/// }
/// let rows: Vec<usize> = scan.finish()?.picks.iter().map(|pick| pick.row).collect();
/// # assert_eq!(rows.len(), 5);
/// # Ok(())
/// # }
/// ```
pub struct BatchScan<'s> {
    query: Query<'s>,
    head: Option<Head>,
    /// None where the batches are kept.
    stream: Option<Stream<'s>>,
    /// Batches that no stream has seen.
    batches: Option<TensorPool>,
    /// What rows of the first batch are like: those of all others are.
    form: Option<Form>,
    /// Whether a batch failed, of which a part may be there.
    broken: bool,
    rows: usize,
    /// Labelled and excluded rows.
    unavailable: HashSet<usize>,
}

impl<'s> BatchScan<'s> {
    pub(super) fn new(query: Query<'s>, head: Option<Head>) -> Result<Self, Error> {
        let stream = match (&head, query.strategy.ranking()) {
            (Some(head), Some(_)) => {
                let options = StreamOptions {
                    quotas: query.quotas.clone(),
                    class_order: query.class_order,
                    labelled: query.labelled.clone(),
                    nonfinite: query.nonfinite,
                    ..StreamOptions::new(query.budget)
                };
                let engine = query.selector.engine();
                Some(Stream::new(engine, query.strategy.as_ref(), head, options)?)
            }
            _ => None,
        };
        let labelled = query.labelled.iter().map(|labelled| labelled.row);
        Ok(Self {
            unavailable: labelled.chain(query.excluded.iter().copied()).collect(),
            query,
            head,
            stream,
            batches: None,
            form: None,
            broken: false,
            rows: 0,
        })
    }

    /// Rows pushed.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Takes a batch, (n, M), of the first one's type. Its rows are numbered after those that came before.
    ///
    /// # Errors
    /// [`Error::OtherDevice`], [`Error::Shape`] and [`equipoise_core::Error::Dimension`], after which the scan goes on
    /// without the batch; those of burn and the engine, after which it is of no use, which
    /// [`equipoise_core::Error::Broken`] says.
    pub fn push(&mut self, embeddings: Tensor<2>) -> Result<(), Error> {
        self.check_whole()?;
        let form = Form::of(self.query.selector, &embeddings)?;
        if let Some(head) = &self.head
            && head.dim() != form.dim
        {
            return Err(Error::Core(equipoise_core::Error::Dimension {
                head: head.dim(),
                pool: form.dim,
            }));
        }
        self.form.get_or_insert(form).takes(form)?;
        self.take(embeddings)
    }

    /// Takes a batch that fits.
    fn take(&mut self, embeddings: Tensor<2>) -> Result<(), Error> {
        let taken = self.add(embeddings);
        self.broken = taken.is_err();
        taken
    }

    fn add(&mut self, embeddings: Tensor<2>) -> Result<(), Error> {
        let [rows, _] = embeddings.dims();
        TensorPool::append(&mut self.batches, self.query.selector, embeddings)?;
        self.rows += rows;
        match self.is_a_block()? {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// The picks.
    ///
    /// # Errors
    /// Those of the strategy; [`equipoise_core::Error::NothingAvailable`] where no row came by;
    /// [`equipoise_core::Error::Broken`] where a batch failed.
    pub fn finish(mut self) -> Result<Selection, Error> {
        self.check_whole()?;
        self.check_unavailable()?;
        if self.stream.is_some() {
            self.flush()?;
        }
        match (self.stream, self.batches) {
            (Some(stream), _) => Ok(stream.finish()?),
            (None, Some(pool)) => self.query.run(&pool, self.head.as_ref()),
            (None, None) => Err(equipoise_core::Error::NothingAvailable { rows: 0 }.into()),
        }
    }

    /// Whether every batch that was taken is there.
    fn check_whole(&self) -> Result<(), Error> {
        match self.broken {
            true => Err(equipoise_core::Error::Broken.into()),
            false => Ok(()),
        }
    }

    fn check_unavailable(&self) -> Result<(), Error> {
        match self.unavailable.iter().find(|row| **row >= self.rows) {
            Some(row) => Err(Error::Shape {
                what: "labelled and excluded rows",
                expected: format!("rows below {}", self.rows),
                found: row.to_string(),
            }),
            None => Ok(()),
        }
    }

    /// Whether what waits is as much as the engine looks at in one go.
    fn is_a_block(&self) -> Result<bool, Error> {
        let (Some(head), Some(_), Some(pool)) = (&self.head, &self.stream, &self.batches) else {
            return Ok(false);
        };
        let shape = ScanShape::of(head, pool, Task::Boundaries)?;
        let plan = self.query.selector.engine().plan(shape)?;
        Ok(pool.rows() >= plan.rows)
    }

    /// Has the stream look at what waits.
    fn flush(&mut self) -> Result<(), Error> {
        let (Some(stream), Some(pool)) = (&mut self.stream, self.batches.take()) else {
            return Ok(());
        };
        let first = self.rows - pool.rows();
        let mut available = RowSet::all(pool.rows());
        for row in 0..pool.rows() {
            if self.unavailable.contains(&(first + row)) {
                available.remove(row);
            }
        }
        Ok(stream.push(&pool, &available)?)
    }
}
