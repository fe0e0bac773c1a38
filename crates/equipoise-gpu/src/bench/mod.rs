//! Kernels one by one: checked against their CPU twins, and timed by the device's clock where it has one.

mod agree;
mod block;
mod check;
mod lacks;
#[cfg(test)]
mod tests;
mod tuning;
mod version;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytemuck::cast_slice;
use equipoise_core::engine::Task;
use equipoise_core::memory::ScanShape;
use equipoise_core::{Head, Values};
use equipoise_shaders::{
    CLASS_CANDIDATES_PLAIN, CLASS_CANDIDATES_SUBGROUP, GRADIENTS_PLAIN, GRADIENTS_SUBGROUP,
    NEAREST_GRADIENT_PLAIN, NEAREST_GRADIENT_SUBGROUP, NEAREST_PLAIN, NEAREST_SUBGROUP, OwnShader,
    ROW_NORMS_F16, ROW_NORMS_F32, ROW_SCORES, ROW_STATISTICS_PLAIN, ROW_STATISTICS_SUBGROUP,
    Shader,
};
use wgpu::CommandEncoder;

use crate::block::bytes_of_values;
use crate::head::HeadBuffers;
use crate::kernels::Storage;
use crate::kernels::logits::{LogitBound, Path, Request};
use crate::kernels::row_scores::RowScores;
use crate::plan::Plan;
use crate::row_variants::RowKernels;
use crate::{GpuEngine, GpuError, WorkTime};

pub(crate) use block::TimedBlock;
pub use tuning::{Tuning, tunings};
use version::Compiled;
pub use version::KernelVersion;

/// Device time that one measurement is to last.
const LASTING: Duration = Duration::from_millis(2);

/// Most runs of a kernel in a measurement.
const MOST_RUNS: u32 = 64;

/// Least measurements of which the median is taken, and most: five against five can differ with significance.
const LEAST: usize = 5;
const MOST: usize = 200;

/// Most multiplications and additions of a product that is timed on a software adapter.
const SOFTWARE_OPERATIONS: usize = 1 << 33;

/// What a kernel was measured at.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct KernelTime {
    /// Seconds of one run, a number a measurement, in the order they were made.
    pub samples: Vec<f64>,
    /// Runs in all.
    pub runs: usize,
    /// Rows that a run went over.
    pub rows: usize,
    /// Whether the device's clock told the seconds, and not the host's: it has to be of use in every measurement.
    pub on_device: bool,
}

impl KernelTime {
    /// Of measurements of `runs` runs each.
    fn of(times: &[WorkTime], runs: u32, rows: usize) -> Self {
        let by_device: Option<Vec<Duration>> = times.iter().map(|time| time.device).collect();
        let on_device = by_device.is_some();
        let by_host = || times.iter().map(|time| time.host).collect();
        let each = by_device.unwrap_or_else(by_host).into_iter();
        Self {
            samples: each
                .map(|time| time.as_secs_f64() / f64::from(runs))
                .collect(),
            runs: times.len() * runs as usize,
            rows,
            on_device,
        }
    }
}

/// A block of rows on a device, to check and to time kernels on.
pub struct KernelBench<'a> {
    engine: &'a GpuEngine,
    head: &'a Head,
    values: Values<'a>,
    thresholds: &'a [f32],
    plan: Plan,
    path: Path,
    buffers: HeadBuffers,
    block: TimedBlock<'a>,
    storage: Storage,
}

