//! How long each row kernel takes on a device: `logits`, which has variants, is timed by
//! [`crate::measure_logits`].

use std::time::{Duration, Instant};

use bytemuck::cast_slice;
use equipoise_core::engine::{
    ACCEPT_NONE, GradientTolerance, LogitError, NearestGradient, RowStatistics, Task, Tolerance,
};
use equipoise_core::memory::ScanShape;
use equipoise_core::{Head, Values as HostValues};
use wgpu::{Buffer, BufferUsages, CommandEncoder};

use crate::block::bytes_of_values;
use crate::head::HeadBuffers;
use crate::kernels::class_candidates::{Lists, list_bytes};
use crate::kernels::logits::{Arguments, Path};
use crate::kernels::nearest_gradient::Products;
use crate::kernels::row_statistics::Rows;
use crate::kernels::{Storage, Values};
use crate::plan::Plan;
use crate::row_variants::RowKernels;
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
    /// Its variant; empty where there is one.
    pub variant: &'static str,
    /// Median seconds of one run.
    pub seconds: f64,
    /// Runs in all.
    pub runs: usize,
    /// Rows of the block.
    pub rows: usize,
}

/// A block on the device, with everything that row kernels read and write.
pub(crate) struct TimedBlock<'a> {
    engine: &'a GpuEngine,
    timer: Timer,
    head: &'a HeadBuffers,
    classes: u32,
    capacity: usize,
    tolerance: Tolerance,
    rows: u32,
    dim: u32,
    storage: Storage,
    values: Buffer,
    norms: Buffer,
    logits: Buffer,
    available: Buffer,
    thresholds: Buffer,
    statistics: Buffer,
    found: Buffer,
    /// Of kernel `nearest`, or of `nearest_gradient`.
    nearest: Buffer,
    gradients: Buffer,
}

impl GpuEngine {
    /// Times `row_norms`, and every variant of the other row kernels, on the first rows of
    /// `values`, (rows, M) row-major, as many as a block holds, each for about `budget`. `thresholds` are
    /// those of [`equipoise_core::Question::ClassCandidates`], C of them: on them depends how much the last
    /// one writes.
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
            task: Task::Boundaries,
        };
        let plan = Plan::new(shape, &self.sizes)?;
        let rows = plan.max_rows.min(values.len() / dim);
        let values = values.slice(0..rows * dim);
        let (_, storage) = bytes_of_values(values);
        let path = self.path(head, storage, plan.max_rows)?;
        let buffers = HeadBuffers::new(&self.context, head, &plan, &path, Task::Boundaries)?;
        let block = TimedBlock::new(self, head, values, &plan, (&path, &buffers))?;
        self.context.guarded(|| {
            let thresholds = cast_slice(thresholds);
            self.context.write(&block.thresholds, thresholds);
            Ok(())
        })?;
        let norms = block.time(("row_norms", ""), budget, |encoder| {
            block.row_norms(encoder)
        })?;
        let mut times = vec![norms];
        for kernels in self.kernels.rows.all() {
            let variant = kernels.variant;
            times.push(block.time(("row_statistics", variant), budget, |encoder| {
                block.row_statistics(kernels, encoder);
            })?);
            times.push(
                block.time(("class_candidates", variant), budget, |encoder| {
                    block.class_candidates(kernels, encoder);
                })?,
            );
            times.push(block.time(("nearest", variant), budget, |encoder| {
                block.nearest(kernels, encoder);
            })?);
            times.push(block.time(("gradients", variant), budget, |encoder| {
                block.gradients(kernels, encoder);
            })?);
            times.push(
                block.time(("nearest_gradient", variant), budget, |encoder| {
                    block.nearest_gradient(kernels, encoder);
                })?,
            );
        }
        Ok(times)
    }
}

