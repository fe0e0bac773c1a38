//! Kernel `nearest_gradient`: which of some centres is nearest to a row's gradient embedding.

use bytemuck::bytes_of;
use equipoise_core::engine::NearestGradient as Record;
use equipoise_shaders::{NEAREST_GRADIENT_PLAIN, NEAREST_GRADIENT_SUBGROUP, RowParameters};
use wgpu::{Buffer, CommandEncoder};

use super::{Checks, Kernel, first_bytes, group_per_row};
use crate::device::Context;

#[derive(Debug, Clone)]
pub(crate) struct NearestGradient {
    kernel: Kernel,
}

/// Products of rows with centres, (rows, centres).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Products<'a> {
    pub(crate) rows: u32,
    pub(crate) centres: u32,
    /// Most workgroups in one dimension.
    pub(crate) groups: u32,
    pub(crate) of_embeddings: &'a Buffer,
    pub(crate) of_gradients: &'a Buffer,
    /// −‖g_k‖²‖x_k‖²/2 of each centre.
    pub(crate) bias: &'a Buffer,
}

impl NearestGradient {
    pub(crate) fn new(context: &Context, subgroups: bool) -> Self {
        let shader = match subgroups {
            true => &NEAREST_GRADIENT_SUBGROUP,
            false => &NEAREST_GRADIENT_PLAIN,
        };
        Self::of(Kernel::new(context, shader, Checks::Written))
    }

    /// A version of it.
    pub(crate) fn of(kernel: Kernel) -> Self {
        Self { kernel }
    }

    /// Records the nearest centre of every row of which kernel `gradients` knows something.
    pub(crate) fn record(
        &self,
        context: &Context,
        encoder: &mut CommandEncoder,
        products: Products<'_>,
        found: &Buffer,
    ) {
        let parameters = RowParameters {
            rows: products.rows,
            classes: products.centres,
            ..Default::default()
        };
        let uniform = context.uniform("row parameters", bytes_of(&parameters));
        let (rows, centres) = (u64::from(products.rows), u64::from(products.centres));
        let bytes = rows * centres * 4;
        let resources = [
            (0, uniform.as_entire_binding()),
            (1, first_bytes(products.of_embeddings, bytes)),
            (5, first_bytes(products.of_gradients, bytes)),
            (6, first_bytes(products.bias, centres * 4)),
            (7, first_bytes(found, rows * size_of::<Record>() as u64)),
        ];
        let groups = group_per_row(products.rows, products.groups);
        self.kernel.record_at(context, encoder, &resources, groups);
    }
}
