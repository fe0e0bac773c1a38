//! Least distances between a pool's rows and a growing set of centres, which are rows of the pool.
//!
//! An engine's passes leave bounds and, where it is certain, which centre is nearest; float64
//! settles single rows. So a pass costs a product of the pool with the new centres, whatever their
//! number before, and a settled row one distance.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::definition::squared_distance;
use crate::engine::{Nearest, Task};
use crate::memory::ScanShape;
use crate::nth_smallest::nth_smallest;
use crate::settle::pool_embedding;
use crate::strategies::{Request, Selection};
use crate::vectorised::vectorised;
use crate::vectors::{ROUNDING, Side, Vectors, squares};
use crate::{Engine, Error, Pool, Result, RowSet};

/// Most centres of a pass.
pub(crate) const TOGETHER: usize = 2048;

/// There is no centre yet.
pub(crate) const NONE: u32 = u32::MAX;

/// The nearest centre is one of several.
pub(crate) const DOUBTFUL: u32 = u32::MAX - 1;

/// What passes found of a row: 12 bytes a row, beside 8 for its square.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Found {
    /// (‖x‖² − d²)/2 of the nearest centre, within `slack`.
    pub(crate) top: f32,
    /// Infinite where nothing is known.
    pub(crate) slack: f32,
    /// Its number among the centres, [`DOUBTFUL`] or [`NONE`].
    pub(crate) near: u32,
}

impl Found {
    pub(crate) const NOTHING: Self = Self {
        top: 0.0,
        slack: f32::INFINITY,
        near: NONE,
    };

    /// What a pass over centres from number `first` on found, if the row took part: logits within `slack`, which is none
    /// where nothing is known.
    pub(crate) fn of(nearest: &Nearest, first: usize, slack: Option<f32>) -> Option<Self> {
        if nearest.tolerance < 0.0 {
            return None;
        }
        let Some(slack) = slack else {
            return Some(Self {
                near: DOUBTFUL,
                ..Self::NOTHING
            });
        };
        let gap = f64::from(nearest.top) - f64::from(nearest.second);
        Some(Self {
            top: nearest.top,
            slack,
            near: match gap > 2.0 * f64::from(slack) {
                true => first as u32 + nearest.centre,
                false => DOUBTFUL,
            },
        })
    }

    /// Of all centres, those of `self` and of `other`.
    pub(crate) fn joined(self, other: Self) -> Self {
        let certainly_above = |a: &Self, b: &Self| {
            f64::from(a.top) - f64::from(a.slack) > f64::from(b.top) + f64::from(b.slack)
        };
        match (self.near, other.near) {
            (NONE, _) => other,
            (_, NONE) => self,
            _ if certainly_above(&self, &other) => self,
            _ if certainly_above(&other, &self) => other,
            _ => Self {
                top: self.top.max(other.top),
                slack: self.slack.max(other.slack),
                near: DOUBTFUL,
            },
        }
    }
}

/// See the module.
pub(crate) struct Centres<'a> {
    engine: &'a dyn Engine,
    /// What passes are asked: nobody wants to know of their progress.
    pub(crate) request: Request<'a>,
    /// The rows looked at.
    pub(crate) rows: RowSet,
    /// ‖x‖² of all rows.
    squares: Vec<f64>,
    found: Vec<Found>,
    members: Members,
    /// The largest ‖c‖².
    largest: f64,
    /// What it took: no picks.
    pub(crate) selection: Selection,
}

/// Rows that are centres, none of which equals another.
#[derive(Debug, Default)]
pub(crate) struct Members {
    pub(crate) rows: Vec<usize>,
    /// By a hash of their numbers.
    known: HashMap<u64, Vec<usize>>,
}

