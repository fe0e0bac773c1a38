//! [`Engine`] on a wgpu device.

#[cfg(test)]
mod tests;

use equipoise_core::engine::{GradientCentres, Task};
use equipoise_core::memory::{MemoryPlan, ScanShape};
use equipoise_core::{Engine, Head, Pool, Scorer, Values};
use equipoise_shaders::{ALL, Shader};
use half::f16;
use wgpu::BufferUsages;

use crate::bench::TimedBlock;
use crate::centres::Centres;
use crate::choices::Cache;
use crate::device::{Context, Transfers};
use crate::device_pool::DevicePool;
use crate::facts::Facts;
use crate::head::HeadBuffers;
use crate::kernels::Kernels;
use crate::kernels::logits::{LogitBound, LogitsChoice, Path, Request, Storage};
use crate::parts::OnDevice;
use crate::plan::{Plan, Sizes};
use crate::row_variants::RowsChoice;
use crate::scorer::GpuScorer;
use crate::{Gpu, GpuError};

/// The widest error of logits that is taken for the sake of speed, unless a variant is named: that of
/// a head split in two f16 parts for M up to about 150,000. An unsplit head leaves eight times as many
/// rows to float64.
const WIDEST: LogitBound = LogitBound {
    gamma: 2e-4,
    flushed: f64::INFINITY,
};

/// Longest sum on a software adapter: Mesa's llvmpipe leaves a shader's loops after 65,535 rounds, and what was added up until
/// then would be taken for the sum.
const SOFTWARE_SUM: usize = 1 << 15;

/// Most rows on which variants of the row kernels are timed.
const MEASURED_ROWS: usize = 2048;

/// The engine of one device, its kernels compiled. Scorers hold the memory.
#[derive(Debug)]
pub struct GpuEngine {
    pub(crate) name: String,
    pub(crate) context: Context,
    pub(crate) kernels: Kernels,
    pub(crate) sizes: Sizes,
}

impl GpuEngine {
    /// An engine on an open adapter.
    ///
    /// # Errors
    /// [`GpuError::Limit`] where the device lacks what the kernels need, [`GpuError::UnknownLogits`] and
    /// [`GpuError::UnknownRowKernels`] where the environment names no variant, others where compiling them fails.
    pub fn new(gpu: Gpu) -> Result<Self, GpuError> {
        Self::from_device(gpu.adapter, gpu.device, gpu.queue)
    }

    /// An engine on an open adapter whose kernels are of the variants chosen, whatever the environment
    /// says.
    ///
    /// # Errors
    /// As [`GpuEngine::new`]; [`GpuError::UnknownLogits`] where no variant has the name chosen.
    /// Whether the device can run it shows when a head is known.
    pub fn with_variants(
        gpu: Gpu,
        logits: &LogitsChoice,
        rows: RowsChoice,
    ) -> Result<Self, GpuError> {
        let sizes = Sizes::of(&gpu.device.limits());
        Self::made(gpu.adapter, gpu.device, gpu.queue, sizes, (logits, rows))
    }

