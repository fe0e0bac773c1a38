//! Predicted classes of a few rows, as the definition has them.

use rayon::prelude::*;

use crate::exact_sums::{ExactSums, TOGETHER};
use crate::settle::pool_embedding;
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
    let of_some = |rows: &[usize]| -> Result<Vec<u32>> {
        let embeddings = rows.iter().map(|row| pool_embedding(pool, *row));
        let embeddings = embeddings.collect::<Result<Vec<_>>>()?;
        let exact = sums.exact_rows(embeddings.iter().map(|x| &x[..]));
        Ok(exact.iter().map(|row| row.predicted as u32).collect())
    };
    let found = rows.par_chunks(TOGETHER).map(of_some);
    Ok(found
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect())
}
