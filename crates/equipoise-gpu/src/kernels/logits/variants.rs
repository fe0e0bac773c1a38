//! The variants of `logits`: what each needs, and how far its logits may be off.

use std::fmt;

use super::facts::Facts;
use equipoise_core::Head;
use equipoise_shaders::{
    LOGITS_LARGE_F16, LOGITS_LARGE_F32, LOGITS_SMALL_F16, LOGITS_SMALL_F32, Shader, logits_large,
    logits_small,
};

/// How embeddings are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Storage {
    /// Four bytes each.
    F32,
    /// Two bytes each.
    F16,
}

impl Storage {
    /// Bytes of a number.
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Storage::F32 => 4,
            Storage::F16 => 2,
        }
    }
}

/// How far logits may be off: each by at most γ (‖x‖ max‖w‖ + max|b|), and by what a device takes
/// away that flushes numbers below `flushed` to zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogitBound {
    /// γ.
    pub gamma: f64,
    /// Embeddings' numbers below this may count as 0, moving a logit by at most `flushed` √M ‖w‖.
    /// At least 2⁻¹²⁶, the least normal f32, which products and sums may be flushed to as well.
    pub flushed: f64,
}

impl LogitBound {
    /// What excludes nothing.
    pub const ANY: Self = Self {
        gamma: f64::INFINITY,
        flushed: f64::INFINITY,
    };

    /// Whether it is as narrow as `most`.
    pub(crate) fn within(&self, most: Self) -> bool {
        self.gamma <= most.gamma && self.flushed <= most.flushed
    }
}

impl fmt::Display for LogitBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1e} (flushed below {:.1e})", self.gamma, self.flushed)
    }
}

/// Largest relative error of an f32 addition, multiplication or fused multiply-add in WGSL, which
/// are correctly rounded in either direction ("Floating Point Accuracy" in the specification).
const UNIT: f64 = 1.0 / (1u64 << 23) as f64;

/// Rows and classes of the smallest tile: what a dispatch can cover at least, for each workgroup.
pub(crate) const LEAST_TILE: u32 = logits_small::TILE;

/// One way to compute logits.
#[derive(Debug)]
pub(crate) struct Variant {
    /// What to call it.
    pub(crate) name: &'static str,
    f32: Option<&'static Shader>,
    f16: Option<&'static Shader>,
    /// Rows and classes of a workgroup's tile.
    pub(crate) tile: [u32; 2],
}

/// Every variant; the first runs on every device, for every shape.
pub(crate) const VARIANTS: &[Variant] = &[
    Variant {
        name: "small",
        f32: Some(&LOGITS_SMALL_F32),
        f16: Some(&LOGITS_SMALL_F16),
        tile: [logits_small::TILE_ROWS, logits_small::TILE_CLASSES],
    },
    Variant {
        name: "large",
        f32: Some(&LOGITS_LARGE_F32),
        f16: Some(&LOGITS_LARGE_F16),
        tile: [logits_large::TILE_ROWS, logits_large::TILE_CLASSES],
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
    pub(crate) fn lacks(&self, _facts: &Facts, storage: Storage, _head: &Head) -> Option<String> {
        let none = || format!("it has no shader for {storage:?} embeddings");
        self.shader(storage).is_none().then(none)
    }

    /// Whether it relies on what no specification promises, and a trial has to show.
    pub(crate) fn needs_trial(&self) -> bool {
        false
    }

    /// How far its logits may be off.
    pub(crate) fn bound(&self, dim: usize) -> LogitBound {
        LogitBound {
            gamma: self.gamma(dim),
            flushed: f32::MIN_POSITIVE.into(),
        }
    }

    /// γ: a logit differs from the exact one by at most γ (‖x‖ max‖w‖ + max|b|), flushed denormals
    /// aside.
    ///
    /// Every product of numbers that are exact f32 (widened f16 are) is rounded once, and passes
    /// the additions on its way to the logit: within its block of at most `BLOCK` products, those to
    /// the other products, in any order and fused or not; then those of the blocks' sums; then the
    /// bias. Adding to zero is exact, so a block of k products has k − 1 additions and ⌈M/k⌉ blocks
    /// one less. Hence n = 1 + (k − 1) + (⌈M/k⌉ − 1) + 1 roundings, each within a relative
    /// [`UNIT`] u, and γ = n u / (1 − n u) relative to Σ|x w| + |b| (Higham, *Accuracy and Stability
    /// of Numerical Algorithms*, 3.1), with Σ|x w| ≤ ‖x‖ ‖w‖. That blocks are not regrouped is what
    /// `opaque` in the shaders is for.
    pub(crate) fn gamma(&self, dim: usize) -> f64 {
        let block = dim.min(logits_small::BLOCK as usize);
        compounded((block + dim.div_ceil(block)) as f64 * UNIT)
    }
}

/// e / (1 − e), infinite where e says nothing.
fn compounded(error: f64) -> f64 {
    match error < 0.5 {
        true => error / (1.0 - error),
        false => f64::INFINITY,
    }
}

/// The blocks are those of the shader that is named.
const _: () = assert!(logits_small::BLOCK == logits_large::BLOCK);
