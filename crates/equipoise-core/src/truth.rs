//! True labels of rows nobody has labelled yet. Only oracles, which are baselines, read them.

use crate::strategies::Request;
use crate::{Error, Result};

/// The available rows, ascending, each with its true class, for `strategy`.
///
/// # Errors
/// [`Error::TruthMissing`] and [`Error::ClassMissing`]; [`Error::Shape`] where there is not an entry for each
/// row of the pool.
pub(crate) fn of_available(
    strategy: &'static str,
    request: &Request<'_>,
) -> Result<Vec<(usize, u32)>> {
    let truth = request.truth.ok_or(Error::TruthMissing { strategy })?;
    let rows = request.pool.rows();
    if truth.len() != rows {
        return Err(Error::Shape {
            what: "true labels".into(),
            expected: format!("an entry for each of {rows} rows"),
            found: format!("{}", truth.len()),
        });
    }
    let classed = request.available.iter().map(|row| {
        let class = truth[row].ok_or(Error::ClassMissing { strategy, row })?;
        Ok((row, class))
    });
    classed.collect()
}
