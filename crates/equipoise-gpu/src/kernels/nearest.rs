//! Kernel `nearest`: which of some centres is nearest to a row.

use bytemuck::bytes_of;
use equipoise_shaders::{NEAREST_PLAIN, NEAREST_SUBGROUP};
use wgpu::{Buffer, CommandEncoder};

use super::row_statistics::Rows;
use super::{Checks, Kernel, first_bytes};
use crate::device::Context;

#[derive(Debug, Clone)]
pub(crate) struct Nearest {
    kernel: Kernel,
}

impl Nearest {
    pub(crate) fn new(context: &Context, subgroups: bool) -> Self {
        let shader = match subgroups {
            true => &NEAREST_SUBGROUP,
            false => &NEAREST_PLAIN,
        };
        Self::of(Kernel::new(context, shader, Checks::Written))
    }

    /// A version of it.
    pub(crate) fn of(kernel: Kernel) -> Self {
        Self { kernel }
    }

    /// Records the nearest centre of every row.
    pub(crate) fn record(
        &self,
        context: &Context,
        encoder: &mut CommandEncoder,
        rows: Rows<'_>,
        nearest: &Buffer,
    ) {
        let uniform = context.uniform(
            "row parameters",
            bytes_of(&rows.parameters(0..rows.classes)),
        );
        let bytes = u64::from(rows.rows) * size_of::<equipoise_core::engine::Nearest>() as u64;
        let [logits, norms, available] = rows.bindings();
        let resources = [
            (0, uniform.as_entire_binding()),
            (1, logits),
            (2, norms),
            (3, available),
            // No scales.
            (5, first_bytes(nearest, bytes)),
        ];
        self.kernel
            .record_at(context, encoder, &resources, rows.workgroups());
    }
}
