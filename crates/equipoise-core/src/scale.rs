//! `1/‖W[p] − W[c]‖`: what turns a gap of two logits into a distance.
//!
//! ‖a − b‖² = ‖a‖² + ‖b‖² − 2⟨a, b⟩, the products in float32. Weights with much in common are moved
//! by their mean first, which changes no difference. Where cancellation leaves too few digits (classes whose
//! weights are near each other), the distance is summed directly in float64.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use crate::cpu::logits::{self, Columns, STRIP_ROWS, Slices};
use crate::engine::{BOUND_ROUNDING, NO_BOUNDARY, UNSCALED};
use crate::tolerance::sum_of_squares;
use crate::vectorised::vectorised;
use crate::{Head, Values};

/// Largest relative error of a scale: the rest of [`BOUND_ROUNDING`] is left to the products
/// that it takes part in.
const LARGEST_ERROR: f64 = BOUND_ROUNDING as f64 / 2.0;

/// Share of the weights' squares that may be their mean's without costing digits worth the work of taking it off.
const LITTLE_IN_COMMON: f64 = 0.25;

/// Makes the scales of one head, which each call is given again.
#[derive(Debug)]
pub struct BoundaryScales {
    /// W less the mean of its rows, rounded to f32, where the mean is worth taking off.
    columns: Arc<Columns>,
    /// That mean, or zeros.
    mean: Vec<f32>,
    /// Squared norms of the rows that are multiplied.
    squares: Vec<f64>,
    /// Their roots.
    norms: Vec<f64>,
    /// Bound on the error of a squared distance, relative to the norms' product.
    gamma: f64,
}

impl BoundaryScales {
    /// Bytes that [`BoundaryScales::new`] takes for a head of C `classes` and M `dim` numbers each, and that
    /// [`BoundaryScales::lines`] of at most so many `lines` of C numbers takes beside what it returns.
    pub fn bytes(classes: usize, dim: usize, lines: usize) -> u64 {
        let threads = rayon::current_num_threads();
        let strips = lines.div_ceil(STRIP_ROWS).min(threads);
        let rows = lines.min(strips * STRIP_ROWS) as u64;
        let (classes_64, dim_64) = (classes as u64, dim as u64);
        // Squares twice and norms; the mean and zeros; a class's differences on each thread.
        let vectors = 24 * classes_64 + 8 * dim_64 + 8 * dim_64 * threads as u64;
        // A strip's weights and products.
        let strips = 4 * rows * (dim_64 + classes_64) + strips as u64 * Columns::slice_bytes(lines);
        Columns::bytes(classes, dim) + vectors + strips
    }

    /// Prepares `head`; takes as much memory as its weights.
    pub fn new(head: &Head) -> Self {
        Self::with(head, || {
            Arc::new(Columns::new(head.weight(), head.dim(), head.classes()))
        })
    }

    /// As [`BoundaryScales::new`], with `columns` of the head where nothing is taken off.
    pub(crate) fn with(head: &Head, columns: impl FnOnce() -> Arc<Columns>) -> Self {
        let (classes, dim) = (head.classes(), head.dim());
        // Of f32 sums: any vector would do, if it is in the middle of the weights.
        let mut mean = vec![0.0f32; dim];
        for class in 0..classes {
            for (mean, w) in mean.iter_mut().zip(head.class_weight(class)) {
                *mean += w;
            }
        }
        mean.iter_mut().for_each(|mean| *mean /= classes as f32);
        let squares = |mean: &[f32]| -> Vec<f64> {
            let square = |class| {
                let weights = head.class_weight(class).iter().zip(mean);
                let centred: Vec<f32> = weights.map(|(w, mean)| w - mean).collect();
                sum_of_squares(&centred, |w| f64::from(*w))
            };
            (0..classes).into_par_iter().map(square).collect()
        };
        let zeros = vec![0.0; dim];
        let mut of_rows = squares(&zeros);
        let of_mean = sum_of_squares(&mean, |mean| f64::from(*mean));
        let in_common = of_mean * classes as f64 / of_rows.iter().sum::<f64>();
        // Not where a sum is not finite.
        let columns = if in_common < LITTLE_IN_COMMON {
            mean = zeros;
            columns()
        } else {
            of_rows = squares(&mean);
            Arc::new(Columns::around(head.weight(), &mean, classes))
        };
        // Twice a product's, as it is subtracted twice, and the rounding of `columns` themselves, which
        // moves a squared distance by at most 2⁻²¹ times the norms' product.
        let gamma = 2.0 * logits::error(dim).gamma + 1.0 / f64::from(1 << 21);
        Self {
            columns,
            mean,
            norms: of_rows.iter().map(|square| square.sqrt()).collect(),
            squares: of_rows,
            gamma,
        }
    }

    /// All scales, (C, stride) row-major, `padding` beyond C.
    pub fn table(&self, head: &Head, stride: usize, padding: f32) -> Vec<f32> {
        let classes = head.classes();
        let mut table = vec![padding; classes * stride];
        let strip = STRIP_ROWS * stride;
        // The longest first, one by one.
        let strips = table.par_chunks_mut(strip).enumerate().rev();
        strips.with_max_len(1).for_each(|(index, lines)| {
            let first = index * STRIP_ROWS;
            let block: Vec<usize> = (first..classes.min(first + STRIP_ROWS)).collect();
            // The rest follows by symmetry.
            self.strip(head, &block, first + block.len(), stride, lines);
        });
        for first in (0..classes).step_by(STRIP_ROWS) {
            let (before, lines) = table.split_at_mut(first * stride);
            let lines = &lines[..strip.min(lines.len())];
            let before = before.par_chunks_mut(strip).enumerate();
            before.for_each(|(index, before)| {
                for (c, to) in before.chunks_exact_mut(stride).enumerate() {
                    let scales = lines.chunks_exact(stride);
                    for (scale, line) in to[first..].iter_mut().zip(scales) {
                        *scale = line[index * STRIP_ROWS + c];
                    }
                }
            });
        }
        table
    }

    /// The scales of some predicted classes to all, (classes.len(), stride) row-major, `padding`
    /// beyond C.
    pub fn lines(&self, head: &Head, classes: &[usize], stride: usize, padding: f32) -> Vec<f32> {
        let mut lines = vec![padding; classes.len() * stride];
        lines
            .par_chunks_mut(STRIP_ROWS * stride)
            .zip(classes.par_chunks(STRIP_ROWS))
            .for_each(|(lines, classes)| self.strip(head, classes, head.classes(), stride, lines));
        lines
    }

    /// The scales of a strip's classes to the first `wanted`, a line of `stride` numbers each.
    fn strip(&self, head: &Head, classes: &[usize], wanted: usize, stride: usize, out: &mut [f32]) {
        let dim = head.dim();
        let mut weights = Vec::with_capacity(classes.len() * dim);
        for class in classes {
            let weight = head.class_weight(*class).iter().zip(&self.mean);
            weights.extend(weight.map(|(w, mean)| w - mean));
        }
        let width = self.columns.stride();
        let mut products = vec![0.0; classes.len() * width];
        self.columns.multiply_seen(
            wanted,
            Values::F32(&weights),
            0..classes.len(),
            &mut Slices::new(),
            |_, _| {},
            &mut products,
        );
        let lines = out.chunks_exact_mut(stride);
        for ((line, products), p) in lines.zip(products.chunks_exact(width)).zip(classes) {
            self.line(head, *p, products, &mut line[..wanted]);
        }
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
