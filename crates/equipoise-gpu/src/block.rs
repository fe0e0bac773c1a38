//! A block of rows on its way through a device: where its rows are, and the memory it has of its own.

use bytemuck::cast_slice;
use equipoise_core::{RowSet, Values as HostValues};
use wgpu::{Buffer, CommandEncoder};

use crate::device::Growing;
use crate::kernels::{Storage, Values};
use crate::parts::Part;
use crate::upload::Upload;
use crate::{GpuEngine, GpuError};

/// The rows of a block.
pub(crate) struct Block<'p> {
    /// First row of the pool; rows before `wanted` are there for the sake of alignment.
    pub(crate) start: usize,
    pub(crate) wanted: usize,
    pub(crate) rows: usize,
    pub(crate) from: From<'p>,
}

/// Where they are.
pub(crate) enum From<'p> {
    Host(HostValues<'p>),
    /// From a whole word on; what the device cannot bind there is copied.
    Device {
        part: &'p Part,
        first: usize,
    },
}

/// The memory of one block.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) upload: Upload,
    pub(crate) values: Growing,
    pub(crate) norms: Growing,
    pub(crate) available: Growing,
    pub(crate) thresholds: Growing,
    /// Statistics, or the list of candidates.
    pub(crate) results: Growing,
    /// What the host reads of them.
    pub(crate) readback: Growing,
}

impl Slot {
    pub(crate) fn new() -> Self {
        Self {
            upload: Upload::default(),
            values: Growing::storage("embeddings"),
            norms: Growing::storage("norms"),
            available: Growing::storage("available rows"),
            thresholds: Growing::storage("thresholds"),
            results: Growing::storage("results"),
            readback: Growing::staging("results"),
        }
    }
}

/// [`Values`] that own their handle of the buffer.
pub(crate) struct Placed {
    pub(crate) rows: u32,
    dim: u32,
    storage: Storage,
    buffer: Buffer,
    offset: u64,
}

impl Placed {
    pub(crate) fn borrow(&self) -> Values<'_> {
        Values {
            rows: self.rows,
            dim: self.dim,
            storage: self.storage,
            buffer: &self.buffer,
            offset: self.offset,
        }
    }
}

/// Where a block's embeddings and norms are; both are recorded for those that are not there yet.
pub(crate) fn place(
    engine: &GpuEngine,
    dim: usize,
    block: &Block<'_>,
    slot: &mut Slot,
    encoder: &mut CommandEncoder,
) -> Result<(Placed, Buffer, u32), GpuError> {
    let context = &engine.context;
    let placed = |storage, buffer: &Buffer, offset| Placed {
        rows: block.rows as u32,
        dim: dim as u32,
        storage,
        buffer: buffer.clone(),
        offset,
    };
    match block.from {
        From::Device { part, first } => {
            let row = dim as u64 * part.storage.bytes();
            let offset = part.offset + first as u64 * row;
            let norms = part.norms(engine, dim)?.clone();
            if offset.is_multiple_of(engine.least_offset()) {
                let values = placed(part.storage, &part.values, offset);
                return Ok((values, norms, first as u32));
            }
            let bytes = (block.rows as u64 * row).next_multiple_of(4);
            let buffer = slot.values.at_least(context, bytes).clone();
            encoder.copy_buffer_to_buffer(&part.values, offset, &buffer, 0, bytes);
            Ok((placed(part.storage, &buffer, 0), norms, first as u32))
        }
        From::Host(values) => {
            let (bytes, storage) = bytes_of_values(values);
            let buffer = slot.values.at_least(context, bytes.len() as u64).clone();
            slot.upload.record(context, encoder, bytes, &buffer)?;
            let values = placed(storage, &buffer, 0);
            let norms = slot.norms.at_least(context, 4 * block.rows as u64).clone();
            let (kernel, groups) = (&engine.kernels.row_norms, engine.sizes.groups);
            kernel.record(context, encoder, values.borrow(), groups, &norms);
            Ok((values, norms, 0))
        }
    }
}

/// Embeddings as they are stored.
pub(crate) fn bytes_of_values(values: HostValues<'_>) -> (&[u8], Storage) {
    match values {
        HostValues::F32(values) => (cast_slice(values), Storage::F32),
        HostValues::F16(values) => (cast_slice(values), Storage::F16),
    }
}

/// A bit a row: whether it is wanted and available.
pub(crate) fn bits(block: &Block<'_>, available: &RowSet) -> Vec<u32> {
    let mut bits = vec![0u32; block.rows.div_ceil(32)];
    for index in block.wanted - block.start..block.rows {
        if available.contains(block.start + index) {
            bits[index / 32] |= 1 << (index % 32);
        }
    }
    bits
}
