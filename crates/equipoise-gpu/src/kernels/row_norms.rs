//! Kernel `row_norms`: an upper bound on each row's norm.

use bytemuck::bytes_of;
use equipoise_shaders::{NormsParameters, ROW_NORMS_F16, ROW_NORMS_F32};
use wgpu::{BindingResource, Buffer, BufferBinding, CommandEncoder};

use super::{Checks, Kernel, Storage, Values, group_per_row};
use crate::device::Context;

#[derive(Debug, Clone)]
pub(crate) struct RowNorms {
    f32: Kernel,
    f16: Kernel,
}

impl RowNorms {
    pub(crate) fn new(context: &Context) -> Self {
        Self {
            f32: Kernel::new(context, &ROW_NORMS_F32, Checks::Written),
            f16: Kernel::new(context, &ROW_NORMS_F16, Checks::Written),
        }
    }

    /// A version of it, for the one storage that it reads.
    pub(crate) fn of(kernel: Kernel) -> Self {
        Self {
            f32: kernel.clone(),
            f16: kernel,
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
        self.record_at(context, encoder, values, groups, (norms, 0));
    }

    /// [`Self::record`], to a buffer from an offset on.
    pub(crate) fn record_at(
        &self,
        context: &Context,
        encoder: &mut CommandEncoder,
        values: Values<'_>,
        groups: u32,
        (norms, offset): (&Buffer, u64),
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
                BindingResource::Buffer(BufferBinding {
                    buffer: norms,
                    offset,
                    size: wgpu::BufferSize::new(u64::from(values.rows) * 4),
                }),
            ],
            group_per_row(values.rows, groups),
        );
    }
}