    /// The variants of the row kernels that the device can run.
    pub fn row_variants(&self) -> impl Iterator<Item = &'static str> {
        self.kernels
            .rows
            .all()
            .iter()
            .map(|kernels| kernels.variant)
    }

    /// The variants of `logits` that the device can run for `head` and embeddings in `storage`, however wide their bounds, in
    /// the order of [`crate::logits_variants`].
    pub fn logits_variants(&self, head: &Head, storage: Storage) -> Vec<&'static str> {
        let request = Request {
            head,
            storage,
            rows: 1,
            slice: head.classes(),
            most: LogitBound::ANY,
        };
        let paths = self.kernels.logits.compiled_for(request).into_iter();
        let made = paths.filter(|(_, path)| path.is_ok());
        made.map(|(name, _)| name).collect()
    }

    /// Whether matrix cores multiply where a scan of this shape finds boundaries by `head`: the variant of `logits` is chosen for
    /// it, if it was not yet.
    ///
    /// # Errors
    /// As a scan's.
    pub fn by_matrices(&self, head: &Head, shape: ScanShape) -> Result<bool, GpuError> {
        let plan = self.planned(shape)?;
        let path = self.path(head, Storage::of_width(shape.width), &plan)?;
        Ok(path.by_matrices())
    }

    /// An engine on a device that someone else made, and may go on using.
    ///
    /// # Errors
    /// As [`GpuEngine::new`].
    pub fn from_device(
        adapter: wgpu::Adapter,
        device: wgpu::Device,
        queue: wgpu::Queue,
    ) -> Result<Self, GpuError> {
        let sizes = Sizes::of(&device.limits());
        Self::with_sizes(adapter, device, queue, sizes)
    }

    /// [`GpuEngine::new`], taking at most `bytes` of the device's memory, and of the host's, for each scorer.
    ///
    /// # Errors
    /// As [`GpuEngine::new`].
    pub fn with_memory(gpu: Gpu, bytes: u64) -> Result<Self, GpuError> {
        let sizes = Sizes {
            memory: Some(bytes),
            ..Sizes::of(&gpu.device.limits())
        };
        Self::with_sizes(gpu.adapter, gpu.device, gpu.queue, sizes)
    }

    /// This engine as one of several that share the memory budget: of it, the host's part is divided among so many
    /// `engines`. Each has its own device, and all of the budget there.
    #[must_use]
    pub fn sharing(mut self, engines: u64) -> Self {
        self.sizes.sharing = engines;
        self
    }

    /// [`GpuEngine::from_device`] with other sizes, which must be within the device's limits.
    ///
    /// # Errors
    /// As [`GpuEngine::new`].
    pub fn with_sizes(
        adapter: wgpu::Adapter,
        device: wgpu::Device,
        queue: wgpu::Queue,
        sizes: Sizes,
    ) -> Result<Self, GpuError> {
        let choices = (&LogitsChoice::from_env(), RowsChoice::from_env()?);
        Self::made(adapter, device, queue, sizes, choices)
    }

    fn made(
        adapter: wgpu::Adapter,
        device: wgpu::Device,
        queue: wgpu::Queue,
        sizes: Sizes,
        choices: (&LogitsChoice, RowsChoice),
    ) -> Result<Self, GpuError> {
        let name = adapter.get_info().name;
        ALL.iter()
            .filter(|shader| shader.features.is_empty())
            .try_for_each(|shader| check_limits(&name, &device.limits(), shader))?;
        let facts = Facts::of(&adapter, &device);
        let context = Context::new(device, queue);
        Ok(Self {
            kernels: Kernels::new(&context, facts, Cache::of_user(), choices)?,
            name,
            context,
            sizes,
        })
    }
}

fn check_limits(name: &str, limits: &wgpu::Limits, shader: &Shader) -> Result<(), GpuError> {
    let [x, y, z] = shader.workgroup_size;
    let needs = [
        (
            "max_compute_workgroup_size_x",
            x,
            limits.max_compute_workgroup_size_x,
        ),
        (
            "max_compute_workgroup_size_y",
            y,
            limits.max_compute_workgroup_size_y,
        ),
        (
            "max_compute_invocations_per_workgroup",
            x * y * z,
            limits.max_compute_invocations_per_workgroup,
        ),
        (
            "max_compute_workgroup_storage_size",
            shader.workgroup_bytes,
            limits.max_compute_workgroup_storage_size,
        ),
        (
            "max_storage_buffers_per_shader_stage",
            shader.storage_buffers,
            limits.max_storage_buffers_per_shader_stage,
        ),
        (
            "max_compute_workgroups_per_dimension",
            1,
            limits.max_compute_workgroups_per_dimension,
        ),
    ];
    match needs.into_iter().find(|(_, needed, found)| found < needed) {
        Some((limit, needed, found)) => Err(GpuError::Limit {
            adapter: name.into(),
            limit,
            needed: needed.into(),
            found: found.into(),
        }),
        None => Ok(()),
    }
}

