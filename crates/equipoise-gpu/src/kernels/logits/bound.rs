//! How far each variant's logits may be off.

use std::fmt;

use super::variants::Matrices;

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

/// What matrix cores are assumed to lose: for each product that a multiply-add takes in, 2⁻²² of the
/// largest magnitude that its sum could have reached.
///
/// The products of two f16 are exact in f32. Fasi, Higham, Mikaitis and Pranesh (*Numerical behavior
/// of NVIDIA tensor cores*, 2021) find that a step adds k products to the accumulator (k = 4 on
/// Volta, 8 on Ampere; more since) by aligning all k + 1 to the largest and cutting off what is
/// below 24 bits or a few more, and then truncates the result: at most k + 2 losses of 2⁻²³ of the
/// largest, so (1 + 2/k) 2⁻²³ a product, which is at most 1.5 · 2⁻²³ for k = 4. Cores that chain fused
/// multiply-adds, rounded in whichever direction, lose 2⁻²³. A trial on the device at hand has to
/// agree (`trial.rs`).
const MATRIX_UNIT: f64 = 1.0 / (1u64 << 22) as f64;

/// Least normal f16: below it hardware may flush to zero.
const LEAST_F16: f64 = 1.0 / (1u64 << 14) as f64;

/// Room for the products of errors, of which the sums below take account of the factors.
const ROOM: f64 = 1.01;

/// The bound of f32 arithmetic, lane by lane, with blocks of `block` products.
///
/// Every product of numbers that are exact f32 (widened f16 are) is rounded once, and passes the
/// additions on its way to the logit: within its block those to the other products, in any order
/// and fused or not; then those of the blocks' sums; then the bias. Adding to zero is exact, so a
/// block of k products has k − 1 additions, and the total ⌈M/k⌉ − 1. Hence n = 1 + (k − 1) +
/// (⌈M/k⌉ − 1) + 1 roundings, each within a relative u = 2⁻²³, and γ = n u / (1 − n u) relative to
/// Σ|x w| + |b| (Higham, *Accuracy and Stability of Numerical Algorithms*, 3.1), with Σ|x w| ≤ ‖x‖ ‖w‖.
/// That the two levels are not regrouped into one is what `opaque` in the shaders is for.
pub(super) fn of_lanes(dim: usize, block: u32) -> LogitBound {
    let block = dim.min(block as usize);
    let roundings = block + dim.div_ceil(block);
    LogitBound {
        gamma: compounded(roundings as f64 * UNIT),
        flushed: f32::MIN_POSITIVE.into(),
    }
}

/// The bound of matrix cores.
///
/// - The head: a weight is scaled so that the largest lies in 2¹⁴..2¹⁵, and rounded to f16 once, within
///   a relative 2⁻¹¹, or to the sum of two, within 2⁻²². Each part may be a subnormal and flushed,
///   which moves it by at most 2⁻¹⁴, or 2⁻²⁸ of the largest weight: √M 2⁻²⁸ ‖x‖ max‖w‖ in all.
/// - The sums: a block of k columns makes k products of each part, of magnitudes that sum to
///   at most Σ|x w| (1 + 2⁻¹⁰). Each loses [`MATRIX_UNIT`] of what has been summed.
/// - The totals: ⌈M/k⌉ − 1 additions of f32 and the bias lose 2⁻²³ each. We assume that no compiler
///   makes a total the accumulator of a multiply-add, which would put it into the block.
/// - Undoing the scale is exact.
///
/// γ is the sum, relative to ‖x‖ max‖w‖ + max|b|. Embeddings below 2⁻¹⁴ may be flushed.
pub(super) fn of_matrices(dim: usize, matrices: Matrices) -> LogitBound {
    let parts = f64::from(matrices.parts);
    let rounding = 2f64.powi(-11 * matrices.parts as i32);
    let flushing = parts * (dim as f64).sqrt() * LEAST_F16 * LEAST_F16;
    let block = dim.min(matrices.block as usize);
    let sums = compounded(parts * block as f64 * MATRIX_UNIT);
    let totals = dim.div_ceil(block) as f64 * UNIT;
    LogitBound {
        gamma: (rounding + flushing + sums + totals) * ROOM,
        flushed: LEAST_F16,
    }
}

/// e / (1 − e), infinite where e says nothing.
fn compounded(error: f64) -> f64 {
    match error < 0.5 {
        true => error / (1.0 - error),
        false => f64::INFINITY,
    }
}
