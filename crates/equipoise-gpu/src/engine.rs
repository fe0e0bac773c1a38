//! [`Engine`] on a wgpu device.

use bytemuck::{Zeroable, cast_slice, cast_slice_mut};
use equipoise_core::engine::Precision;
use equipoise_core::{Block, Candidate, Engine, Error, Head, RowStatistics, Scorer, Values};
use equipoise_shaders::{ALL, Shader};
use wgpu::{Buffer, CommandEncoder};

use crate::device::{Context, Growing};
use crate::head::HeadBuffers;
use crate::kernels::Kernels;
use crate::kernels::class_candidates::Lists;
use crate::kernels::logits::{Arguments, Facts, LogitBound, LogitsChoice, Path, Request, Storage};
use crate::kernels::row_statistics::Rows;
use crate::plan::{Plan, Sizes};
use crate::{Gpu, GpuError};

/// The engine of one device, its kernels compiled. Scorers hold the memory.
#[derive(Debug)]
pub struct GpuEngine {
    name: String,
    context: Context,
    kernels: Kernels,
    sizes: Sizes,
}

impl GpuEngine {
    /// An engine on an open adapter.
    ///
    /// # Errors
    /// [`GpuError::Limit`] where the device lacks what the kernels need, others where compiling
    /// them fails.
    pub fn new(gpu: Gpu) -> Result<Self, GpuError> {
        Self::from_device(gpu.adapter, gpu.device, gpu.queue)
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
        let name = adapter.get_info().name;
        ALL.iter()
            .filter(|shader| shader.features.is_empty())
            .try_for_each(|shader| check_limits(&name, &device.limits(), shader))?;
        let facts = Facts::of(&adapter, &device);
        let context = Context { device, queue };
        Ok(Self {
            kernels: Kernels::new(&context, facts, &LogitsChoice::from_env())?,
            name,
            context,
            sizes,
        })
    }
}

