//! What came of a block, on its way back to the host.

use bytemuck::{Pod, cast_slice_mut, pod_read_unaligned};
use equipoise_core::Candidate;
use equipoise_core::engine::{Answer, Candidates, NONFINITE};
use wgpu::{Buffer, MapMode};

use super::{Flying, Form, GpuScorer, LEAST_PREFIX, NONFINITE_ROW, PREFIX};
use crate::GpuError;
use crate::block::Slot;
use crate::device::unreadable;
use crate::kernels::class_candidates::list_bytes;

impl GpuScorer<'_> {
    /// Waits for a block and reads what came of it.
    pub(super) fn receive(
        &mut self,
        flying: Flying,
        answer: &mut Answer,
    ) -> Result<Slot, GpuError> {
        let context = &self.engine.context;
        let Flying {
            mut slot,
            start,
            rows,
            form,
            readback,
            bytes,
            mapping,
            submission,
        } = flying;
        mapping.finish(context, Some(submission))?;
        answer.clear();
        (answer.start, answer.rows) = (start, rows);
        let place = (start, rows, bytes);
        let bad = &mut answer.nonfinite;
        let capacity = match form {
            Form::Candidates(capacity) => capacity,
            Form::Statistics => {
                let all = &mut answer.statistics;
                records(&readback, place, all, bad, |row| row.tolerance)?;
                return Ok(slot);
            }
            Form::Keys => {
                records(&readback, place, &mut answer.keys, bad, |row| row.tolerance)?;
                return Ok(slot);
            }
            Form::NearestGradient => {
                let all = &mut answer.gradients;
                records(&readback, place, all, bad, |row| row.nearest.tolerance)?;
                return Ok(slot);
            }
            Form::Nearest => {
                records(&readback, place, &mut answer.nearest, bad, |row| {
                    row.tolerance
                })?;
                return Ok(slot);
            }
        };
        let mut count = [0u8; 4];
        copy_out(&readback, 0, bytes, &mut count)?;
        let found = pod_read_unaligned::<u32>(&count) as usize;
        // Blocks yield fewer as thresholds tighten; where they yield many again, only time is lost.
        let likely = found.saturating_mul(2).max(self.prefix / 2);
        self.prefix = likely.clamp(LEAST_PREFIX, PREFIX);
        if found > capacity {
            readback.unmap();
            answer.overflow = true;
            return Ok(slot);
        }
        let mut candidates = std::mem::take(&mut self.found);
        resize(&mut candidates, found);
        if list_bytes(found) <= bytes {
            copy_out(&readback, 4, bytes, cast_slice_mut(&mut candidates))?;
            readback.unmap();
        } else {
            readback.unmap();
            self.read_rest(&mut slot, &mut candidates)?;
        }
        let bad = candidates.iter().filter(|c| c.class == NONFINITE_ROW);
        answer
            .nonfinite
            .extend(bad.map(|candidate| start + candidate.row as usize));
        answer.nonfinite.sort_unstable();
        answer.candidates.resize_with(1, Candidates::default);
        // Rows that are not finite are of no class.
        answer.candidates[0].group(&candidates, self.classes);
        self.found = candidates;
        Ok(slot)
    }

    /// Reads a list that is longer than what came back at first, in pieces as long as that may be.
    fn read_rest(&self, slot: &mut Slot, out: &mut [Candidate]) -> Result<(), GpuError> {
        let context = &self.engine.context;
        let whole = list_bytes(out.len());
        let results = slot.results.at_least(context, whole).clone();
        for (index, piece) in out.chunks_mut(PREFIX).enumerate() {
            let (from, bytes) = (list_bytes(index * PREFIX), size_of_val(piece) as u64);
            let readback = slot.readback.at_least(context, bytes).clone();
            let mut encoder = context.encoder("read candidates");
            encoder.copy_buffer_to_buffer(&results, from, &readback, 0, bytes);
            let submission = context.queue.submit([encoder.finish()]);
            let mapping = context.map(&readback, bytes, MapMode::Read);
            mapping.finish(context, Some(submission))?;
            copy_out(&readback, 0, bytes, cast_slice_mut(piece))?;
            readback.unmap();
        }
        Ok(())
    }
}

/// Makes `records` so many. Memory that is too small is freed first: both may be more than was planned.
fn resize<T: Pod>(records: &mut Vec<T>, length: usize) {
    if records.capacity() < length {
        *records = Vec::new();
        records.reserve_exact(length);
    }
    records.resize(length, T::zeroed());
}

/// Reads a record for each row of a block (its first row, how many, and their bytes), and notes the rows that hold a NaN or an
/// infinity, as their tolerances say.
fn records<T: Pod>(
    readback: &Buffer,
    (start, rows, bytes): (usize, usize, u64),
    out: &mut Vec<T>,
    nonfinite: &mut Vec<usize>,
    tolerance: impl Fn(&T) -> f32,
) -> Result<(), GpuError> {
    resize(out, rows);
    copy_out(readback, 0, bytes, cast_slice_mut(out))?;
    readback.unmap();
    let bad = (start..)
        .zip(&*out)
        .filter(|(_, row)| tolerance(row) == NONFINITE);
    nonfinite.extend(bad.map(|(row, _)| row));
    Ok(())
}

/// Copies mapped bytes, of which there are `mapped`, from `offset` on.
fn copy_out(buffer: &Buffer, offset: usize, mapped: u64, out: &mut [u8]) -> Result<(), GpuError> {
    let view = buffer
        .get_mapped_range(..mapped)
        .map_err(|_| unreadable())?;
    out.copy_from_slice(&view[offset..offset + out.len()]);
    Ok(())
}
