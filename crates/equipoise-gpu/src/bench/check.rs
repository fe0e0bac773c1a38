//! Versions of kernels against their CPU twins, on the same inputs: the block's own logits, as the device has them.

use bytemuck::{AnyBitPattern, NoUninit, cast_slice, cast_slice_mut};
use equipoise_core::engine::{Nearest, RowStatistics};
use wgpu::{Buffer, BufferUsages};

use super::version::Compiled;
use super::{KernelBench, KernelVersion};
use crate::GpuError;
use crate::device::Growing;
use crate::kernels::row_scores::COLUMNS;

/// Rows that are compared at most: of the beginning of the block, and of its end.
const FIRST: usize = 64;
const LAST: usize = 32;

/// Multiplications and additions in float64 that checking logits may take.
const OPERATIONS: usize = 1 << 29;

impl KernelBench<'_> {
    /// Runs a version once and compares what it computed for some rows with its CPU twin.
    ///
    /// # Errors
    /// [`GpuError::Differs`] where it is something else, [`GpuError::OutOfMemory`] and [`GpuError::Failed`] where the
    /// device fails.
    pub fn check(&self, version: &KernelVersion) -> Result<(), GpuError> {
        let compared = self.compared(version);
        self.restored(version)?;
        compared?.map_err(|what| GpuError::Differs {
            kernel: version.kernel,
            variant: version.variant.clone(),
            what,
        })
    }

    fn compared(&self, version: &KernelVersion) -> Result<Result<(), String>, GpuError> {
        let all = version.rows(self.block.rows);
        let rows = match version.compiled {
            Compiled::Logits { .. } => {
                let most = OPERATIONS / (self.head.dim() * self.head.classes()).max(1);
                Selected::of(all, most.max(1))
            }
            _ => Selected::of(all, usize::MAX),
        };
        self.run_on_nothing(version)?;
        let inputs = match version.compiled {
            Compiled::Logits { .. } | Compiled::RowNorms(_) => Inputs::default(),
            _ => Inputs {
                logits: self.read(&self.block.logits, self.head.classes(), rows)?,
                norms: self.read(&self.block.norms, 1, rows)?,
            },
        };
        let block = &self.block;
        let of_classes = self.head.classes();
        Ok(match &version.compiled {
            Compiled::Logits { path, .. } => {
                let found: Vec<f32> = self.read(&block.logits, of_classes, rows)?;
                self.logits_agree(&found, rows, path.bound(self.head.dim()))
            }
            Compiled::RowNorms(_) => self.norms_agree(&self.read(&block.norms, 1, rows)?, rows),
            Compiled::RowStatistics(_) => {
                let found: Vec<RowStatistics> = self.read(&block.statistics, 1, rows)?;
                self.statistics_agree(&found, rows, &inputs)
            }
            Compiled::ClassCandidates(_) => self.candidates_agree(rows, &inputs)?,
            Compiled::RowScores(_) => {
                let distances: Vec<f32> = self.read(&block.distances, of_classes, rows)?;
                let columns = self.read_columns(rows, all)?;
                self.scores_agree(&distances, &columns, rows, &inputs)
            }
            Compiled::Nearest(_) => {
                let found: Vec<Nearest> = self.read(&block.nearest, 1, rows)?;
                self.nearest_agree(&found, rows, &inputs)
            }
            Compiled::Gradients(_) => {
                let gradients: Vec<f32> = self.read(&block.gradients, of_classes, rows)?;
                let found = self.read(&block.nearest_gradient, 1, rows)?;
                self.gradients_agree(&gradients, &found, rows, &inputs)
            }
            Compiled::NearestGradient(_) => {
                let gradients: Vec<f32> = self.read(&block.gradients, of_classes, rows)?;
                let found = self.read(&block.nearest_gradient, 1, rows)?;
                self.nearest_gradients_agree(&gradients, &found, rows, &inputs)
            }
        })
    }

    /// Runs a version after what it writes has been cleared: what it does not write is not right by chance.
    fn run_on_nothing(&self, version: &KernelVersion) -> Result<(), GpuError> {
        let (context, block) = (&self.engine.context, &self.block);
        let written: &[&Buffer] = match version.compiled {
            Compiled::Logits { .. } => &[&block.logits],
            Compiled::RowNorms(_) => &[&block.norms],
            Compiled::RowStatistics(_) => &[&block.statistics],
            Compiled::ClassCandidates(_) => &[&block.found],
            Compiled::RowScores(_) => &[&block.distances, &block.columns],
            Compiled::Nearest(_) => &[&block.nearest],
            Compiled::Gradients(_) => &[&block.gradients, &block.nearest_gradient],
            Compiled::NearestGradient(_) => &[&block.nearest_gradient],
        };
        context.guarded(|| {
            let mut encoder = context.encoder("cleared");
            written
                .iter()
                .for_each(|buffer| encoder.clear_buffer(buffer, 0, None));
            context.queue.submit([encoder.finish()]);
            Ok(())
        })?;
        self.ready(version)?;
        context.guarded(|| {
            let mut encoder = context.encoder("checked");
            block.record(&version.compiled, &self.buffers, &mut encoder);
            context.queue.submit([encoder.finish()]);
            Ok(())
        })
    }

    /// The selected rows of a buffer with `width` records a row.
    fn read<T: AnyBitPattern + NoUninit>(
        &self,
        buffer: &Buffer,
        width: usize,
        rows: Selected,
    ) -> Result<Vec<T>, GpuError> {
        let row = (width * size_of::<T>()) as u64;
        let ranges = [
            (0, rows.first as u64 * row),
            (rows.second as u64 * row, rows.last as u64 * row),
        ];
        self.read_ranges(buffer, &ranges)
    }

    /// Columns of `row_scores`, one behind the other, of the selected rows of `all`.
    fn read_columns(&self, rows: Selected, all: usize) -> Result<Vec<Vec<u32>>, GpuError> {
        let column = |k: usize| {
            let at = |row: usize| 4 * (k * all + row) as u64;
            let ranges = [
                (at(0), 4 * rows.first as u64),
                (at(rows.second), 4 * rows.last as u64),
            ];
            self.read_ranges(&self.block.columns, &ranges)
        };
        (0..COLUMNS).map(column).collect()
    }

    /// Bytes from an offset on, so many, of each range in turn.
    pub(super) fn read_ranges<T: AnyBitPattern + NoUninit>(
        &self,
        buffer: &Buffer,
        ranges: &[(u64, u64)],
    ) -> Result<Vec<T>, GpuError> {
        let context = &self.engine.context;
        let bytes: u64 = ranges.iter().map(|(_, bytes)| bytes).sum();
        let mut words = vec![0u32; bytes as usize / 4];
        if bytes > 0 {
            context.guarded(|| {
                let usage = BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
                let gathered = context.buffer("checked rows", bytes, usage);
                let mut encoder = context.encoder("checked rows");
                let mut at = 0;
                for (offset, bytes) in ranges {
                    encoder.copy_buffer_to_buffer(buffer, *offset, &gathered, at, *bytes);
                    at += bytes;
                }
                let mut staging = Growing::staging("checked rows read");
                let out = cast_slice_mut(&mut words);
                context.submit_and_read(encoder, &gathered, &mut staging, out)
            })?;
        }
        Ok(cast_slice(&words).to_vec())
    }
}

/// What the device had for the selected rows.
#[derive(Default)]
pub(super) struct Inputs {
    pub(super) logits: Vec<f32>,
    pub(super) norms: Vec<f32>,
}

/// Rows from 0 on, `first` of them, and from `second` on, `last` of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Selected {
    first: usize,
    second: usize,
    last: usize,
}

impl Selected {
    /// Some of the first and of the last of so many rows, `most` in all.
    fn of(rows: usize, most: usize) -> Self {
        let first = rows.min(FIRST).min(most);
        let last = (rows - first).min(LAST).min(most - first);
        Self {
            first,
            second: rows - last,
            last,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.first + self.last
    }

    pub(super) fn row(&self, index: usize) -> usize {
        match index < self.first {
            true => index,
            false => self.second + index - self.first,
        }
    }

    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        (0..self.len()).map(move |index| self.row(index))
    }
}
