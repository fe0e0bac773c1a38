//! Squared distances between a pool's rows and the nearest of some vectors, or the farthest; the vectors need
//! not be rows, and may move.
//!
//! An engine's pass leaves bounds of each row's distance. A vector that has moved by δ since moves them by no
//! more than δ, and only where it is the row's, or may have become it: so bounds stay good for a while. Float64
//! settles single rows.

use rayon::prelude::*;

use crate::definition::squared_distance;
use crate::settle::pool_embedding;
use crate::strategies::{Request, Selection};
use crate::vectorised::vectorised;
use crate::vectors::{ROUNDING, Side, Vectors};
use crate::{Engine, Result, RowSet};

/// Room for the rounding of a settled distance, a root and a sum, relative.
const ROOM: f64 = 1.0 + ROUNDING;

/// What a pass found of a row: distances, not squares, rounded outwards.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Found {
    /// The wanted vector's distance was between these, and so was that of `which`.
    lower: f32,
    upper: f32,
    /// Every vector but `which` was at least as far (of the farthest: at most).
    others: f32,
    /// The vector that may well be the wanted one.
    which: u32,
}

/// One of the vectors.
struct Vector {
    /// Where it was at the last pass.
    passed: Vec<f32>,
    /// Where it is.
    now: Vec<f32>,
    /// ‖now‖.
    norm: f64,
    /// How far it has moved since the pass, at most.
    moved: f64,
}

/// See the module.
pub(crate) struct Distances<'a> {
    engine: &'a dyn Engine,
    /// What passes are asked: nobody wants to know of their progress.
    request: Request<'a>,
    side: Side,
    /// ‖x‖² of all rows.
    squares: &'a [f64],
    vectors: Vec<Vector>,
    /// How far a vector has moved since the last pass, at most.
    moved: f64,
    found: Vec<Found>,
    /// What passes took: no picks.
    pub(crate) work: Selection,
}

impl<'a> Distances<'a> {
    /// Of no vector yet. `squares` are those of [`crate::vectors::squares`].
    pub(crate) fn new(
        engine: &'a dyn Engine,
        request: &Request<'a>,
        squares: &'a [f64],
        side: Side,
    ) -> Self {
        Self {
            engine,
            request: Request {
                progress: &|_| {},
                ..request.clone()
            },
            side,
            squares,
            vectors: Vec::new(),
            moved: 0.0,
            found: Vec::new(),
            work: Selection::default(),
        }
    }

    /// Bytes that it takes for so many rows and vectors of `dim` numbers, passes included.
    pub(crate) fn bytes(rows: usize, vectors: usize, dim: usize) -> u64 {
        // Where a vector is, was, and what an engine is given.
        (rows * size_of::<Found>()) as u64 + 3 * (vectors * dim * 4) as u64
    }

    /// Takes these vectors, at least one, instead of those before, and has a pass over `rows`. Nothing may
    /// be asked of other rows.
    ///
    /// # Errors
    /// Those of the pool and the engine.
    pub(crate) fn set(&mut self, vectors: Vec<Vec<f32>>, rows: &RowSet) -> Result<()> {
        let vectors = vectors.into_iter().map(|now| Vector {
            passed: Vec::new(),
            norm: root_of_squares(&now),
            now,
            moved: 0.0,
        });
        self.vectors = vectors.collect();
        self.pass(rows)
    }

    /// Moves a vector.
    pub(crate) fn move_to(&mut self, vector: usize, now: Vec<f32>) {
        let vector = &mut self.vectors[vector];
        vector.moved = (squared_distance(&now, &vector.passed) * ROOM).sqrt() * ROOM;
        vector.norm = root_of_squares(&now);
        vector.now = now;
        let moved = self.vectors.iter().map(|vector| vector.moved);
        self.moved = moved.fold(0.0, f64::max);
    }

    /// Whether a vector has moved since the last pass.
    pub(crate) fn is_moved(&self) -> bool {
        self.moved > 0.0
    }

