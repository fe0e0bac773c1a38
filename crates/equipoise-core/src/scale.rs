//! `1/‖W[p] − W[c]‖`: what turns a gap of two logits into a distance.
//!
//! ‖a − b‖² = ‖a‖² + ‖b‖² − 2⟨a, b⟩, the products by a blocked float32 GEMM. Weights with much in common are moved
//! by their mean first, which changes no difference. Where cancellation leaves too few digits (classes whose
//! weights are near each other), the distance is summed directly in float64.

use std::ops::Range;

use rayon::prelude::*;

use crate::Head;
use crate::cpu::logits;
use crate::engine::{BOUND_ROUNDING, NO_BOUNDARY, UNSCALED};
use crate::vectorised::vectorised;

/// Lines of the table made at a time.
const LINES: usize = 256;

/// Largest relative error of a scale: the rest of [`BOUND_ROUNDING`] is left to the products
/// that it takes part in.
const LARGEST_ERROR: f64 = BOUND_ROUNDING as f64 / 2.0;

/// Share of the weights' squares that may be their mean's without costing digits worth the work of taking it off.
const LITTLE_IN_COMMON: f64 = 0.25;

/// Makes the scales of one head, which each call is given again.
#[derive(Debug)]
pub struct BoundaryScales {
    /// W less the mean of its rows, rounded to f32, (C, M), where the mean is worth taking off.
    centred: Option<Vec<f32>>,
    /// Squared norms of the rows multiplied: those of `centred`, or of W.
    squares: Vec<f64>,
    /// Their roots.
    norms: Vec<f64>,
    /// Bound on the error of a squared distance, relative to the norms' product.
    gamma: f64,
}

impl BoundaryScales {
    /// Prepares `head`; takes as much memory as its weights at most.
    pub fn new(head: &Head) -> Self {
        let (classes, dim) = (head.classes(), head.dim());
        // Of f32 sums: any vector would do, if it is in the middle of the weights.
        let mut mean = vec![0.0f32; dim];
        for class in 0..classes {
            for (mean, w) in mean.iter_mut().zip(head.class_weight(class)) {
                *mean += w;
            }
        }
        mean.iter_mut().for_each(|mean| *mean /= classes as f32);
        let mut squares = vec![0.0; classes];
        let square = |weights: &[f32]| sum_of_squares(weights, |w| f64::from(*w));
        (squares.par_iter_mut().enumerate())
            .for_each(|(class, sum)| *sum = square(head.class_weight(class)));
        let in_common = square(&mean) * classes as f64 / squares.iter().sum::<f64>();
        // Not where a sum is not finite.
        let is_little = in_common < LITTLE_IN_COMMON;
        let centred = (!is_little).then(|| {
            let mut centred = vec![0.0; head.weight().len()];
            centred
                .par_chunks_mut(dim)
                .zip(&mut squares)
                .enumerate()
                .for_each(|(class, (centred, sum))| {
                    let weights = head.class_weight(class).iter().zip(&mean);
                    for (centred, (w, mean)) in centred.iter_mut().zip(weights) {
                        *centred = w - mean;
                    }
                    *sum = square(centred);
                });
            centred
        });
        // Twice a product's, as it is subtracted twice, and the rounding of `centred` itself, which
        // moves a squared distance by at most 2⁻²¹ times the norms' product.
        let gamma = 2.0 * logits::error(dim).gamma + 1.0 / f64::from(1 << 21);
        Self {
            centred,
            norms: squares.iter().map(|square| square.sqrt()).collect(),
            squares,
            gamma,
        }
    }

    /// All scales, (C, stride) row-major, `padding` beyond C.
    pub fn table(&self, head: &Head, stride: usize, padding: f32) -> Vec<f32> {
        let classes = head.classes();
        let mut table = vec![padding; classes * stride];
        let mut products = Vec::new();
        for first in (0..classes).step_by(LINES) {
            let block = first..classes.min(first + LINES);
            // The rest follows by symmetry.
            let width = block.end;
            let weights = self.weights(head, block.clone());
            self.products(head, weights, width, &mut products);
            table[first * stride..block.end * stride]
                .par_chunks_mut(stride)
                .zip(products.par_chunks(width))
                .zip(block.clone())
                .for_each(|((line, products), p)| self.line(head, p, products, &mut line[..width]));
            let (before, lines) = table.split_at_mut(first * stride);
            before
                .par_chunks_mut(stride)
                .enumerate()
                .for_each(|(c, line)| {
                    for (p, scale) in block.clone().zip(&mut line[block.clone()]) {
                        *scale = lines[(p - first) * stride + c];
                    }
                });
        }
        table
    }

    /// The scales of some predicted classes to all, (classes.len(), stride) row-major, `padding`
    /// beyond C.
    pub fn lines(&self, head: &Head, classes: &[usize], stride: usize, padding: f32) -> Vec<f32> {
        let count = head.classes();
        let mut weights = Vec::with_capacity(classes.len() * head.dim());
        for class in classes {
            weights.extend_from_slice(self.weights(head, *class..*class + 1));
        }
        let mut products = Vec::new();
        self.products(head, &weights, count, &mut products);
        let mut lines = vec![padding; classes.len() * stride];
        lines
            .par_chunks_mut(stride)
            .zip(products.par_chunks(count))
            .zip(classes)
            .for_each(|((line, products), p)| self.line(head, *p, products, &mut line[..count]));
        lines
    }

    fn multiplied<'h>(&'h self, head: &'h Head) -> &'h [f32] {
        self.centred.as_deref().unwrap_or(head.weight())
    }

