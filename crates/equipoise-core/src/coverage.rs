//! How well rows cover a pool.

use crate::centres::Centres;
use crate::strategies::{Nonfinite, Request};
use crate::{Engine, Pool, Result, RowSet};

/// The largest Euclidean distance of a row of the pool to the nearest of `centres`, rows of it too: k-center's
/// objective, in float64. Rows with a NaN or an infinity are left out; `None` without a centre, or another row.
///
/// # Errors
/// [`crate::Error::NonFiniteRow`] where a centre is not finite, those of the pool and the engine.
pub fn coverage_radius(
    engine: &dyn Engine,
    pool: &dyn Pool,
    centres: &[usize],
) -> Result<Option<f64>> {
    if centres.is_empty() {
        return Ok(None);
    }
    let rows = RowSet::all(pool.rows());
    let request = Request {
        nonfinite: Nonfinite::Skip,
        ..Request::new(pool, &rows, 1)
    };
    let mut all = Centres::new(engine, &request)?;
    all.add(centres)?;
    Ok(all.farthest()?.map(|far| far.square.sqrt()))
}