    /// Has a pass over `rows`, with the vectors where they are now.
    ///
    /// # Errors
    /// Those of the pool and the engine.
    pub(crate) fn pass(&mut self, rows: &RowSet) -> Result<()> {
        for vector in &mut self.vectors {
            vector.passed.clone_from(&vector.now);
            vector.moved = 0.0;
        }
        self.moved = 0.0;
        let flat = self.vectors.iter().flat_map(|vector| &vector.now);
        let squares = self.vectors.iter().map(|vector| vector.norm * vector.norm);
        let (flat, squares): (Vec<f32>, Vec<f64>) = (flat.copied().collect(), squares.collect());
        let (dim, side) = (self.request.pool.dim(), self.side);
        let vectors = Vectors::new(flat, &squares, dim, side)?;
        self.found.clear();
        self.found.resize(self.squares.len(), Found::nothing(side));
        let (found, squares, only) = (&mut self.found, self.squares, self.vectors.len() == 1);
        let taken = vectors.pass(self.engine, &self.request, rows, |answer| {
            let rows = found[answer.start..].par_iter_mut().with_min_len(4096);
            let rows = rows.zip(&squares[answer.start..]);
            rows.zip(&answer.nearest)
                .for_each(|((found, square), nearest)| {
                    let slack = match nearest.tolerance >= 0.0 {
                        true => vectors.slack(nearest.tolerance),
                        false => None,
                    };
                    let Some(slack) = slack else {
                        return;
                    };
                    let within =
                        |logit| side.square_within(*square, (logit, slack), vectors.largest);
                    let (lower, upper) = within(nearest.top);
                    let (others_lower, others_upper) = within(nearest.second);
                    *found = Found {
                        lower: below(lower.sqrt()),
                        upper: above(upper.sqrt()),
                        others: match (only, side) {
                            (true, Side::Nearest) => f32::INFINITY,
                            (true, Side::Farthest) => f32::NEG_INFINITY,
                            (false, Side::Nearest) => below(others_lower.sqrt()),
                            (false, Side::Farthest) => above(others_upper.sqrt()),
                        },
                        which: nearest.centre,
                    };
                });
        })?;
        self.work.add_work(taken);
        Ok(())
    }

    /// Bounds of the row's squared distance.
    pub(crate) fn bounds(&self, row: usize) -> (f64, f64) {
        let found = self.found[row];
        let moved = self.vectors[found.which as usize].moved;
        let (lower, upper) = (
            f64::from(found.lower) - moved,
            f64::from(found.upper) + moved,
        );
        let others = f64::from(found.others);
        let (lower, upper) = match self.side {
            Side::Nearest => (lower.min(others - self.moved), upper),
            Side::Farthest => (lower, upper.max(others + self.moved)),
        };
        let (lower, upper) = (lower.max(0.0) / ROOM, upper * ROOM);
        (lower * lower, upper * upper)
    }

    /// Whether the wanted vector is certainly the one that the pass said, which is so far now, at least and at
    /// most.
    fn is_certain(&self, found: Found, (least, most): (f64, f64)) -> bool {
        let others = f64::from(found.others);
        match self.side {
            Side::Nearest => most * ROOM < (others - self.moved) / ROOM,
            Side::Farthest => least / ROOM > (others + self.moved) * ROOM,
        }
    }

    /// The vector that the row's distance is to, and its square, exactly. Of vectors as far it is the first.
    ///
    /// # Errors
    /// [`crate::Error::Read`].
    pub(crate) fn settle(&self, row: usize) -> Result<(usize, f64)> {
        let x = pool_embedding(self.request.pool, row)?;
        let found = self.found[row];
        let first = found.which as usize;
        let mut best = (first, self.square(&x, first));
        let distance = best.1.sqrt();
        if self.is_certain(found, (distance, distance)) {
            return Ok(best);
        }
        let norm = self.squares[row].sqrt();
        for (index, vector) in self.vectors.iter().enumerate() {
            // ‖c‖ and ‖x‖ tell how near and how far it can be, with room for rounding.
            let room = ROUNDING * (norm + vector.norm);
            let may_be_better = match self.side {
                Side::Nearest => (norm - vector.norm).abs() - room <= best.1.sqrt() * ROOM,
                Side::Farthest => norm + vector.norm + room >= best.1.sqrt() / ROOM,
            };
            if index == first || !may_be_better {
                continue;
            }
            let square = self.square(&x, index);
            let is_better = match self.side {
                Side::Nearest => square < best.1,
                Side::Farthest => square > best.1,
            };
            if is_better || (square == best.1 && index < best.0) {
                best = (index, square);
            }
        }
        Ok(best)
    }

