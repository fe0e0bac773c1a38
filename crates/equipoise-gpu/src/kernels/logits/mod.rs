//! Kernel `logits`: Z = X Wᵀ + b, in several variants behind one wrapper.
//!
//! [`Logits`] belongs to a device. [`Logits::path`] picks the variant for a head, a storage and a block
//! size (see `choice.rs`); the [`Path`] makes the head's [`Weights`] as the variant wants them,
//! records the product and says how far it may be off (see `variants.rs`).

mod bound;
mod choice;
mod measure;
mod own;
mod split;
#[cfg(test)]
mod tests;
mod trial;
mod variants;
mod weights;

use bytemuck::bytes_of;
use equipoise_shaders::LogitsParameters;
use wgpu::{Buffer, CommandEncoder};

use super::{Checks, Kernel, Values, first_bytes};
use crate::GpuError;
use crate::device::Context;

pub use bound::LogitBound;
pub use choice::{LogitsChoice, Trial, logits_variants, try_logits};
pub use variants::Storage;

pub(crate) use choice::{Logits, Request};
pub(crate) use own::own_lacks;
pub(crate) use trial::largest_of;
#[cfg(test)]
pub(crate) use variants::tiles;
pub(crate) use variants::{LEAST_TILE, Matrices, lacking_cores, most_padding};
pub(crate) use weights::Weights;

use variants::{Arithmetic, Variant};

/// One variant, compiled.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    variant: &'static Variant,
    storage: Storage,
    kernel: Kernel,
    /// Rows and classes of a workgroup's tile.
    tile: [u32; 2],
    arithmetic: Arithmetic,
}

/// A block's embeddings, in the path's storage, and where its logits, (rows, classes), go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arguments<'a> {
    pub(crate) values: Values<'a>,
    pub(crate) classes: u32,
    pub(crate) logits: &'a Buffer,
}

impl Path {
    /// Whether matrix cores multiply.
    pub(crate) fn by_matrices(&self) -> bool {
        matches!(self.arithmetic, Arithmetic::Matrices(_))
    }

    fn new(
        context: &Context,
        variant: &'static Variant,
        storage: Storage,
    ) -> Result<Self, GpuError> {
        let shader = variant.shader(storage).ok_or(GpuError::LogitsUnfit {
            name: variant.name,
            reason: format!("it has no shader for {storage:?} embeddings"),
        })?;
        Ok(Self {
            variant,
            storage,
            // The variants' tests show that they stay within their bindings and end.
            kernel: Kernel::new(context, shader, Checks::Proven),
            tile: variant.tile,
            arithmetic: variant.arithmetic,
        })
    }

    /// The variant's name.
    pub(crate) fn name(&self) -> &'static str {
        self.variant.name
    }

    /// The WGSL of the variant.
    pub(crate) fn source(&self) -> &'static str {
        self.variant
            .shader(self.storage)
            .map_or("", |shader| shader.source)
    }

    /// How far the logits may be off.
    pub(crate) fn bound(&self, dim: usize) -> LogitBound {
        self.arithmetic.bound(dim)
    }

    /// Records the logits of the classes of `weights`.
    pub(crate) fn record(
        &self,
        context: &Context,
        encoder: &mut CommandEncoder,
        weights: &Weights,
        arguments: Arguments<'_>,
    ) {
        let Arguments {
            values,
            classes,
            logits,
        } = arguments;
        let Values { rows, dim, .. } = values;
        let parameters = LogitsParameters {
            rows,
            dim,
            classes,
            first: weights.classes.start as u32,
            count: weights.classes.len() as u32,
            unscale: weights.unscale,
            ..Default::default()
        };
        let uniform = context.uniform("logits parameters", bytes_of(&parameters));
        let bytes = u64::from(rows) * u64::from(classes) * 4;
        let mut resources = vec![
            uniform.as_entire_binding(),
            values.binding(),
            weights.parts[0].as_entire_binding(),
            weights.bias.as_entire_binding(),
            first_bytes(logits, bytes),
        ];
        let more = weights.parts[1..].iter();
        resources.extend(more.map(Buffer::as_entire_binding));
        let [tile_rows, tile_classes] = self.tile;
        // Columns of tiles fastest: neighbours share the rows, and all share the head.
        let groups = [
            parameters.count.div_ceil(tile_classes),
            rows.div_ceil(tile_rows),
        ];
        self.kernel.record(context, encoder, &resources, groups);
    }
}
