//! Embeddings in host memory, batch after batch.

use equipoise_core::{Chunk, Pool, Values};
use equipoise_gpu::Storage;
use half::f16;

/// A batch's embeddings, row-major.
#[derive(Debug)]
pub(super) enum Numbers {
    F32(Vec<f32>),
    F16(Vec<f16>),
}

impl Numbers {
    fn values(&self) -> Values<'_> {
        match self {
            Self::F32(values) => Values::F32(values),
            Self::F16(values) => Values::F16(values),
        }
    }
}

/// Batches of one width, at least one number, and one type.
#[derive(Debug)]
pub(super) struct HostPool {
    dim: usize,
    storage: Storage,
    /// First row of each, and its numbers.
    batches: Vec<(usize, Numbers)>,
    rows: usize,
}

impl HostPool {
    pub(super) fn new(storage: Storage, dim: usize) -> Self {
        Self {
            dim,
            storage,
            batches: Vec::new(),
            rows: 0,
        }
    }

    /// How embeddings are stored.
    pub(super) fn stored_as(&self) -> Storage {
        self.storage
    }

    pub(super) fn push(&mut self, numbers: Numbers) {
        let start = self.rows;
        self.rows += numbers.values().len() / self.dim;
        self.batches.push((start, numbers));
    }
}

impl Pool for HostPool {
    fn rows(&self) -> usize {
        self.rows
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn chunk(&self, start: usize, max_rows: usize) -> equipoise_core::Result<Chunk<'_>> {
        // The last that begins there: those before it may be empty.
        let after = self.batches.partition_point(|(first, _)| *first <= start);
        let Some((first, numbers)) = self.batches.get(after.wrapping_sub(1)) else {
            return Ok(Chunk {
                start,
                values: Values::F32(&[]),
            });
        };
        let values = numbers.values();
        let from = (start - first) * self.dim;
        let most = max_rows.saturating_mul(self.dim);
        let to = from.saturating_add(most).min(values.len());
        Ok(Chunk {
            start,
            values: values.slice(from.min(to)..to),
        })
    }
}