impl GpuEngine {
    /// A scorer of a pool that is streamed, or whose parts are on the device.
    pub(crate) fn new_scorer<'a>(
        &'a self,
        head: &Head,
        pool: &'a dyn Pool,
        (task, centres): (Task, Option<&GradientCentres>),
        on_device: Option<OnDevice<'a>>,
    ) -> equipoise_core::Result<Box<dyn Scorer + 'a>> {
        let shape = ScanShape::of(head, pool, task)?;
        let storage = Storage::of_width(shape.width);
        let made = self.planned(shape).and_then(|plan| {
            let path = self.path(head, storage, &plan)?;
            let buffers = HeadBuffers::new(&self.context, head, &plan, &path, task)?;
            let centres = centres.map(|centres| Centres::new(self, centres, storage, &plan));
            Ok((plan, path, buffers, centres.transpose()?))
        });
        let (plan, path, buffers, centres) = made.map_err(|error| error.on(&self.name))?;
        if let Some(parts) = &on_device {
            let ready = parts.prepare(self, head.dim());
            ready.map_err(|error| error.on(&self.name))?;
        }
        let rows = self.kernels.rows.fastest(head.classes(), |variants| {
            if task != Task::Boundaries {
                // What is known of the others is as good.
                return None;
            }
            // A third of a block: what is timed has three matrices of logits' size, and a scan one. Of blocks so
            // small it says little.
            let measured = MEASURED_ROWS.min(plan.max_rows / 3);
            if measured == 0 {
                return None;
            }
            // Without measurements the scan goes on, and a device that fails will say so.
            let count = measured * head.dim();
            // How long it takes does not depend on the numbers.
            let numbers = (0..count).map(|i| (i % 251) as f32 / 64.0 - 2.0);
            let (wide, narrow): (Vec<f32>, Vec<f16>);
            let values = match storage {
                Storage::F32 => {
                    wide = numbers.collect();
                    Values::F32(&wide)
                }
                Storage::F16 => {
                    narrow = numbers.map(f16::from_f32).collect();
                    Values::F16(&narrow)
                }
            };
            let timed = TimedBlock::new(self, head, values, &plan, (&path, &buffers)).ok()?;
            let seconds = variants
                .iter()
                .map(|kernels| timed.seconds(kernels, &buffers));
            seconds.collect::<Result<_, _>>().ok()
        });
        let mut scorer = GpuScorer::new(self, head, pool, plan, (path, rows), buffers, on_device);
        scorer.centres = centres;
        Ok(Box::new(scorer))
    }

    /// The plan for scorers of that shape.
    pub(crate) fn planned(&self, shape: ScanShape) -> Result<Plan, GpuError> {
        let length = match shape.task {
            Task::NearestGradient { .. } => shape.dim.max(shape.classes),
            Task::Boundaries | Task::Nearest => shape.dim,
        };
        if self.kernels.logits.software() && length > SOFTWARE_SUM {
            let most = SOFTWARE_SUM;
            return Err(GpuError::TooLong { length, most });
        }
        Plan::new(shape, &self.sizes)
    }

    /// A scorer of gradient embeddings.
    pub(crate) fn new_gradient_scorer<'a>(
        &'a self,
        head: &Head,
        centres: &GradientCentres,
        pool: &'a dyn Pool,
        on_device: Option<OnDevice<'a>>,
    ) -> equipoise_core::Result<Box<dyn Scorer + 'a>> {
        centres.check(head)?;
        let task = Task::NearestGradient {
            centres: centres.bias.len(),
        };
        self.new_scorer(head, pool, (task, Some(centres)), on_device)
    }

    /// The parts of `pool`, if it is a [`DevicePool`] of this device, or rests on one.
    fn on_device<'a>(&self, pool: &'a dyn Pool) -> Option<OnDevice<'a>> {
        let (storage, first) = pool.storage()?;
        let parts = storage
            .downcast_ref::<DevicePool>()?
            .parts_on(&self.context)?;
        Some(OnDevice::new(parts, first))
    }

    /// Whether the device gives so many bytes now, beside what it has given already: they are asked for, and given back.
    pub fn gives(&self, bytes: u64) -> bool {
        let most = self.context.device.limits().max_buffer_size & !3;
        let asked = self.context.guarded(|| {
            let pieces = bytes.div_ceil(most);
            let held: Vec<wgpu::Buffer> = (0..pieces)
                .map(|piece| {
                    let size = most.min(bytes - piece * most).next_multiple_of(4);
                    self.context.buffer("room", size, BufferUsages::STORAGE)
                })
                .collect();
            Ok(held)
        });
        asked.is_ok()
    }

    /// Bytes that this engine moved between host and device so far.
    pub fn transfers(&self) -> Transfers {
        self.context.transfers()
    }

    /// Offsets of bindings are multiples of it, a power of two.
    pub(crate) fn least_offset(&self) -> u64 {
        let limits = self.context.device.limits();
        limits.min_storage_buffer_offset_alignment.into()
    }

    /// How logits of embeddings in `storage` are computed, in blocks and slices of `plan`.
    pub(crate) fn path(
        &self,
        head: &Head,
        storage: Storage,
        plan: &Plan,
    ) -> Result<Path, GpuError> {
        let logits = &self.kernels.logits;
        logits.path(Request {
            head,
            storage,
            rows: plan.max_rows,
            slice: plan.head_slice,
            most: match logits.is_named() {
                true => LogitBound::ANY,
                false => WIDEST,
            },
        })
    }
}

impl Engine for GpuEngine {
    fn name(&self) -> &str {
        &self.name
    }

    fn plan(&self, shape: ScanShape) -> equipoise_core::Result<MemoryPlan> {
        let plan = self.planned(shape).map_err(|error| error.on(&self.name))?;
        Ok(plan.memory(shape))
    }

    fn scorer<'a>(
        &'a self,
        head: &Head,
        pool: &'a dyn Pool,
        task: Task,
    ) -> equipoise_core::Result<Box<dyn Scorer + 'a>> {
        self.new_scorer(head, pool, (task, None), self.on_device(pool))
    }

    fn gradient_scorer<'a>(
        &'a self,
        head: &Head,
        centres: &GradientCentres,
        pool: &'a dyn Pool,
    ) -> equipoise_core::Result<Box<dyn Scorer + 'a>> {
        self.new_gradient_scorer(head, centres, pool, self.on_device(pool))
    }
}
