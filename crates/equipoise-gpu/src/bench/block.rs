//! A block on the device, with everything that kernels read and write.

use bytemuck::cast_slice;
use equipoise_core::engine::{
    ACCEPT_NONE, GradientTolerance, LogitError, Nearest, NearestGradient, RowStatistics, Tolerance,
};
use equipoise_core::{Head, Values as HostValues};
use wgpu::{Buffer, BufferUsages, CommandEncoder};

use super::version::Compiled;
use crate::block::bytes_of_values;
use crate::head::HeadBuffers;
use crate::kernels::class_candidates::{Lists, list_bytes};
use crate::kernels::logits::{Arguments, Path};
use crate::kernels::nearest_gradient::Products;
use crate::kernels::row_scores::COLUMNS;
use crate::kernels::row_statistics::Rows;
use crate::kernels::{Storage, Values};
use crate::plan::Plan;
use crate::row_variants::RowKernels;
use crate::{GpuEngine, GpuError, Timer, WorkTime};

/// Least measurements of which the least is taken.
const LEAST: usize = 3;

/// The bounds that kernel `gradients` is given: what it takes does not depend on them.
const LARGEST: f32 = 1.0;

pub(crate) struct TimedBlock<'a> {
    pub(super) engine: &'a GpuEngine,
    pub(super) timer: Timer,
    pub(super) classes: u32,
    pub(super) capacity: usize,
    pub(super) tolerance: Tolerance,
    pub(super) rows: u32,
    dim: u32,
    storage: Storage,
    values: Buffer,
    available: Buffer,
    pub(super) norms: Buffer,
    pub(super) logits: Buffer,
    pub(super) thresholds: Buffer,
    pub(super) statistics: Buffer,
    pub(super) found: Buffer,
    pub(super) nearest: Buffer,
    /// Of kernel `gradients`: numbers, (rows, C), and what is known of them.
    pub(super) gradients: Buffer,
    pub(super) nearest_gradient: Buffer,
    /// Of kernel `row_scores`.
    pub(super) distances: Buffer,
    pub(super) columns: Buffer,
}

impl<'a> TimedBlock<'a> {
    /// Sends `values`, (rows, M), no more rows than a block of `plan` holds, and makes what the row kernels
    /// read of them. No candidate is below the thresholds.
    pub(crate) fn new(
        engine: &'a GpuEngine,
        head: &Head,
        values: HostValues<'_>,
        plan: &Plan,
        (path, buffers): (&Path, &HeadBuffers),
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
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
        let buffer = |label, bytes: usize| context.buffer(label, bytes as u64, usage);
        let capacity = plan.capacity.min(rows * classes);
        let of_classes = rows * classes * 4;
        let block = context.guarded(|| {
            let block = Self {
                engine,
                timer: Timer::of(context),
                classes: classes as u32,
                capacity,
                tolerance: Tolerance::new(head, error),
                rows: rows as u32,
                dim: dim as u32,
                storage,
                values: buffer("timed embeddings", bytes.len()),
                norms: buffer("timed norms", rows * 4),
                logits: buffer("timed logits", of_classes),
                available: buffer("timed available rows", rows.div_ceil(32) * 4),
                thresholds: buffer("timed thresholds", classes * 4),
                statistics: buffer("timed statistics", rows * size_of::<RowStatistics>()),
                found: buffer("timed candidates", list_bytes(capacity) as usize),
                nearest: buffer("timed nearest", rows * size_of::<Nearest>()),
                gradients: buffer("timed gradients", of_classes),
                nearest_gradient: buffer(
                    "timed nearest centres",
                    rows * size_of::<NearestGradient>(),
                ),
                distances: buffer("timed distances", of_classes),
                columns: buffer("timed scores", rows * COLUMNS * 4),
            };
            context.send(&block.values, 0, bytes)?;
            context.write(&block.available, &vec![0xff; rows.div_ceil(32) * 4]);
            context.write(&block.thresholds, cast_slice(&vec![ACCEPT_NONE; classes]));
            Ok(block)
        })?;
        block.prepare(path, buffers)?;
        Ok(block)
    }

    /// Makes logits and norms, as the engine does.
    pub(super) fn prepare(&self, path: &Path, head: &HeadBuffers) -> Result<(), GpuError> {
        let context = &self.engine.context;
        context.guarded(|| {
            let mut encoder = context.encoder("timed block");
            for weights in &head.head {
                let arguments = self.arguments(self.rows);
                path.record(context, &mut encoder, weights, arguments);
            }
            let (kernel, groups) = (&self.engine.kernels.row_norms, self.engine.sizes.groups);
            kernel.record(context, &mut encoder, self.values(), groups, &self.norms);
            context.queue.submit([encoder.finish()]);
            Ok(())
        })
    }

