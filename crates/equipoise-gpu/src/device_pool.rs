//! A pool whose rows lie in buffers of a device: another library's tensors, or an application's own.

use std::any::Any;
use std::borrow::Cow;
use std::sync::OnceLock;

use bytemuck::{cast_slice, cast_slice_mut};
use equipoise_core::{Chunk, Error, Pool, Values as HostValues};
use half::f16;
use wgpu::{Buffer, BufferUsages, MapMode};

use crate::device::{Context, unreadable};
use crate::kernels::Storage;
use crate::parts::{Part, find, row_alignment};
use crate::{GpuEngine, GpuError};

/// Bytes that the host reads at a time.
const PAGE: u64 = 4 << 20;

/// Bytes of rows that are gathered at a time: on the host they are there twice before they are returned.
const GATHERED: u64 = 4 << 20;

/// Least and most bytes of a buffer that batches are appended to.
const APPENDED: std::ops::RangeInclusive<u64> = 1 << 20..=64 << 20;

/// What a device has to be able to do with a buffer of rows: bind it, and copy single rows to the host.
const USAGE: BufferUsages = BufferUsages::STORAGE.union(BufferUsages::COPY_SRC);

/// Embeddings in buffers of a device, (N, M) in all. The [`GpuEngine`] that the pool is made for reads them where they are:
/// only rows that float64 has to settle come to the host. Other engines, and strategies that need every row on the host
/// (coreset, badge and their partitioned forms, margin-clustering, balancing), read all of them back, once.
///
/// Buffers have to be of the device that the engine is on. Of those of another device, or of another
/// [`wgpu::Instance`], wgpu tells most but not all: it may take a buffer of the engine's own for one of another instance.
pub struct DevicePool {
    name: String,
    context: Context,
    storage: Storage,
    dim: usize,
    least: u64,
    parts: Vec<Part>,
    rows: usize,
    /// Bytes that the last part's buffer has room for, if it is the pool's own.
    room: u64,
    /// Per part its pages that the host has read.
    pages: Vec<Box<[OnceLock<Vec<u32>>]>>,
    /// What keeps the buffers' contents as they are.
    keep: Vec<Box<dyn Any + Send + Sync>>,
}

impl std::fmt::Debug for DevicePool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            storage,
            dim,
            rows,
            parts,
            ..
        } = self;
        let parts = parts.len();
        write!(
            f,
            "DevicePool {{ {rows}x{dim} {storage:?} in {parts} parts on {name} }}"
        )
    }
}

impl DevicePool {
    /// A pool without rows, for embeddings of `dim` numbers stored as `storage`, on `engine`'s device.
    ///
    /// # Errors
    /// [`GpuError::Rows`] where `dim` is 0, [`GpuError::TooLarge`] where the device cannot bind one row.
    pub fn new(engine: &GpuEngine, storage: Storage, dim: usize) -> Result<Self, GpuError> {
        if dim == 0 {
            return Err(unfit("embeddings have at least one number, not 0".into()));
        }
        let row = (dim as u64).saturating_mul(storage.bytes());
        if row > engine.sizes.binding {
            return Err(GpuError::TooLarge {
                what: format!("an embedding of {dim} numbers"),
                needed: row,
                limit: engine.sizes.binding,
            });
        }
        Ok(Self {
            name: engine.name.clone(),
            context: engine.context.clone(),
            storage,
            dim,
            least: engine.least_offset(),
            parts: Vec::new(),
            rows: 0,
            room: 0,
            pages: Vec::new(),
            keep: Vec::new(),
        })
    }

    /// Adds `rows` rows that begin at byte `offset` of `buffer`, a buffer of the engine's device, row-major, without a copy where the device can bind
    /// them there; from any other offset they are copied once, on the device. They must not change while the pool
    /// is used; `keep` is dropped with it, for whoever owns the memory.
    ///
    /// # Errors
    /// [`GpuError::Rows`] where the buffer is too short or of another device, its usages lack `STORAGE` or `COPY_SRC`, or
    /// the offset is no multiple of 4; [`GpuError::OutOfMemory`] and [`GpuError::Failed`] where the device fails.
    pub fn bind(
        &mut self,
        buffer: &Buffer,
        offset: u64,
        rows: usize,
        keep: impl Any + Send + Sync,
    ) -> Result<(), GpuError> {
        let bytes = self.check(buffer, offset, rows)?;
        if rows == 0 {
            return Ok(());
        }
        if !offset.is_multiple_of(self.least) {
            let own = self.own(bytes)?;
            self.copy((buffer, offset), (&own, 0), bytes)?;
            self.add(own, 0, rows, 0);
            return Ok(());
        }
        // Its last word: an error now, not when the rows are asked for.
        let last = (offset + bytes).next_multiple_of(4) - 4;
        let take = |encoder: &mut wgpu::CommandEncoder, word: &Buffer| {
            encoder.copy_buffer_to_buffer(buffer, last, word, 0, 4);
        };
        self.context.try_foreign(take)?;
        self.add(buffer.clone(), offset, rows, 0);
        self.keep.push(Box::new(keep));
        Ok(())
    }