impl GpuEngine {
    /// The path of f32 arithmetic, which [`Scorer::precision`] covers; its weights are the same
    /// for both storages.
    fn logits_path(&self, head: &Head, rows: usize, storage: Storage) -> Result<Path, GpuError> {
        self.kernels.logits.path(Request {
            head,
            storage,
            rows,
            most: LogitBound {
                gamma: f64::INFINITY,
                flushed: f32::MIN_POSITIVE.into(),
            },
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

impl Engine for GpuEngine {
    fn name(&self) -> &str {
        &self.name
    }

    fn scorer(&self, head: &Head) -> equipoise_core::Result<Box<dyn Scorer + '_>> {
        let made = Plan::new(head, &self.sizes).and_then(|plan| {
            let paths = [Storage::F32, Storage::F16]
                .map(|storage| self.logits_path(head, plan.max_rows, storage));
            let [f32, f16] = paths;
            let paths = [f32?, f16?];
            let buffers = HeadBuffers::new(&self.context, head, &plan, &paths[0])?;
            Ok((plan, paths, buffers))
        });
        let (plan, paths, buffers) = made.map_err(|error| error.on(&self.name))?;
        Ok(Box::new(GpuScorer {
            engine: self,
            classes: head.classes(),
            dim: head.dim(),
            plan,
            paths,
            head: buffers,
            memory: Memory::new(),
        }))
    }
}

/// Device memory of a scorer's blocks.
#[derive(Debug)]
struct Memory {
    values: Growing,
    tolerances: Growing,
    logits: Growing,
    statistics: Growing,
    thresholds: Growing,
    found: Growing,
    candidates: Growing,
    staging: Growing,
}

impl Memory {
    fn new() -> Self {
        Self {
            values: Growing::storage("embeddings"),
            tolerances: Growing::storage("tolerances"),
            logits: Growing::storage("logits"),
            statistics: Growing::storage("row statistics"),
            thresholds: Growing::storage("thresholds"),
            found: Growing::storage("candidates found"),
            candidates: Growing::storage("candidates"),
            staging: Growing::staging("results"),
        }
    }
}

struct GpuScorer<'a> {
    engine: &'a GpuEngine,
    classes: usize,
    dim: usize,
    plan: Plan,
    /// For f32 and f16 embeddings.
    paths: [Path; 2],
    head: HeadBuffers,
    memory: Memory,
}

/// A block whose logits are recorded.
struct Scored {
    logits: Buffer,
    tolerances: Buffer,
    rows: u32,
}

impl GpuScorer<'_> {
    fn check(&self, what: &str, expected: usize, found: usize) -> equipoise_core::Result<()> {
        match expected == found {
            true => Ok(()),
            false => Err(Error::Shape {
                what: what.into(),
                expected: expected.to_string(),
                found: found.to_string(),
            }),
        }
    }

    fn check_block(&self, block: &Block<'_>) -> equipoise_core::Result<()> {
        let rows = block.rows();
        self.check("rows of a block", rows.min(self.plan.max_rows), rows)?;
        let numbers = rows * self.dim;
        self.check("numbers of a block", numbers, block.values.len())
    }

    /// Forgets the memory, of which parts may not have been made.
    fn failed(&mut self, error: GpuError) -> Error {
        self.memory = Memory::new();
        error.on(&self.engine.name)
    }

    /// Sends the block and records its logits.
    fn score(&mut self, block: Block<'_>, encoder: &mut CommandEncoder) -> Scored {
        let context = &self.engine.context;
        let [f32, f16] = &self.paths;
        let (bytes, path): (&[u8], &Path) = match block.values {
            Values::F32(values) => (cast_slice(values), f32),
            Values::F16(values) => (cast_slice(values), f16),
        };
        let rows = block.rows();
        let values = self.memory.values.at_least(context, bytes.len() as u64);
        context.write(values, bytes);
        let tolerances = self.memory.tolerances.at_least(context, 4 * rows as u64);
        context.write(tolerances, cast_slice(block.tolerance));
        let bytes = 4 * rows as u64 * self.classes as u64;
        let logits = self.memory.logits.at_least(context, bytes);
        let arguments = Arguments {
            rows: rows as u32,
            dim: self.dim as u32,
            classes: self.classes as u32,
            values,
            logits,
        };
        for weights in &self.head.head {
            path.record(context, encoder, weights, arguments);
        }
        Scored {
            logits: logits.clone(),
            tolerances: tolerances.clone(),
            rows: rows as u32,
        }
    }

    fn rows<'b>(&self, scored: &'b Scored) -> Rows<'b> {
        Rows {
            rows: scored.rows,
            classes: self.classes as u32,
            groups: self.engine.sizes.groups,
            logits: &scored.logits,
            tolerances: &scored.tolerances,
        }
    }

    fn statistics(&mut self, block: Block<'_>, out: &mut [RowStatistics]) -> Result<(), GpuError> {
        let context = &self.engine.context;
        let mut encoder = context.encoder("row statistics");
        let scored = self.score(block, &mut encoder);
        let bytes = size_of_val(out) as u64;
        let statistics = self.memory.statistics.at_least(context, bytes).clone();
        let kernel = &self.engine.kernels.row_statistics;
        for slice in &self.head.scales {
            kernel.record(
                context,
                &mut encoder,
                slice,
                self.rows(&scored),
                &statistics,
            );
        }
        let staging = &mut self.memory.staging;
        context.submit_and_read(encoder, &statistics, staging, cast_slice_mut(out))
    }

    /// The candidates; none where they are more than the list holds.
    fn candidates(
        &mut self,
        block: Block<'_>,
        thresholds: &[f32],
    ) -> Result<Option<Vec<Candidate>>, GpuError> {
        let context = &self.engine.context;
        let mut encoder = context.encoder("class candidates");
        let scored = self.score(block, &mut encoder);
        let most = self.plan.capacity.min(scored.rows as usize * self.classes);
        let list = (most * size_of::<Candidate>()) as u64;
        let lists = Lists {
            thresholds: &self
                .memory
                .thresholds
                .at_least(context, size_of_val(thresholds) as u64)
                .clone(),
            found: &self.memory.found.at_least(context, 4).clone(),
            candidates: &self.memory.candidates.at_least(context, list).clone(),
            capacity: most as u32,
        };
        context.write(lists.thresholds, cast_slice(thresholds));
        context.write(lists.found, &[0; 4]);
        let kernel = &self.engine.kernels.class_candidates;
        for slice in &self.head.scales {
            kernel.record(context, &mut encoder, slice, self.rows(&scored), lists);
        }
        let staging = &mut self.memory.staging;
        let mut found = [0u32];
        context.submit_and_read(encoder, lists.found, staging, cast_slice_mut(&mut found))?;
        let found = found[0] as usize;
        if found > most {
            return Ok(None);
        }
        let mut candidates = vec![Candidate::zeroed(); found];
        if found > 0 {
            let encoder = context.encoder("read candidates");
            let bytes = cast_slice_mut(&mut candidates);
            context.submit_and_read(encoder, lists.candidates, staging, bytes)?;
        }
        Ok(Some(candidates))
    }
}

impl Scorer for GpuScorer<'_> {
    fn max_rows(&self) -> usize {
        self.plan.max_rows
    }

    fn precision(&self) -> Precision {
        // WGSL's accuracies: operations are correctly rounded, in either direction, and exp is
        // within 3 + 2|x| ULP.
        Precision {
            unit: 1.0 / f64::from(1 << 23),
            exp_constant: 3.0,
            exp_slope: 2.0,
        }
    }

    fn row_statistics(
        &mut self,
        block: Block<'_>,
        out: &mut [RowStatistics],
    ) -> equipoise_core::Result<()> {
        self.check_block(&block)?;
        self.check("places for statistics", block.rows(), out.len())?;
        if block.rows() == 0 {
            return Ok(());
        }
        let engine = self.engine;
        let done = engine.context.guarded(|| self.statistics(block, out));
        done.map_err(|error| self.failed(error))
    }

    fn class_candidates(
        &mut self,
        block: Block<'_>,
        thresholds: &[f32],
        out: &mut Vec<Candidate>,
    ) -> equipoise_core::Result<bool> {
        self.check_block(&block)?;
        self.check("thresholds", self.classes, thresholds.len())?;
        if block.rows() == 0 {
            return Ok(true);
        }
        let engine = self.engine;
        let found = engine
            .context
            .guarded(|| self.candidates(block, thresholds));
        let found = found.map_err(|error| self.failed(error))?;
        out.extend(found.iter().flatten());
        Ok(found.is_some())
    }
}