impl Members {
    /// Adds a row, unless one equals it; says whether it did.
    pub(crate) fn add(&mut self, pool: &dyn Pool, row: usize) -> Result<bool> {
        let x = pool_embedding(pool, row)?;
        // FNV-1a over the numbers' bits.
        let hash = x.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, x| {
            // Zeros of either sign are equal.
            (hash ^ u64::from((x + 0.0).to_bits())).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let alike = self.known.entry(hash).or_default();
        for other in alike.iter() {
            if *pool_embedding(pool, *other)? == *x {
                return Ok(false);
            }
        }
        alike.push(row);
        self.rows.push(row);
        Ok(true)
    }
}

/// A row and a bound on its least squared distance, or that itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Far {
    pub(crate) row: usize,
    pub(crate) square: f64,
}

impl Far {
    /// Farthest first, then the lowest row.
    pub(crate) fn order(&self, other: &Self) -> std::cmp::Ordering {
        let squares = other.square.total_cmp(&self.square);
        squares.then(self.row.cmp(&other.row))
    }
}

impl<'a> Centres<'a> {
    /// No centre, for the rows that `request` has available.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub(crate) fn new(engine: &'a dyn Engine, request: &Request<'a>) -> Result<Self> {
        let rows = request.pool.rows();
        Ok(Self {
            engine,
            request: Request {
                progress: &|_| {},
                ..request.clone()
            },
            rows: request.available.clone(),
            squares: squares(request.pool)?,
            found: vec![Found::NOTHING; rows],
            members: Members::default(),
            largest: 0.0,
            selection: Selection::default(),
        })
    }

    /// The shape of a pass, of `centres` centres in all.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub(crate) fn scan_shape(pool: &dyn Pool, centres: usize) -> Result<ScanShape> {
        ScanShape::of_classes(centres.clamp(1, TOGETHER), pool, Task::Nearest)
    }

    /// Bytes that it takes for `rows` rows of `dim` numbers, [`Centres::widest`] and its rows included: where bounds are equal they
    /// may be all.
    pub(crate) fn bytes(rows: usize, dim: usize) -> u64 {
        let looked_for = size_of::<f64>() + size_of::<Far>();
        let each = size_of::<Found>() + size_of::<f64>() + looked_for;
        // The centres of a pass, and what an engine makes of them.
        rows as u64 * each as u64 + (TOGETHER * dim * 4) as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.rows.is_empty()
    }

    /// Forgets the centres.
    pub(crate) fn clear(&mut self) {
        self.found.fill(Found::NOTHING);
        self.members = Members::default();
        self.largest = 0.0;
    }

    /// Adds rows of the pool.
    ///
    /// # Errors
    /// [`Error::NonFiniteRow`] where one is not finite; those of the pool and the engine.
    pub(crate) fn add(&mut self, rows: &[usize]) -> Result<()> {
        let (pool, dim) = (self.request.pool, self.request.pool.dim());
        let mut rows = rows.iter().peekable();
        while rows.peek().is_some() {
            let first = self.members.rows.len();
            let (mut centres, mut squares) = (Vec::new(), Vec::new());
            for row in rows.by_ref() {
                let square = self.squares[*row];
                if !square.is_finite() {
                    return Err(Error::NonFiniteRow { row: *row });
                }
                if !self.members.add(pool, *row)? {
                    continue;
                }
                centres.extend_from_slice(&pool_embedding(pool, *row)?);
                squares.push(square);
                if squares.len() == TOGETHER {
                    break;
                }
            }
            if squares.is_empty() {
                break;
            }
            self.pass(&Vectors::new(centres, &squares, dim, Side::Nearest)?, first)?;
        }
        Ok(())
    }

    fn pass(&mut self, centres: &Vectors, first: usize) -> Result<()> {
        self.largest = self.largest.max(centres.largest);
        let found = &mut self.found;
        let taken = centres.pass(self.engine, &self.request, &self.rows, |answer| {
            let rows = found[answer.start..].par_iter_mut().with_min_len(4096);
            rows.zip(&answer.nearest).for_each(|(found, nearest)| {
                let slack = centres.slack(nearest.tolerance);
                if let Some(new) = Found::of(nearest, first, slack) {
                    *found = found.joined(new);
                }
            });
        })?;
        self.selection.add_work(taken);
        Ok(())
    }

    /// Bounds of a row's least squared distance; 0 and +∞ where nothing is known.
    pub(crate) fn bounds(&self, row: usize) -> (f64, f64) {
        let (found, square) = (self.found[row], self.squares[row]);
        if found.slack == f32::INFINITY {
            return (0.0, f64::INFINITY);
        }
        Side::Nearest.square_within(square, (found.top, found.slack), self.largest)
    }

    /// Whether the row may be compared with others.
    pub(crate) fn is_finite(&self, row: usize) -> bool {
        self.squares[row].is_finite()
    }

    /// The rows with the `count` largest upper bounds, of equal ones the lowest, and all whose bound is at least `floor`, ascending;
    /// and the largest bound among the others, −∞ if there are none.
    pub(crate) fn widest(&self, count: usize, floor: f64) -> (Vec<Far>, f64) {
        let rows = (0..self.found.len()).into_par_iter();
        let bounds = rows.map(|row| match self.rows.contains(row) && self.is_finite(row) {
            true => self.bounds(row).1,
            false => f64::NEG_INFINITY,
        });
        let bounds: Vec<f64> = bounds.collect();
        let level = -nth_smallest(bounds.iter().map(|bound| -bound), count);
        let above = bounds.iter().filter(|bound| **bound > level).count();
        let high = bounds.iter().filter(|bound| **bound >= level.min(floor));
        let mut far = Vec::with_capacity(high.count());
        let (mut ties, mut rest) = (count.saturating_sub(above), f64::NEG_INFINITY);
        for (row, square) in bounds.into_iter().enumerate() {
            if square == f64::NEG_INFINITY {
                continue;
            }
            let tie = square == level && ties > 0;
            ties -= usize::from(tie);
            match tie || square > level || square >= floor {
                true => far.push(Far { row, square }),
                false => rest = rest.max(square),
            }
        }
        (far, rest)
    }

    /// The row whose nearest centre is farthest, ties to the lowest; `None` where there is no row.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub(crate) fn farthest(&self) -> Result<Option<Far>> {
        let rows = (0..self.found.len()).into_par_iter();
        let rows = rows.filter(|row| self.rows.contains(*row) && self.is_finite(*row));
        let floor = rows.map(|row| self.bounds(row).0).reduce(|| 0.0, f64::max);
        let (mut far, _) = self.widest(1, floor);
        self.settle_all(&mut far)?;
        Ok(far.into_iter().min_by(Far::order))
    }

    /// Makes bounds the distances themselves.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub(crate) fn settle_all(&self, far: &mut [Far]) -> Result<()> {
        far.par_iter_mut().try_for_each(|far| {
            far.square = self.settle(far.row)?;
            Ok(())
        })
    }

    /// A row's least squared distance.
    pub(crate) fn settle(&self, row: usize) -> Result<f64> {
        match self.found[row].near {
            DOUBTFUL => self.least_of_all(row),
            NONE => Ok(f64::INFINITY),
            near => self.distance(row, self.members.rows[near as usize]),
        }
    }

    /// The least of a row's squared distances to all centres.
    fn least_of_all(&self, row: usize) -> Result<f64> {
        let x = pool_embedding(self.request.pool, row)?;
        let norm = self.squares[row].sqrt();
        let mut least = f64::INFINITY;
        for centre in &self.members.rows {
            // ‖x − c‖ ≥ |‖x‖ − ‖c‖|, with room for rounding.
            let apart = norm - self.squares[*centre].sqrt();
            let room = ROUNDING * (self.squares[row] + self.squares[*centre]);
            if apart * apart - room <= least {
                let c = pool_embedding(self.request.pool, *centre)?;
                let square = vectorised(
                    #[inline(always)]
                    || squared_distance(&x, &c),
                );
                least = least.min(square);
            }
        }
        Ok(least)
    }

    /// The squared distance of two rows.
    pub(crate) fn distance(&self, a: usize, b: usize) -> Result<f64> {
        let pool = self.request.pool;
        let (a, b) = (pool_embedding(pool, a)?, pool_embedding(pool, b)?);
        Ok(vectorised(
            #[inline(always)]
            || squared_distance(&a, &b),
        ))
    }
}
