//! Kernel `gradients`: softmax of rows' logits less the one-hot of their predicted classes.

use bytemuck::bytes_of;
use equipoise_core::engine::{GradientTolerance, NearestGradient};
use equipoise_shaders::{GRADIENTS_PLAIN, GRADIENTS_SUBGROUP, GradientParameters};
use wgpu::{Buffer, CommandEncoder};

use super::row_statistics::Rows;
use super::{Checks, Kernel, first_bytes};
use crate::device::Context;

#[derive(Debug, Clone)]
pub(crate) struct Gradients {
    kernel: Kernel,
}

impl Gradients {
    pub(crate) fn new(context: &Context, subgroups: bool) -> Self {
        let shader = match subgroups {
            true => &GRADIENTS_SUBGROUP,
            false => &GRADIENTS_PLAIN,
        };
        Self::of(Kernel::new(context, shader, Checks::Written))
    }

    /// A version of it.
    pub(crate) fn of(kernel: Kernel) -> Self {
        Self { kernel }
    }

    /// Records the gradients of all rows, (rows, classes), and what is known of them to `found`.
    pub(crate) fn record(
        &self,
        context: &Context,
        encoder: &mut CommandEncoder,
        rows: Rows<'_>,
        tolerance: &GradientTolerance,
        (gradients, found): (&Buffer, &Buffer),
    ) {
        let parameters = rows.parameters(0..rows.classes);
        let uniform = context.uniform("row parameters", bytes_of(&parameters));
        let bounds = GradientParameters {
            embedding_slope: tolerance.embeddings.slope,
            embedding_offset: tolerance.embeddings.offset,
            embedding_largest_norm: tolerance.embeddings.largest_norm,
            gradient_slope: tolerance.gradients.slope,
            gradient_offset: tolerance.gradients.offset,
            gradient_largest_norm: tolerance.gradients.largest_norm,
            largest_embedding: tolerance.largest_embedding,
            largest_gradient: tolerance.largest_gradient,
            largest_bias: tolerance.largest_bias,
            base: tolerance.base,
            unit: tolerance.unit,
            ..Default::default()
        };
        let bounds = context.uniform("gradient parameters", bytes_of(&bounds));
        let count = u64::from(rows.rows);
        let [logits, norms, available] = rows.bindings();
        let resources = [
            (0, uniform.as_entire_binding()),
            (1, logits),
            (2, norms),
            (3, available),
            (5, bounds.as_entire_binding()),
            (
                6,
                first_bytes(gradients, count * u64::from(rows.classes) * 4),
            ),
            (
                7,
                first_bytes(found, count * size_of::<NearestGradient>() as u64),
            ),
        ];
        self.kernel
            .record_at(context, encoder, &resources, rows.workgroups());
    }
}
