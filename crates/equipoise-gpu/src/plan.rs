//! How a head and its blocks are laid out within a device's limits.

use equipoise_core::engine::{Candidates, Nearest, NearestGradient, Task};
use equipoise_core::memory::{MemoryPlan, Place, ScanShape, within};
use equipoise_core::{Candidate, RowStatistics};

use crate::GpuError;
use crate::kernels::class_candidates::list_bytes;
use crate::scorer::{DEPTH, PREFIX};

/// Most rows of a block whatever their size: beyond, nothing gets faster.
const MOST_ROWS: u64 = 1 << 20;

/// How much of a device one scorer uses at a time. The results do not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Largest binding in bytes; [`Sizes::of`] takes the device's limit.
    pub binding: u64,
    /// Bytes of a block's embeddings, if a row takes no more.
    pub values: u64,
    /// Bytes of a block's logits, if a row takes no more.
    pub logits: u64,
    /// Candidates that the list holds, if there are no more classes.
    pub candidates: u64,
    /// Most workgroups of a dispatch in one dimension.
    pub groups: u32,
    /// Bytes that a scorer may take, of the device's memory and of the host's; `None` sets no bound.
    pub memory: Option<u64>,
}

impl Sizes {
    /// The sizes for a device with `limits`.
    pub fn of(limits: &wgpu::Limits) -> Self {
        let binding = limits
            .max_storage_buffer_binding_size
            .min(limits.max_buffer_size)
            // Byte offsets are 32 bits wide in HLSL.
            .min(1 << 31);
        Self {
            binding: binding & !3,
            values: 128 << 20,
            logits: 64 << 20,
            candidates: 1 << 20,
            groups: limits.max_compute_workgroups_per_dimension,
            memory: None,
        }
    }
}

/// The layout for one head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Most rows of a block.
    pub(crate) max_rows: usize,
    /// Candidates that the list holds.
    pub(crate) capacity: usize,
    /// Classes of a slice of the head.
    pub(crate) head_slice: usize,
    /// Predicted classes of a slice of the scale table.
    pub(crate) scale_slice: usize,
}

impl Plan {
    /// The plan with the largest blocks that the sizes allow.
    pub(crate) fn new(shape: ScanShape, sizes: &Sizes) -> Result<Self, GpuError> {
        let whole = Self::unbounded(shape, sizes)?;
        let halves = std::iter::successors(Some(whole), |plan| {
            (plan.max_rows > 1).then(|| Self {
                max_rows: plan.max_rows / 2,
                capacity: (plan.capacity / 2).max(shape.classes),
                ..*plan
            })
        });
        let bytes = |plan: Self| {
            let memory = plan.memory(shape);
            memory.bytes(Place::Device).max(memory.bytes(Place::Host))
        };
        let tries = halves.map(|plan| (plan, bytes(plan)));
        within(sizes.memory, tries).map_err(|needed| GpuError::MemoryBudget {
            budget: sizes.memory.unwrap_or_default(),
            needed,
        })
    }

    /// What a scorer takes.
    pub(crate) fn memory(&self, shape: ScanShape) -> MemoryPlan {
        let mut plan = MemoryPlan {
            rows: self.max_rows,
            depth: DEPTH,
            parts: Vec::new(),
        };
        let (rows, depth) = (self.max_rows as u64, DEPTH as u64);
        let (classes, dim) = (shape.classes as u64, shape.dim as u64);
        let values = rows * dim * shape.width as u64;
        let statistics = rows * size_of::<RowStatistics>() as u64;
        let nearest = rows * size_of::<Nearest>() as u64;
        let gradients = rows * size_of::<NearestGradient>() as u64;
        let (list, prefix, scales) = match shape.task {
            Task::Nearest => (nearest, nearest, 0),
            Task::NearestGradient { .. } => (gradients, gradients, 0),
            Task::Boundaries => (
                list_bytes(self.capacity).max(statistics),
                list_bytes(self.capacity.min(PREFIX)).max(statistics),
                4 * classes * classes,
            ),
        };
        // Two f16 parts take as much as f32.
        plan.add(Place::Device, "head", 4 * classes * (dim + 1));
        plan.add(Place::Device, "scales of all classes", scales);
        plan.add(Place::Device, "logits", 4 * rows * classes);
        if let Task::NearestGradient { centres } = shape.task {
            let centres = centres as u64;
            plan.add(Place::Device, "centres", 4 * centres * (dim + classes + 1));
            let products = 4 * rows * (classes + 2 * centres);
            plan.add(Place::Device, "gradients and products", products);
            plan.add(Place::Host, "centres", 4 * centres * (dim + classes));
        }
        plan.add(Place::Device, "embeddings", depth * values);
        plan.add(
            Place::Device,
            "results",
            depth * (list + 4 * rows + rows / 8 + 4 * classes),
        );
        plan.add(Place::Host, "head", 4 * classes * dim);
        plan.add(Place::Host, "embeddings on their way", depth * values);
        plan.add(Place::Host, "results on their way", depth * prefix + list);
        if shape.task == Task::Boundaries {
            let by_class = Candidates::bytes(self.capacity as u64, rows, classes);
            plan.add(Place::Host, "candidates by class", by_class);
        }
        plan
    }

    fn unbounded(shape: ScanShape, sizes: &Sizes) -> Result<Self, GpuError> {
        // The widest row of numbers, and the longest sum.
        let (classes, dim) = match shape.task {
            Task::NearestGradient { centres } => {
                (shape.classes.max(centres), shape.dim.max(shape.classes))
            }
            _ => (shape.classes, shape.dim),
        };
        let (classes, dim) = (classes as u64, dim as u64);
        let tile = u64::from(crate::kernels::logits::LEAST_TILE);
        let groups = u64::from(sizes.groups);
        let fits = |what: &str, each: u64, least: u64| match sizes.binding / each {
            most if most >= least => Ok(most),
            _ => Err(GpuError::TooLarge {
                what: what.into(),
                needed: each.saturating_mul(least),
                limit: sizes.binding,
            }),
        };
        let row_of_values = fits(&format!("an embedding of {dim} numbers"), 4 * dim, 1)?;
        let row_of_classes = fits(&format!("a row of {classes} logits"), 4 * classes, 1)?;
        let record = size_of::<Candidate>() as u64;
        // Its count comes first.
        let list = fits(
            &format!("a list of {classes} candidates"),
            record,
            classes + 1,
        )? - 1;
        let rows = [
            (sizes.values / (4 * dim)).max(1).min(row_of_values),
            (sizes.logits / (4 * classes)).max(1).min(row_of_classes),
            (sizes.binding / size_of::<RowStatistics>() as u64).max(1),
            groups.saturating_mul(tile),
            groups.saturating_mul(groups),
            MOST_ROWS,
        ];
        Ok(Self {
            max_rows: rows.into_iter().fold(u64::MAX, u64::min) as usize,
            capacity: sizes.candidates.clamp(classes, list) as usize,
            head_slice: row_of_values.min(groups.saturating_mul(tile)).min(classes) as usize,
            scale_slice: row_of_classes.min(classes) as usize,
        })
    }
}
