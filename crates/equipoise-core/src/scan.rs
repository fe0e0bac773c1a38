//! One pass over the pool: an engine's bounds, settled in float64.
//!
//! Blocks are read in ascending order of rows. Whatever an engine's bounds cannot rule out is
//! settled before lists and thresholds change, so that these hold exact (key, row) pairs only.
//! Because later rows lose ties, a row whose lower bound reaches a full list's last key is out.

use rayon::prelude::*;

use crate::definition::{self, RowScore};
use crate::engine::{ALL_CLASSES, Block, Candidate, Scorer, UNAVAILABLE};
use crate::interval::key_interval;
use crate::lists::{Bounded, Entry, List, narrow};
use crate::settle::{Settler, embedding};
use crate::strategies::{Nonfinite, Request, Selection};
use crate::tolerance::Tolerance;
use crate::{Chunk, Engine, Error, Head, Result, RowSet, Values};

/// Rows of the first block: lists are empty and nearly every row is a candidate.
const FIRST_ROWS: usize = 1024;

/// Passes over one pool with one head: an engine's scorer, and what settles its bounds.
pub(crate) struct Scan<'a> {
    scorer: Box<dyn Scorer + 'a>,
    pub(crate) exact: Exact<'a>,
}

/// The exact side of a scan, and what it counts.
pub(crate) struct Exact<'a> {
    request: &'a Request<'a>,
    head: &'a Head,
    pub(crate) settler: Settler<'a>,
    /// Rows left out, settled scores, retries and refills; the picks come last.
    pub(crate) selection: Selection,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(
        engine: &'a dyn Engine,
        request: &'a Request<'a>,
        head: &'a Head,
    ) -> Result<Self> {
        Ok(Self {
            scorer: engine.scorer(head)?,
            exact: Exact {
                request,
                head,
                settler: Settler::new(head),
                selection: Selection::default(),
            },
        })
    }

    /// The `keep` available rows with the smallest keys.
    pub(crate) fn best_rows(&mut self, score: RowScore, keep: usize) -> Result<Vec<Entry>> {
        let mut list = List::new(keep);
        let mut statistics = Vec::new();
        let available = self.exact.request.available;
        self.blocks(available, |exact, scorer, start, block| {
            statistics.resize(block.rows(), bytemuck::Zeroable::zeroed());
            scorer.row_statistics(block, &mut statistics)?;
            let precision = scorer.precision();
            let bounds = |row: usize| {
                let (statistics, tolerance) = (&statistics[row], block.tolerance[row]);
                let classes = exact.head.classes();
                key_interval(score, statistics, tolerance, precision, classes)
            };
            let bounded = (0..block.rows())
                .into_par_iter()
                .filter(|row| block.tolerance[*row] != UNAVAILABLE)
                .map(|row| (row, bounds(row)))
                .map(|(what, (lower, upper))| Bounded { lower, upper, what });
            let limit = list.limit();
            let open = bounded.filter(|b| limit.is_none_or(|limit| b.lower < limit));
            let rows = narrow(open.collect(), &list);
            list.add(exact.settle_rows(score, start, block.values, &rows));
            Ok(true)
        })?;
        Ok(list.entries)
    }

    /// Per class, the `keep[class]` rows of `available` with the smallest BASE scores.
    pub(crate) fn class_lists(&mut self, available: &RowSet, keep: &[usize]) -> Result<Vec<List>> {
        let mut lists: Vec<List> = keep.iter().map(|keep| List::new(*keep)).collect();
        let mut found = Vec::new();
        self.blocks(available, |exact, scorer, start, block| {
            let thresholds: Vec<f32> = lists.iter().map(List::threshold).collect();
            found.clear();
            if !scorer.class_candidates(block, &thresholds, &mut found)? {
                exact.selection.retries += 1;
                return Ok(false);
            }
            let open = Open::among(&found, &lists);
            exact.settle_candidates(start, block.values, &open, &mut lists);
            Ok(true)
        })?;
        Ok(lists)
    }

    /// Runs `visit` over the pool's rows in ascending blocks; where it returns false it is asked
    /// again with fewer rows.
    fn blocks(
        &mut self,
        available: &RowSet,
        mut visit: impl FnMut(&mut Exact<'a>, &mut dyn Scorer, usize, Block<'_>) -> Result<bool>,
    ) -> Result<()> {
        let Self { scorer, exact } = self;
        let pool = exact.request.pool;
        let tolerance = Tolerance::new(exact.head, scorer.precision());
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
            let stuck = |message: &str| Error::Read {
                row: start,
                message: message.into(),
            };
            if read == 0 {
                return Err(stuck("the pool gave no row"));
            }
            exact.note_nonfinite(nonfinite)?;
            let any = tolerance.iter().any(|tolerance| *tolerance != UNAVAILABLE);
            if any && !visit(exact, scorer.as_mut(), start, block)? {
                if read == 1 {
                    return Err(stuck(
                        "the device's list does not hold one row's candidates",
                    ));
                }
                rows = read / 2;
                continue;
            }
            (exact.request.progress)(read as u64);
            start += read;
            rows = (rows * 2).min(most);
        }
        Ok(())
    }
}

