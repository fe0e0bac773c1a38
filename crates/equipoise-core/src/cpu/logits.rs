//! Kernel `logits`: Z = X Wᵀ in float32. The row kernels add the bias.

use gemm::Parallelism;
use rayon::prelude::*;

use crate::engine::LogitError;

/// Columns of X and W multiplied at a time: a sum of short sums loses fewer digits than one long
/// sum, whatever the order within each.
const SLICE: usize = 512;

/// The error of [`Columns::multiply`]'s and [`multiply`]'s sums over `dim` products, with a bias.
pub(crate) fn error(dim: usize) -> LogitError {
    // The longest chain of additions: a slice's, then those of slices, then the bias.
    let chain = SLICE.min(dim) + dim.div_ceil(SLICE);
    LogitError::of_sum(chain, 1.0 / f64::from(1 << 24))
}

/// Classes from which on a product is worth copying its rows for.
const MANY_CLASSES: usize = 256;

/// Numbers between the rows of a copied slice: without them, rows of a power of two would share lines of the cache.
const APART: usize = 16;

/// A head's weights as products read them, made once for all rows.
#[derive(Debug, Clone)]
pub struct Columns {
    dim: usize,
    classes: usize,
    stride: usize,
    /// Wᵀ, (dim, stride), zeros beyond the classes.
    values: Vec<f32>,
}

impl Columns {
    /// Of `weight`, (classes, dim), for lines of `stride` ≥ classes numbers.
    pub fn new(weight: &[f32], dim: usize, stride: usize) -> Self {
        /// Columns made together: what is read of each class is a line of the cache.
        const TOGETHER: usize = 16;
        let classes = weight.len() / dim;
        let mut values = vec![0.0; dim * stride];
        values
            .par_chunks_mut(TOGETHER * stride)
            .enumerate()
            .for_each(|(block, columns)| {
                for (class, weight) in weight.chunks_exact(dim).enumerate() {
                    let columns = columns.chunks_exact_mut(stride);
                    for (column, weight) in columns.zip(&weight[block * TOGETHER..]) {
                        column[class] = *weight;
                    }
                }
            });
        Self {
            dim,
            classes,
            stride,
            values,
        }
    }

    /// How many columns of a line [`Columns::multiply`] writes: beyond the classes, zeros.
    pub fn written(&self) -> usize {
        // Whole vectors of every processor but the widest, which copes.
        self.stride.min(self.classes.next_multiple_of(8))
    }

    /// Numbers of scratch memory that a product of `rows` rows takes.
    pub(crate) fn copied(rows: usize, dim: usize, classes: usize) -> usize {
        match classes >= MANY_CLASSES {
            true => rows * (SLICE.min(dim) + APART),
            false => 0,
        }
    }

    /// Writes the products of `x`, (rows, dim), to `out`, (rows, stride), on this thread; `slice` is scratch memory.
    /// See [`Columns::written`].
    pub fn multiply(&self, x: &[f32], slice: &mut Vec<f32>, out: &mut [f32]) {
        let (dim, rows) = (self.dim, x.len() / self.dim);
        slice.resize(Self::copied(rows, dim, self.classes), 0.0);
        for first in (0..dim).step_by(SLICE) {
            let depth = SLICE.min(dim - first);
            let (x, apart) = match slice.is_empty() {
                true => (x.get(first..).unwrap_or_default(), dim),
                false => {
                    let apart = depth + APART;
                    let copies = slice.chunks_exact_mut(apart).zip(x.chunks_exact(dim));
                    copies
                        .for_each(|(to, x)| to[..depth].copy_from_slice(&x[first..first + depth]));
                    (&slice[..], apart)
                }
            };
            let columns = &self.values[first * self.stride..];
            product(
                [rows, depth, self.written()],
                Matrix::new(x, apart, 1),
                Matrix::new(columns, self.stride, 1),
                (out, self.stride),
                first > 0,
                Parallelism::None,
            );
        }
    }
}

/// Writes the products of `lines`, (lines, dim), with the first `width` rows of `weight`, (_, dim), to
/// `out`, (lines, width), on all cores.
pub(crate) fn multiply(lines: &[f32], weight: &[f32], dim: usize, width: usize, out: &mut [f32]) {
    let rows = lines.len() / dim;
    for first in (0..dim).step_by(SLICE) {
        product(
            [rows, SLICE.min(dim - first), width],
            Matrix::new(lines.get(first..).unwrap_or_default(), dim, 1),
            Matrix::new(&weight[first..], 1, dim),
            (out, width),
            first > 0,
            Parallelism::Rayon(0),
        );
    }
}

/// A matrix among numbers: how far its rows are from each other, and its columns.
#[derive(Clone, Copy)]
struct Matrix<'m> {
    numbers: &'m [f32],
    row: usize,
    column: usize,
}

impl<'m> Matrix<'m> {
    fn new(numbers: &'m [f32], row: usize, column: usize) -> Self {
        Self {
            numbers,
            row,
            column,
        }
    }

    /// Whether so many rows and columns, at least one of each, are all among the numbers.
    fn holds(&self, rows: usize, columns: usize) -> bool {
        (rows - 1) * self.row + (columns - 1) * self.column < self.numbers.len()
    }
}

/// Writes A B, (rows, depth) times (depth, columns), to `out`, whose rows are `stride` from each other, or adds it to
/// what is there.
fn product(
    [rows, depth, columns]: [usize; 3],
    a: Matrix<'_>,
    b: Matrix<'_>,
    (out, stride): (&mut [f32], usize),
    add: bool,
    parallelism: Parallelism,
) {
    if rows * depth * columns == 0 {
        return;
    }
    assert!(a.holds(rows, depth) && b.holds(depth, columns));
    assert!(columns <= stride && Matrix::new(out, stride, 1).holds(rows, columns));
    // SAFETY: every number read or written is within its slice, as asserted; `out` is borrowed mutably, its rows do not
    // overlap, and it overlaps neither operand.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            depth,
            out.as_mut_ptr(),
            1,
            stride as isize,
            add,
            a.numbers.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.numbers.as_ptr(),
            b.column as isize,
            b.row as isize,
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            parallelism,
        );
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
        for rows in [0, 1, 2, 5, 16, 33] {
            for classes in [1, 3, 8, 15, 49, 100, 300] {
                for dim in [1, 2, 7, 64, 511, 512, 513, 1100] {
                    let stride = classes + 11;
                    let x: Vec<f32> = (0..rows * dim).map(number).collect();
                    let w: Vec<f32> = (0..classes * dim).map(|i| number(i + 999)).collect();
                    let columns = Columns::new(&w, dim, stride);
                    let mut one = vec![GUARD; rows * stride];
                    let mut all = vec![GUARD; rows * classes];
                    columns.multiply(&x, &mut Vec::new(), &mut one);
                    multiply(&x, &w, dim, classes, &mut all);
                    for row in 0..rows {
                        let line = &one[row * stride..(row + 1) * stride];
                        let (zeros, guards) = line[classes..].split_at(columns.written() - classes);
                        assert!(zeros.iter().all(|z| *z == 0.0), "{rows} {classes} {dim}");
                        assert!(guards.iter().all(|z| *z == GUARD), "{rows} {classes} {dim}");
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
