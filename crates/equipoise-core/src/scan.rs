//! One pass over the pool: an engine's bounds, settled in float64.
//!
//! Blocks are read in ascending order of rows. Whatever an engine's bounds cannot rule out is
//! settled before lists and thresholds change, so that these hold exact (key, row) pairs only.
//! Because later rows lose ties, a row whose lower bound reaches a full list's last key is out.

use rayon::prelude::*;

use crate::definition::{self, RowScore};
use crate::engine::{
    ACCEPT_ALL, ACCEPT_NONE, ALL_CLASSES, Block, Candidate, RowStatistics, Scorer, UNAVAILABLE,
    UNREACHABLE,
};
use crate::interval::key_interval;
use crate::settle::{Settler, embedding};
use crate::strategies::{Nonfinite, Request, Selection};
use crate::tolerance::Tolerance;
use crate::{Chunk, Engine, Error, Head, Pool, Result, RowSet, Values};

/// Rows of the first block: lists are empty and nearly every row is a candidate.
const FIRST_ROWS: usize = 1024;

/// A settled key and its row: the order of picks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: f64,
    pub(crate) row: usize,
}

impl Entry {
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        let keys = self.key.total_cmp(&other.key);
        keys.then(self.row.cmp(&other.row))
    }
}

/// The `keep` first entries of those pushed.
#[derive(Debug, Clone, Default)]
pub(crate) struct List {
    /// In order.
    pub(crate) entries: Vec<Entry>,
    keep: usize,
}

impl List {
    pub(crate) fn new(keep: usize) -> Self {
        Self {
            entries: Vec::new(),
            keep,
        }
    }

    /// Whether there may be entries that are not in the list.
    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() == self.keep
    }

    /// The key that later rows must lie below; `None` while every row is welcome.
    fn limit(&self) -> Option<f64> {
        match self.entries.last() {
            Some(last) if self.is_full() => Some(last.key),
            _ => None,
        }
    }

    /// [`Self::limit`] as an engine's threshold: rounded up, +∞ as [`UNREACHABLE`].
    fn threshold(&self) -> f32 {
        match self.limit() {
            _ if self.keep == 0 => ACCEPT_NONE,
            None => ACCEPT_ALL,
            Some(key) if key >= f64::from(UNREACHABLE) => UNREACHABLE,
            Some(key) => {
                let near = key as f32;
                match f64::from(near) < key {
                    true => near.next_up(),
                    false => near,
                }
            }
        }
    }

    fn add(&mut self, entries: impl IntoIterator<Item = Entry>) {
        self.entries.extend(entries);
        // Stable, because it merges the sorted run it finds instead of starting anew.
        self.entries.sort_by(Entry::order);
        self.entries.truncate(self.keep);
    }
}

