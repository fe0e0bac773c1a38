//! How long each row kernel takes on a device: `logits`, which has variants, is timed by
//! [`crate::measure_logits`].

use std::time::{Duration, Instant};

use bytemuck::cast_slice;
use equipoise_core::engine::{LogitError, RowStatistics, Tolerance};
use equipoise_core::memory::ScanShape;
use equipoise_core::{Head, Values as HostValues};
use wgpu::{Buffer, BufferUsages, CommandEncoder};

use crate::block::bytes_of_values;
use crate::head::HeadBuffers;
use crate::kernels::Values;
use crate::kernels::class_candidates::{Lists, list_bytes};
use crate::kernels::logits::Arguments;
use crate::kernels::row_statistics::Rows;
use crate::plan::Plan;
use crate::{GpuEngine, GpuError, Timer};

/// Device time that one measurement is to last.
const LASTING: Duration = Duration::from_millis(2);

/// Most runs of a kernel in a measurement.
const MOST_RUNS: u32 = 64;

/// Least measurements of which the median is taken.
const LEAST: usize = 3;

/// What a kernel was measured at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KernelTime {
    /// The kernel's name.
    pub kernel: &'static str,
    /// Median seconds of one run.
    pub seconds: f64,
    /// Runs in all.
    pub runs: usize,
    /// Rows of the block.
    pub rows: usize,
}

/// A block on the device, with everything that row kernels read and write.
struct Block<'a> {
    engine: &'a GpuEngine,
    timer: Timer,
    head: HeadBuffers,
    capacity: usize,
    tolerance: Tolerance,
    values: Buffer,
    norms: Buffer,
    logits: Buffer,
    available: Buffer,
    thresholds: Buffer,
    statistics: Buffer,
    found: Buffer,
}

impl GpuEngine {
    /// Times `row_norms`, `row_statistics` and `class_candidates` on the first rows of `values`, (rows, M)
    /// row-major, as many as a block holds, each for about `budget`. `thresholds` are those of
    /// [`equipoise_core::Question::ClassCandidates`], C of them: on them depends how much the last one
    /// writes.
    ///
    /// # Errors
    /// [`GpuError::TooLarge`] where the head does not fit the device, [`GpuError::OutOfMemory`] and
    /// [`GpuError::Failed`] where the device fails.
    pub fn time_row_kernels(
        &self,
        head: &Head,
        values: HostValues<'_>,
        thresholds: &[f32],
        budget: Duration,
    ) -> Result<Vec<KernelTime>, GpuError> {
        let dim = head.dim();
        let shape = ScanShape {
            rows: values.len() / dim,
            dim,
            classes: head.classes(),
            width: values.width(),
        };
        let plan = Plan::new(shape, &self.sizes)?;
        let rows = plan.max_rows.min(values.len() / dim);
        let values = values.slice(0..rows * dim);
        let (bytes, storage) = bytes_of_values(values);
        let path = self.path(head, storage, plan.max_rows)?;
        let bound = path.bound(dim);
        let error = LogitError {
            gamma: bound.gamma,
            flushed: bound.flushed,
        };
        let buffers = HeadBuffers::new(&self.context, head, &plan, &path)?;
        let tolerance = Tolerance::new(head, error);
        let block = self.context.guarded(|| {
            let block = Block::new(self, &plan, buffers, tolerance, rows, head.classes(), bytes);
            self.context.write(&block.values, bytes);
            self.context
                .write(&block.thresholds, cast_slice(thresholds));
            Ok(block)
        })?;
        let placed = Values {
            rows: rows as u32,
            dim: dim as u32,
            storage,
            buffer: &block.values,
            offset: 0,
        };
        // What the row kernels read.
        block.timer.time(|encoder| {
            for weights in &block.head.head {
                let arguments = Arguments {
                    values: placed,
                    classes: head.classes() as u32,
                    logits: &block.logits,
                };
                path.record(&self.context, encoder, weights, arguments);
            }
            block.row_norms(placed, encoder);
            Ok(())
        })?;
        block.times(placed, head.classes() as u32, budget)
    }
}

impl<'a> Block<'a> {
    fn new(
        engine: &'a GpuEngine,
        plan: &Plan,
        head: HeadBuffers,
        tolerance: Tolerance,
        rows: usize,
        classes: usize,
        values: &[u8],
    ) -> Self {
        let context = &engine.context;
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
        let buffer = |label, bytes: usize| context.buffer(label, bytes as u64, usage);
        let capacity = plan.capacity.min(rows * classes);
        let available = buffer("timed available rows", rows.div_ceil(32) * 4);
        context.write(&available, &vec![0xff; rows.div_ceil(32) * 4]);
        Self {
            engine,
            timer: Timer::of(context),
            head,
            capacity,
            tolerance,
            values: buffer("timed embeddings", values.len()),
            norms: buffer("timed norms", rows * 4),
            logits: buffer("timed logits", rows * classes * 4),
            available,
            thresholds: buffer("timed thresholds", classes * 4),
            statistics: buffer("timed statistics", rows * size_of::<RowStatistics>()),
            found: buffer("timed candidates", list_bytes(capacity) as usize),
        }
    }