impl<'a> KernelBench<'a> {
    /// The first rows of `values`, (N, M) row-major, as many as a block holds. `thresholds` are those of
    /// [`equipoise_core::Question::ClassCandidates`], C of them: on them depends how much that kernel writes.
    ///
    /// # Errors
    /// [`GpuError::Shape`] where there is not one threshold a class, [`GpuError::TooLarge`] where the head does not fit
    /// the device, [`GpuError::OutOfMemory`] and [`GpuError::Failed`] where the device fails.
    pub fn new(
        engine: &'a GpuEngine,
        head: &'a Head,
        values: Values<'a>,
        thresholds: &'a [f32],
    ) -> Result<Self, GpuError> {
        if thresholds.len() != head.classes() {
            return Err(GpuError::Shape {
                what: "thresholds, one a class",
                expected: head.classes(),
                found: thresholds.len(),
            });
        }
        let dim = head.dim();
        let shape = ScanShape {
            rows: values.len() / dim,
            dim,
            classes: head.classes(),
            width: values.width(),
            task: Task::Boundaries,
        };
        let plan = engine.planned(shape)?;
        let rows = plan.max_rows.min(shape.rows);
        let values = values.slice(0..rows * dim);
        let (_, storage) = bytes_of_values(values);
        let path = engine.path(head, storage, &plan)?;
        let buffers = HeadBuffers::new(&engine.context, head, &plan, &path, Task::Boundaries)?;
        let block = TimedBlock::new(engine, head, values, &plan, (&path, &buffers))?;
        engine.context.guarded(|| {
            let context = &engine.context;
            context.write(&block.thresholds, cast_slice(thresholds));
            Ok(())
        })?;
        Ok(Self {
            engine,
            head,
            values,
            thresholds,
            plan,
            path,
            buffers,
            block,
            storage,
        })
    }

    /// Whether the device has a clock of its own: [`KernelTime::on_device`] tells whether it was of use.
    pub fn device_clock(&self) -> bool {
        self.block.timer.on_device()
    }

    /// Every version of every kernel that this device runs on the block; [`Self::broken`] has those that it does not.
    ///
    /// # Errors
    /// [`GpuError::OutOfMemory`] and [`GpuError::Failed`] where the device fails.
    pub fn versions(&self) -> Result<Vec<KernelVersion>, GpuError> {
        let kernels = &self.engine.kernels;
        let mut versions = Vec::new();
        for path in self.paths().into_iter().filter_map(|(_, path)| path.ok()) {
            let variant = path.name().into();
            let source = path.source().into();
            let compiled = self.logits(path)?;
            versions.push(KernelVersion {
                kernel: "logits",
                variant,
                source,
                compiled,
            });
        }
        let norms = match self.storage {
            Storage::F32 => &ROW_NORMS_F32,
            Storage::F16 => &ROW_NORMS_F16,
        };
        versions.push(ours(
            norms,
            norms.variant,
            Compiled::RowNorms(kernels.row_norms.clone()),
        ));
        for rows in kernels.rows.all() {
            versions.extend(row_versions(rows));
        }
        let context = &self.engine.context;
        let scores = context.guarded(|| Ok(RowScores::new(context)))?;
        versions.push(ours(&ROW_SCORES, "plain", Compiled::RowScores(scores)));
        Ok(versions)
    }

    /// The variants of `logits` that this device should run and does not: they do not compile, or fail their trial.
    pub fn broken(&self) -> Vec<(&'static str, GpuError)> {
        let paths = self.paths().into_iter();
        let broken = paths.filter_map(|(name, path)| Some((name, path.err()?)));
        broken.collect()
    }

    /// The variants of `logits` that nothing keeps from the block.
    fn paths(&self) -> Vec<(&'static str, Result<Path, GpuError>)> {
        self.engine.kernels.logits.compiled_for(Request {
            head: self.head,
            storage: self.storage,
            rows: self.block.rows as usize,
            slice: self.plan.head_slice,
            most: LogitBound::ANY,
        })
    }

    /// Compiles somebody's own version of a kernel, with all checks of indices and loops.
    ///
    /// # Errors
    /// [`GpuError::Wgsl`] where it cannot be run in the kernel's place or on the device, [`GpuError::Failed`] where the device does not
    /// take it.
    pub fn own(&self, variant: &str, own: &OwnShader) -> Result<KernelVersion, GpuError> {
        let context = &self.engine.context;
        if let Some(message) = lacks::lacks(self.engine.kernels.logits.facts(), own, self.head) {
            let of = format!("{} {variant}", own.kernel);
            return Err(GpuError::Wgsl { of, message });
        }
        let compiled = context.guarded(|| match own.kernel {
            "logits" => Path::own(context, own, self.storage).map(Err),
            _ => Compiled::own(context, variant, own).map(Ok),
        })?;
        let compiled = match compiled {
            Ok(compiled) => compiled,
            Err(path) => self.logits(path)?,
        };
        Ok(KernelVersion {
            kernel: own.kernel,
            variant: variant.into(),
            source: Cow::Owned(own.source.clone()),
            compiled,
        })
    }

