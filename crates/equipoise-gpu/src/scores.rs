//! Scores of all rows of a pool on the device, written to buffers of the device.

use bytemuck::cast_slice;
use equipoise_core::engine::{LogitError, Task, Tolerance};
use equipoise_core::memory::ScanShape;
use equipoise_core::{Error, Head, Pool, RowSet};
use wgpu::{Buffer, BufferUsages};

use crate::block::{Block, Slot, bits, place};
use crate::device::{Context, Growing};
use crate::device_pool::DevicePool;
use crate::head::HeadBuffers;
use crate::kernels::logits::{Arguments, Path};
use crate::kernels::row_scores::{COLUMNS, RowScores};
use crate::kernels::row_statistics::Rows;
use crate::parts::OnDevice;
use crate::plan::Plan;
use crate::{GpuEngine, GpuError};

/// A place in a buffer of the engine's device, with usage `COPY_DST`: offset in bytes, a multiple of 4.
#[derive(Debug, Clone, Copy)]
pub struct Target<'b> {
    /// The buffer.
    pub buffer: &'b Buffer,
    /// Where it begins.
    pub offset: u64,
}

/// Where scores go, in buffers of the engine's device: what is not wanted is left out. They are those of [`equipoise_core::cpu::row_scores`], in f32:
/// good to compute with, not to pick by, since they may differ between devices in their last bits.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScoreTargets<'b> {
    /// (N), 32-bit integers; −1 where the row is not finite.
    pub predicted: Option<Target<'b>>,
    /// (N), 32-bit integers; −1 where C = 1 or the row is not finite.
    pub runner_up: Option<Target<'b>>,
    /// (N), f32.
    pub distance: Option<Target<'b>>,
    /// (N), f32.
    pub margin: Option<Target<'b>>,
    /// (N), f32.
    pub confidence: Option<Target<'b>>,
    /// (N), f32.
    pub entropy: Option<Target<'b>>,
    /// (N, C), f32. NaN also where the weights of two classes are nearer or farther apart than f32 can use.
    pub distances: Option<Target<'b>>,
}

impl<'b> ScoreTargets<'b> {
    /// In the order of the kernel's columns.
    fn columns(&self) -> [Option<Target<'b>>; COLUMNS] {
        [
            self.predicted,
            self.runner_up,
            self.distance,
            self.margin,
            self.confidence,
            self.entropy,
        ]
    }

    /// The first target that `rows` rows of `classes` distances do not fit.
    fn check(&self, rows: usize, classes: usize) -> Result<(), GpuError> {
        let columns = self.columns().into_iter().map(|target| (target, rows));
        for (target, count) in columns.chain([(self.distances, rows.saturating_mul(classes))]) {
            let Some(Target { buffer, offset }) = target else {
                continue;
            };
            let fits = offset
                .checked_add((count as u64).saturating_mul(4))
                .is_some_and(|end| end <= buffer.size());
            let able = buffer.usage().contains(BufferUsages::COPY_DST);
            if !fits || !able || !offset.is_multiple_of(4) {
                let size = buffer.size();
                return Err(GpuError::Rows {
                    reason: format!(
                        "{count} scores do not go to byte {offset} of a buffer of {size} with the usages {:?}",
                        buffer.usage()
                    ),
                });
            }
        }
        Ok(())
    }

    /// Whether the targets are of the context's device: at least one score goes to each.
    fn try_on(&self, context: &Context) -> Result<(), GpuError> {
        context.try_foreign(|encoder, word| {
            let targets = self.columns().into_iter().chain([self.distances]);
            for Target { buffer, offset } in targets.flatten() {
                encoder.copy_buffer_to_buffer(word, 0, buffer, offset, 4);
            }
        })
    }
}

/// A pool whose scores are being written: what its blocks share.
struct Writer<'a> {
    engine: &'a GpuEngine,
    dim: usize,
    classes: usize,
    tolerance: Tolerance,
    path: Path,
    head: HeadBuffers,
    all: RowSet,
    kernel: RowScores,
    slot: Slot,
    logits: Growing,
    distances: Growing,
    columns: Growing,
}

impl GpuEngine {
    /// Writes scores of all rows of `pool`, one of this engine's own, to buffers of the device. It returns when the
    /// work is submitted; what is submitted to the queue later sees the scores.
    ///
    /// # Errors
    /// [`Error::Dimension`] where the head does not fit; [`Error::Device`] and [`Error::OutOfMemory`] where a target
    /// or the pool does not, or the device fails.
    pub fn write_scores(
        &self,
        head: &Head,
        pool: &DevicePool,
        targets: &ScoreTargets<'_>,
    ) -> equipoise_core::Result<()> {
        if head.dim() != pool.dim() {
            return Err(Error::Dimension {
                head: head.dim(),
                pool: pool.dim(),
            });
        }
        let shape = ScanShape::of(head, pool, Task::Boundaries)?;
        let written = self.write_all(head, pool, targets, shape);
        written.map_err(|error| error.on(&self.name))
    }