    fn rows(&self, (rows, classes): (u32, u32)) -> Rows<'_> {
        Rows {
            rows,
            classes,
            groups: self.engine.sizes.groups,
            tolerance: self.tolerance,
            logits: &self.logits,
            norms: &self.norms,
            first_norm: 0,
            available: &self.available,
        }
    }

    fn row_norms(&self, values: Values<'_>, encoder: &mut CommandEncoder) {
        let (context, groups) = (&self.engine.context, self.engine.sizes.groups);
        let kernel = &self.engine.kernels.row_norms;
        kernel.record(context, encoder, values, groups, &self.norms);
    }

    fn row_statistics(&self, shape: (u32, u32), encoder: &mut CommandEncoder) {
        let (context, kernel) = (&self.engine.context, &self.engine.kernels.row_statistics);
        for slice in &self.head.scales {
            kernel.record(context, encoder, slice, self.rows(shape), &self.statistics);
        }
    }

    fn class_candidates(&self, shape: (u32, u32), encoder: &mut CommandEncoder) {
        let (context, kernel) = (&self.engine.context, &self.engine.kernels.class_candidates);
        encoder.clear_buffer(&self.found, 0, Some(4));
        let lists = Lists {
            thresholds: &self.thresholds,
            found: &self.found,
            capacity: self.capacity as u32,
        };
        for slice in &self.head.scales {
            kernel.record(context, encoder, slice, self.rows(shape), lists);
        }
    }

    fn times(
        &self,
        values: Values<'_>,
        classes: u32,
        budget: Duration,
    ) -> Result<Vec<KernelTime>, GpuError> {
        let (shape, rows) = ((values.rows, classes), values.rows as usize);
        Ok(vec![
            self.time("row_norms", budget, rows, |encoder| {
                self.row_norms(values, encoder);
            })?,
            self.time("row_statistics", budget, rows, |encoder| {
                self.row_statistics(shape, encoder);
            })?,
            self.time("class_candidates", budget, rows, |encoder| {
                self.class_candidates(shape, encoder);
            })?,
        ])
    }

    /// The median of measurements of what `record` records.
    fn time(
        &self,
        kernel: &'static str,
        budget: Duration,
        rows: usize,
        record: impl Fn(&mut CommandEncoder),
    ) -> Result<KernelTime, GpuError> {
        let run = |runs: u32| {
            let time = self.timer.time(|encoder| {
                (0..runs).for_each(|_| record(encoder));
                Ok(())
            });
            time.map(|time| time.as_secs_f64() / f64::from(runs))
        };
        // The first wakes the device up.
        run(1)?;
        let runs = (LASTING.as_secs_f64() / run(1)?).ceil();
        let runs = runs.clamp(1.0, MOST_RUNS.into()) as u32;
        let (start, mut times) = (Instant::now(), Vec::new());
        while times.len() < LEAST || start.elapsed() < budget {
            times.push(run(runs)?);
        }
        times.sort_by(f64::total_cmp);
        Ok(KernelTime {
            kernel,
            seconds: times[times.len() / 2],
            runs: times.len() * runs as usize,
            rows,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeviceChoice, Gpu};

    #[test]
    #[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
    fn every_row_kernel_takes_some_time() {
        let gpu = Gpu::open(&DeviceChoice::Any).expect("an adapter: see README, cargo xtask test");
        let engine = GpuEngine::new(gpu).expect("an engine");
        let head = Head::new(vec![1.0, -1.0, 0.5, 0.25], vec![0.0, 0.1], 2).expect("a head");
        let values: Vec<f32> = (0..200).map(|i| (i % 17) as f32 - 8.0).collect();
        let times = engine.time_row_kernels(
            &head,
            HostValues::F32(&values),
            &[1.0, 1.0],
            Duration::from_millis(1),
        );
        let times = times.expect("times");
        let names: Vec<_> = times.iter().map(|time| time.kernel).collect();
        assert_eq!(names, ["row_norms", "row_statistics", "class_candidates"]);
        for time in times {
            assert!(time.seconds > 0.0 && time.runs >= LEAST && time.rows == 100);
        }
    }
}
