//! The strategies: rules that turn pool, head and labelled rows into picks.

mod badge;
mod balanced_random;
mod balancing;
mod base;
mod constrained;
mod coreset;
mod margin_clustering;
mod partitioned;
mod per_row;
mod random;
mod serve;
mod shards;

pub use badge::Badge;
pub use balanced_random::BalancedRandom;
pub use balancing::{Balancing, BalancingOptions, Majority, PickLabels};
pub use base::Base;
pub(crate) use base::pick as class_pick;
pub use coreset::{Coreset, KCenter};
pub use margin_clustering::{MOST_CLUSTERED, MarginClustering};
pub use partitioned::{PARTITIONED_BADGE, PARTITIONED_CORESET, Partition, Partitioned, partitions};
pub use per_row::{Confidence, Entropy, Margin, Mase};
pub use random::Random;
pub use serve::Serving;
pub use shards::{
    Deeper, Listed, Ranking, ShardList, ShardScan, merge, scan_shard, shard_memory, shard_rows,
};

use crate::clustering::ClusterOptions;
use crate::constraints::{Constraints, Shortfall};
use crate::engine::Task;
use crate::memory::ScanShape;
use crate::quota::ClassOrder;
use crate::start::Start;
use crate::{Engine, Error, Head, LabelledRow, Pick, Pool, Result, RowSet};

/// What to do about an embedding with a NaN or an infinity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Nonfinite {
    /// Fail and name the first row.
    #[default]
    Refuse,
    /// Leave such rows out and list them.
    Skip,
}

/// What [`Request::memory`] is unless it is said: 1 GiB, of which a quarter is used for each purpose at most.
pub const MEMORY: u64 = 1 << 30;

/// One round's question. Build it with [`Request::new`] and set the fields that differ.
#[derive(Clone)]
pub struct Request<'a> {
    /// The embeddings.
    pub pool: &'a dyn Pool,
    /// The head; `None` for strategies that need none.
    pub head: Option<&'a Head>,
    /// Rows that may be picked.
    pub available: &'a RowSet,
    /// Rows that have a label already.
    pub labelled: &'a [LabelledRow],
    /// Per row of the pool its true class, where it is known. Only oracles read it: baselines that no one can run
    /// on rows without labels.
    pub truth: Option<&'a [Option<u32>]>,
    /// How many rows to pick; more than are available means all of them.
    pub budget: usize,
    /// Per class, how many rows it may claim; `None` for the uniform quota.
    pub quotas: Option<&'a [usize]>,
    /// What BASE's picks must keep to, too. No other strategy heeds it.
    pub constraints: Constraints<'a>,
    /// In which order classes are served.
    pub class_order: ClassOrder,
    /// Which row coreset begins with, where nothing is labelled.
    pub start: Start,
    /// Into how many parts partitioned strategies divide the rows, at least 1.
    pub partitions: usize,
    /// Whether BADGE leaves labelled rows aside and begins with a random one.
    pub fresh_start: bool,
    /// How margin-clustering clusters.
    pub clustering: ClusterOptions,
    /// How balancing deviates from its paper.
    pub balancing: BalancingOptions,
    /// Makes every random choice reproducible.
    pub seed: u64,
    /// The round, from 0: another stream of random numbers.
    pub round: u32,
    /// What to do about NaN and infinities.
    pub nonfinite: Nonfinite,
    /// Bytes of host memory that a selection may take, beside the engine's, for what is faster with more: embeddings that are
    /// fetched at a time to be settled, and lists that are made deeper when they run out. With 0 it takes the least it can. The
    /// picks do not depend on it; [`Strategy::memory`] says what comes of it.
    pub memory: u64,
    /// Called with the number of rows read since the last call.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

impl<'a> Request<'a> {
    /// A request with the defaults: nothing labelled, uniform quotas, classes by id, seed 0.
    pub fn new(pool: &'a dyn Pool, available: &'a RowSet, budget: usize) -> Self {
        Self {
            pool,
            head: None,
            available,
            labelled: &[],
            truth: None,
            budget,
            quotas: None,
            constraints: Constraints::default(),
            class_order: ClassOrder::Id,
            start: Start::Auto,
            partitions: 10,
            fresh_start: false,
            clustering: ClusterOptions::default(),
            balancing: BalancingOptions::default(),
            seed: 0,
            round: 0,
            nonfinite: Nonfinite::Refuse,
            memory: MEMORY,
            progress: &|_| {},
        }
    }

