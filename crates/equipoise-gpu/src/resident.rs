//! Pools that stay on the device.

use std::sync::OnceLock;

use equipoise_core::engine::{GradientCentres, Task};
use equipoise_core::memory::{MemoryPlan, Place, ScanShape};
use equipoise_core::{Chunk, Engine, Head, Pool, Scorer};
use wgpu::BufferUsages;

use crate::block::bytes_of_values;
use crate::parts::{LARGEST_OFFSET, OnDevice, Part, row_alignment};
use crate::upload::Upload;
use crate::{GpuEngine, GpuError};

/// Bytes sent at a time: enough for several threads to copy.
const PIECE: u64 = 8 << 20;

/// A pool's embeddings in a device's memory, sent once, for any number of heads and strategies: an
/// [`Engine`] for that pool. Other pools are streamed, as by the engine it was made from.
pub struct ResidentPool<'a> {
    engine: &'a GpuEngine,
    pool: &'a dyn Pool,
    parts: Vec<Part>,
}

impl<'a> ResidentPool<'a> {
    /// Sends `pool` to `engine`'s device. `progress` is called with the rows sent since the last call.
    ///
    /// # Errors
    /// [`equipoise_core::Error::OutOfMemory`] where it does not fit, others where the pool or the
    /// device fails.
    pub fn new(
        engine: &'a GpuEngine,
        pool: &'a dyn Pool,
        progress: &dyn Fn(u64),
    ) -> equipoise_core::Result<Self> {
        let mut resident = Self {
            engine,
            pool,
            parts: Vec::new(),
        };
        let mut upload = Upload::default();
        let mut start = 0;
        while start < pool.rows() {
            let part = resident.send(start, &mut upload, progress)?;
            start += part.rows;
            resident.parts.push(part);
        }
        Ok(resident)
    }

    /// Bytes of device memory that a pool takes.
    ///
    /// # Errors
    /// [`equipoise_core::Error::Read`] where it cannot be read.
    pub fn bytes(pool: &dyn Pool) -> equipoise_core::Result<u64> {
        if pool.rows() == 0 {
            return Ok(0);
        }
        let (_, storage) = bytes_of_values(pool.chunk(0, 1)?.values);
        // The embeddings and a norm each.
        let rows = pool.rows() as u64;
        Ok((rows * pool.dim() as u64 * storage.bytes()).next_multiple_of(4) + 4 * rows)
    }

    /// Bytes of the host's memory that [`ResidentPool::new`] takes until it returns: a piece of the pool, and the memory
    /// that the device copies it from.
    ///
    /// # Errors
    /// [`equipoise_core::Error::Read`] where it cannot be read.
    pub fn host_bytes(pool: &dyn Pool) -> equipoise_core::Result<u64> {
        let row = (pool.dim() * pool.width()?).max(1) as u64;
        // Whatever the device's alignment is.
        let aligned = row_alignment(LARGEST_OFFSET, row).max(2) as u64;
        let rows = (PIECE / row).max(aligned).min(pool.rows() as u64);
        Ok(2 * (rows * row).next_multiple_of(4))
    }

    /// Makes the part that begins at `start`.
    fn send(
        &self,
        start: usize,
        upload: &mut Upload,
        progress: &dyn Fn(u64),
    ) -> equipoise_core::Result<Part> {
        let (engine, pool) = (self.engine, self.pool);
        let (_, storage) = bytes_of_values(pool.chunk(start, 1)?.values);
        let row = pool.dim() as u64 * storage.bytes();
        // A whole number of uploads, which are aligned.
        let alignment = row_alignment(engine.least_offset(), row);
        let fits = whole(engine.sizes.binding / row, alignment);
        if fits == 0 {
            let error = GpuError::TooLarge {
                what: format!("{alignment} embeddings of {} numbers", pool.dim()),
                needed: row * alignment as u64,
                limit: engine.sizes.binding,
            };
            return Err(error.on(&engine.name));
        }
        let rows = fits.min(pool.rows() - start);
        let made = engine.context.guarded(|| {
            let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
            let bytes = rows as u64 * row;
            Ok(Part {
                start,
                rows,
                storage,
                alignment,
                values: engine.context.buffer("resident embeddings", bytes, usage),
                offset: 0,
                norms: OnceLock::new(),
            })
        });
        let part = made.map_err(|error| error.on(&engine.name))?;
        let piece = piece_rows(row, alignment);
        let mut sent = 0;
        while sent < rows {
            let most = piece.min(rows - sent);
            sent += self.fill(&part, sent, most, upload)?;
            progress(most as u64);
        }
        let norms = part.norms(engine, pool.dim());
        norms.map_err(|error| error.on(&engine.name))?;
        Ok(part)
    }

    /// Sends `rows` rows of a part from its row `first` on.
    fn fill(
        &self,
        part: &Part,
        first: usize,
        rows: usize,
        upload: &mut Upload,
    ) -> equipoise_core::Result<usize> {
        let (engine, dim) = (self.engine, self.pool.dim());
        let width = part.storage.bytes() as usize;
        let mut bytes = Vec::with_capacity(rows * dim * width);
        let mut read = 0;
        // Where the storage breaks, pieces are joined.
        while read < rows {
            let start = part.start + first + read;
            let Chunk { values, .. } = self.pool.chunk(start, rows - read)?;
            read += values.len() / dim;
            self.pool.prefetch(part.start + first + read, rows);
            bytes.extend_from_slice(bytes_of_values(values).0);
        }
        let context = &engine.context;
        let sent = context.guarded(|| {
            let mut encoder = context.encoder("resident embeddings");
            let offset = (first * dim * width) as u64;
            upload.record_at(context, &mut encoder, &bytes, &part.values, offset)?;
            let submission = context.queue.submit([encoder.finish()]);
            context.wait(Some(submission))
        });
        sent.map_err(|error| error.on(&engine.name))?;
        Ok(rows)
    }

    /// The parts, if `pool` is the one that is on the device.
    fn parts_of(&self, pool: &dyn Pool) -> Option<OnDevice<'_>> {
        let same = std::ptr::addr_eq(pool, self.pool);
        (same && !self.parts.is_empty()).then(|| OnDevice::new(&self.parts, 0))
    }
}

/// As many of `rows` as end where the next can be bound, and at a whole word.
fn whole(rows: u64, alignment: usize) -> usize {
    rows as usize / alignment.max(2) * alignment.max(2)
}

/// Rows of `row` bytes that are sent at a time.
fn piece_rows(row: u64, alignment: usize) -> usize {
    whole(PIECE / row, alignment).max(alignment.max(2))
}

impl Engine for ResidentPool<'_> {
    fn name(&self) -> &str {
        self.engine.name()
    }

    fn plan(&self, shape: ScanShape) -> equipoise_core::Result<MemoryPlan> {
        let mut plan = self.engine.plan(shape)?;
        plan.add(Place::Device, "resident pool", Self::bytes(self.pool)?);
        Ok(plan)
    }

    fn scorer<'a>(
        &'a self,
        head: &Head,
        pool: &'a dyn Pool,
        task: Task,
    ) -> equipoise_core::Result<Box<dyn Scorer + 'a>> {
        self.engine
            .new_scorer(head, pool, (task, None), self.parts_of(pool))
    }

    fn gradient_scorer<'a>(
        &'a self,
        head: &Head,
        centres: &GradientCentres,
        pool: &'a dyn Pool,
    ) -> equipoise_core::Result<Box<dyn Scorer + 'a>> {
        let parts = self.parts_of(pool);
        self.engine.new_gradient_scorer(head, centres, pool, parts)
    }
}