/// The candidates of a block that the bounds leave open.
struct Open {
    /// Rows whose every distance is needed, ascending: undecided ones, and those listed at their
    /// own class.
    rows: Vec<u32>,
    /// Candidates of which one distance is needed.
    pairs: Vec<Candidate>,
}

impl Open {
    fn among(found: &[Candidate], lists: &[List]) -> Self {
        let mut by_class: Vec<Vec<Bounded<Candidate>>> = vec![Vec::new(); lists.len()];
        let mut rows = Vec::new();
        for candidate in found {
            if candidate.class == ALL_CLASSES {
                rows.push(candidate.row);
            } else {
                by_class[candidate.class as usize].push(Bounded {
                    lower: f64::from(candidate.lower),
                    upper: f64::from(candidate.upper),
                    what: *candidate,
                });
            }
        }
        let mut pairs = Vec::new();
        for (candidates, list) in by_class.into_iter().zip(lists) {
            for candidate in narrow(candidates, list) {
                match candidate.class == candidate.predicted {
                    true => rows.push(candidate.row),
                    false => pairs.push(candidate),
                }
            }
        }
        rows.sort_unstable();
        rows.dedup();
        pairs.retain(|pair| rows.binary_search(&pair.row).is_err());
        Self { rows, pairs }
    }
}

impl Exact<'_> {
    /// The exact entries of some rows of a chunk.
    fn settle_rows(
        &mut self,
        score: RowScore,
        start: usize,
        values: Values<'_>,
        rows: &[usize],
    ) -> Vec<Entry> {
        self.selection.settled += rows.len() as u64;
        let entry = |row: &usize| {
            let logits = self
                .settler
                .logits(&embedding(values, self.head.dim(), *row));
            let (key, _) = self.settler.row_score(score, &logits);
            Entry {
                key,
                row: start + row,
            }
        };
        rows.par_iter().map(entry).collect()
    }

    /// Settles a chunk's open candidates and adds them to their classes' lists.
    fn settle_candidates(
        &mut self,
        start: usize,
        values: Values<'_>,
        open: &Open,
        lists: &mut [List],
    ) {
        self.selection.settled += (open.rows.len() + open.pairs.len()) as u64;
        let limits: Vec<Option<f64>> = lists.iter().map(List::limit).collect();
        let wanted: Vec<bool> = lists.iter().map(|list| list.keep > 0).collect();
        let x = |row: u32| embedding(values, self.head.dim(), row as usize);
        let entry = |row: u32, key: f64| Entry {
            key,
            row: start + row as usize,
        };
        let of_rows = open.rows.par_iter().flat_map_iter(|row| {
            let (p, distances) = self.settler.distances(&x(*row));
            let scores = definition::base(&distances, p).into_iter().enumerate();
            let kept: Vec<(usize, Entry)> = scores
                .filter(|(class, _)| wanted[*class])
                .filter(|(class, key)| limits[*class].is_none_or(|limit| *key < limit))
                .map(|(class, key)| (class, entry(*row, key)))
                .collect();
            kept
        });
        let of_pairs = open.pairs.par_iter().map(|pair| {
            let (p, class) = (pair.predicted as usize, pair.class as usize);
            let key = self.settler.distance(&x(pair.row), p, class);
            (class, entry(pair.row, key))
        });
        let settled: Vec<(usize, Entry)> = of_rows.chain(of_pairs).collect();
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

    fn note_nonfinite(&mut self, rows: Vec<usize>) -> Result<()> {
        match (self.request.nonfinite, rows.first()) {
            (_, None) => Ok(()),
            (Nonfinite::Refuse, Some(row)) => Err(Error::NonFiniteRow { row: *row }),
            (Nonfinite::Skip, Some(_)) => {
                // A chunk may be read twice, and a pool too.
                self.selection.nonfinite.extend(rows);
                self.selection.nonfinite.sort_unstable();
                self.selection.nonfinite.dedup();
                Ok(())
            }
        }
    }
}