    /// The head, for `strategy`.
    ///
    /// # Errors
    /// [`Error::HeadMissing`] where there is none, [`Error::Dimension`] where it does not fit.
    pub fn head_for(&self, strategy: &'static str) -> Result<&'a Head> {
        let head = self.head.ok_or(Error::HeadMissing { strategy })?;
        if head.dim() != self.pool.dim() {
            return Err(Error::Dimension {
                head: head.dim(),
                pool: self.pool.dim(),
            });
        }
        Ok(head)
    }

    /// The budget, cut to the available rows; not where it counts cost.
    ///
    /// # Errors
    /// [`Error::ZeroBudget`] and [`Error::NothingAvailable`]; [`Error::Shape`] where `available`
    /// does not count the pool's rows.
    pub fn effective_budget(&self) -> Result<usize> {
        let rows = self.pool.rows();
        if self.available.bound() != rows {
            return Err(Error::Shape {
                what: "available rows".into(),
                expected: format!("a set over {rows} rows"),
                found: format!("a set over {}", self.available.bound()),
            });
        }
        match (self.budget, self.available.len()) {
            (0, _) => Err(Error::ZeroBudget),
            (_, 0) => Err(Error::NothingAvailable { rows }),
            // Then it is no number of rows.
            (budget, _) if self.constraints.costs.is_some() => Ok(budget),
            (budget, available) => Ok(budget.min(available)),
        }
    }
}

/// What a strategy answers, and what it took.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Selection {
    /// The picks, in pick order.
    pub picks: Vec<Pick>,
    /// Rows left out for a NaN or an infinity.
    pub nonfinite: RowSet,
    /// Scores (row and class) that float64 had to settle.
    pub settled: u64,
    /// Chunks scored again in smaller parts because a device's list was full, or its memory ran out.
    pub retries: u64,
    /// Scans made again because a class ran out of candidates.
    pub refills: u64,
    /// Why devices were given up for those they fall back on, in order.
    pub fallbacks: Vec<String>,
    /// Classes that did not fill their quota.
    pub shortfalls: Vec<Shortfall>,
    /// Whether true labels of available rows were read: then the picks are a baseline's.
    pub oracle: bool,
    /// What a user should know of how it was done.
    pub notices: Vec<String>,
}

impl Selection {
    /// The rows picked, in pick order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.picks.iter().map(|pick| pick.row)
    }

    /// Adds what another part of the work took; not its picks.
    pub(crate) fn add_work(&mut self, part: Selection) {
        self.settled += part.settled;
        self.retries += part.retries;
        self.refills += part.refills;
        for why in part.fallbacks {
            // Every pass may find the same device lost.
            if !self.fallbacks.contains(&why) {
                self.fallbacks.push(why);
            }
        }
        self.nonfinite.extend(&part.nonfinite);
    }
}

/// A rule that picks rows. It asks the engine for operations and does not know the device.
pub trait Strategy: Send + Sync {
    /// Name on the command line.
    fn name(&self) -> &'static str;

    /// One line: what it picks.
    fn summary(&self) -> &'static str {
        ""
    }

    /// Where it was published.
    fn source(&self) -> &'static str {
        ""
    }

    /// Whether it uses the head.
    fn needs_head(&self) -> bool;

    /// Whether it heeds [`Request::constraints`].
    fn heeds_constraints(&self) -> bool {
        false
    }

    /// Whether it reads true labels of rows that nobody has labelled yet: a baseline, not a way to pick.
    fn is_oracle(&self) -> bool {
        false
    }

    /// Bytes of host memory that its lists and float64 take at most, beside what the engine plans, with [`Request::memory`] as
    /// it is; with more there, they are no less.
    ///
    /// # Errors
    /// As [`Strategy::select`], where the request is wrong.
    fn memory(&self, request: &Request<'_>) -> Result<u64> {
        let _ = request;
        Ok(0)
    }

    /// The shape of the largest scan that an engine will be asked for; none where there is no scan.
    ///
    /// # Errors
    /// As [`Strategy::select`], where the request is wrong.
    fn scan_shape(&self, request: &Request<'_>) -> Result<Option<ScanShape>> {
        if !self.needs_head() {
            return Ok(None);
        }
        let head = request.head_for(self.name())?;
        ScanShape::of(head, request.pool, Task::Boundaries).map(Some)
    }

    /// What it ranks by, where its picks are the smallest of some scores: then it can be asked of shards
    /// apart, by [`scan_shard`] and [`merge()`].
    fn ranking(&self) -> Option<Ranking> {
        None
    }

    /// Picks rows.
    ///
    /// # Errors
    /// Those of [`Request::head_for`] and [`Request::effective_budget`], of the pool and of the engine.
    fn select(&self, engine: &dyn Engine, request: &Request<'_>) -> Result<Selection>;
}

impl<S: Strategy + ?Sized> Strategy for &S {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn summary(&self) -> &'static str {
        (**self).summary()
    }

    fn source(&self) -> &'static str {
        (**self).source()
    }

    fn needs_head(&self) -> bool {
        (**self).needs_head()
    }

    fn heeds_constraints(&self) -> bool {
        (**self).heeds_constraints()
    }

    fn is_oracle(&self) -> bool {
        (**self).is_oracle()
    }

    fn memory(&self, request: &Request<'_>) -> Result<u64> {
        (**self).memory(request)
    }

    fn scan_shape(&self, request: &Request<'_>) -> Result<Option<ScanShape>> {
        (**self).scan_shape(request)
    }

    fn ranking(&self) -> Option<Ranking> {
        (**self).ranking()
    }

    fn select(&self, engine: &dyn Engine, request: &Request<'_>) -> Result<Selection> {
        (**self).select(engine, request)
    }
}

/// Every strategy, in the order they are listed.
pub fn all() -> &'static [&'static dyn Strategy] {
    &[
        &Base,
        &Mase,
        &Margin,
        &Confidence,
        &Entropy,
        &Coreset,
        &Badge,
        &PARTITIONED_CORESET,
        &PARTITIONED_BADGE,
        &MarginClustering,
        &Balancing,
        &Random,
        &BalancedRandom,
    ]
}

/// The strategy of that name.
pub fn by_name(name: &str) -> Option<&'static dyn Strategy> {
    all()
        .iter()
        .copied()
        .find(|strategy| strategy.name() == name)
}