impl<'a> TimedBlock<'a> {
    /// Sends `values`, (rows, M), no more rows than a block of `plan` holds, and makes what the row kernels
    /// read of them. No candidate is below the thresholds.
    pub(crate) fn new(
        engine: &'a GpuEngine,
        head: &Head,
        values: HostValues<'_>,
        plan: &Plan,
        (path, buffers): (&Path, &'a HeadBuffers),
    ) -> Result<Self, GpuError> {
        let context = &engine.context;
        let (bytes, storage) = bytes_of_values(values);
        let (dim, classes) = (head.dim(), head.classes());
        let rows = values.len() / dim;
        let bound = path.bound(dim);
        let error = LogitError {
            gamma: bound.gamma,
            flushed: bound.flushed,
        };
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
        let buffer = |label, bytes: usize| context.buffer(label, bytes as u64, usage);
        let capacity = plan.capacity.min(rows * classes);
        let block = context.guarded(|| {
            let block = Self {
                engine,
                timer: Timer::of(context),
                head: buffers,
                classes: classes as u32,
                capacity,
                tolerance: Tolerance::new(head, error),
                rows: rows as u32,
                dim: dim as u32,
                storage,
                values: buffer("timed embeddings", bytes.len()),
                norms: buffer("timed norms", rows * 4),
                logits: buffer("timed logits", rows * classes * 4),
                available: buffer("timed available rows", rows.div_ceil(32) * 4),
                thresholds: buffer("timed thresholds", classes * 4),
                statistics: buffer("timed statistics", rows * size_of::<RowStatistics>()),
                found: buffer("timed candidates", list_bytes(capacity) as usize),
                nearest: buffer("timed nearest centres", rows * size_of::<NearestGradient>()),
                gradients: buffer("timed gradients", rows * classes * 4),
            };
            context.write(&block.values, bytes);
            context.write(&block.available, &vec![0xff; rows.div_ceil(32) * 4]);
            context.write(&block.thresholds, cast_slice(&vec![ACCEPT_NONE; classes]));
            Ok(block)
        })?;
        block.timer.time(|encoder| {
            for weights in &block.head.head {
                let arguments = Arguments {
                    values: block.values(),
                    classes: block.classes,
                    logits: &block.logits,
                };
                path.record(context, encoder, weights, arguments);
            }
            block.row_norms(encoder);
            Ok(())
        })?;
        Ok(block)
    }

    /// Seconds that the row kernels take together, the least of a few measurements.
    pub(crate) fn seconds(&self, kernels: &RowKernels) -> Result<f64, GpuError> {
        let record = |encoder: &mut CommandEncoder| {
            self.row_statistics(kernels, encoder);
            self.class_candidates(kernels, encoder);
        };
        let runs = self.runs(record)?;
        (0..LEAST).try_fold(f64::INFINITY, |least, _| {
            Ok(least.min(self.run(runs, record)?))
        })
    }

    fn values(&self) -> Values<'_> {
        Values {
            rows: self.rows,
            dim: self.dim,
            storage: self.storage,
            buffer: &self.values,
            offset: 0,
        }
    }