/// The pass, and what it counts.
pub(crate) struct Scan<'a> {
    request: &'a Request<'a>,
    head: &'a Head,
    settler: Settler<'a>,
    engine: &'a dyn Engine,
    /// Rows left out, settled scores, retries and refills; the picks come last.
    pub(crate) selection: Selection,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(engine: &'a dyn Engine, request: &'a Request<'a>, head: &'a Head) -> Self {
        Self {
            request,
            head,
            settler: Settler::new(head),
            engine,
            selection: Selection::default(),
        }
    }

    /// The `keep` available rows with the smallest keys.
    pub(crate) fn best_rows(&mut self, score: RowScore, keep: usize) -> Result<Vec<Entry>> {
        let mut list = List::new(keep);
        let mut scorer = self.engine.scorer(self.head)?;
        let mut statistics = Vec::new();
        self.blocks(
            self.request.available,
            scorer.as_mut(),
            |scan, scorer, start, block| {
                statistics.resize(block.rows(), bytemuck::Zeroable::zeroed());
                scorer.row_statistics(block, &mut statistics)?;
                let rows = scan.undecided_rows(score, block, &statistics, scorer, &list);
                let settled: Vec<Entry> = rows
                    .into_par_iter()
                    .map(|row| {
                        let logits =
                            scan.settler
                                .logits(&embedding(block.values, scan.head.dim(), row));
                        let (key, _) = scan.settler.row_score(score, &logits);
                        Entry {
                            key,
                            row: start + row,
                        }
                    })
                    .collect();
                scan.selection.settled += settled.len() as u64;
                list.add(settled);
                Ok(true)
            },
        )?;
        Ok(list.entries)
    }

    /// Rows of the block whose key may be among the list's.
    fn undecided_rows(
        &self,
        score: RowScore,
        block: Block<'_>,
        statistics: &[RowStatistics],
        scorer: &dyn Scorer,
        list: &List,
    ) -> Vec<usize> {
        let (precision, classes) = (scorer.precision(), self.head.classes());
        let limit = list.limit();
        let bounded: Vec<Bounded<usize>> = (0..block.rows())
            .into_par_iter()
            .filter(|row| block.tolerance[*row] != UNAVAILABLE)
            .map(|row| {
                let (lower, upper) = key_interval(
                    score,
                    &statistics[row],
                    block.tolerance[row],
                    precision,
                    classes,
                );
                Bounded {
                    lower,
                    upper,
                    what: row,
                }
            })
            .filter(|bounded| limit.is_none_or(|limit| bounded.lower < limit))
            .collect();
        narrow(bounded, list)
    }

    /// Per class, the `keep[class]` rows of `available` with the smallest BASE scores.
    pub(crate) fn class_lists(&mut self, available: &RowSet, keep: &[usize]) -> Result<Vec<List>> {
        let mut lists: Vec<List> = keep.iter().map(|keep| List::new(*keep)).collect();
        let mut scorer = self.engine.scorer(self.head)?;
        let mut found = Vec::new();
        self.blocks(available, scorer.as_mut(), |scan, scorer, start, block| {
            let thresholds: Vec<f32> = lists.iter().map(List::threshold).collect();
            found.clear();
            if !scorer.class_candidates(block, &thresholds, &mut found)? {
                scan.selection.retries += 1;
                return Ok(false);
            }
            scan.settle_candidates(start, block.values, &found, &mut lists);
            Ok(true)
        })?;
        Ok(lists)
    }

    /// Settles a block's candidates and adds them to their classes' lists.
    fn settle_candidates(
        &mut self,
        start: usize,
        values: Values<'_>,
        found: &[Candidate],
        lists: &mut [List],
    ) {
        let mut by_class: Vec<Vec<Bounded<Candidate>>> = vec![Vec::new(); lists.len()];
        // Rows whose every distance is needed: undecided ones, and those listed at their own class.
        let mut whole = Vec::new();
        for candidate in found {
            if candidate.class == ALL_CLASSES {
                whole.push(candidate.row);
            } else {
                by_class[candidate.class as usize].push(Bounded {
                    lower: f64::from(candidate.lower),
                    upper: f64::from(candidate.upper),
                    what: *candidate,
                });
            }
        }
        let mut pairs = Vec::new();
        for (candidates, list) in by_class.into_iter().zip(lists.iter()) {
            for candidate in narrow(candidates, list) {
                match candidate.class == candidate.predicted {
                    true => whole.push(candidate.row),
                    false => pairs.push(candidate),
                }
            }
        }
        whole.sort_unstable();
        whole.dedup();
        pairs.retain(|pair| whole.binary_search(&pair.row).is_err());

        let dim = self.head.dim();
        let limits: Vec<Option<f64>> = lists.iter().map(List::limit).collect();
        let wanted: Vec<bool> = lists.iter().map(|list| list.keep > 0).collect();
        let of_rows = whole.par_iter().flat_map_iter(|row| {
            let (p, distances) = self
                .settler
                .distances(&embedding(values, dim, *row as usize));
            let scores = definition::base(&distances, p);
            let below = |class: &usize, key: f64| {
                wanted[*class] && limits[*class].is_none_or(|limit| key < limit)
            };
            let kept: Vec<_> = (0..scores.len())
                .filter(|class| below(class, scores[*class]))
                .map(|class| {
                    (
                        class,
                        Entry {
                            key: scores[class],
                            row: start + *row as usize,
                        },
                    )
                })
                .collect();
            kept
        });
        let of_pairs = pairs.par_iter().map(|pair| {
            let x = embedding(values, dim, pair.row as usize);
            let class = pair.class as usize;
            let key = self.settler.distance(&x, pair.predicted as usize, class);
            (
                class,
                Entry {
                    key,
                    row: start + pair.row as usize,
                },
            )
        });
        let settled: Vec<(usize, Entry)> = of_rows.chain(of_pairs).collect();
        self.selection.settled += (whole.len() + pairs.len()) as u64;
        let mut entries = vec![Vec::new(); lists.len()];
        for (class, entry) in settled {
            entries[class].push(entry);
        }
        for (list, entries) in lists.iter_mut().zip(entries) {
            if !entries.is_empty() {
                list.add(entries);
            }
        }
    }

    /// Runs `visit` over the pool's rows in ascending blocks; where it returns false it is asked
    /// again with fewer rows.
    fn blocks(
        &mut self,
        available: &RowSet,
        scorer: &mut dyn Scorer,
        mut visit: impl FnMut(&mut Self, &mut dyn Scorer, usize, Block<'_>) -> Result<bool>,
    ) -> Result<()> {
        let pool: &dyn Pool = self.request.pool;
        let tolerance = Tolerance::new(self.head, scorer.precision());
        let most = scorer.max_rows().max(1);
        let mut rows = most.min(FIRST_ROWS);
        let mut start = 0;
        while start < pool.rows() {
            let Chunk { values, .. } = pool.chunk(start, rows)?;
            let (tolerance, nonfinite) = tolerance.of_rows(values, start, available);
            let block = Block {
                values,
                tolerance: &tolerance,
            };
            let read = block.rows();
            if read == 0 {
                return Err(Error::Read {
                    row: start,
                    message: "the pool gave no row".into(),
                });
            }
            self.note_nonfinite(nonfinite)?;
            let any = tolerance.iter().any(|tolerance| *tolerance != UNAVAILABLE);
            if any && !visit(self, scorer, start, block)? {
                rows = (read / 2).max(1);
                continue;
            }
            (self.request.progress)(read as u64);
            start += read;
            rows = (rows * 2).min(most);
        }
        Ok(())
    }

    fn note_nonfinite(&mut self, rows: Vec<usize>) -> Result<()> {
        match (self.request.nonfinite, rows.first()) {
            (Nonfinite::Refuse, Some(row)) => Err(Error::NonFiniteRow { row: *row }),
            _ => {
                self.selection.nonfinite.extend(rows);
                self.selection.nonfinite.sort_unstable();
                self.selection.nonfinite.dedup();
                Ok(())
            }
        }
    }

    /// The settler, for what the picks tell of themselves.
    pub(crate) fn settler(&self) -> &Settler<'a> {
        &self.settler
    }
}

/// Something with bounds on its key.
#[derive(Clone, Copy)]
struct Bounded<T> {
    lower: f64,
    upper: f64,
    what: T,
}

/// Drops what cannot be among the `keep` first of the list and these: as many upper bounds lie at
/// or below some key, so whatever has its lower bound above that key is out.
fn narrow<T: Copy>(bounded: Vec<Bounded<T>>, list: &List) -> Vec<T> {
    let keys = list.entries.iter().map(|entry| entry.key);
    let mut uppers: Vec<f64> = keys.chain(bounded.iter().map(|b| b.upper)).collect();
    let limit = match uppers.len() > list.keep && list.keep > 0 {
        true => {
            *uppers
                .select_nth_unstable_by(list.keep - 1, f64::total_cmp)
                .1
        }
        false => f64::INFINITY,
    };
    let kept = bounded.into_iter().filter(|b| b.lower <= limit);
    kept.map(|b| b.what).collect()
}
