//! How far an engine's fast logits may lie from the definition's, row by row.
//!
//! A path's logits differ from the exact ones by at most γ (‖x‖ max‖w‖ + max|b|) plus what flushed
//! denormals take away; γ is the path's own ([`LogitError`], derived in `docs/exactness.md`). For a sum
//! of M products and a bias in f32, in any order and with or without fused operations,
//! γ = n u / (1 − n u), n = M + 2 and u the largest relative error of one operation (Higham, *Accuracy
//! and Stability of Numerical Algorithms*, 3.1). Σ|x w| ≤ ‖x‖ ‖w‖. A flushed denormal moves a product
//! by at most 2⁻¹²⁶ times the other operand, or the sum by 2⁻¹²⁶; matrix cores may flush f16 below 2⁻¹⁴.

use crate::Head;
use crate::engine::{GradientCentres, UNDECIDABLE};

/// Above this bound on a logit f32 might overflow in what follows.
const LARGEST_LOGIT: f64 = 1e18;

/// Largest relative error of an f32 operation that rounds to the nearest number.
pub(crate) const ROUNDING: f64 = 1.0 / (1 << 24) as f64;

/// Room for the float64 rounding of the definition and of the bound itself, and for the f32
/// rounding of a norm and of what is made of it.
const ROOM: f64 = 1.01;

/// The error of one path's logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogitError {
    /// γ: relative to ‖x‖ max‖w‖ + max|b|.
    pub gamma: f64,
    /// Embeddings' numbers below this may count as 0; at least 2⁻¹²⁶, the least normal f32.
    pub flushed: f64,
}

impl LogitError {
    /// That of `dim` products and a bias summed in any order, each operation rounded within `unit`.
    /// Infinite beyond a half, where the bound says nothing.
    pub fn of_sum(dim: usize, unit: f64) -> Self {
        let operations = (dim + 2) as f64 * unit;
        Self {
            gamma: match operations < 0.5 {
                true => operations / (1.0 - operations),
                false => f64::INFINITY,
            },
            flushed: f32::MIN_POSITIVE.into(),
        }
    }
}

/// Turns a row's norm into its tolerance, for one head and path: `slope · norm + offset` in f32, or
/// [`UNDECIDABLE`] above `largest_norm`. Any engine may evaluate it, within a relative 2⁻²⁰.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// Factor of the norm.
    pub slope: f32,
    /// What is added.
    pub offset: f32,
    /// Above this norm, nothing is known.
    pub largest_norm: f32,
}

impl Tolerance {
    /// The tolerance of rows scored against `head` by a path with `error`.
    pub fn new(head: &Head, error: LogitError) -> Self {
        let dim = head.dim() as f64;
        let largest = (0..head.classes())
            .map(|class| norm(head.class_weight(class)))
            .fold(0.0, f64::max);
        let bias = largest_bias(head);
        // Of the head's numbers, of products and of sums; then of the embeddings' numbers.
        let flushed = 2.0 * f64::from(f32::MIN_POSITIVE);
        let of_embeddings = error.flushed * dim.sqrt() * largest;
        let slope = (error.gamma * largest + flushed * dim.sqrt()) * ROOM;
        let others = flushed * (dim + dim.sqrt() * largest + 1.0);
        let offset = (error.gamma * bias + others + of_embeddings) * ROOM;
        let known = slope.is_finite() && offset < f64::from(UNDECIDABLE) && bias < LARGEST_LOGIT;
        if !known {
            // No norm is below it.
            return Self {
                slope: 0.0,
                offset: UNDECIDABLE,
                largest_norm: -1.0,
            };
        }
        let most = (LARGEST_LOGIT - bias) / largest.max(f64::from(f32::MIN_POSITIVE));
        Self {
            slope: (slope as f32).next_up(),
            offset: (offset as f32).next_up(),
            // Squares up to here do not overflow.
            largest_norm: most.min(LARGEST_LOGIT) as f32,
        }
    }

    /// The tolerance of a row whose norm is at most `norm`, to a relative 2⁻²⁰.
    #[inline(always)]
    pub fn of_norm(&self, norm: f32) -> f32 {
        match norm <= self.largest_norm {
            true => self.slope * norm + self.offset,
            false => UNDECIDABLE,
        }
    }
}

