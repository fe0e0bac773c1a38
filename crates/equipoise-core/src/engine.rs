//! The operations a strategy's scan may ask of a device.
//!
//! An engine's pass is fast and approximate; what it returns are *bounds*. The caller settles in
//! float64 what the bounds cannot decide, so that every engine leads to the same picks.
//!
//! The arithmetic below is normative for every engine. For a row with tolerance `t` (how far its
//! approximate logits `z` may each lie from the exact ones), predicted class `p = argmax z` (ties:
//! lowest class) and, for `c ≠ p`, `gap = z[p] − z[c]`, `slack = 2 t + gap · GAP_ROUNDING`:
//! - `lower = max(gap − slack, 0) · scale[p][c] · (1 − BOUND_ROUNDING)`
//! - `upper = (gap + slack) · scale[p][c] · (1 + BOUND_ROUNDING)`
//!
//! bound the distance to the boundary between `p` and `c`, where `scale` is
//! [`boundary_scale`]'s. The row's class is *decided* if `gap − slack > 0` for every `c ≠ p` and no
//! `scale[p][c]` is [`UNSCALED`].

use crate::{Head, Result, Values};

/// Distance that stands for +∞ on a device, where infinities cannot be relied on.
pub const UNREACHABLE: f32 = 3.0e38;

/// Threshold under which every distance lies, [`UNREACHABLE`] too.
pub const ACCEPT_ALL: f32 = f32::MAX;

/// Threshold under which no distance lies: the class takes no candidates.
pub const ACCEPT_NONE: f32 = -1.0;

/// Tolerance of a row that is not available: it yields no candidate and its statistics are unspecified.
pub const UNAVAILABLE: f32 = -1.0;

/// Tolerance (this or more) of a row about which f32 arithmetic says nothing: its logits may not be
/// finite. It yields one [`ALL_CLASSES`] candidate; its statistics are unspecified.
pub const UNDECIDABLE: f32 = 1.0e37;

/// The class of a candidate whose predicted class is not decided: a candidate of every class.
pub const ALL_CLASSES: u32 = u32::MAX;

/// Relative rounding of one f32 subtraction, with room: WGSL promises 2⁻²³.
pub const GAP_ROUNDING: f32 = 1.0 / (1 << 22) as f32;

/// Relative rounding of the few f32 products that make a bound, with room.
pub const BOUND_ROUNDING: f32 = 1.0 / (1 << 20) as f32;

/// Scale of two classes with equal weights: there is no boundary, the distance is +∞.
pub const NO_BOUNDARY: f32 = 0.0;

/// Scale of two classes whose weights are nearer or farther apart than f32 can use.
pub const UNSCALED: f32 = -1.0;

/// Consecutive rows to score.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// Embeddings, (`tolerance.len()`, M) row-major.
    pub values: Values<'a>,
    /// Per row, the bound on its logits' errors, or [`UNAVAILABLE`], or [`UNDECIDABLE`].
    pub tolerance: &'a [f32],
}

impl Block<'_> {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.tolerance.len()
    }
}

/// A row that may have a place in a class's list.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Candidate {
    /// Row in the block.
    pub row: u32,
    /// The class, or [`ALL_CLASSES`] where the predicted class is not decided.
    pub class: u32,
    /// The predicted class; unspecified with [`ALL_CLASSES`].
    pub predicted: u32,
    /// Lower bound of the row's score for `class`; 0 with [`ALL_CLASSES`].
    pub lower: f32,
    /// Upper bound of it; [`UNREACHABLE`] with [`ALL_CLASSES`].
    pub upper: f32,
}

