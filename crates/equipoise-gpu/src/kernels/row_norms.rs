//! Kernel `row_norms`: an upper bound on each row's norm.

use bytemuck::bytes_of;
use equipoise_shaders::{NormsParameters, ROW_NORMS_F16, ROW_NORMS_F32};
use wgpu::{Buffer, CommandEncoder};

use super::{Checks, Kernel, Storage, Values, first_bytes, group_per_row};
use crate::device::Context;

#[derive(Debug)]
pub(crate) struct RowNorms {
    f32: Kernel,
    f16: Kernel,
}

impl RowNorms {
    pub(crate) fn new(context: &Context) -> Self {
        Self {
            f32: Kernel::new(context, &ROW_NORMS_F32, Checks::Full),
            f16: Kernel::new(context, &ROW_NORMS_F16, Checks::Full),
        }
    }

    /// Records the norms of all rows of `values`; `groups` is the most workgroups in one dimension.
    pub(crate) fn record(
        &self,
        context: &Context,
        encoder: &mut CommandEncoder,
        values: Values<'_>,
        groups: u32,
        norms: &Buffer,
    ) {
        let parameters = NormsParameters {
            rows: values.rows,
            dim: values.dim,
            ..Default::default()
        };
        let kernel = match values.storage {
            Storage::F32 => &self.f32,
            Storage::F16 => &self.f16,
        };
        let uniform = context.uniform("norms parameters", bytes_of(&parameters));
        kernel.record(
            context,
            encoder,
            &[
                uniform.as_entire_binding(),
                values.binding(),
                first_bytes(norms, u64::from(values.rows) * 4),
            ],
            group_per_row(values.rows, groups),
        );
    }
}