/// How far a head's weights are from those that they were rounded to, and how products with them are summed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RoundedError {
    /// max ‖w‖.
    pub(crate) largest: f64,
    /// max ‖w − ŵ‖, ŵ what w was rounded to.
    pub(crate) left: f64,
    /// Sums of exact products, each rounded and scaled, that make a logit.
    pub(crate) slices: usize,
}

/// Turns a row's norm and what rounding it left, ‖x − x̂‖, into how far its logits by rounded numbers may be off, and how far
/// up such a logit with that added may have been rounded down.
///
/// ⟨x, w⟩ − ⟨x̂, ŵ⟩ = ⟨x − x̂, w⟩ + ⟨x̂, w − ŵ⟩; the sums of integer products are exact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RoundedTolerance {
    of_left: f32,
    of_norm: f32,
    offset: f32,
}

impl RoundedTolerance {
    pub(crate) fn new(head: &Head, error: RoundedError) -> Self {
        let dim = head.dim() as f64;
        // Of a slice's sum: to f32, times the product of two scales; then the sum of slices, the bias, and the tolerance added.
        let rounding = LogitError::of_sum(error.slices + 8, ROUNDING);
        let both = error.largest + error.left;
        // Squares of what is left that are flushed, and the rounding of what they are made of.
        const UNSEEN: f64 = 1.0 / (1 << 19) as f64;
        let of_left = (1.0 + rounding.gamma) * both;
        let of_norm = error.left + (rounding.gamma + UNSEEN) * both;
        let flushed = 2.0 * f64::from(f32::MIN_POSITIVE);
        let offset =
            rounding.gamma * largest_bias(head) + flushed * (dim + dim.sqrt() * both + 1.0);
        let up = |x: f64| ((x * ROOM) as f32).next_up();
        Self {
            of_left: up(of_left),
            of_norm: up(of_norm),
            offset: up(offset),
        }
    }

    /// Of a row whose norm is at most `norm` and of which at most `left` is left, both to well within 1%.
    #[inline(always)]
    pub(crate) fn of_row(&self, norm: f32, left: f32) -> f32 {
        self.of_left * left + self.of_norm * norm + self.offset
    }
}

/// Turns what is known of a row into how far the logits of [`crate::engine::NearestGradient`] may be off, for one
/// head, centres and path. Any engine may evaluate it, within a relative 2⁻¹⁸.
///
/// Logits off by t each make probabilities off by a factor of e^{2t} at most. So do the gradient's numbers, which
/// are probabilities or a sum of them; its rounding is in `base`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GradientTolerance {
    /// Of x·x_k.
    pub embeddings: Tolerance,
    /// Of g·g_k, rounding of sums alone.
    pub gradients: Tolerance,
    /// max ‖x_k‖.
    pub largest_embedding: f32,
    /// max ‖g_k‖.
    pub largest_gradient: f32,
    /// max ‖g_k‖²‖x_k‖²/2.
    pub largest_bias: f32,
    /// Relative rounding of a gradient's numbers.
    pub base: f32,
    /// Relative rounding of a few f32 operations.
    pub unit: f32,
}

/// Most that a logit may be off for its row's gradient to be known.
pub(crate) const MOST_DOUBT: f32 = 0.25;

/// Below it, flushed denormals count: no bound is smaller.
const LEAST: f32 = 1e-30;

impl GradientTolerance {
    /// That of rows whose logits, products with centres' embeddings and products with their gradients are made
    /// by paths with such errors; `unit` is the relative error of an f32 operation.
    pub fn new(
        centres: &GradientCentres,
        (embeddings, gradients): (LogitError, LogitError),
        unit: f64,
    ) -> Self {
        let norms = |head: &Head| {
            let norms = (0..head.classes()).map(|k| norm(head.class_weight(k)));
            ((norms.fold(0.0, f64::max) * ROOM) as f32).next_up()
        };
        let classes = centres.gradients.dim();
        let bias = centres.bias.iter();
        // Σ e^{…}, each within 3 + 2·80 units and a few; quotient and products.
        let base = (classes as f64 + 512.0) * unit * ROOM;
        Self {
            embeddings: Tolerance::new(&centres.embeddings, embeddings),
            gradients: Tolerance::new(&centres.gradients, gradients),
            largest_embedding: norms(&centres.embeddings),
            largest_gradient: norms(&centres.gradients),
            largest_bias: bias.fold(0.0, |most: f32, bias| most.max(bias.abs())),
            base: (base as f32).next_up(),
            unit: (16.0 * unit) as f32,
        }
    }