    /// Times a version for about `budget`, after a run or two to warm up.
    ///
    /// # Errors
    /// [`GpuError::OutOfMemory`] and [`GpuError::Failed`] where the device fails.
    pub fn time(&self, version: &KernelVersion, budget: Duration) -> Result<KernelTime, GpuError> {
        let record = |encoder: &mut CommandEncoder| {
            self.block.record(&version.compiled, &self.buffers, encoder);
        };
        self.ready(version)?;
        let runs = self.block.runs(record)?;
        let (start, mut times) = (Instant::now(), Vec::new());
        while times.len() < LEAST || (start.elapsed() < budget && times.len() < MOST) {
            times.push(self.block.run(runs, record)?);
        }
        self.restored(version)?;
        Ok(KernelTime::of(&times, runs, version.rows(self.block.rows)))
    }

    fn logits(&self, path: Path) -> Result<Compiled, GpuError> {
        let context = &self.engine.context;
        let (classes, slice) = (self.head.classes(), self.plan.head_slice);
        let weights = context.guarded(|| {
            let firsts = (0..classes).step_by(slice);
            let weights = firsts.map(|first| {
                let classes = first..classes.min(first + slice);
                path.weights(context, self.head, classes)
            });
            weights.collect()
        })?;
        let rows = match self.engine.kernels.logits.software() {
            true => SOFTWARE_OPERATIONS / (2 * classes * self.head.dim()),
            false => usize::MAX,
        };
        Ok(Compiled::Logits {
            path,
            weights: Arc::new(weights),
            rows: rows.clamp(1, self.block.rows as usize) as u32,
        })
    }

    /// Makes what a version reads and no other makes.
    fn ready(&self, version: &KernelVersion) -> Result<(), GpuError> {
        if !matches!(version.compiled, Compiled::NearestGradient(_)) {
            return Ok(());
        }
        let context = &self.engine.context;
        let gradients = Compiled::Gradients(self.engine.kernels.rows.all()[0].gradients.clone());
        context.guarded(|| {
            let mut encoder = context.encoder("gradients");
            self.block.record(&gradients, &self.buffers, &mut encoder);
            context.queue.submit([encoder.finish()]);
            Ok(())
        })
    }

    /// Makes anew what a version wrote and others read: it may not be one of ours.
    fn restored(&self, version: &KernelVersion) -> Result<(), GpuError> {
        match version.compiled {
            Compiled::Logits { .. } | Compiled::RowNorms(_) => {
                self.block.prepare(&self.path, &self.buffers)
            }
            _ => Ok(()),
        }
    }
}

impl KernelVersion {
    /// Rows that it goes over, of a block of so many.
    fn rows(&self, block: u32) -> usize {
        match &self.compiled {
            Compiled::Logits { rows, .. } => *rows as usize,
            _ => block as usize,
        }
    }
}

fn ours(shader: &'static Shader, variant: &str, compiled: Compiled) -> KernelVersion {
    KernelVersion {
        kernel: shader.kernel,
        variant: variant.into(),
        source: shader.source.into(),
        compiled,
    }
}

/// The row kernels of one variant.
fn row_versions(rows: &RowKernels) -> [KernelVersion; 5] {
    let [statistics, candidates, nearest, gradients, nearest_gradient] = match rows.variant {
        "plain" => [
            &ROW_STATISTICS_PLAIN,
            &CLASS_CANDIDATES_PLAIN,
            &NEAREST_PLAIN,
            &GRADIENTS_PLAIN,
            &NEAREST_GRADIENT_PLAIN,
        ],
        _ => [
            &ROW_STATISTICS_SUBGROUP,
            &CLASS_CANDIDATES_SUBGROUP,
            &NEAREST_SUBGROUP,
            &GRADIENTS_SUBGROUP,
            &NEAREST_GRADIENT_SUBGROUP,
        ],
    };
    let of = |shader, compiled| ours(shader, rows.variant, compiled);
    [
        of(
            statistics,
            Compiled::RowStatistics(rows.row_statistics.clone()),
        ),
        of(
            candidates,
            Compiled::ClassCandidates(rows.class_candidates.clone()),
        ),
        of(nearest, Compiled::Nearest(rows.nearest.clone())),
        of(gradients, Compiled::Gradients(rows.gradients.clone())),
        of(
            nearest_gradient,
            Compiled::NearestGradient(rows.nearest_gradient.clone()),
        ),
    ]
}
