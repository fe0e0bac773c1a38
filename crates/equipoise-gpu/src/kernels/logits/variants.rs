//! The variants of `logits`: what each needs, and how far its logits may be off.

use equipoise_core::Head;
use equipoise_shaders::{
    LOGITS_LARGE_F16, LOGITS_LARGE_F32, LOGITS_MATRIX_8, LOGITS_MATRIX_16, LOGITS_MATRIX_SPLIT_8,
    LOGITS_MATRIX_SPLIT_16, LOGITS_SMALL_F16, LOGITS_SMALL_F32, Shader, logits_large_f32,
    logits_matrix_8 as matrix_8, logits_matrix_16 as matrix_16, logits_matrix_split_8 as split_8,
    logits_matrix_split_16 as split_16, logits_small_f32,
};

use super::bound::LogitBound;
use super::{bound, split};
use crate::facts::Facts;

/// How embeddings are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Storage {
    /// Four bytes each.
    F32,
    /// Two bytes each.
    F16,
}

impl Storage {
    /// That of numbers of so many bytes.
    pub(crate) fn of_width(width: usize) -> Self {
        match width {
            2 => Storage::F16,
            _ => Storage::F32,
        }
    }

    /// Bytes of a number.
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Storage::F32 => 4,
            Storage::F16 => 2,
        }
    }
}

/// Rows and classes of the smallest tile: what a dispatch can cover at least, for each workgroup.
pub(crate) const LEAST_TILE: u32 = logits_small_f32::TILE;

/// Rows and classes of every variant's tile.
#[cfg(test)]
pub(crate) fn tiles() -> impl Iterator<Item = [u32; 2]> {
    VARIANTS.iter().map(|variant| variant.tile)
}

/// Multiples of how many classes, and of how many columns, any variant pads the head of f16 embeddings to.
pub(crate) fn most_padding() -> [u64; 2] {
    VARIANTS.iter().fold([1, 1], |most, variant| {
        let [classes, columns] = match variant.arithmetic {
            Arithmetic::Lanes { .. } => [1, 1],
            Arithmetic::Matrices(matrices) => [variant.tile[1].into(), matrices.depth.into()],
        };
        [most[0].max(classes), most[1].max(columns)]
    })
}

/// One way to compute logits.
#[derive(Debug)]
pub(crate) struct Variant {
    /// What to call it.
    pub(crate) name: &'static str,
    f32: Option<&'static Shader>,
    f16: Option<&'static Shader>,
    /// Rows and classes of a workgroup's tile.
    pub(crate) tile: [u32; 2],
    pub(crate) arithmetic: Arithmetic,
}

/// How a variant multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    /// In f32, lane by lane.
    Lanes {
        /// Products that are summed before they are added to a total.
        block: u32,
    },
    /// By matrix cores, f16 summed in f32.
    Matrices(Matrices),
}

/// How a variant uses matrix cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Matrices {
    /// Rows and columns of a matrix.
    pub(crate) size: u32,
    /// f16 numbers that a weight is split in.
    pub(crate) parts: u32,
    /// The head is padded with zeros to a multiple of as many columns.
    pub(crate) depth: u32,
    /// Columns whose products are summed before they are added to a total.
    pub(crate) block: u32,
}

