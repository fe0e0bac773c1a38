//! Embeddings on their way to the device.

use rayon::prelude::*;
use wgpu::{Buffer, BufferUsages, CommandEncoder, MapMode};

use crate::GpuError;
use crate::device::{Context, unreadable};

/// Bytes that one thread copies at a time.
const PIECE: usize = 1 << 20;

/// Host memory that the device copies from. It is written by all threads, then handed to the device
/// until the commands that read it are done.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    buffer: Option<Buffer>,
}

/// A piece of mapped memory that nobody else writes.
struct Exclusive<'a>(wgpu::WriteOnly<'a, [u8]>);

// SAFETY: it is the one way to its bytes, as `&mut [u8]` would be; writing them takes no thread's
// state, and the mapping outlives the borrow.
unsafe impl Send for Exclusive<'_> {}

impl Exclusive<'_> {
    fn fill(mut self, bytes: &[u8]) {
        self.0.copy_from_slice(bytes);
    }
}

impl Upload {
    /// Copies `bytes` to the beginning of `target`, as part of `encoder`'s commands. Those of the
    /// last call must be done.
    pub(crate) fn record(
        &mut self,
        context: &Context,
        encoder: &mut CommandEncoder,
        bytes: &[u8],
        target: &Buffer,
    ) -> Result<(), GpuError> {
        self.record_at(context, encoder, bytes, target, 0)
    }

    /// [`Upload::record`], from a multiple of 4 bytes of `target` on.
    pub(crate) fn record_at(
        &mut self,
        context: &Context,
        encoder: &mut CommandEncoder,
        bytes: &[u8],
        target: &Buffer,
        offset: u64,
    ) -> Result<(), GpuError> {
        let size = (bytes.len() as u64).next_multiple_of(4);
        context.count_sent(size);
        let buffer = self.mapped(context, size)?;
        let mut view = buffer
            .slice(..size)
            .get_mapped_range_mut()
            .map_err(|_| unreadable())?;
        let (whole, rest) = bytes.split_at(bytes.len() / PIECE * PIECE);
        let mut parts = Vec::with_capacity(whole.len() / PIECE);
        let (mut target_view, tail) = view.slice(..).split_at(whole.len());
        for piece in whole.chunks_exact(PIECE) {
            let (first, others) = target_view.split_at(PIECE);
            parts.push((Exclusive(first), piece));
            target_view = others;
        }
        parts
            .into_par_iter()
            .for_each(|(target, piece)| target.fill(piece));
        // A last part of a word is filled with zeros.
        let (words, part) = rest.split_at(rest.len() & !3);
        let mut word = [0; 4];
        word[..part.len()].copy_from_slice(part);
        let (mut of_words, mut last) = tail.split_at(words.len());
        of_words.copy_from_slice(words);
        last.copy_from_slice(&word[..last.len()]);
        drop(view);
        buffer.unmap();
        encoder.copy_buffer_to_buffer(&buffer, 0, target, offset, size);
        Ok(())
    }

    /// The buffer, of at least `size`, mapped.
    fn mapped(&mut self, context: &Context, size: u64) -> Result<Buffer, GpuError> {
        if self.buffer.as_ref().is_some_and(|has| has.size() < size) {
            self.buffer = None;
        }
        if let Some(buffer) = &self.buffer {
            let mapping = context.map(buffer, size, MapMode::Write);
            // Nothing in flight uses it: a look at the device is enough, and does not stall it.
            context.look()?;
            mapping.finish_soon(context)?;
            return Ok(buffer.clone());
        }
        let buffer = context.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("upload"),
            size,
            usage: BufferUsages::MAP_WRITE | BufferUsages::COPY_SRC,
            mapped_at_creation: true,
        });
        self.buffer = Some(buffer.clone());
        Ok(buffer)
    }
}