    fn write_all(
        &self,
        head: &Head,
        pool: &DevicePool,
        targets: &ScoreTargets<'_>,
        shape: ScanShape,
    ) -> Result<(), GpuError> {
        targets.check(pool.rows(), head.classes())?;
        if pool.rows() == 0 {
            return Ok(());
        }
        let parts = pool.parts_on(&self.context).ok_or_else(|| GpuError::Rows {
            reason: "the pool is of another engine".into(),
        })?;
        targets.try_on(&self.context)?;
        let on_device = OnDevice::new(parts, 0);
        let plan = self.planned(shape)?;
        on_device.prepare(self, head.dim())?;
        let mut writer = Writer::new(self, head, pool, &plan)?;
        let mut start = 0;
        while start < pool.rows() {
            let most = plan.max_rows;
            let block = on_device.block(head.dim(), start, most, most);
            self.context.guarded(|| writer.write(&block, targets))?;
            start = block.start + block.rows;
        }
        Ok(())
    }
}

impl<'a> Writer<'a> {
    fn new(
        engine: &'a GpuEngine,
        head: &Head,
        pool: &DevicePool,
        plan: &Plan,
    ) -> Result<Self, GpuError> {
        let context = &engine.context;
        let path = engine.path(head, pool.stored_as(), plan)?;
        let bound = path.bound(head.dim());
        let error = LogitError {
            gamma: bound.gamma,
            flushed: bound.flushed,
        };
        Ok(Self {
            engine,
            dim: head.dim(),
            classes: head.classes(),
            tolerance: Tolerance::new(head, error),
            head: HeadBuffers::new(context, head, plan, &path, Task::Boundaries)?,
            path,
            all: RowSet::all(pool.rows()),
            kernel: context.guarded(|| Ok(RowScores::new(context)))?,
            slot: Slot::new(),
            logits: Growing::storage("logits"),
            distances: Growing::storage("distances"),
            columns: Growing::storage("scores"),
        })
    }

    /// Scores a block and copies what is wanted of it to where it goes.
    fn write(&mut self, block: &Block<'_>, targets: &ScoreTargets<'_>) -> Result<(), GpuError> {
        let context = &self.engine.context;
        let mut encoder = context.encoder("scores");
        let (values, norms, first_norm) =
            place(self.engine, self.dim, block, &mut self.slot, &mut encoder)?;
        let (rows, classes) = (block.rows as u64, self.classes as u64);
        let of_classes = 4 * rows * classes;
        let logits = self.logits.at_least(context, of_classes).clone();
        let arguments = Arguments {
            values: values.borrow(),
            classes: self.classes as u32,
            logits: &logits,
        };
        for weights in &self.head.head {
            self.path.record(context, &mut encoder, weights, arguments);
        }
        let bits = bits(block, &self.all);
        let mask = self.slot.available.at_least(context, 4 * bits.len() as u64);
        context.write(mask, cast_slice(&bits));
        let scored = Rows {
            rows: block.rows as u32,
            classes: self.classes as u32,
            groups: self.engine.sizes.groups,
            tolerance: self.tolerance,
            logits: &logits,
            norms: &norms,
            first_norm,
            available: mask,
        };
        let distances = self.distances.at_least(context, of_classes).clone();
        let columns = self
            .columns
            .at_least(context, 4 * rows * COLUMNS as u64)
            .clone();
        for slice in &self.head.scales {
            let to = (&distances, &columns);
            self.kernel.record(context, &mut encoder, slice, scored, to);
        }
        // Rows before it are there for the sake of alignment and written already.
        let skipped = (block.wanted - block.start) as u64;
        let mut copy = |from: (&Buffer, u64), to: Option<Target<'_>>, width: u64| {
            if let Some(Target { buffer, offset }) = to {
                let to = offset + 4 * width * block.wanted as u64;
                let bytes = 4 * width * (rows - skipped);
                encoder.copy_buffer_to_buffer(
                    from.0,
                    from.1 + 4 * width * skipped,
                    buffer,
                    to,
                    bytes,
                );
            }
        };
        for (column, target) in (0..).zip(targets.columns()) {
            copy((&columns, 4 * rows * column), target, 1);
        }
        copy((&distances, 0), targets.distances, classes);
        context.queue.submit([encoder.finish()]);
        Ok(())
    }
}