/// What the per-row scores are made of. With `z` sorted in descending order, z₁ ≥ z₂ ≥ …:
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct RowStatistics {
    /// argmax of the approximate logits (ties: lowest class).
    pub predicted: u32,
    /// z₁ − z₂; [`UNREACHABLE`] where C = 1.
    pub gap: f32,
    /// Σ_{i≥2} e^{zᵢ−z₂}, at least 1; 0 where C = 1.
    pub sum: f32,
    /// Σ_{i≥2} (z₂−zᵢ) e^{zᵢ−z₂}; 0 where C = 1.
    pub moment: f32,
    /// Lower bound of the MASE score, min over c ≠ p of the distance; 0 where the class is not decided.
    pub mase_lower: f32,
    /// Upper bound of it; [`UNREACHABLE`] where the class is not decided.
    pub mase_upper: f32,
}

/// How exact an engine's f32 arithmetic is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Precision {
    /// Largest relative error of one addition, multiplication or fused multiply-add.
    pub unit: f64,
    /// Largest relative error of `exp` is `exp_constant + exp_slope · |x|` times `unit`.
    pub exp_constant: f64,
    /// See `exp_constant`.
    pub exp_slope: f64,
}

/// A device that scores embeddings.
pub trait Engine: Send + Sync {
    /// What to call it in messages: `cpu`, or the adapter's name.
    fn name(&self) -> &str;

    /// A scorer for `head`, which it copies to where it needs it.
    ///
    /// # Errors
    /// [`crate::Error::Device`] where the device fails or the head does not fit it.
    fn scorer(&self, head: &Head) -> Result<Box<dyn Scorer + '_>>;
}

/// Scores blocks of rows against one head. Each operation is a kernel with a twin on every engine.
pub trait Scorer {
    /// Most rows of a block, at least 1.
    fn max_rows(&self) -> usize;

    /// How exact the arithmetic is, from which the caller makes the rows' tolerances.
    fn precision(&self) -> Precision;

    /// Writes every row's statistics to `out`, which has a place per row of `block`.
    ///
    /// # Errors
    /// [`crate::Error::Device`] where the device fails.
    fn row_statistics(&mut self, block: Block<'_>, out: &mut [RowStatistics]) -> Result<()>;

    /// Appends, in any order, every candidate of `block` with `lower < thresholds[class]` (C
    /// thresholds): for a decided row the class `p` with the least of its bounds over `c ≠ p`
    /// and each `c ≠ p` with its own; for an undecided row one [`ALL_CLASSES`] candidate.
    ///
    /// Returns false, with nothing appended, where they are more than the device's list holds: the
    /// caller tries again with fewer rows. A block of one row always fits.
    ///
    /// # Errors
    /// [`crate::Error::Device`] where the device fails.
    fn class_candidates(
        &mut self,
        block: Block<'_>,
        thresholds: &[f32],
        out: &mut Vec<Candidate>,
    ) -> Result<bool>;
}

/// `1/‖W[p] − W[c]‖` for classes `p` in `range` and all `c`, (range, C) row-major, rounded from
/// float64; [`NO_BOUNDARY`] for equal weights, [`UNSCALED`] outside 1e-15..1e15.
pub fn boundary_scale(head: &Head, range: std::ops::Range<usize>) -> Vec<f32> {
    use rayon::prelude::*;
    let classes = head.classes();
    let mut scale = vec![0.0; range.len() * classes];
    scale
        .par_chunks_mut(classes)
        .zip(range)
        .for_each(|(row, p)| {
            for (c, scale) in row.iter_mut().enumerate() {
                *scale = match 1.0 / distance(head.class_weight(p), head.class_weight(c)) {
                    f64::INFINITY => NO_BOUNDARY,
                    inverse if (1e-15..=1e15).contains(&inverse) => inverse as f32,
                    _ => UNSCALED,
                };
            }
        });
    scale
}

/// ‖a − b‖ in float64, its sum in eight parts for speed: 0 only where they are equal.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0f64; 8];
    for (a, b) in a.chunks(8).zip(b.chunks(8)) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            let difference = f64::from(*a) - f64::from(*b);
            *sum += difference * difference;
        }
    }
    sums.iter().sum::<f64>().sqrt()
}
