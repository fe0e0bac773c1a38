//! Kernel `logits`: Z = X Wᵀ + b, in several variants behind one wrapper.
//!
//! [`Logits`] belongs to a device. [`Logits::path`] picks the variant for a head, a storage and a block
//! size (see `choice.rs`); the [`Path`] makes the head's [`Weights`] as the variant wants them,
//! records the product and says how far it may be off (see `variants.rs`).

mod bound;
mod choice;
mod measure;
mod split;
#[cfg(test)]
mod tests;
mod trial;
mod variants;
mod weights;

use bytemuck::bytes_of;
use equipoise_core::Head;
use equipoise_shaders::{Feature, LogitsParameters, OwnShader, logits_matrix_16 as matrix_16};
use wgpu::{Buffer, CommandEncoder, Features};

use super::{Checks, Kernel, Values, first_bytes};
use crate::GpuError;
use crate::device::Context;
use crate::facts::Facts;

pub use bound::LogitBound;
pub use choice::{LogitsChoice, Trial, logits_variants, try_logits};
pub use variants::Storage;

pub(crate) use choice::{Logits, Request};
pub(crate) use trial::largest_of;
pub(crate) use variants::LEAST_TILE;
pub(crate) use weights::Weights;

use variants::{Arithmetic, Matrices, VARIANTS, Variant, lacking_cores, unfit_for_f16};

/// Size of the matrices of somebody's own version, and lanes of a subgroup, as its constants say.
fn own_matrices(own: &OwnShader) -> (u32, u32) {
    let constant = |name, otherwise| own.constants.get(name).copied().unwrap_or(otherwise);
    (
        constant("SIZE", matrix_16::SIZE),
        constant("SUBGROUP", Matrices::SUBGROUP),
    )
}

/// What keeps somebody's own version of any kernel, or one of ours with other constants, from a device and a head.
pub(crate) fn own_lacks(facts: &Facts, own: &OwnShader, head: &Head) -> Option<String> {
    // Matrix cores first: what has them has f16, too.
    let missing = own.features.iter().rev().find_map(|feature| {
        let (has, what) = match feature {
            Feature::F16 => (Features::SHADER_F16, "f16 in shaders (`enable f16`)"),
            Feature::Matrices => (
                Features::EXPERIMENTAL_COOPERATIVE_MATRIX,
                "matrix cores (`enable wgpu_cooperative_matrix`)",
            ),
            Feature::Subgroups => (Features::SUBGROUP, "subgroups"),
        };
        (!facts.features.contains(has)).then_some(what)
    });
    if let Some(what) = missing {
        return Some(format!("it needs {what}, which the device does not have"));
    }
    let width = own
        .constants
        .get("WIDTH")
        .filter(|_| own.kernel == "row_norms");
    if let Some(width) = width.filter(|width| !head.dim().is_multiple_of(**width as usize)) {
        let dim = head.dim();
        return Some(format!(
            "{dim} columns are no multiple of its WIDTH, {width}"
        ));
    }
    let (size, subgroup) = own_matrices(own);
    let cores = own.features.contains(&Feature::Matrices);
    let lacking = cores.then(|| lacking_cores(facts, size, subgroup));
    let padded = own.f16_weights > 0;
    lacking
        .flatten()
        .or_else(|| padded.then(|| unfit_for_f16(head)).flatten())
}

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

    /// Somebody's own version: of f32 products lane by lane, or of f16 by matrix cores, summed in any order.
    pub(crate) fn own(
        context: &Context,
        own: &OwnShader,
        storage: Storage,
    ) -> Result<Self, GpuError> {
        let wrong = |message: &str| GpuError::Wgsl {
            of: "logits".into(),
            message: message.into(),
        };
        let constant = |name| own.constants.get(name).copied();
        let [Some(rows @ 1..), Some(classes @ 1..)] = ["TILE_ROWS", "TILE_CLASSES"].map(constant)
        else {
            return Err(wrong(
                "constants TILE_ROWS and TILE_CLASSES say what a workgroup makes, each a u32 from 1",
            ));
        };
        let arithmetic = match (own.f16_weights, constant("DEPTH")) {
            (0, _) => Arithmetic::Lanes { block: u32::MAX },
            (parts, Some(depth @ 1..)) => Arithmetic::Matrices(Matrices {
                size: own_matrices(own).0,
                parts,
                depth,
                block: u32::MAX,
            }),
            _ => {
                return Err(wrong(
                    "constant DEPTH says to a multiple of how many columns f16 weights are padded, a u32 from 1",
                ));
            }
        };
        Ok(Self {
            variant: &VARIANTS[0],
            storage,
            kernel: Kernel::of_own(context, "logits of one's own", own),
            tile: [rows, classes],
            arithmetic,
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
