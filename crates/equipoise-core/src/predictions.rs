//! Predicted classes of a few rows, as the definition has them.

use rayon::prelude::*;

use crate::exact_sums::{ExactSums, TOGETHER};
use crate::pool::FETCHED;
use crate::{Error, Head, Pool, Result};

/// The class that `head` predicts for each of `rows`, from float64 logits; ties to the lowest class.
///
/// # Errors
/// [`Error::Dimension`] where the head does not fit the pool, [`Error::Read`].
pub fn predictions(pool: &dyn Pool, head: &Head, rows: &[usize]) -> Result<Vec<u32>> {
    if head.dim() != pool.dim() {
        return Err(Error::Dimension {
            head: head.dim(),
            pool: pool.dim(),
        });
    }
    let sums = ExactSums::new(head);
    let mut found = Vec::with_capacity(rows.len());
    for rows in rows.chunks(FETCHED) {
        let embeddings = pool.embeddings(rows)?;
        let pieces = embeddings.par_chunks(TOGETHER).flat_map_iter(|rows| {
            let exact = sums.exact_rows(rows.iter().map(|x| &x[..]));
            exact.into_iter().map(|row| row.predicted as u32)
        });
        found.par_extend(pieces);
    }
    Ok(found)
}
