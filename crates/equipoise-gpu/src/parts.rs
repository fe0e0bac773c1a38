//! Embeddings that are on a device already, in parts.

use std::sync::OnceLock;

use wgpu::{Buffer, BufferUsages};

use crate::block::{Block, From};
use crate::kernels::{Storage, Values};
use crate::{GpuEngine, GpuError};

/// Consecutive rows in one buffer.
#[derive(Debug)]
pub(crate) struct Part {
    /// First row of the pool.
    pub(crate) start: usize,
    pub(crate) rows: usize,
    pub(crate) storage: Storage,
    /// Rows may be bound from multiples of it on; others are copied first.
    pub(crate) alignment: usize,
    pub(crate) values: Buffer,
    /// Where the rows begin, in bytes: where the device can bind the buffer.
    pub(crate) offset: u64,
    /// Made when they are first asked for.
    pub(crate) norms: OnceLock<Buffer>,
}

/// The largest multiple that a device may ask of offsets: WebGPU's own limit.
pub(crate) const LARGEST_OFFSET: u64 = 256;

/// Rows of `row` bytes begin at offsets that are multiples of `least`, a power of two, every so many rows.
pub(crate) fn row_alignment(least: u64, row: u64) -> usize {
    (least >> row.trailing_zeros().min(least.trailing_zeros())) as usize
}

impl Part {
    /// Upper bounds of the rows' norms, f32.
    pub(crate) fn norms(&self, engine: &GpuEngine, dim: usize) -> Result<&Buffer, GpuError> {
        if let Some(norms) = self.norms.get() {
            return Ok(norms);
        }
        let context = &engine.context;
        let row = dim as u64 * self.storage.bytes();
        // Pieces begin where both buffers can be bound.
        let step = self.alignment.max(row_alignment(engine.least_offset(), 4));
        let most = (engine.sizes.binding / row.max(4)) as usize / step * step;
        if most == 0 {
            return Err(GpuError::TooLarge {
                what: format!("{step} embeddings of {dim} numbers"),
                needed: row * step as u64,
                limit: engine.sizes.binding,
            });
        }
        let made = context.guarded(|| {
            let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
            let norms = context.buffer("norms of a part", 4 * self.rows as u64, usage);
            let mut encoder = context.encoder("norms of a part");
            for first in (0..self.rows).step_by(most) {
                let values = Values {
                    rows: most.min(self.rows - first) as u32,
                    dim: dim as u32,
                    storage: self.storage,
                    buffer: &self.values,
                    offset: self.offset + first as u64 * row,
                };
                let (kernel, groups) = (&engine.kernels.row_norms, engine.sizes.groups);
                let to = (&norms, 4 * first as u64);
                kernel.record_at(context, &mut encoder, values, groups, to);
            }
            context.queue.submit([encoder.finish()]);
            Ok(norms)
        })?;
        Ok(self.norms.get_or_init(|| made))
    }
}

/// The parts of a pool, as a scorer reads them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OnDevice<'a> {
    parts: &'a [Part],
    /// The pool's row that is the first of the parts.
    first: usize,
}

impl<'a> OnDevice<'a> {
    /// At least one part.
    pub(crate) fn new(parts: &'a [Part], first: usize) -> Self {
        Self { parts, first }
    }

    /// The block of at most `rows` rows from `start` on, and of at most `most` with those before it: it begins where the
    /// device can bind it, or, where too much of it would be lost by that, where it can be copied from.
    pub(crate) fn block(&self, dim: usize, start: usize, rows: usize, most: usize) -> Block<'a> {
        let (part, part_start) = self.find(start);
        let within = start - part_start;
        let words = row_alignment(4, dim as u64 * part.storage.bytes());
        let before = match within % part.alignment {
            before if 2 * before <= most => before,
            _ => within % words,
        };
        let first = within - before;
        let rows = rows.saturating_add(before).min(most);
        Block {
            start: part_start + first,
            wanted: start,
            rows: rows.min(part.rows - first),
            from: From::Device { part, first },
        }
    }

    /// The part that holds a row of the pool, and the pool's row that is its first.
    fn find(&self, row: usize) -> (&'a Part, usize) {
        let part = find(self.parts, row - self.first);
        (part, self.first + part.start)
    }

    /// Makes the norms that are missing.
    pub(crate) fn prepare(&self, engine: &GpuEngine, dim: usize) -> Result<(), GpuError> {
        let mut parts = self.parts.iter();
        parts.try_for_each(|part| part.norms(engine, dim).map(drop))
    }
}

/// The part that holds `row`.
pub(crate) fn find(parts: &[Part], row: usize) -> &Part {
    let after = parts.partition_point(|part| part.start <= row);
    &parts[after.max(1) - 1]
}
