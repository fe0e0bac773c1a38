//! Kernel `class_candidates`: the rows that may have a place in a class's list.

use bytemuck::bytes_of;
use equipoise_shaders::{CLASS_CANDIDATES_PLAIN, CLASS_CANDIDATES_SUBGROUP, RowParameters};
use wgpu::{Buffer, CommandEncoder};

use super::row_statistics::Rows;
use super::{Checks, Kernel, first_bytes};
use crate::device::Context;
use crate::head::ScaleSlice;

#[derive(Debug, Clone)]
pub(crate) struct ClassCandidates {
    kernel: Kernel,
}

/// Per-class thresholds, and the list: the number of candidates, which must be 0 before the first
/// slice, then they.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lists<'a> {
    pub(crate) thresholds: &'a Buffer,
    pub(crate) found: &'a Buffer,
    /// Candidates that the list holds.
    pub(crate) capacity: u32,
}

/// Bytes of the list's first `candidates`, and of their number.
pub(crate) fn list_bytes(candidates: usize) -> u64 {
    (4 + candidates * size_of::<equipoise_core::Candidate>()) as u64
}

impl ClassCandidates {
    pub(crate) fn new(context: &Context, subgroups: bool) -> Self {
        let shader = match subgroups {
            true => &CLASS_CANDIDATES_SUBGROUP,
            false => &CLASS_CANDIDATES_PLAIN,
        };
        Self::of(Kernel::new(context, shader, Checks::Written))
    }

    /// A version of it.
    pub(crate) fn of(kernel: Kernel) -> Self {
        Self { kernel }
    }

    /// Records the candidates of the rows whose predicted class is in `slice`.
    pub(crate) fn record(
        &self,
        context: &Context,
        encoder: &mut CommandEncoder,
        slice: &ScaleSlice,
        rows: Rows<'_>,
        lists: Lists<'_>,
    ) {
        let parameters = RowParameters {
            capacity: lists.capacity,
            ..rows.parameters(slice.range())
        };
        let uniform = context.uniform("row parameters", bytes_of(&parameters));
        let mut resources = vec![uniform.as_entire_binding()];
        resources.extend(rows.bindings());
        resources.push(slice.scales.as_entire_binding());
        resources.extend([
            first_bytes(lists.thresholds, u64::from(rows.classes) * 4),
            first_bytes(lists.found, list_bytes(lists.capacity as usize)),
        ]);
        self.kernel
            .record(context, encoder, &resources, rows.workgroups());
    }
}
