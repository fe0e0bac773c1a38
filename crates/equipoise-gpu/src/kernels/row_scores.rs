//! Kernel `row_scores`: scores to go on computing with.

use bytemuck::bytes_of;
use equipoise_shaders::ROW_SCORES;
use wgpu::{Buffer, CommandEncoder};

use super::row_statistics::Rows;
use super::{Checks, Kernel, first_bytes};
use crate::device::Context;
use crate::head::ScaleSlice;

/// Columns beside the distances: predicted class, runner-up, least distance, margin, confidence, entropy.
pub(crate) const COLUMNS: usize = 6;

#[derive(Debug, Clone)]
pub(crate) struct RowScores {
    kernel: Kernel,
}

impl RowScores {
    pub(crate) fn new(context: &Context) -> Self {
        Self::of(Kernel::new(context, &ROW_SCORES, Checks::Written))
    }

    /// A version of it.
    pub(crate) fn of(kernel: Kernel) -> Self {
        Self { kernel }
    }

    /// Records the scores of the rows whose predicted class is in `slice`: distances (rows, C), columns
    /// ([`COLUMNS`], rows).
    pub(crate) fn record(
        &self,
        context: &Context,
        encoder: &mut CommandEncoder,
        slice: &ScaleSlice,
        rows: Rows<'_>,
        (distances, columns): (&Buffer, &Buffer),
    ) {
        let parameters = rows.parameters(slice.range());
        let uniform = context.uniform("row parameters", bytes_of(&parameters));
        let (count, classes) = (u64::from(rows.rows), u64::from(rows.classes));
        let mut resources = vec![uniform.as_entire_binding()];
        resources.extend(rows.bindings());
        resources.push(slice.scales.as_entire_binding());
        resources.push(first_bytes(distances, 4 * count * classes));
        resources.push(first_bytes(columns, 4 * count * COLUMNS as u64));
        self.kernel
            .record(context, encoder, &resources, rows.workgroups());
    }
}