    /// Seconds that the row kernels take together, the least of a few measurements.
    pub(crate) fn seconds(
        &self,
        kernels: &RowKernels,
        head: &HeadBuffers,
    ) -> Result<f64, GpuError> {
        let both = [
            Compiled::RowStatistics(kernels.row_statistics.clone()),
            Compiled::ClassCandidates(kernels.class_candidates.clone()),
        ];
        let record = |encoder: &mut CommandEncoder| {
            both.iter()
                .for_each(|kernel| self.record(kernel, head, encoder));
        };
        let runs = self.runs(record)?;
        (0..LEAST).try_fold(f64::INFINITY, |least, _| {
            let time = self.run(runs, record)?.best().as_secs_f64();
            Ok(least.min(time / f64::from(runs)))
        })
    }

    /// Records one run of a kernel on the block.
    pub(super) fn record(
        &self,
        kernel: &Compiled,
        head: &HeadBuffers,
        encoder: &mut CommandEncoder,
    ) {
        let (context, groups) = (&self.engine.context, self.engine.sizes.groups);
        let rows = self.scored();
        match kernel {
            Compiled::Logits {
                path,
                weights,
                rows,
            } => {
                for weights in weights.iter() {
                    path.record(context, encoder, weights, self.arguments(*rows));
                }
            }
            Compiled::RowNorms(kernel) => {
                kernel.record(context, encoder, self.values(), groups, &self.norms);
            }
            Compiled::RowStatistics(kernel) => {
                for slice in &head.scales {
                    kernel.record(context, encoder, slice, rows, &self.statistics);
                }
            }
            Compiled::ClassCandidates(kernel) => {
                encoder.clear_buffer(&self.found, 0, Some(4));
                let lists = Lists {
                    thresholds: &self.thresholds,
                    found: &self.found,
                    capacity: self.capacity as u32,
                };
                for slice in &head.scales {
                    kernel.record(context, encoder, slice, rows, lists);
                }
            }
            Compiled::RowScores(kernel) => {
                for slice in &head.scales {
                    let to = (&self.distances, &self.columns);
                    kernel.record(context, encoder, slice, rows, to);
                }
            }
            Compiled::Nearest(kernel) => kernel.record(context, encoder, rows, &self.nearest),
            Compiled::Gradients(kernel) => {
                let tolerance = self.gradient_tolerance();
                let out = (&self.gradients, &self.nearest_gradient);
                kernel.record(context, encoder, rows, &tolerance, out);
            }
            Compiled::NearestGradient(kernel) => {
                // With as many centres as classes: how long it takes does not depend on the numbers.
                let products = Products {
                    rows: self.rows,
                    centres: self.classes,
                    groups,
                    of_embeddings: &self.logits,
                    of_gradients: &self.gradients,
                    bias: &self.thresholds,
                };
                kernel.record(context, encoder, products, &self.nearest_gradient);
            }
        }
    }

    /// How long `runs` runs take together.
    pub(super) fn run(
        &self,
        runs: u32,
        record: impl Fn(&mut CommandEncoder),
    ) -> Result<WorkTime, GpuError> {
        self.timer.measure(|encoder| {
            (0..runs).for_each(|_| record(encoder));
            Ok(())
        })
    }

    /// How many runs last long enough to be measured.
    pub(super) fn runs(&self, record: impl Fn(&mut CommandEncoder)) -> Result<u32, GpuError> {
        // The first wakes the device up.
        self.run(1, &record)?;
        let one = self.run(1, &record)?.best().as_secs_f64();
        let runs = (super::LASTING.as_secs_f64() / one).ceil();
        Ok(runs.clamp(1.0, super::MOST_RUNS.into()) as u32)
    }

    /// The bounds that kernel `gradients` is given.
    pub(super) fn gradient_tolerance(&self) -> GradientTolerance {
        GradientTolerance {
            embeddings: self.tolerance,
            gradients: self.tolerance,
            largest_embedding: LARGEST,
            largest_gradient: LARGEST,
            largest_bias: LARGEST,
            base: 1e-5,
            unit: 1e-6,
        }
    }

    /// What `logits` gets, of the first `rows` rows.
    fn arguments(&self, rows: u32) -> Arguments<'_> {
        Arguments {
            values: Values {
                rows,
                ..self.values()
            },
            classes: self.classes,
            logits: &self.logits,
        }
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

    fn scored(&self) -> Rows<'_> {
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
}
