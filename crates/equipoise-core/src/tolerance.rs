//! How far an engine's f32 logits may lie from the definition's, row by row.
//!
//! A sum of M products and a bias, in any order and with or without fused operations, differs from
//! the exact value by at most γ Σ|x w| + γ|b| with γ = n u / (1 − n u), n = M + 2 and u the largest
//! relative error of one operation (Higham, *Accuracy and Stability of Numerical Algorithms*, 3.1);
//! Σ|x w| ≤ ‖x‖ ‖w‖. Denormals may be flushed to zero: each flush moves a product by at most
//! 2⁻¹²⁶ times the other operand, or the sum by 2⁻¹²⁶.

use rayon::prelude::*;

use crate::engine::{Precision, UNAVAILABLE, UNDECIDABLE};
use crate::{Head, RowSet, Values};

/// Above this bound on a logit f32 might overflow in what follows.
const LARGEST_LOGIT: f64 = 1e18;

/// Room for the float64 rounding of the definition and of the bound itself.
const ROOM: f64 = 1.01;

/// Turns an embedding's norm into its row's tolerance, for one head and engine.
pub(crate) struct Tolerance {
    gamma: f64,
    weight_norm: f64,
    bias: f64,
    dim: f64,
}

impl Tolerance {
    pub(crate) fn new(head: &Head, precision: Precision) -> Self {
        let operations = (head.dim() + 2) as f64 * precision.unit;
        let weight_norm = (0..head.classes())
            .map(|class| norm(head.class_weight(class)))
            .fold(0.0, f64::max);
        let bias = head.bias().iter().fold(0.0, |max: f32, b| max.max(b.abs()));
        Self {
            // Beyond a half the bound says nothing; infinite, it makes every row undecidable.
            gamma: match operations < 0.5 {
                true => operations / (1.0 - operations),
                false => f64::INFINITY,
            },
            weight_norm,
            bias: f64::from(bias),
            dim: head.dim() as f64,
        }
    }

    fn of_norm(&self, norm: f64) -> f32 {
        let logit = norm * self.weight_norm + self.bias;
        let flushed = f64::from(f32::MIN_POSITIVE)
            * 2.0
            * (self.dim + self.dim.sqrt() * (norm + self.weight_norm) + 1.0);
        let tolerance = (self.gamma * logit + flushed) * ROOM;
        match logit <= LARGEST_LOGIT && tolerance.is_finite() {
            true => (tolerance as f32).next_up().min(UNDECIDABLE),
            false => UNDECIDABLE,
        }
    }

    /// Tolerances of the rows from `start` on; the rows among them that are available and hold a
    /// NaN or an infinity are listed and marked unavailable.
    pub(crate) fn of_rows(
        &self,
        values: Values<'_>,
        start: usize,
        available: &RowSet,
    ) -> (Vec<f32>, Vec<usize>) {
        let dim = self.dim as usize;
        let tolerance: Vec<Option<f32>> = (0..values.len() / dim)
            .into_par_iter()
            .with_min_len(16)
            .map(|row| {
                if !available.contains(start + row) {
                    return Some(UNAVAILABLE);
                }
                let norm = match values.slice(row * dim..(row + 1) * dim) {
                    Values::F32(x) => norm(x),
                    Values::F16(x) => {
                        let mut wide = vec![0.0; dim];
                        Values::F16(x).widen(&mut wide);
                        norm(&wide)
                    }
                };
                norm.is_finite().then(|| self.of_norm(norm))
            })
            .collect();
        let nonfinite = (start..)
            .zip(&tolerance)
            .filter_map(|(row, tolerance)| tolerance.is_none().then_some(row))
            .collect();
        let tolerance = tolerance
            .into_iter()
            .map(|tolerance| tolerance.unwrap_or(UNAVAILABLE))
            .collect();
        (tolerance, nonfinite)
    }
}

/// Euclidean norm in float64, finite for finite f32; NaN or infinite otherwise.
fn norm(x: &[f32]) -> f64 {
    // Eight sums, so that the compiler can use vector registers.
    let mut sums = [0.0f64; 8];
    let chunks = x.chunks_exact(8);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(*x) * f64::from(*x);
        }
    }
    let rest: f64 = rest.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    (sums.iter().sum::<f64>() + rest).sqrt()
}