    fn rows(&self) -> Rows<'_> {
        Rows {
            rows: self.rows,
            classes: self.classes,
            groups: self.engine.sizes.groups,
            tolerance: self.tolerance,
            logits: &self.logits,
            norms: &self.norms,
            first_norm: 0,
            available: &self.available,
        }
    }

    fn row_norms(&self, encoder: &mut CommandEncoder) {
        let (context, groups) = (&self.engine.context, self.engine.sizes.groups);
        let kernel = &self.engine.kernels.row_norms;
        kernel.record(context, encoder, self.values(), groups, &self.norms);
    }

    fn row_statistics(&self, kernels: &RowKernels, encoder: &mut CommandEncoder) {
        let (context, kernel) = (&self.engine.context, &kernels.row_statistics);
        for slice in &self.head.scales {
            kernel.record(context, encoder, slice, self.rows(), &self.statistics);
        }
    }

    fn class_candidates(&self, kernels: &RowKernels, encoder: &mut CommandEncoder) {
        let (context, kernel) = (&self.engine.context, &kernels.class_candidates);
        encoder.clear_buffer(&self.found, 0, Some(4));
        let lists = Lists {
            thresholds: &self.thresholds,
            found: &self.found,
            capacity: self.capacity as u32,
        };
        for slice in &self.head.scales {
            kernel.record(context, encoder, slice, self.rows(), lists);
        }
    }

    fn nearest(&self, kernels: &RowKernels, encoder: &mut CommandEncoder) {
        let (context, kernel) = (&self.engine.context, &kernels.nearest);
        kernel.record(context, encoder, self.rows(), &self.nearest);
    }

    /// What it computes does not depend on the bounds.
    fn gradients(&self, kernels: &RowKernels, encoder: &mut CommandEncoder) {
        let (context, kernel) = (&self.engine.context, &kernels.gradients);
        let tolerance = GradientTolerance {
            embeddings: self.tolerance,
            gradients: self.tolerance,
            largest_embedding: 1.0,
            largest_gradient: 1.0,
            largest_bias: 1.0,
            base: 1e-5,
            unit: 1e-6,
        };
        let out = (&self.gradients, &self.nearest);
        kernel.record(context, encoder, self.rows(), &tolerance, out);
    }

    /// With as many centres as classes.
    fn nearest_gradient(&self, kernels: &RowKernels, encoder: &mut CommandEncoder) {
        let (context, kernel) = (&self.engine.context, &kernels.nearest_gradient);
        let products = Products {
            rows: self.rows,
            centres: self.classes,
            groups: self.engine.sizes.groups,
            of_embeddings: &self.logits,
            of_gradients: &self.gradients,
            bias: &self.thresholds,
        };
        kernel.record(context, encoder, products, &self.nearest);
    }

    /// Seconds of one of `runs` runs.
    fn run(&self, runs: u32, record: impl Fn(&mut CommandEncoder)) -> Result<f64, GpuError> {
        let time = self.timer.time(|encoder| {
            (0..runs).for_each(|_| record(encoder));
            Ok(())
        });
        time.map(|time| time.as_secs_f64() / f64::from(runs))
    }

    /// How many runs last long enough to be measured.
    fn runs(&self, record: impl Fn(&mut CommandEncoder)) -> Result<u32, GpuError> {
        // The first wakes the device up.
        self.run(1, &record)?;
        let runs = (LASTING.as_secs_f64() / self.run(1, &record)?).ceil();
        Ok(runs.clamp(1.0, MOST_RUNS.into()) as u32)
    }

    /// The median of measurements of what `record` records.
    fn time(
        &self,
        (kernel, variant): (&'static str, &'static str),
        budget: Duration,
        record: impl Fn(&mut CommandEncoder),
    ) -> Result<KernelTime, GpuError> {
        let runs = self.runs(&record)?;
        let (start, mut times) = (Instant::now(), Vec::new());
        while times.len() < LEAST || start.elapsed() < budget {
            times.push(self.run(runs, &record)?);
        }
        times.sort_by(f64::total_cmp);
        Ok(KernelTime {
            kernel,
            variant,
            seconds: times[times.len() / 2],
            runs: times.len() * runs as usize,
            rows: self.rows as usize,
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
        let names: Vec<_> = times
            .iter()
            .map(|time| (time.kernel, time.variant))
            .collect();
        let variants = engine.kernels.rows.all().iter().flat_map(|rows| {
            [
                "row_statistics",
                "class_candidates",
                "nearest",
                "gradients",
                "nearest_gradient",
            ]
            .map(|kernel| (kernel, rows.variant))
        });
        let expected: Vec<_> = [("row_norms", "")].into_iter().chain(variants).collect();
        assert_eq!(names, expected);
        for time in times {
            assert!(time.seconds > 0.0 && time.runs >= LEAST && time.rows == 100);
        }
        let shape = ScanShape {
            rows: 100,
            dim: 2,
            classes: 2,
            width: 4,
            task: Task::Boundaries,
        };
        let plan = Plan::new(shape, &engine.sizes).expect("a plan");
        let path = engine.path(&head, Storage::F32, 100).expect("a path");
        let buffers = HeadBuffers::new(&engine.context, &head, &plan, &path, Task::Boundaries)
            .expect("buffers");
        let values = HostValues::F32(&values);
        let block = TimedBlock::new(&engine, &head, values, &plan, (&path, &buffers));
        let block = block.expect("a block");
        for kernels in engine.kernels.rows.all() {
            let seconds = block.seconds(kernels).expect("seconds");
            assert!(seconds > 0.0);
        }
    }
}
