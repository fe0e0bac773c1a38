//! Kernel `logits`: Z = X Wᵀ in float32. The row kernels add the bias.

use gemm::Parallelism;

use crate::engine::LogitError;

/// Columns of X and W multiplied at a time: a sum of short sums loses fewer digits than one long
/// sum, whatever the order within each.
const SLICE: usize = 512;

/// The error of [`run`]'s and [`multiply`]'s sums over `dim` products, with a bias.
pub(crate) fn error(dim: usize) -> LogitError {
    // The longest chain of additions: a slice's, then those of slices, then the bias.
    let chain = SLICE.min(dim) + dim.div_ceil(SLICE);
    LogitError::of_sum(chain, 1.0 / f64::from(1 << 24))
}

/// Writes the products of `x`, (rows, dim), with `weight`, (classes, dim), to the first `classes`
/// columns of `out`, (rows, stride), on this thread.
pub fn run(x: &[f32], weight: &[f32], dim: usize, stride: usize, out: &mut [f32]) {
    let matrices = Matrices {
        dim,
        rows: x.len() / dim,
        columns: weight.len() / dim,
        stride,
    };
    matrices.multiply(x, weight, out, Parallelism::None);
}

/// Writes the products of `lines`, (lines, dim), with the first `width` rows of `weight`, (_, dim), to
/// `out`, (lines, width), on all cores.
pub(crate) fn multiply(lines: &[f32], weight: &[f32], dim: usize, width: usize, out: &mut [f32]) {
    let matrices = Matrices {
        dim,
        rows: lines.len() / dim,
        columns: width,
        stride: width,
    };
    matrices.multiply(lines, weight, out, Parallelism::Rayon(0));
}

/// Shapes of a product: X (rows, dim), W (≥ columns, dim) and Z (rows, stride).
struct Matrices {
    dim: usize,
    rows: usize,
    columns: usize,
    stride: usize,
}

impl Matrices {
    fn multiply(&self, x: &[f32], w: &[f32], z: &mut [f32], parallelism: Parallelism) {
        assert!(self.columns <= self.stride);
        assert!(x.len() >= self.rows * self.dim && w.len() >= self.columns * self.dim);
        assert!(z.len() >= self.rows * self.stride);
        for first in (0..self.dim).step_by(SLICE) {
            let depth = SLICE.min(self.dim - first);
            // SAFETY: the accesses are rows · dim, columns · dim and rows · stride numbers from the
            // beginning at most, which the slices hold as asserted; `z` is borrowed mutably and
            // overlaps neither operand.
            unsafe {
                gemm::gemm(
                    self.rows,
                    self.columns,
                    depth,
                    z.as_mut_ptr(),
                    1,
                    self.stride as isize,
                    first > 0,
                    x.as_ptr().add(first),
                    1,
                    self.dim as isize,
                    w.as_ptr().add(first),
                    self.dim as isize,
                    1,
                    1.0f32,
                    1.0f32,
                    false,
                    false,
                    false,
                    parallelism,
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Philox, Purpose};

    /// Largest difference allowed, as products are of numbers below 1.
    const ROUNDING: f64 = 1e-4;

    #[test]
    fn products_of_ragged_shapes_are_right_and_nothing_else_is_written() {
        const GUARD: f32 = 12345.0;
        let numbers = Philox::new(7, Purpose::Drawing, 0, 0);
        let number = |i: usize| (numbers.uniform(i as u64) - 0.5) as f32;
        for rows in [1, 2, 5, 16, 33, 70] {
            for classes in [1, 3, 8, 15, 49, 100] {
                for dim in [1, 2, 7, 64, 511, 512, 513, 1100] {
                    let stride = classes + 5;
                    let x: Vec<f32> = (0..rows * dim).map(number).collect();
                    let w: Vec<f32> = (0..classes * dim).map(|i| number(i + 999)).collect();
                    let mut one = vec![GUARD; rows * stride];
                    let mut all = vec![GUARD; rows * classes];
                    run(&x, &w, dim, stride, &mut one);
                    multiply(&x, &w, dim, classes, &mut all);
                    for row in 0..rows {
                        let line = &one[row * stride..(row + 1) * stride];
                        assert_eq!(line[classes..], [GUARD; 5], "{rows} {classes} {dim}");
                        for class in 0..classes {
                            let x = &x[row * dim..(row + 1) * dim];
                            let w = &w[class * dim..(class + 1) * dim];
                            let exact = crate::definition::dot(x, w);
                            for found in [line[class], all[row * classes + class]] {
                                let off = (f64::from(found) - exact).abs();
                                assert!(off < ROUNDING, "{rows} {classes} {dim}: {off}");
                            }
                        }
                    }
                }
            }
        }
    }
}