    /// Adds rows as [`Self::bind`] does, but copies them on the device: behind those added before where there is room, so that
    /// many small batches become few parts. The buffer may be reused at once, by work that is submitted later.
    ///
    /// # Errors
    /// As [`Self::bind`].
    pub fn append(&mut self, buffer: &Buffer, offset: u64, rows: usize) -> Result<(), GpuError> {
        let bytes = self.check(buffer, offset, rows)?;
        if rows == 0 {
            return Ok(());
        }
        let filled = self.parts.last().map_or(0, |part| self.bytes(part.rows));
        if filled.is_multiple_of(4) && filled + bytes <= self.room {
            if let Some(part) = self.parts.last() {
                self.copy((buffer, offset), (&part.values, filled), bytes)?;
            }
            if let Some(part) = self.parts.last_mut() {
                part.rows += rows;
                // They were of fewer rows, if there were any.
                part.norms = OnceLock::new();
            }
            if let (Some(part), Some(pages)) = (self.parts.last(), self.pages.last_mut()) {
                *pages = empty_pages(part.rows, page_rows(self.dim, self.storage));
            }
            self.rows += rows;
            return Ok(());
        }
        let room = bytes
            .saturating_mul(16)
            .clamp(*APPENDED.start(), *APPENDED.end())
            .max(bytes);
        let own = self.own(room)?;
        self.copy((buffer, offset), (&own, 0), bytes)?;
        self.add(own, 0, rows, room);
        Ok(())
    }

    /// How embeddings are stored.
    pub fn stored_as(&self) -> Storage {
        self.storage
    }

    /// The parts, for the engine that the pool is of.
    pub(crate) fn parts_on(&self, context: &Context) -> Option<&[Part]> {
        (self.context.is(context) && !self.parts.is_empty()).then_some(&self.parts)
    }

    /// Bytes of so many rows; the largest number where they are more.
    fn bytes(&self, rows: usize) -> u64 {
        let row = self.dim as u64 * self.storage.bytes();
        row.saturating_mul(rows as u64)
    }

    /// The bytes of `rows` rows, if they are within `buffer` and it can be used.
    fn check(&self, buffer: &Buffer, offset: u64, rows: usize) -> Result<u64, GpuError> {
        let (bytes, size) = (self.bytes(rows), buffer.size());
        // Words are copied and bound whole.
        let end = offset.checked_add(bytes);
        let end = end
            .and_then(|end| end.checked_next_multiple_of(4))
            .unwrap_or(u64::MAX);
        let missing = USAGE - buffer.usage();
        match () {
            () if !missing.is_empty() => {
                Err(unfit(format!("their buffer lacks the usages {missing:?}")))
            }
            () if !offset.is_multiple_of(4) => Err(unfit(format!(
                "they begin at byte {offset}, which is no multiple of 4"
            ))),
            () if end > size => Err(unfit(format!(
                "{rows} rows of {} numbers from byte {offset} on end at byte {end} of a buffer of {size}",
                self.dim
            ))),
            () => Ok(bytes),
        }
    }

    /// A buffer of the pool's own.
    fn own(&self, bytes: u64) -> Result<Buffer, GpuError> {
        let usage = USAGE | BufferUsages::COPY_DST;
        let context = &self.context;
        context.guarded(|| Ok(context.buffer("embeddings of a pool", bytes, usage)))
    }

    /// Copies somebody else's rows on the device; a last part of a word comes along with what follows it.
    fn copy(&self, from: (&Buffer, u64), to: (&Buffer, u64), bytes: u64) -> Result<(), GpuError> {
        let context = &self.context;
        context.guarded_foreign(|| {
            let mut encoder = context.encoder("embeddings of a pool");
            encoder.copy_buffer_to_buffer(from.0, from.1, to.0, to.1, bytes.next_multiple_of(4));
            context.queue.submit([encoder.finish()]);
            Ok(())
        })
    }

    fn add(&mut self, values: Buffer, offset: u64, rows: usize, room: u64) {
        self.parts.push(Part {
            start: self.rows,
            rows,
            storage: self.storage,
            alignment: row_alignment(self.least, self.bytes(1)),
            values,
            offset,
            norms: OnceLock::new(),
        });
        self.pages
            .push(empty_pages(rows, page_rows(self.dim, self.storage)));
        self.rows += rows;
        self.room = room;
    }

