//! A head on the device, in slices that fit its bindings.

use std::ops::Range;

use equipoise_core::Head;
use equipoise_core::engine::{BoundaryScales, NO_BOUNDARY, Task};
use wgpu::{Buffer, BufferUsages};

use crate::GpuError;
use crate::device::Context;
use crate::kernels::logits::{Path, Weights};
use crate::plan::Plan;

/// The scales of some predicted classes to all classes.
#[derive(Debug)]
pub(crate) struct ScaleSlice {
    pub(crate) classes: Range<usize>,
    pub(crate) scales: Buffer,
}

impl ScaleSlice {
    /// Its classes.
    pub(crate) fn range(&self) -> Range<u32> {
        self.classes.start as u32..self.classes.end as u32
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct HeadBuffers {
    pub(crate) head: Vec<Weights>,
    /// None where nobody asks about boundaries.
    pub(crate) scales: Vec<ScaleSlice>,
}

impl HeadBuffers {
    /// Copies `head` to the device.
    pub(crate) fn new(
        context: &Context,
        head: &Head,
        plan: &Plan,
        path: &Path,
        task: Task,
    ) -> Result<Self, GpuError> {
        let classes = head.classes();
        let slices = |length: usize| {
            (0..classes)
                .step_by(length)
                .map(move |first| first..classes.min(first + length))
        };
        let head_slices = context.guarded(|| {
            let slices = slices(plan.head_slice);
            slices
                .map(|range| path.weights(context, head, range))
                .collect()
        })?;
        if task != Task::Boundaries {
            return Ok(Self {
                head: head_slices,
                scales: Vec::new(),
            });
        }
        // Each by itself: where memory runs out, the rest of the table is not computed in vain.
        let made = BoundaryScales::new(head);
        let scales = slices(plan.scale_slice)
            .map(|range| context.guarded(|| scale_slice(context, head, plan, &made, range)))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            head: head_slices,
            scales,
        })
    }
}

fn scale_slice(
    context: &Context,
    head: &Head,
    plan: &Plan,
    made: &BoundaryScales,
    classes: Range<usize>,
) -> Result<ScaleSlice, GpuError> {
    let line = 4 * head.classes();
    let scales = storage(context, "boundary scales", line * classes.len());
    let step = plan.scale_lines(head.classes());
    for first in classes.clone().step_by(step) {
        let end = classes.end.min(first + step);
        let lines: Vec<usize> = (first..end).collect();
        let piece = made.lines(head, &lines, head.classes(), NO_BOUNDARY);
        let offset = (line * (first - classes.start)) as u64;
        context.send(&scales, offset, bytemuck::cast_slice(&piece))?;
    }
    Ok(ScaleSlice { scales, classes })
}

fn storage(context: &Context, label: &str, bytes: usize) -> Buffer {
    let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
    context.buffer(label, bytes as u64, usage)
}
