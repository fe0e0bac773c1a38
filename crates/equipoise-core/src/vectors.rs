//! Vectors of which an engine finds the nearest to each row of a pool, or the farthest; and what its answer
//! says of the squared distance.

use rayon::prelude::*;

use crate::definition::squared_distance;
use crate::engine::{Answer, UNDECIDABLE};
use crate::scan::Scan;
use crate::strategies::{Nonfinite, Request, Selection};
use crate::vectorised::vectorised;
use crate::{Chunk, Engine, Error, Head, Pool, Result, RowSet};

/// Rows whose squares are summed at a time.
const ROWS: usize = 1024;

/// Rounding of float64 sums of squares, relative to ‖x‖² + ‖c‖²: M · 2⁻⁵², with room for M up to a million.
pub(crate) const ROUNDING: f64 = 1e-9;

/// Half a unit of the bias −‖c‖²/2 in f32, relative to ‖c‖², with room.
const BIAS_ROUNDING: f64 = 1.01 / (1 << 25) as f64;

/// Which of the vectors is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The nearest: a vector's weight is c and its bias −‖c‖²/2, so that its logit is (‖x‖² − d²)/2.
    Nearest,
    /// The farthest: the same with the signs turned, (d² − ‖x‖²)/2.
    Farthest,
}

impl Side {
    fn sign(self) -> f64 {
        match self {
            Side::Nearest => 1.0,
            Side::Farthest => -1.0,
        }
    }

    /// Bounds of the squared distance of a row with ‖x‖² = `square` from a vector with ‖c‖² at most `largest`,
    /// whose logit is within `slack` of `logit`. They hold the rounded sums of float64, too.
    pub(crate) fn square_within(
        self,
        square: f64,
        (logit, slack): (f32, f32),
        largest: f64,
    ) -> (f64, f64) {
        let near = square - 2.0 * self.sign() * f64::from(logit);
        let slack = 2.0 * f64::from(slack) + ROUNDING * (square + largest);
        ((near - slack).max(0.0), (near + slack).max(0.0))
    }
}

/// Some vectors, at least one, as an engine takes them.
pub(crate) struct Vectors {
    head: Head,
    /// The largest ‖c‖².
    pub(crate) largest: f64,
}

impl Vectors {
    /// `vectors`, finite, one after the other, and the ‖c‖² of each.
    ///
    /// # Errors
    /// [`Error::Shape`] where there is none.
    pub(crate) fn new(
        mut vectors: Vec<f32>,
        squares: &[f64],
        dim: usize,
        side: Side,
    ) -> Result<Self> {
        // Beyond what f32 can hold the engine knows nothing, and says so.
        let (least, most) = (f64::from(f32::MIN), f64::from(f32::MAX));
        let bias = |square: &f64| (-side.sign() * square / 2.0).clamp(least, most) as f32;
        if side == Side::Farthest {
            vectors.iter_mut().for_each(|c| *c = -*c);
        }
        Ok(Self {
            head: Head::new(vectors, squares.iter().map(bias).collect(), dim)?,
            largest: squares.iter().copied().fold(0.0, f64::max),
        })
    }

    /// How far a row's logits may be off, given its tolerance, the biases' rounding included; `None` where
    /// nothing is known of them.
    pub(crate) fn slack(&self, tolerance: f32) -> Option<f32> {
        let rounding = ((self.largest * BIAS_ROUNDING) as f32).next_up();
        (tolerance < UNDECIDABLE).then(|| (tolerance + rounding).next_up())
    }

    /// Has `visit` look at every block's answer. Returns what it took: no picks.
    ///
    /// # Errors
    /// Those of the pool and the engine.
    pub(crate) fn pass(
        &self,
        engine: &dyn Engine,
        request: &Request<'_>,
        rows: &RowSet,
        visit: impl FnMut(&Answer),
    ) -> Result<Selection> {
        let mut scan = Scan::of_centres(engine, request, &self.head)?;
        scan.nearest(rows, visit)?;
        Ok(scan.exact.selection)
    }
}

/// ‖x‖² of every row of the pool; NaN or infinite where a number is.
///
/// # Errors
/// [`Error::Read`].
pub(crate) fn squares(pool: &dyn Pool) -> Result<Vec<f64>> {
    let dim = pool.dim();
    let zeros = vec![0.0; dim];
    let mut all = vec![0.0; pool.rows()];
    let of_piece = |(piece, squares): (usize, &mut [f64])| -> Result<()> {
        let mut wide = Vec::new();
        let mut done = 0;
        while done < squares.len() {
            let Chunk { values, .. } = pool.chunk(piece * ROWS + done, squares.len() - done)?;
            wide.resize(values.len(), 0.0);
            values.widen(&mut wide);
            vectorised(
                #[inline(always)]
                || {
                    let rows = wide.chunks_exact(dim).zip(&mut squares[done..]);
                    rows.for_each(|(x, square)| *square = squared_distance(x, &zeros));
                },
            );
            done += values.len() / dim;
        }
        Ok(())
    };
    let pieces = all.par_chunks_mut(ROWS).enumerate();
    pieces.map(of_piece).collect::<Result<()>>()?;
    Ok(all)
}

/// The rows that are finite, given every row's square, and those that are not.
///
/// # Errors
/// [`Error::NonFiniteRow`] where such rows are refused.
pub(crate) fn finite_of(
    rows: &RowSet,
    others: Nonfinite,
    squares: &[f64],
) -> Result<(RowSet, RowSet)> {
    let (mut finite, mut nonfinite) = (rows.clone(), RowSet::none(rows.bound()));
    for row in rows.iter().filter(|row| !squares[*row].is_finite()) {
        if others == Nonfinite::Refuse {
            return Err(Error::NonFiniteRow { row });
        }
        finite.remove(row);
        nonfinite.insert(row);
    }
    Ok((finite, nonfinite))
}
