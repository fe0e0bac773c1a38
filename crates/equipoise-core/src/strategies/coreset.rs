//! Coreset: k-center greedy, exact, without a matrix of all pairs.
//!
//! Distances to the centres only shrink as centres are added. So the farthest rows are settled and
//! picked among themselves for as long as the best of them is beyond what every other row's bound
//! allows; then one pass of the engine adds all those picks at once.

use std::collections::BinaryHeap;

use rayon::prelude::*;

use super::{Request, Selection, Strategy};
use crate::centres::{Centres, Far};
use crate::memory::ScanShape;
use crate::pick::row_picks_bytes;
use crate::start::{Start, first_row};
use crate::{Engine, Pick, Result, RowSet};

/// Of how many rows one is looked at between passes, and how many at least and at most.
const ONE_OF: usize = 16;
const FEWEST: usize = 256;
const MOST: usize = 1 << 15;

/// Rows whose distances are brought up to date at a time, and products that are worth a thread.
const TOGETHER: usize = 64;
const LEAST_PRODUCTS: usize = 1 << 16;

/// Sener and Savarese, *Active Learning for Convolutional Neural Networks: A Core-Set Approach*, ICLR 2018.
pub struct Coreset;

impl Strategy for Coreset {
    fn name(&self) -> &'static str {
        "coreset"
    }

    fn summary(&self) -> &'static str {
        "k-center greedy: again and again the row farthest from all labelled and picked ones"
    }

    fn source(&self) -> &'static str {
        "arXiv 1708.00489"
    }

    fn needs_head(&self) -> bool {
        false
    }

    fn memory(&self, request: &Request<'_>) -> Result<u64> {
        let rows = request.pool.rows();
        let looked_at = rows.max(FEWEST) * size_of::<Candidate>();
        let sets = 2 * RowSet::bytes(rows);
        let picked = row_picks_bytes(request.effective_budget()?);
        Ok(Centres::bytes(rows, request.pool.dim()) + looked_at as u64 + sets + picked)
    }

    fn scan_shape(&self, request: &Request<'_>) -> Result<Option<ScanShape>> {
        let centres = request.labelled.len() + request.effective_budget()?;
        Centres::scan_shape(request.pool, centres).map(Some)
    }

    fn select(&self, engine: &dyn Engine, request: &Request<'_>) -> Result<Selection> {
        let budget = request.effective_budget()?;
        let labelled: Vec<usize> = request.labelled.iter().map(|row| row.row).collect();
        let mut greedy = KCenter::new(engine, request)?;
        greedy.add(&labelled)?;
        let rows = request.pool.rows() as u64;
        let mut told = 0;
        let mut picks = Vec::with_capacity(budget);
        while picks.len() < budget {
            let more = greedy.pick(budget - picks.len())?;
            if more.is_empty() {
                // What is left is not finite.
                break;
            }
            picks.extend(more);
            let done = (u128::from(rows) * picks.len() as u128 / budget as u128) as u64;
            (request.progress)(done - told);
            told = done;
        }
        Ok(Selection {
            picks,
            ..greedy.into_selection()
        })
    }
}

/// The greedy choice of one pool, which goes on from round to round: distances are kept.
pub struct KCenter<'a> {
    centres: Centres<'a>,
    /// Centres that no pass has seen: the last picks.
    waiting: Vec<usize>,
    start: Start,
}

impl<'a> KCenter<'a> {
    /// No centre yet, for the rows that `request` has available.
    ///
    /// # Errors
    /// [`crate::Error::Read`] where the pool cannot be read.
    pub fn new(engine: &'a dyn Engine, request: &Request<'a>) -> Result<Self> {
        Ok(Self {
            centres: Centres::new(engine, request)?,
            waiting: Vec::new(),
            start: request.start,
        })
    }

    /// Makes centres of rows of the pool: labelled ones. They are not picked any more.
    ///
    /// # Errors
    /// [`crate::Error::NonFiniteRow`], and those of the pool and the engine.
    pub fn add(&mut self, rows: &[usize]) -> Result<()> {
        for row in rows {
            self.centres.rows.remove(*row);
        }
        self.centres.add(rows)
    }

    /// What it took so far: no picks.
    pub fn into_selection(self) -> Selection {
        self.centres.selection
    }

    /// Picks at least one row and at most `count`; none where no row is left. Their score is the squared distance
    /// to the nearest centre, none where there was no centre.
    ///
    /// # Errors
    /// Those of the pool and the engine.
    pub fn pick(&mut self, count: usize) -> Result<Vec<Pick>> {
        self.centres.add(&std::mem::take(&mut self.waiting))?;
        let mut picks = Vec::new();
        if self.centres.is_empty() {
            let Some(row) = first_row(&mut self.centres, self.start)? else {
                return Ok(picks);
            };
            picks.push(Pick::of_row(row));
        } else {
            let rows = self.centres.rows.len();
            let wanted = (rows / ONE_OF).clamp(FEWEST, MOST);
            let mut floor = f64::INFINITY;
            while picks.is_empty() {
                let (far, rest) = self.centres.widest(wanted, floor);
                if far.is_empty() {
                    return Ok(picks);
                }
                floor = self.among(far, rest, count, &mut picks)?;
            }
        }
        for pick in &picks {
            self.centres.rows.remove(pick.row);
            self.waiting.push(pick.row);
        }
        Ok(picks)
    }

    /// Picks among `far`, for as long as the farthest lies beyond `rest`. Returns how far that was which did not.
    fn among(
        &mut self,
        mut far: Vec<Far>,
        rest: f64,
        count: usize,
        picks: &mut Vec<Pick>,
    ) -> Result<f64> {
        self.centres.selection.settled += far.len() as u64;
        let centres = &self.centres;
        centres.settle_all(&mut far)?;
        let settled = far.into_iter().map(|far| Candidate { far, seen: 0 });
        let mut heap: BinaryHeap<Candidate> = settled.collect();
        while let Some(best) = heap.pop() {
            // Distances only shrink: whatever it comes to, it is not beyond the others.
            if best.far.square <= rest {
                return Ok(best.far.square);
            }
            if best.seen == picks.len() {
                picks.push(Pick {
                    score: Some(best.far.square),
                    ..Pick::of_row(best.far.row)
                });
                if picks.len() == count {
                    break;
                }
                continue;
            }
            // Those that come next are likely to be asked for, too.
            let mut stale = vec![best];
            while stale.len() < TOGETHER
                && let Some(next) = heap.peek()
                && next.seen < picks.len()
            {
                stale.extend(heap.pop());
            }
            let products = centres.request.pool.dim() * (picks.len() - best.seen);
            stale
                .par_iter_mut()
                .with_min_len((LEAST_PRODUCTS / products).max(1))
                .try_for_each(|candidate| candidate.look_at(centres, picks))?;
            heap.extend(stale);
        }
        Ok(f64::NEG_INFINITY)
    }
}

/// A row among the farthest.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    far: Far,
    /// How many of the picks its distance counts.
    seen: usize,
}

impl Candidate {
    /// Counts all of `picks`.
    fn look_at(&mut self, centres: &Centres<'_>, picks: &[Pick]) -> Result<()> {
        for pick in &picks[self.seen..] {
            if self.far.square > 0.0 {
                let square = centres.distance(self.far.row, pick.row)?;
                self.far.square = self.far.square.min(square);
            }
        }
        self.seen = picks.len();
        Ok(())
    }
}

impl Eq for Candidate {}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Candidate {
    /// The farthest is the greatest, of equals the lowest row.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.far.order(&self.far)
    }
}