    /// Reads pieces of buffers, of whole words, one after the other.
    fn read(&self, pieces: &[(&Buffer, u64, u64)]) -> Result<Vec<u32>, GpuError> {
        let context = &self.context;
        context.guarded(|| {
            let bytes: u64 = pieces.iter().map(|(.., bytes)| bytes).sum();
            let usage = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
            let staging = context.buffer("rows on their way to the host", bytes, usage);
            let mut encoder = context.encoder("rows on their way to the host");
            let mut to = 0;
            for (buffer, offset, bytes) in pieces {
                encoder.copy_buffer_to_buffer(buffer, *offset, &staging, to, *bytes);
                to += bytes;
            }
            let submission = context.queue.submit([encoder.finish()]);
            let mapping = context.map(&staging, bytes, MapMode::Read);
            mapping.finish(context, Some(submission))?;
            let mut words = vec![0u32; bytes as usize / 4];
            let view = staging
                .get_mapped_range(..bytes)
                .map_err(|_| unreadable())?;
            cast_slice_mut(&mut words).copy_from_slice(&view);
            Ok(words)
        })
    }

    /// The rows of a page, as words; the first row of a page begins with a word.
    fn page(&self, part: usize, page: usize) -> Result<&[u32], GpuError> {
        let place = &self.pages[part][page];
        if let Some(words) = place.get() {
            return Ok(words);
        }
        let (part, length) = (&self.parts[part], page_rows(self.dim, self.storage));
        let first = page * length;
        let bytes = self
            .bytes(length.min(part.rows - first))
            .next_multiple_of(4);
        let words = self.read(&[(&part.values, part.offset + self.bytes(first), bytes)])?;
        Ok(place.get_or_init(|| words))
    }

    /// Reads single rows, no more than [`GATHERED`] bytes.
    fn gather(&self, rows: &[usize]) -> Result<Vec<Cow<'_, [f32]>>, GpuError> {
        let row_bytes = self.bytes(1);
        let piece = |row: &usize| {
            let part = find(&self.parts, *row);
            let offset = part.offset + self.bytes(row - part.start);
            let start = offset & !3;
            let bytes = (offset + row_bytes).next_multiple_of(4) - start;
            ((&part.values, start, bytes), (offset - start) as usize)
        };
        let (pieces, skipped): (Vec<_>, Vec<usize>) = rows.iter().map(piece).unzip();
        let words = self.read(&pieces)?;
        let mut rest: &[u8] = cast_slice(&words);
        let mut found = Vec::with_capacity(rows.len());
        for ((.., bytes), skipped) in pieces.iter().zip(skipped) {
            let (piece, after) = rest.split_at(*bytes as usize);
            let row = &piece[skipped..][..row_bytes as usize];
            found.push(Cow::Owned(match self.storage {
                Storage::F32 => cast_slice(row).to_vec(),
                Storage::F16 => cast_slice(row).iter().copied().map(f16::to_f32).collect(),
            }));
            rest = after;
        }
        Ok(found)
    }

    fn failed(&self, row: usize, error: GpuError) -> Error {
        match error.on(&self.name) {
            error @ (Error::Device { .. } | Error::OutOfMemory { .. }) => error,
            error => Error::Read {
                row,
                message: error.to_string(),
            },
        }
    }
}

fn unfit(reason: String) -> GpuError {
    GpuError::Rows { reason }
}

/// Rows of a page: an even number, so that pages begin with a word.
fn page_rows(dim: usize, storage: Storage) -> usize {
    ((PAGE / (dim as u64 * storage.bytes())) & !1).max(2) as usize
}

fn empty_pages(rows: usize, length: usize) -> Box<[OnceLock<Vec<u32>>]> {
    (0..rows.div_ceil(length))
        .map(|_| OnceLock::new())
        .collect()
}

impl Pool for DevicePool {
    fn rows(&self) -> usize {
        self.rows
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn chunk(&self, start: usize, max_rows: usize) -> equipoise_core::Result<Chunk<'_>> {
        if self.parts.is_empty() {
            return Ok(Chunk {
                start,
                values: HostValues::F32(&[]),
            });
        }
        let length = page_rows(self.dim, self.storage);
        let index = self
            .parts
            .partition_point(|part| part.start <= start)
            .max(1)
            - 1;
        let within = start - self.parts[index].start;
        let (page, first) = (within / length, within % length);
        let words = self.page(index, page);
        let words = words.map_err(|error| self.failed(start, error))?;
        let there = length.min(self.parts[index].rows - page * length);
        let rows = max_rows.min(there - first);
        let range = first * self.dim..(first + rows) * self.dim;
        let values = match self.storage {
            Storage::F32 => HostValues::F32(&cast_slice(words)[range]),
            Storage::F16 => HostValues::F16(&cast_slice(words)[range]),
        };
        Ok(Chunk { start, values })
    }

    fn width(&self) -> equipoise_core::Result<usize> {
        Ok(self.storage.bytes() as usize)
    }

    fn embeddings(&self, rows: &[usize]) -> equipoise_core::Result<Vec<Cow<'_, [f32]>>> {
        let mut found = Vec::with_capacity(rows.len());
        let at_a_time = (GATHERED / self.bytes(1)).max(1) as usize;
        for rows in rows.chunks(at_a_time) {
            let gathered = self.gather(rows);
            found.extend(gathered.map_err(|error| self.failed(rows[0], error))?);
        }
        Ok(found)
    }

    fn storage(&self) -> Option<(&dyn Any, usize)> {
        Some((self, 0))
    }
}