    /// The tolerance of a row whose embedding's norm is at most `norm`, whose logits may be off by `doubt` and
    /// whose gradient's square is `square`, and the relative error of that square.
    #[inline(always)]
    pub fn of_row(&self, norm: f32, doubt: f32, square: f32) -> (f32, f32) {
        if !(doubt <= MOST_DOUBT && norm <= self.embeddings.largest_norm) {
            return (UNDECIDABLE, 0.0);
        }
        // e^{2t} − 1 ≤ 2.6 t up to a quarter.
        let error = 2.6 * doubt + self.base;
        let gradient = square.sqrt() * (1.0 + 2.0 * error);
        let (a, b) = (
            norm * self.largest_embedding,
            gradient * self.largest_gradient,
        );
        let of_a = self.embeddings.of_norm(norm);
        let of_b = self.gradients.of_norm(gradient) + error * b;
        let sum = of_a * (b + of_b) + a * of_b + self.unit * (a * b + self.largest_bias);
        let tolerance = sum * 1.01 + LEAST * (1.0 + a);
        match tolerance < UNDECIDABLE && a * b < LARGEST_PRODUCT {
            true => (tolerance, 2.1 * error * (1.0 + error)),
            false => (UNDECIDABLE, 0.0),
        }
    }
}

/// max |b|.
fn largest_bias(head: &Head) -> f64 {
    let largest = head.bias().iter().fold(0.0, |max: f32, b| max.max(b.abs()));
    largest.into()
}

/// Above this bound on a product f32 might overflow in what follows.
const LARGEST_PRODUCT: f32 = 1e30;

/// Euclidean norm in float64, finite for finite f32; NaN or infinite otherwise.
pub(crate) fn norm(x: &[f32]) -> f64 {
    sum_of_squares(x, |x| f64::from(*x)).sqrt()
}

/// Σ x² in float64, in eight sums for speed.
pub(crate) fn sum_of_squares<T>(numbers: &[T], wide: impl Fn(&T) -> f64) -> f64 {
    let mut sums = [0.0f64; 8];
    let (chunks, rest) = numbers.as_chunks::<8>();
    for chunk in chunks {
        for (sum, number) in sums.iter_mut().zip(chunk) {
            *sum += wide(number) * wide(number);
        }
    }
    let rest: f64 = rest.iter().map(|x| wide(x) * wide(x)).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embeddings_that_a_path_flushes_are_allowed_for() {
        let head = Head::new(vec![3.0, 4.0, 0.0, 1.0], vec![0.0, 0.0], 2).unwrap();
        let least = 1.0 / f64::from(1 << 14);
        let error = LogitError {
            gamma: 1e-7,
            flushed: least,
        };
        // Both numbers of an embedding just below what is flushed: the logit is 7 · 2⁻¹⁴, and comes out 0.
        let norm = (least * std::f64::consts::SQRT_2) as f32;
        let tolerance = Tolerance::new(&head, error).of_norm(norm);
        assert!(f64::from(tolerance) >= 7.0 * least, "{tolerance}");
    }

    #[test]
    fn a_tolerance_holds_the_bound_it_is_made_from() {
        let head = Head::new(vec![3.0, 4.0, 0.0, 1.0], vec![-2.0, 1.0], 2).unwrap();
        let error = LogitError::of_sum(2, 1e-7);
        let tolerance = Tolerance::new(&head, error);
        for norm in [0.0f32, 1e-30, 1.0, 1e10] {
            let bound = error.gamma * (f64::from(norm) * 5.0 + 2.0);
            let found = f64::from(tolerance.of_norm(norm));
            assert!(
                bound <= found && found <= 1.02 * bound + 1e-35,
                "{norm}: {found} {bound}"
            );
        }
        assert_eq!(tolerance.of_norm(1e18), UNDECIDABLE);
        assert_eq!(tolerance.of_norm(f32::NAN), UNDECIDABLE);
    }

    #[test]
    fn nothing_is_decided_where_the_bound_says_nothing() {
        let head = Head::new(vec![1.0], vec![0.0], 1).unwrap();
        let none = LogitError::of_sum(1, 0.3);
        assert_eq!(Tolerance::new(&head, none).of_norm(0.0), UNDECIDABLE);
        let huge = Head::new(vec![1.0], vec![1e30], 1).unwrap();
        let error = LogitError::of_sum(1, 1e-7);
        assert_eq!(Tolerance::new(&huge, error).of_norm(0.0), UNDECIDABLE);
    }
}
