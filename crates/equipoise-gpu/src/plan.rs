//! How a head and its blocks are laid out within a device's limits, and what memory that takes.
//!
//! Of the host's memory everything is counted that grows with head, pool or block: what the engine allocates, buffers that
//! the host maps, and the copies that `wgpu::Queue::write_buffer` keeps until the device has them. wgpu's allocator takes memory
//! of devices and of mapped buffers in larger blocks than it is asked for, by up to some tens of MiB.

#[cfg(test)]
mod tests;

use equipoise_core::engine::{BoundaryScales, Candidates, Nearest, NearestGradient, Task};
use equipoise_core::memory::{MemoryPlan, Place, ScanShape, scanned_row_bytes, within};
use equipoise_core::{Candidate, RowStatistics};

use crate::GpuError;
use crate::device::SENT;
use crate::kernels::class_candidates::list_bytes;
use crate::kernels::logits::{LEAST_TILE, most_padding};
use crate::parts::row_alignment;
use crate::scorer::{DEPTH, PREFIX};

/// Most rows of a block whatever their size: beyond, nothing gets faster.
const MOST_ROWS: u64 = 1 << 20;

/// Bytes of the scale table that are computed at a time, if a block has as many rows: every core has some of them to do.
const SCALES: u64 = 64 << 20;

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
    /// How many engines share the host's memory: each may take as large a part of `memory` there.
    pub sharing: u64,
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
            sharing: 1,
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
        // So many that a block that begins with a whole word has one that is wanted.
        let least = row_alignment(4, (shape.dim * shape.width) as u64);
        let whole = Self::unbounded(shape, sizes, least as u64)?;
        let halves = std::iter::successors(Some(whole), |plan| {
            let half = Self {
                max_rows: (plan.max_rows / 2).max(least),
                capacity: (plan.capacity / 2).max(shape.classes),
                ..*plan
            };
            (half != *plan).then_some(half)
        });
        let bytes = |plan: Self| {
            let memory = plan.memory(shape);
            let host = memory.bytes(Place::Host);
            let host = host.saturating_mul(sizes.sharing.max(1));
            memory.bytes(Place::Device).max(host)
        };
        let tries = halves.map(|plan| (plan, bytes(plan)));
        within(sizes.memory, tries).map_err(|needed| GpuError::MemoryBudget {
            budget: sizes.memory.unwrap_or_default(),
            needed,
        })
    }

    /// Predicted classes whose scales are computed at a time, of `classes` in all.
    pub(crate) fn scale_lines(&self, classes: usize) -> usize {
        let most = SCALES / (4 * classes as u64);
        most.clamp(1, self.max_rows as u64) as usize
    }

    /// What a scorer takes at most.
    pub(crate) fn memory(&self, shape: ScanShape) -> MemoryPlan {
        let mut plan = MemoryPlan {
            rows: self.max_rows,
            depth: DEPTH,
            parts: Vec::new(),
        };
        let (rows, depth) = (self.max_rows as u64, DEPTH as u64);
        let (classes, dim, width) = (shape.classes as u64, shape.dim as u64, shape.width);
        let capacity = self
            .capacity
            .min(self.max_rows.saturating_mul(shape.classes));
        let values = (rows * dim * width as u64).next_multiple_of(4);
        let statistics = rows * size_of::<RowStatistics>() as u64;
        let nearest = rows * size_of::<Nearest>() as u64;
        let gradients = rows * size_of::<NearestGradient>() as u64;
        let (list, prefix) = match shape.task {
            Task::Nearest => (nearest, nearest),
            Task::NearestGradient { .. } => (gradients, gradients),
            Task::Boundaries => (
                list_bytes(capacity).max(statistics),
                list_bytes(capacity.min(PREFIX)).max(statistics),
            ),
        };
        // A bit a row, and a threshold a class.
        let asked = 4 * rows.div_ceil(32) + 4 * classes;
        plan.add(
            Place::Device,
            "head",
            matrix(classes, dim, width) + 4 * classes,
        );
        plan.add(Place::Host, "head", 4 * classes * dim);
        let mut on_its_way = matrix_sent(classes, dim, width);
        plan.add(Place::Device, "logits", 4 * rows * classes);
        match shape.task {
            Task::Boundaries => {
                let table = 4 * classes * classes;
                plan.add(Place::Device, "scales of all classes", table);
                let lines = self.scale_lines(shape.classes);
                let piece = lines as u64 * (4 * classes + size_of::<usize>() as u64);
                let made = BoundaryScales::bytes(shape.classes, shape.dim, lines);
                let sent = made + piece + piece.min(SENT as u64);
                plan.add(Place::Host, "scales on their way", sent);
                let by_class = Candidates::bytes(capacity as u64, rows, classes);
                plan.add(Place::Host, "candidates by class", by_class);
                let known = rows.min(shape.rows as u64) * scanned_row_bytes(shape.task);
                plan.add(Place::Host, "what is known of a block's rows", known);
            }
            Task::NearestGradient { centres } => {
                let centres = centres as u64;
                let matrices = matrix(centres, dim, width) + 4 * centres * classes;
                // And their three biases.
                plan.add(Place::Device, "centres", matrices + 12 * centres);
                let products = 4 * rows * (classes + 2 * centres);
                plan.add(Place::Device, "gradients and products", products);
                plan.add(Place::Host, "centres", 4 * centres * (dim + classes));
                let of_centres = matrix_sent(centres, dim, width);
                let of_gradients = matrix_sent(centres, classes, 4);
                on_its_way = on_its_way.max(of_centres).max(of_gradients);
            }
            Task::Nearest => {}
        }
        plan.add(Place::Host, "head on its way", on_its_way);
        plan.add(Place::Device, "embeddings", depth * values);
        plan.add(Place::Host, "embeddings on their way", depth * values);
        let results = depth * (list + 4 * rows + asked);
        plan.add(Place::Device, "results", results);
        // wgpu has a copy of each question, and the next one is being made.
        plan.add(Place::Host, "questions on their way", (depth + 1) * asked);
        // Rows that are not finite are listed too, in memory that grows by doubling.
        let nonfinite = 3 * rows * size_of::<usize>() as u64;
        let results = depth * prefix + list + nonfinite;
        plan.add(Place::Host, "results on their way", results);
        plan
    }

    fn unbounded(shape: ScanShape, sizes: &Sizes, least: u64) -> Result<Self, GpuError> {
        // The widest row of numbers, and the longest sum.
        let (classes, dim) = match shape.task {
            Task::NearestGradient { centres } => {
                (shape.classes.max(centres), shape.dim.max(shape.classes))
            }
            _ => (shape.classes, shape.dim),
        };
        let (classes, dim) = (classes as u64, dim as u64);
        let tile = u64::from(LEAST_TILE);
        let groups = u64::from(sizes.groups);
        let fits = |what: &str, each: u64, least: u64| match sizes.binding / each {
            most if most >= least => Ok(most),
            _ => Err(GpuError::TooLarge {
                what: what.into(),
                needed: each.saturating_mul(least),
                limit: sizes.binding,
            }),
        };
        let (embedding, row) = match least {
            1 => ("an embedding", "a row"),
            _ => ("two embeddings", "two rows"),
        };
        let row_of_values = fits(&format!("{embedding} of {dim} numbers"), 4 * dim, least)?;
        let row_of_classes = fits(&format!("{row} of {classes} logits"), 4 * classes, least)?;
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
            (shape.rows as u64).max(1),
        ];
        let max_rows = rows.into_iter().fold(u64::MAX, u64::min);
        let mut head_slice = row_of_values.min(groups.saturating_mul(tile));
        if shape.width == 2 {
            // Whole tiles of f16 parts. Where not even one fits, no variant that is chosen for its speed has any.
            let [tile, _] = most_padding();
            let whole = sizes.binding / (matrix(1, dim, 2) / 2) * tile;
            head_slice = if whole > 0 {
                head_slice.min(whole)
            } else {
                head_slice
            };
        }
        Ok(Self {
            max_rows: max_rows.max(least) as usize,
            // No row is more than every class's candidate.
            capacity: sizes
                .candidates
                .min(max_rows.max(least).saturating_mul(classes))
                .clamp(classes, list) as usize,
            head_slice: head_slice.min(classes) as usize,
            scale_slice: row_of_classes.min(classes) as usize,
        })
    }
}

/// Bytes that a matrix of weights takes on a device, of `width` bytes a number of the embeddings, whichever variant of the
/// product it is made for: two f16 parts take as much as f32, but for their padding.
fn matrix(lines: u64, columns: u64, width: usize) -> u64 {
    let [tile, depth] = match width {
        2 => most_padding(),
        _ => [1, 1],
    };
    4 * lines.next_multiple_of(tile) * columns.next_multiple_of(depth)
}

/// Bytes of the host's memory that such a matrix takes on its way: a piece of each part, and wgpu's copy of one.
fn matrix_sent(lines: u64, columns: u64, width: usize) -> u64 {
    let whole = matrix(lines, columns, width);
    let copy = whole.min(SENT as u64);
    match width {
        // A piece is a tile at least.
        2 => copy + whole.min((2 * SENT as u64).max(matrix(1, columns, width))),
        _ => copy,
    }
}
