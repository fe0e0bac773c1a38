//! Embeddings as engines read them: in chunks of consecutive rows.

use std::any::Any;
use std::borrow::Cow;

use half::f16;
use rayon::prelude::*;

use crate::{Error, Result};

/// Consecutive embeddings, row-major, as they are stored.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// 16-bit floats.
    F16(&'a [f16]),
}

impl<'a> Values<'a> {
    /// Number of values, rows times columns.
    pub fn len(&self) -> usize {
        match self {
            Values::F32(values) => values.len(),
            Values::F16(values) => values.len(),
        }
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of a number: 4 or 2.
    pub fn width(&self) -> usize {
        match self {
            Values::F32(_) => 4,
            Values::F16(_) => 2,
        }
    }

    /// The values `range`, counted in numbers, not rows.
    pub fn slice(&self, range: std::ops::Range<usize>) -> Values<'a> {
        match self {
            Values::F32(values) => Values::F32(&values[range]),
            Values::F16(values) => Values::F16(&values[range]),
        }
    }

    /// The values, widened exactly.
    pub fn embedding(self) -> Cow<'a, [f32]> {
        match self {
            Values::F32(values) => Cow::Borrowed(values),
            Values::F16(values) => {
                let mut wide = vec![0.0; values.len()];
                self.widen(&mut wide);
                Cow::Owned(wide)
            }
        }
    }

    /// Writes the values, widened exactly, to `out`, which has the same length.
    pub fn widen(&self, out: &mut [f32]) {
        match self {
            Values::F32(values) => out.copy_from_slice(values),
            Values::F16(values) => {
                use half::slice::HalfFloatSliceExt;
                values.convert_to_f32_slice(out);
            }
        }
    }
}

/// Rows `start..start + values.len() / dim` of a pool.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// First row.
    pub start: usize,
    /// The embeddings, row-major.
    pub values: Values<'a>,
}

/// A pool of `rows()` embeddings of `dim()` numbers, read in chunks without a copy.
pub trait Pool: Sync {
    /// Number of rows, N.
    fn rows(&self) -> usize;

    /// Numbers per embedding, M.
    fn dim(&self) -> usize;

    /// The rows from `start` on, at most `max_rows` (≥ 1) of them and at least one: fewer than
    /// asked where the storage breaks (a shard ends). `start` is below `rows()`.
    ///
    /// # Errors
    /// [`Error::Read`] where the storage fails.
    fn chunk(&self, start: usize, max_rows: usize) -> Result<Chunk<'_>>;

    /// Bytes of a stored number: 4 or 2.
    ///
    /// # Errors
    /// [`Error::Read`] where the storage fails.
    fn width(&self) -> Result<usize> {
        match self.rows() {
            0 => Ok(4),
            _ => Ok(self.chunk(0, 1)?.values.width()),
        }
    }

    /// The embeddings of single rows, each widened exactly, in the order of `rows`.
    ///
    /// # Errors
    /// [`Error::Read`] where the storage fails.
    fn embeddings(&self, rows: &[usize]) -> Result<Vec<Cow<'_, [f32]>>> {
        let one = |row: &usize| {
            let Chunk { values, .. } = self.chunk(*row, 1)?;
            Ok(values.embedding())
        };
        match rows.len() {
            // Waking other threads takes longer than so few.
            0..=FEW => rows.iter().map(one).collect(),
            _ => rows.par_iter().with_min_len(FEW).map(one).collect(),
        }
    }

    /// What holds the rows, for an engine that can read it where it is, and this pool's row that is its first.
    fn storage(&self) -> Option<(&dyn Any, usize)> {
        None
    }

    /// Says that the rows from `start` on will be read soon, so that the storage may fetch them
    /// meanwhile. Rows beyond the end are none.
    fn prefetch(&self, start: usize, rows: usize) {
        let _ = (start, rows);
    }

    /// Says that the calling thread reads the rows from `start` on next, so that the storage may make them ready at
    /// once. Rows beyond the end are none.
    fn touch(&self, start: usize, rows: usize) {
        let _ = (start, rows);
    }
}

/// Rows that [`Pool::embeddings`] is asked for at a time: from a device they come in one go.
pub(crate) const FETCHED: usize = 4096;

/// Rows that one thread fetches.
const FEW: usize = 64;

/// Embeddings that lie in memory.
#[derive(Debug, Clone)]
pub struct MemoryPool<'a> {
    values: Values<'a>,
    dim: usize,
}

impl<'a> MemoryPool<'a> {
    /// A pool over `values`, row-major with `dim` numbers a row.
    ///
    /// # Errors
    /// [`Error::Shape`] where `dim` is 0 or does not divide the number of values.
    pub fn new(values: Values<'a>, dim: usize) -> Result<Self> {
        if dim == 0 || !values.len().is_multiple_of(dim) {
            return Err(Error::Shape {
                what: "embeddings".into(),
                expected: format!("rows of {dim} numbers"),
                found: format!("{} numbers", values.len()),
            });
        }
        Ok(Self { values, dim })
    }
}

impl Pool for MemoryPool<'_> {
    fn rows(&self) -> usize {
        self.values.len() / self.dim
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn chunk(&self, start: usize, max_rows: usize) -> Result<Chunk<'_>> {
        let end = start.saturating_add(max_rows).min(self.rows());
        Ok(Chunk {
            start,
            values: self.values.slice(start * self.dim..end * self.dim),
        })
    }
}
