//! Kernel `row_keys`: the key of every row, by a function of somebody's own.

use bytemuck::bytes_of;
use equipoise_core::CustomScore;
use equipoise_core::engine::RowKey;
use equipoise_shaders::{ROW_KEYS, row_keys, row_keys_with};
use wgpu::{Buffer, CommandEncoder};

use super::row_statistics::Rows;
use super::{Checks, Kernel, first_bytes, group_per_row};
use crate::GpuError;
use crate::device::Context;

#[derive(Debug)]
pub(crate) struct RowKeys {
    kernel: Kernel,
    /// The function it was compiled with.
    wgsl: String,
}

impl RowKeys {
    /// # Errors
    /// [`GpuError::Wgsl`] where the function is not valid.
    pub(crate) fn new(context: &Context, score: &dyn CustomScore) -> Result<Self, GpuError> {
        let source = row_keys_with(score.wgsl()).map_err(|error| GpuError::Wgsl {
            of: format!("score {}", score.name()),
            message: error.to_string(),
        })?;
        let label = format!("{} {}", ROW_KEYS.kernel, score.name());
        // Nobody knows where a function of somebody's own reads.
        let kernel = Kernel::of_source(context, &label, &source, ROW_KEYS.entry, Checks::Full);
        Ok(Self {
            kernel,
            wgsl: score.wgsl().into(),
        })
    }

    /// Whether it is that of `score`.
    pub(crate) fn is_of(&self, score: &dyn CustomScore) -> bool {
        self.wgsl == score.wgsl()
    }

    /// Records the keys of all rows.
    pub(crate) fn record(
        &self,
        context: &Context,
        encoder: &mut CommandEncoder,
        rows: Rows<'_>,
        keys: &Buffer,
    ) {
        let parameters = rows.parameters(0..rows.classes);
        let uniform = context.uniform("row parameters", bytes_of(&parameters));
        let bytes = u64::from(rows.rows) * size_of::<RowKey>() as u64;
        let [logits, norms, available] = rows.bindings();
        let resources = [
            (0, uniform.as_entire_binding()),
            (1, logits),
            (2, norms),
            (3, available),
            (5, first_bytes(keys, bytes)),
        ];
        let groups = group_per_row(rows.rows.div_ceil(row_keys::LANES), rows.groups);
        self.kernel.record_at(context, encoder, &resources, groups);
    }
}
