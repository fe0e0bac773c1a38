//! Kernel `logits`: Z = X Wᵀ + b.

use bytemuck::bytes_of;
use equipoise_core::engine::LogitError;
use equipoise_shaders::{LOGITS_F16, LOGITS_F32, LogitsParameters, logits::TILE};
use wgpu::{Buffer, CommandEncoder};

use super::{Kernel, first_bytes};
use crate::device::Context;
use crate::head::HeadSlice;

#[derive(Debug)]
pub(crate) struct Logits {
    f32: Kernel,
    f16: Kernel,
}

/// Embeddings on the device, (rows, dim).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values<'a> {
    pub(crate) rows: u32,
    pub(crate) dim: u32,
    /// Whether they are f16, two to a word.
    pub(crate) half: bool,
    pub(crate) buffer: &'a Buffer,
    /// Where they begin, in bytes: a multiple of the device's alignment.
    pub(crate) offset: u64,
}

impl<'a> Values<'a> {
    pub(super) fn binding(&self) -> wgpu::BindingResource<'a> {
        let width = if self.half { 2 } else { 4 };
        let bytes = u64::from(self.rows) * u64::from(self.dim) * width;
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: self.buffer,
            offset: self.offset,
            size: wgpu::BufferSize::new(bytes.next_multiple_of(4)),
        })
    }
}

impl Logits {
    pub(crate) fn new(context: &Context) -> Self {
        Self {
            f32: Kernel::new(context, &LOGITS_F32),
            f16: Kernel::new(context, &LOGITS_F16),
        }
    }

    /// Records the logits of the classes of `slice`: their columns of `logits`, (rows, classes).
    pub(crate) fn record(
        &self,
        context: &Context,
        encoder: &mut CommandEncoder,
        slice: &HeadSlice,
        values: Values<'_>,
        classes: u32,
        logits: &Buffer,
    ) {
        let Values { rows, dim, .. } = values;
        let parameters = LogitsParameters {
            rows,
            dim,
            classes,
            first: slice.classes.start as u32,
            count: slice.classes.len() as u32,
            ..Default::default()
        };
        let kernel = match values.half {
            true => &self.f16,
            false => &self.f32,
        };
        let uniform = context.uniform("logits parameters", bytes_of(&parameters));
        kernel.record(
            context,
            encoder,
            &[
                uniform.as_entire_binding(),
                values.binding(),
                slice.weight.as_entire_binding(),
                slice.bias.as_entire_binding(),
                first_bytes(logits, u64::from(rows) * u64::from(classes) * 4),
            ],
            [parameters.count.div_ceil(TILE), rows.div_ceil(TILE)],
        );
    }

    /// The error of its logits: sums of f32 products in any order, each operation within the
    /// relative 2⁻²³ that WGSL promises.
    pub(crate) fn error(dim: usize) -> LogitError {
        LogitError::of_sum(dim, 1.0 / f64::from(1 << 23))
    }
}
