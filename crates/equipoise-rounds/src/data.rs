//! Pools whose rows all have labels.

use equipoise_core::Pool;
use equipoise_pool::{EmbeddingPool, read_labels};
use std::path::Path;

use crate::{Error, Result};

/// A pool, and the class of each of its rows.
#[derive(Debug)]
pub struct DataSet {
    /// The embeddings.
    pub pool: EmbeddingPool,
    /// Of each row.
    pub labels: Vec<u32>,
    /// Class names in order.
    pub classes: Vec<String>,
}

impl DataSet {
    /// Opens a pool and its labels: those of a file, or its own. `classes` are the names to keep to.
    ///
    /// # Errors
    /// Where a file can't be read, a label is none of `classes`, or a row has none.
    pub fn open(path: &Path, labels: Option<&Path>, classes: Option<&[String]>) -> Result<Self> {
        let pool = EmbeddingPool::open(path)?;
        let place = labels.unwrap_or(path).display();
        let known = match labels {
            Some(file) => Some(read_labels(file, pool.ids(), classes.or(pool.classes()))?),
            None => pool.labels(classes)?,
        };
        let known = known.ok_or_else(|| {
            Error::data(format!(
                "{place}: no labels; hint: name a file of them, CSV with id and label"
            ))
        })?;
        let mut of_rows = vec![None; pool.rows()];
        for (row, class) in known.rows {
            of_rows[row] = Some(class);
        }
        let missing = of_rows.iter().filter(|class| class.is_none()).count();
        if let Some(row) = of_rows.iter().position(Option::is_none) {
            let id = pool.ids().id(row).into_owned();
            return Err(Error::data(format!(
                "{place}: {missing} of {} rows have no label, `{id}` is the first; hint: a simulation reads the labels of all rows",
                of_rows.len()
            )));
        }
        Ok(Self {
            labels: of_rows.into_iter().flatten().collect(),
            classes: known.classes,
            pool,
        })
    }

    /// The embeddings of some rows, one after the other, widened to f32.
    ///
    /// # Errors
    /// Where the storage fails.
    pub fn embeddings(&self, rows: &[usize]) -> Result<Vec<f32>> {
        let dim = self.pool.dim();
        let mut values = vec![0.0; rows.len() * dim];
        for (row, out) in rows.iter().zip(values.chunks_exact_mut(dim)) {
            self.pool.chunk(*row, 1)?.values.widen(out);
        }
        Ok(values)
    }
}
