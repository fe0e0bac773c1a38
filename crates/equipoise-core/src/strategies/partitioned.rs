//! Strategies run on random parts of the pool, one after the other.
//!
//! Published code divides the pool because it holds matrices of all pairs of rows. Here nothing needs to be
//! divided: these are for comparison.

use super::badge::Badge;
use super::coreset::Coreset;
use super::{Request, Selection, Strategy};
use crate::memory::ScanShape;
use crate::random::{Philox, Purpose};
use crate::{Engine, Error, LabelledRow, Result, RowSet};

/// Coreset within random partitions.
pub const PARTITIONED_CORESET: Partitioned = Partitioned {
    name: "partitioned-coreset",
    summary: "coreset within random partitions of the pool, the budget split evenly",
    within: &Coreset,
};

/// BADGE within random partitions.
pub const PARTITIONED_BADGE: Partitioned = Partitioned {
    name: "partitioned-badge",
    summary: "BADGE within random partitions of the pool, the budget split evenly",
    within: &Badge,
};

/// A strategy within random partitions.
pub struct Partitioned {
    name: &'static str,
    summary: &'static str,
    within: &'static dyn Strategy,
}

/// A part of the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Rows that may be picked.
    pub available: RowSet,
    /// Rows that have a label.
    pub labelled: Vec<LabelledRow>,
    /// How many rows to pick.
    pub budget: usize,
}

/// The partitions of a request: available and labelled rows in random order, each cut into
/// [`Request::partitions`] pieces as long as each other, but for the first ones, which may have one more; so is the budget.
///
/// # Errors
/// Those of [`Request::effective_budget`]; [`Error::Partitions`].
pub fn partitions(request: &Request<'_>) -> Result<Vec<Partition>> {
    let budget = request.effective_budget()?;
    let (count, rows) = (request.partitions, request.available.len());
    if count == 0 || count > rows {
        return Err(Error::Partitions {
            partitions: count,
            rows,
        });
    }
    let shuffled = |step, length| {
        let numbers = Philox::new(request.seed, Purpose::Partitions, request.round, step);
        numbers.permutation(length)
    };
    let mut all: Vec<usize> = Vec::with_capacity(rows);
    all.extend(request.available.iter());
    let (available, labelled) = (shuffled(0, rows), shuffled(1, request.labelled.len()));
    let piece = |length: usize, part: usize| {
        let first = |part: usize| length / count * part + part.min(length % count);
        first(part)..first(part + 1)
    };
    Ok((0..count)
        .map(|part| {
            let mut set = RowSet::none(request.available.bound());
            for index in &available[piece(rows, part)] {
                set.insert(all[*index]);
            }
            let labelled = &labelled[piece(labelled.len(), part)];
            Partition {
                available: set,
                labelled: labelled
                    .iter()
                    .map(|index| request.labelled[*index])
                    .collect(),
                budget: piece(budget, part).len(),
            }
        })
        .collect())
}

impl Strategy for Partitioned {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn source(&self) -> &'static str {
        "arXiv 2111.12880"
    }

    fn needs_head(&self) -> bool {
        self.within.needs_head()
    }

    fn memory(&self, request: &Request<'_>) -> Result<u64> {
        // Beside one partition at a time, the rows in random order.
        let order = request.available.len() * 2 * size_of::<u64>();
        let sets = RowSet::bytes(request.pool.rows()).saturating_mul(request.partitions as u64);
        Ok(self.within.memory(request)? + order as u64 + sets)
    }

    fn scan_shape(&self, request: &Request<'_>) -> Result<Option<ScanShape>> {
        self.within.scan_shape(request)
    }

    fn select(&self, engine: &dyn Engine, request: &Request<'_>) -> Result<Selection> {
        let mut all = Selection::default();
        let partitions = partitions(request)?;
        let count = partitions.len() as u64;
        for partition in partitions.iter().filter(|partition| partition.budget > 0) {
            let request = Request {
                available: &partition.available,
                labelled: &partition.labelled,
                budget: partition.budget,
                progress: &|rows| (request.progress)(rows / count),
                ..request.clone()
            };
            let found = self.within.select(engine, &request)?;
            all.picks.extend(&found.picks);
            for notice in &found.notices {
                if !all.notices.contains(notice) {
                    all.notices.push(notice.clone());
                }
            }
            all.add_work(found);
        }
        Ok(all)
    }
}
