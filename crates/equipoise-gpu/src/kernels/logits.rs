//! Kernel `logits`: Z = X Wᵀ + b.

use bytemuck::bytes_of;
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

/// A block's embeddings, (rows, dim), and where its logits, (rows, classes), go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arguments<'a> {
    pub(crate) rows: u32,
    pub(crate) dim: u32,
    pub(crate) classes: u32,
    /// Whether `values` are f16, two to a word.
    pub(crate) half: bool,
    pub(crate) values: &'a Buffer,
    pub(crate) logits: &'a Buffer,
}

impl Logits {
    pub(crate) fn new(context: &Context) -> Self {
        Self {
            f32: Kernel::new(context, &LOGITS_F32),
            f16: Kernel::new(context, &LOGITS_F16),
        }
    }

    /// Records the logits of the classes of `slice`.
    pub(crate) fn record(
        &self,
        context: &Context,
        encoder: &mut CommandEncoder,
        slice: &HeadSlice,
        arguments: Arguments<'_>,
    ) {
        let Arguments {
            rows, dim, classes, ..
        } = arguments;
        let parameters = LogitsParameters {
            rows,
            dim,
            classes,
            first: slice.classes.start as u32,
            count: slice.classes.len() as u32,
            ..Default::default()
        };
        context.write(&slice.parameters, bytes_of(&parameters));
        let (kernel, width) = match arguments.half {
            true => (&self.f16, 2),
            false => (&self.f32, 4),
        };
        let values = u64::from(rows) * u64::from(dim) * width;
        let logits = u64::from(rows) * u64::from(classes) * 4;
        kernel.record(
            context,
            encoder,
            &[
                slice.parameters.as_entire_binding(),
                first_bytes(arguments.values, values),
                slice.weight.as_entire_binding(),
                slice.bias.as_entire_binding(),
                first_bytes(arguments.logits, logits),
            ],
            [parameters.count.div_ceil(TILE), rows.div_ceil(TILE)],
        );
    }
}
