//! One selection, told step by step.

use burn::tensor::Tensor;
use equipoise_core::quota::ClassOrder;
use equipoise_core::strategies::Nonfinite;
use equipoise_core::{Head, LabelledRow, Pool, Request, RowSet, Selection, Start, Strategy};

use super::{BatchScan, Selector, ToHead};
use crate::Error;

/// What is asked of a [`Selector`]. Made by [`Selector::strategy`]; the budget has to be told.
pub struct Query<'s> {
    pub(super) selector: &'s Selector,
    pub(super) strategy: Box<dyn Strategy + 's>,
    pub(super) budget: usize,
    pub(super) labelled: Vec<LabelledRow>,
    pub(super) excluded: Vec<usize>,
    pub(super) quotas: Option<Vec<usize>>,
    pub(super) class_order: ClassOrder,
    pub(super) nonfinite: Nonfinite,
    start: Start,
    partitions: usize,
    seed: u64,
    round: u32,
}

impl std::fmt::Debug for Query<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (strategy, budget) = (self.strategy.name(), self.budget);
        write!(f, "Query {{ {strategy}, budget {budget} }}")
    }
}

impl<'s> Query<'s> {
    pub(super) fn new(selector: &'s Selector, strategy: Box<dyn Strategy + 's>) -> Self {
        Self {
            selector,
            strategy,
            budget: 0,
            labelled: Vec::new(),
            excluded: Vec::new(),
            quotas: None,
            class_order: ClassOrder::Id,
            nonfinite: Nonfinite::Refuse,
            start: Start::Auto,
            partitions: 10,
            seed: 0,
            round: 0,
        }
    }

    /// How many rows to pick; more than are available means all of them.
    #[must_use]
    pub fn budget(mut self, rows: usize) -> Self {
        self.budget = rows;
        self
    }

    /// Rows that have a label already, with their class where it is known: they are not picked, and strategies that
    /// look at what is labelled (coreset, badge, balancing) do.
    #[must_use]
    pub fn labelled(mut self, rows: impl IntoIterator<Item = LabelledRow>) -> Self {
        self.labelled.extend(rows);
        self
    }

    /// Rows that are not to be picked.
    #[must_use]
    pub fn exclude(mut self, rows: impl IntoIterator<Item = usize>) -> Self {
        self.excluded.extend(rows);
        self
    }

    /// Per class, how many rows it may claim, instead of equal shares of the budget.
    #[must_use]
    pub fn quotas(mut self, quotas: Vec<usize>) -> Self {
        self.quotas = Some(quotas);
        self
    }

    /// In which order classes are served.
    #[must_use]
    pub fn class_order(mut self, order: ClassOrder) -> Self {
        self.class_order = order;
        self
    }

    /// What to do about NaN and infinities: refused unless told otherwise.
    #[must_use]
    pub fn nonfinite(mut self, what: Nonfinite) -> Self {
        self.nonfinite = what;
        self
    }

    /// Which row coreset begins with, where nothing is labelled.
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Into how many parts partitioned strategies divide the rows.
    #[must_use]
    pub fn partitions(mut self, partitions: usize) -> Self {
        self.partitions = partitions;
        self
    }

    /// Makes every random choice reproducible, with the round.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The round, from 0.
    #[must_use]
    pub fn round(mut self, round: u32) -> Self {
        self.round = round;
        self
    }

    /// Picks among the rows of `embeddings`, (N, M), for `head`.
    ///
    /// # Errors
    /// [`Error::OtherDevice`], [`Error::Shape`], [`Error::Core`] and [`Error::Device`]: what the tensor, the head,
    /// the question or the device is wrong about.
    pub fn select(self, embeddings: Tensor<2>, head: &impl ToHead) -> Result<Selection, Error> {
        let head = head.to_head()?;
        let pool = self.selector.pool(vec![embeddings])?;
        self.run(&pool, Some(&head))
    }

    /// Picks among the rows of `embeddings`, (N, M), by a strategy that needs no head.
    ///
    /// # Errors
    /// As [`Query::select`].
    pub fn select_without_head(self, embeddings: Tensor<2>) -> Result<Selection, Error> {
        let pool = self.selector.pool(vec![embeddings])?;
        self.run(&pool, None)
    }

    /// Begins a selection whose embeddings come in batches: see [`BatchScan`].
    ///
    /// # Errors
    /// Those of the head, the budget and the quotas.
    pub fn scan(self, head: &impl ToHead) -> Result<BatchScan<'s>, Error> {
        let head = head.to_head()?;
        BatchScan::new(self, Some(head))
    }

    /// Begins a selection whose embeddings come in batches, by a strategy that needs no head.
    ///
    /// # Errors
    /// As [`Query::scan`].
    pub fn scan_without_head(self) -> Result<BatchScan<'s>, Error> {
        BatchScan::new(self, None)
    }

    /// Picks among the rows of any pool: one kept from [`Selector::pool`], a store, another one's own.
    ///
    /// # Errors
    /// Those of the strategy.
    pub fn select_from(self, pool: &dyn Pool, head: Option<&Head>) -> Result<Selection, Error> {
        self.run(pool, head)
    }

    pub(super) fn run(&self, pool: &dyn Pool, head: Option<&Head>) -> Result<Selection, Error> {
        let mut available = RowSet::all(pool.rows());
        let labelled = self.labelled.iter().map(|labelled| labelled.row);
        for row in labelled.chain(self.excluded.iter().copied()) {
            if row >= pool.rows() {
                return Err(Error::Shape {
                    what: "labelled and excluded rows",
                    expected: format!("rows below {}", pool.rows()),
                    found: row.to_string(),
                });
            }
            available.remove(row);
        }
        let request = Request {
            head,
            labelled: &self.labelled,
            quotas: self.quotas.as_deref(),
            class_order: self.class_order,
            nonfinite: self.nonfinite,
            start: self.start,
            partitions: self.partitions,
            seed: self.seed,
            round: self.round,
            ..Request::new(pool, &available, self.budget)
        };
        Ok(self.strategy.select(self.selector.engine(), &request)?)
    }
}