    /// Which vector each of `rows` is nearest to, or farthest from: row and vector, ascending.
    ///
    /// # Errors
    /// [`crate::Error::Read`].
    pub(crate) fn settle_all(&mut self, rows: &RowSet) -> Result<Vec<(usize, usize)>> {
        let is_certain = |row: usize| {
            let found = self.found[row];
            let moved = self.vectors[found.which as usize].moved;
            let (least, most) = (
                f64::from(found.lower) - moved,
                f64::from(found.upper) + moved,
            );
            self.is_certain(found, (least, most))
        };
        let mut settled = Vec::with_capacity(rows.len());
        let found = rows.iter().map(|row| (row, self.found[row].which as usize));
        settled.extend(found);
        let of_row = |(row, which): &mut (usize, usize)| -> Result<u64> {
            if is_certain(*row) {
                return Ok(0);
            }
            *which = self.settle(*row)?.0;
            Ok(1)
        };
        let doubtful = settled.par_iter_mut().map(of_row);
        let doubtful = doubtful.try_reduce(|| 0, |a, b| Ok(a + b))?;
        self.work.settled += doubtful;
        Ok(settled)
    }

    fn square(&self, x: &[f32], vector: usize) -> f64 {
        vectorised(
            #[inline(always)]
            || squared_distance(x, &self.vectors[vector].now),
        )
    }
}

impl Found {
    /// What is known of a row of which nothing is known.
    fn nothing(side: Side) -> Self {
        Self {
            lower: 0.0,
            upper: f32::INFINITY,
            others: match side {
                Side::Nearest => 0.0,
                Side::Farthest => f32::INFINITY,
            },
            which: 0,
        }
    }
}

/// The norm in float64, as [`crate::vectors::squares`] has its square.
fn root_of_squares(vector: &[f32]) -> f64 {
    squared_distance(vector, &vec![0.0; vector.len()]).sqrt()
}

/// An f32 that is not above a distance.
fn below(distance: f64) -> f32 {
    (distance as f32).next_down().max(0.0)
}

/// An f32 that is not below a distance.
fn above(distance: f64) -> f32 {
    (distance as f32).next_up()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Philox, Purpose};
    use crate::vectors::squares;
    use crate::{CpuEngine, MemoryPool, Values};

    /// The wanted vector by looking at all.
    fn wanted(side: Side, x: &[f32], vectors: &[Vec<f32>]) -> (usize, f64) {
        let squares = vectors.iter().map(|vector| squared_distance(x, vector));
        let better = |best: (usize, f64), next: (usize, f64)| {
            let is_better = match side {
                Side::Nearest => next.1 < best.1,
                Side::Farthest => next.1 > best.1,
            };
            if is_better { next } else { best }
        };
        squares.enumerate().reduce(better).unwrap()
    }

    proptest::proptest! {
        #[test]
        fn the_wanted_vector_is_found_among_equals_and_after_moves(
            rows in 1usize..60, dim in 1usize..9, count in 1usize..9, seed in 0u64..1000,
            is_far in proptest::bool::ANY, is_grid in proptest::bool::ANY,
            scale in proptest::sample::select(&[1e-20f32, 1.0, 1e15][..]),
        ) {
            let side = if is_far { Side::Farthest } else { Side::Nearest };
            let stream = Philox::new(seed, Purpose::Drawing, 0, 0);
            let number = |i: usize| {
                let number = 6.0 * stream.uniform(i as u64) as f32 - 3.0;
                scale * if is_grid { number.round() } else { number }
            };
            let values: Vec<f32> = (0..rows * dim).map(number).collect();
            let mut vectors: Vec<Vec<f32>> = (0..count)
                .map(|vector| (0..dim).map(|m| number(9999 + vector * dim + m)).collect())
                .collect();
            let pool = MemoryPool::new(Values::F32(&values), dim).unwrap();
            let (engine, all) = (CpuEngine::new(), RowSet::all(rows));
            let request = Request::new(&pool, &all, 1);
            let squares = squares(&pool).unwrap();
            let mut distances = Distances::new(&engine, &request, &squares, side);
            distances.set(vectors.clone(), &all).unwrap();
            for step in 0..4 {
                let found = distances.settle_all(&all).unwrap();
                for (row, x) in values.chunks(dim).enumerate() {
                    let (vector, square) = wanted(side, x, &vectors);
                    proptest::prop_assert_eq!(found[row], (row, vector));
                    proptest::prop_assert_eq!(distances.settle(row).unwrap(), (vector, square));
                    let (lower, upper) = distances.bounds(row);
                    proptest::prop_assert!(lower <= square && square <= upper);
                }
                let moved = step % count;
                vectors[moved][0] += scale * (step as f32 - 1.5) / 3.0;
                distances.move_to(moved, vectors[moved].clone());
                if step == 2 {
                    distances.pass(&all).unwrap();
                }
            }
        }
    }
}