/// Every variant; the first runs on every device, for every shape.
pub(crate) const VARIANTS: &[Variant] = &[
    Variant {
        name: "small",
        f32: Some(&LOGITS_SMALL_F32),
        f16: Some(&LOGITS_SMALL_F16),
        tile: [logits_small_f32::TILE_ROWS, logits_small_f32::TILE_CLASSES],
        arithmetic: Arithmetic::Lanes {
            block: logits_small_f32::BLOCK,
        },
    },
    Variant {
        name: "large",
        f32: Some(&LOGITS_LARGE_F32),
        f16: Some(&LOGITS_LARGE_F16),
        tile: [logits_large_f32::TILE_ROWS, logits_large_f32::TILE_CLASSES],
        arithmetic: Arithmetic::Lanes {
            block: logits_large_f32::BLOCK,
        },
    },
    Variant {
        name: "matrix16-split",
        f32: None,
        f16: Some(&LOGITS_MATRIX_SPLIT_16),
        tile: [split_16::TILE_ROWS, split_16::TILE_CLASSES],
        arithmetic: Arithmetic::Matrices(Matrices {
            size: split_16::SIZE,
            parts: 2,
            depth: split_16::DEPTH,
            block: split_16::BLOCK,
        }),
    },
    Variant {
        name: "matrix16",
        f32: None,
        f16: Some(&LOGITS_MATRIX_16),
        tile: [matrix_16::TILE_ROWS, matrix_16::TILE_CLASSES],
        arithmetic: Arithmetic::Matrices(Matrices {
            size: matrix_16::SIZE,
            parts: 1,
            depth: matrix_16::DEPTH,
            block: u32::MAX,
        }),
    },
    Variant {
        name: "matrix8-split",
        f32: None,
        f16: Some(&LOGITS_MATRIX_SPLIT_8),
        tile: [split_8::TILE_ROWS, split_8::TILE_CLASSES],
        arithmetic: Arithmetic::Matrices(Matrices {
            size: split_8::SIZE,
            parts: 2,
            depth: split_8::DEPTH,
            block: split_8::BLOCK,
        }),
    },
    Variant {
        name: "matrix8",
        f32: None,
        f16: Some(&LOGITS_MATRIX_8),
        tile: [matrix_8::TILE_ROWS, matrix_8::TILE_CLASSES],
        arithmetic: Arithmetic::Matrices(Matrices {
            size: matrix_8::SIZE,
            parts: 1,
            depth: matrix_8::DEPTH,
            block: u32::MAX,
        }),
    },
];

impl Variant {
    pub(crate) fn shader(&self, storage: Storage) -> Option<&'static Shader> {
        match storage {
            Storage::F32 => self.f32,
            Storage::F16 => self.f16,
        }
    }

    /// What keeps the variant from these embeddings and this head on this device.
    pub(crate) fn lacks(&self, facts: &Facts, storage: Storage, head: &Head) -> Option<String> {
        let Some(shader) = self.shader(storage) else {
            return Some(format!("it has no shader for {storage:?} embeddings"));
        };
        match self.arithmetic {
            Arithmetic::Lanes { .. } => None,
            Arithmetic::Matrices(matrices) => matrices.lacks(facts, shader, head),
        }
    }

    /// Whether it relies on what no specification promises, and a trial has to show.
    pub(crate) fn needs_trial(&self) -> bool {
        matches!(self.arithmetic, Arithmetic::Matrices(_))
    }

    /// How far its logits may be off with `dim` columns.
    pub(crate) fn bound(&self, dim: usize) -> LogitBound {
        self.arithmetic.bound(dim)
    }
}

impl Arithmetic {
    /// How far its logits may be off with `dim` columns: `bound.rs` derives it.
    pub(crate) fn bound(self, dim: usize) -> LogitBound {
        match self {
            Arithmetic::Lanes { block } => bound::of_lanes(dim, block),
            Arithmetic::Matrices(matrices) => bound::of_matrices(dim, matrices),
        }
    }
}

impl Matrices {
    /// Lanes of a subgroup that the shaders are written for.
    pub(crate) const SUBGROUP: u32 = matrix_16::SUBGROUP;

    fn lacks(self, facts: &Facts, shader: &Shader, head: &Head) -> Option<String> {
        let (backends, bytes) = (shader.backends, shader.workgroup_bytes);
        let unlike = (!facts.runs(backends)).then(|| format!("it runs on {backends:?}"));
        unlike
            .or_else(|| lacking_cores(facts, self.size, Self::SUBGROUP))
            .or_else(|| {
                let fits = facts.workgroup_bytes >= bytes;
                (!fits).then(|| format!("it needs {bytes} bytes of workgroup memory"))
            })
            .or_else(|| unfit_for_f16(head))
    }
}

/// What keeps matrices of `size`, multiplied by subgroups of so many lanes, from a device.
pub(crate) fn lacking_cores(facts: &Facts, size: u32, subgroup: u32) -> Option<String> {
    if !facts.multiplies(size) {
        return Some(format!(
            "the device does not multiply f16 matrices of {size}×{size} in f32"
        ));
    }
    (facts.subgroup != Some(subgroup))
        .then(|| format!("the device's subgroups are not always {subgroup} lanes"))
}

/// What keeps a head from f16 weights as matrix cores read them.
pub(crate) fn unfit_for_f16(head: &Head) -> Option<String> {
    if !head.dim().is_multiple_of(4) {
        return Some(format!("{} columns are no multiple of 4", head.dim()));
    }
    split::scale(head.weight())
        .is_none()
        .then(|| "the head's weights are too large or too small to be scaled to f16".into())
}

const _: () = assert!(matrix_16::SUBGROUP == matrix_8::SUBGROUP);