    fn weights<'h>(&'h self, head: &'h Head, classes: Range<usize>) -> &'h [f32] {
        &self.multiplied(head)[classes.start * head.dim()..classes.end * head.dim()]
    }

    /// The products of some lines of [`Self::multiplied`] with its first `width`.
    fn products(&self, head: &Head, lines: &[f32], width: usize, out: &mut Vec<f32>) {
        out.clear();
        out.resize(lines.len() / head.dim() * width, 0.0);
        logits::multiply(lines, self.multiplied(head), head.dim(), width, out);
    }

    /// The scales of `p` to the first classes, from their products.
    fn line(&self, head: &Head, p: usize, products: &[f32], out: &mut [f32]) {
        let all_certain = vectorised(
            #[inline(always)]
            || self.certain_scales(p, products, out),
        );
        if all_certain {
            return;
        }
        for (c, scale) in out.iter_mut().enumerate().filter(|(_, s)| s.is_nan()) {
            let distance = distance(head.class_weight(p), head.class_weight(c));
            *scale = match 1.0 / distance {
                f64::INFINITY => NO_BOUNDARY,
                inverse if (1e-15..=1e15).contains(&inverse) => inverse as f32,
                _ => UNSCALED,
            };
        }
    }

    /// [`Self::line`] where the products have enough digits, NaN elsewhere; whether they have everywhere.
    #[inline(always)]
    fn certain_scales(&self, p: usize, products: &[f32], out: &mut [f32]) -> bool {
        let (square_p, norm_p) = (self.squares[p], self.norms[p]);
        let others = self.squares.iter().zip(&self.norms);
        let mut uncertain = 0u32;
        for ((scale, product), (square_c, norm_c)) in out.iter_mut().zip(products).zip(others) {
            let norms = norm_p * norm_c;
            let square = square_p + square_c - 2.0 * f64::from(*product);
            // The error of 1/d is half that of d², relatively. Without shortcuts, for whole vectors.
            let certain = (self.gamma * norms < LARGEST_ERROR * square)
                & (square > 1e-25)
                & (square < 1e29)
                & (norms < 1e25);
            *scale = if certain {
                (1.0 / square.sqrt()) as f32
            } else {
                f32::NAN
            };
            uncertain |= u32::from(!certain);
        }
        uncertain == 0
    }
}

/// `1/‖W[p] − W[c]‖` for classes `p` in `range` and all `c`, (range, C) row-major, within a relative
/// half of [`BOUND_ROUNDING`]; [`NO_BOUNDARY`] for equal weights, [`UNSCALED`] outside 1e-15..1e15.
pub fn boundary_scale(head: &Head, range: Range<usize>) -> Vec<f32> {
    let classes: Vec<usize> = range.collect();
    BoundaryScales::new(head).lines(head, &classes, head.classes(), NO_BOUNDARY)
}

/// ‖a − b‖ in float64: 0 only where they are equal.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let differences: Vec<f64> = a
        .iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) - f64::from(*b))
        .collect();
    sum_of_squares(&differences, |x| *x).sqrt()
}

/// Of numbers in float64, in eight sums for speed.
fn sum_of_squares<T>(numbers: &[T], wide: impl Fn(&T) -> f64) -> f64 {
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
    use crate::definition::weight_distance;
    use crate::random::{Philox, Purpose};

    /// A head whose classes share a large common part, some of them nearly or exactly equal.
    fn head(classes: usize, dim: usize, common: f32, seed: u64) -> Head {
        let numbers = Philox::new(seed, Purpose::Drawing, 0, 0);
        let mut weight: Vec<f32> = (0..classes * dim)
            .map(|i| (numbers.uniform(i as u64) - 0.5) as f32 + common)
            .collect();
        if classes > 5 {
            let first = weight[..dim].to_vec();
            weight[3 * dim..4 * dim].copy_from_slice(&first);
            weight[4 * dim..5 * dim].copy_from_slice(&first);
            weight[4 * dim] += 1e-3;
        }
        Head::new(weight, vec![0.0; classes], dim).unwrap()
    }

    #[test]
    fn scales_are_within_their_error() {
        for (classes, dim, common) in [(1, 1, 0.0), (7, 3, 0.0), (40, 700, 10.0), (300, 20, 1e3)] {
            let head = head(classes, dim, common, 1);
            let stride = classes + 3;
            let table = BoundaryScales::new(&head).table(&head, stride, 7.0);
            let lines = boundary_scale(&head, 0..classes);
            for p in 0..classes {
                for c in 0..classes {
                    let exact = weight_distance(&head, p, c);
                    for scale in [table[p * stride + c], lines[p * classes + c]] {
                        if exact == 0.0 {
                            assert_eq!(scale, NO_BOUNDARY, "{p} {c}");
                        } else {
                            let error = (f64::from(scale) * exact - 1.0).abs();
                            assert!(error <= LARGEST_ERROR, "{p} {c}: {scale} {exact}");
                        }
                    }
                }
                assert_eq!(table[p * stride + classes..(p + 1) * stride], [7.0; 3]);
            }
        }
    }

    #[test]
    fn weights_too_near_or_too_far_have_no_scale() {
        let head = Head::new(vec![0.0, 1e-20, 1e20], vec![0.0; 3], 1).unwrap();
        let scales = boundary_scale(&head, 0..3);
        assert_eq!(scales[1], UNSCALED);
        assert_eq!(scales[2], UNSCALED);
        assert_eq!(scales[0], NO_BOUNDARY);
    }
}
