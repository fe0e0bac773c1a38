//! Kernel `row_statistics`: what the per-row scores are made of.

use std::ops::Range;

use bytemuck::bytes_of;
use equipoise_core::engine::Tolerance;
use equipoise_shaders::{ROW_STATISTICS_PLAIN, ROW_STATISTICS_SUBGROUP, RowParameters};
use wgpu::{BindingResource, Buffer, BufferBinding, BufferSize, CommandEncoder};

use super::{Checks, Kernel, first_bytes, group_per_row};
use crate::device::Context;
use crate::head::ScaleSlice;

/// Norms are bound from a multiple of it on, which any device's alignment divides: those of a whole pool may be more than a
/// binding may be.
const WINDOW: u32 = 64;

#[derive(Debug, Clone)]
pub(crate) struct RowStatistics {
    kernel: Kernel,
}

/// A block's logits, (rows, classes), and what bounds their errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) rows: u32,
    pub(crate) classes: u32,
    /// Most workgroups in one dimension.
    pub(crate) groups: u32,
    pub(crate) tolerance: Tolerance,
    pub(crate) logits: &'a Buffer,
    /// Norms, the block's from `first_norm` on.
    pub(crate) norms: &'a Buffer,
    pub(crate) first_norm: u32,
    /// A bit a row.
    pub(crate) available: &'a Buffer,
}

impl Rows<'_> {
    /// For the rows whose predicted class is one of `classes`.
    pub(super) fn parameters(&self, classes: Range<u32>) -> RowParameters {
        RowParameters {
            rows: self.rows,
            classes: self.classes,
            first: classes.start,
            count: classes.end - classes.start,
            first_norm: self.first_norm % WINDOW,
            slope: self.tolerance.slope,
            offset: self.tolerance.offset,
            largest_norm: self.tolerance.largest_norm,
            ..Default::default()
        }
    }

    /// What the row kernels bind from 1 to 3.
    pub(super) fn bindings(&self) -> [BindingResource<'_>; 3] {
        let logits = u64::from(self.rows) * u64::from(self.classes) * 4;
        let norms = u64::from(self.first_norm % WINDOW + self.rows) * 4;
        [
            first_bytes(self.logits, logits),
            BindingResource::Buffer(BufferBinding {
                buffer: self.norms,
                offset: u64::from(self.first_norm / WINDOW * WINDOW) * 4,
                size: BufferSize::new(norms),
            }),
            first_bytes(self.available, u64::from(self.rows.div_ceil(32)) * 4),
        ]
    }

    pub(super) fn workgroups(&self) -> [u32; 2] {
        group_per_row(self.rows, self.groups)
    }
}

impl RowStatistics {
    pub(crate) fn new(context: &Context, subgroups: bool) -> Self {
        let shader = match subgroups {
            true => &ROW_STATISTICS_SUBGROUP,
            false => &ROW_STATISTICS_PLAIN,
        };
        Self::of(Kernel::new(context, shader, Checks::Written))
    }

    /// A version of it.
    pub(crate) fn of(kernel: Kernel) -> Self {
        Self { kernel }
    }

    /// Records the statistics of the rows whose predicted class is in `slice`.
    pub(crate) fn record(
        &self,
        context: &Context,
        encoder: &mut CommandEncoder,
        slice: &ScaleSlice,
        rows: Rows<'_>,
        statistics: &Buffer,
    ) {
        let parameters = rows.parameters(slice.range());
        let uniform = context.uniform("row parameters", bytes_of(&parameters));
        let bytes = u64::from(rows.rows) * size_of::<equipoise_core::RowStatistics>() as u64;
        let mut resources = vec![uniform.as_entire_binding()];
        resources.extend(rows.bindings());
        resources.push(slice.scales.as_entire_binding());
        resources.push(first_bytes(statistics, bytes));
        self.kernel
            .record(context, encoder, &resources, rows.workgroups());
    }
}
