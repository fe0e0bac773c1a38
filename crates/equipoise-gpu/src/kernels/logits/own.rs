//! Somebody's own version of the kernel, or one of ours with other constants.

use equipoise_core::Head;
use equipoise_shaders::{Feature, OwnShader, logits_matrix_16 as matrix_16};

use super::variants::{Arithmetic, Matrices, VARIANTS, lacking_cores, unfit_for_f16};
use super::{Path, Storage};
use crate::GpuError;
use crate::device::Context;
use crate::facts::Facts;
use crate::kernels::Kernel;

/// Size of the matrices of somebody's own version, and lanes of a subgroup, as its constants say.
fn own_matrices(own: &OwnShader) -> (u32, u32) {
    let constant = |name, otherwise| own.constants.get(name).copied().unwrap_or(otherwise);
    (
        constant("SIZE", matrix_16::SIZE),
        constant("SUBGROUP", Matrices::SUBGROUP),
    )
}

/// What keeps its matrix cores from a device, or its f16 weights from a head.
pub(crate) fn own_lacks(facts: &Facts, own: &OwnShader, head: &Head) -> Option<String> {
    let (size, subgroup) = own_matrices(own);
    let cores = own.features.contains(&Feature::Matrices);
    let lacking = cores.then(|| lacking_cores(facts, size, subgroup));
    let padded = own.f16_weights > 0;
    lacking
        .flatten()
        .or_else(|| padded.then(|| unfit_for_f16(head)).flatten())
}

impl Path {
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
}
