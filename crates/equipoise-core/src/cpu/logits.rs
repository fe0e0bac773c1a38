//! Kernel `logits`: Z = X Wᵀ in float32. The row kernels add the bias.
//!
//! Rows are multiplied in strips, short enough that what is done with their logits finds them in the cache. A strip is
//! copied slice by slice, and each slice multiplied by all classes. The head is brought once into the order in which the
//! tiles of a product read it: a general GEMM orders both operands anew for each call, which short strips do not repay.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::strip::Strip;
use super::tile::{self, Line, SLICE, VECTORS};
use crate::Values;
use crate::engine::LogitError;
use crate::tolerance::ROUNDING;

/// The error of [`Columns::multiply`]'s sums over `dim` products, with a bias.
pub(crate) fn error(dim: usize) -> LogitError {
    // The longest chain of additions: a slice's, then those of slices, then the bias.
    let chain = SLICE.min(dim) + dim.div_ceil(SLICE);
    LogitError::of_sum(chain, ROUNDING)
}

/// Rows of a strip: so many that products take longer than reading the head for them, so few that their slices, and
/// their logits of a thousand classes, stay in a core's own cache.
pub const STRIP_ROWS: usize = 8 * tile::ROWS;

/// A slice of each row of a strip: scratch memory.
pub type Slices = Vec<Line>;

/// A head's weights as products read them, made once for all rows.
#[derive(Debug, Clone)]
pub struct Columns {
    dim: usize,
    stride: usize,
    classes: usize,
    arch: Arch,
    /// Classes of a panel.
    width: usize,
    /// Slice by slice, panel by panel, column by column: the weights of a panel's classes, zeros beyond the last.
    panels: Vec<f32>,
}

impl Columns {
    /// Of `weight`, (classes, dim), for lines of `stride` ≥ classes numbers.
    pub fn new(weight: &[f32], dim: usize, stride: usize) -> Self {
        Self::around(weight, &vec![0.0; dim], stride)
    }

    /// Of `weight` less `mean`, of dim numbers.
    pub(crate) fn around(weight: &[f32], mean: &[f32], stride: usize) -> Self {
        let arch = Arch::new();
        Self::of_width(width(arch), arch, weight, mean, stride)
    }

    fn of_width(width: usize, arch: Arch, weight: &[f32], mean: &[f32], stride: usize) -> Self {
        let dim = mean.len();
        let classes = weight.len() / dim;
        let mut panels = vec![0.0; padded(classes, width) * dim];
        let slices = panels.chunks_mut(padded(classes, width).max(1) * SLICE);
        for (panels, first) in slices.zip((0..dim).step_by(SLICE)) {
            let depth = SLICE.min(dim - first);
            let panels = panels.par_chunks_mut(width * depth);
            let classes = weight.par_chunks(width * dim);
            panels.zip(classes).for_each(|(panel, weight)| {
                for (class, weight) in weight.chunks_exact(dim).enumerate() {
                    let weight = weight[first..].iter().zip(&mean[first..]);
                    for (column, (w, mean)) in panel.chunks_exact_mut(width).zip(weight) {
                        column[class] = w - mean;
                    }
                }
            });
        }
        Self {
            dim,
            stride,
            classes,
            arch,
            width,
            panels,
        }
    }

    /// Bytes of `classes` × `dim` weights.
    pub(crate) fn bytes(classes: usize, dim: usize) -> u64 {
        4 * padded(classes, width(Arch::new())) as u64 * dim as u64
    }

    /// Bytes of the [`Slices`] of products with at most `rows` rows.
    pub(crate) fn slice_bytes(rows: usize) -> u64 {
        let rows = rows.min(STRIP_ROWS).next_multiple_of(tile::ROWS);
        (rows * size_of::<Line>()) as u64
    }

    /// Numbers of a row of the weights.
    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    /// Numbers of a line of products.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// How many columns of a line [`Columns::multiply`] writes: beyond the classes, zeros.
    pub fn written(&self) -> usize {
        self.stride.min(self.classes.next_multiple_of(TOGETHER))
    }

    /// The weights of a panel's classes in the `depth` columns from `first` on, a slice.
    #[inline(always)]
    pub(super) fn panel(&self, first: usize, depth: usize, panel: usize) -> &[f32] {
        let slice = first * padded(self.classes, self.width);
        &self.panels[slice + panel * depth * self.width..][..depth * self.width]
    }

    /// Writes the products of the rows `rows` of `values`, (_, dim), to `out`, (rows, stride), on this thread; `slices` is
    /// scratch memory. See [`Columns::written`].
    pub fn multiply(
        &self,
        values: Values<'_>,
        rows: Range<usize>,
        slices: &mut Slices,
        out: &mut [f32],
    ) {
        self.multiply_seen(self.written(), values, rows, slices, |_, _| {}, out);
    }

    /// As [`Columns::multiply`], the first `wanted` columns alone; `seen` gets the slices of each row in order, with its
    /// number.
    #[inline(always)]
    pub(crate) fn multiply_seen(
        &self,
        wanted: usize,
        values: Values<'_>,
        rows: Range<usize>,
        slices: &mut Slices,
        mut seen: impl FnMut(usize, &[f32]),
        out: &mut [f32],
    ) {
        assert!(wanted <= self.written() && out.len() >= rows.len() * self.stride);
        let lines = out.chunks_mut(STRIP_ROWS * self.stride);
        for (first, out) in rows.clone().step_by(STRIP_ROWS).zip(lines) {
            self.arch.dispatch(Strip::<_, VECTORS> {
                columns: self,
                values,
                rows: first..rows.end.min(first + STRIP_ROWS),
                slices,
                seen: &mut seen,
                wanted,
                out,
            });
        }
    }
}

/// Classes that lines are written by.
pub(super) const TOGETHER: usize = 8;

/// Classes, and zeros up to the next whole panel and to what lines are written by.
fn padded(classes: usize, width: usize) -> usize {
    classes.next_multiple_of(width.max(TOGETHER))
}

/// Classes of a panel, a power of two.
fn width(arch: Arch) -> usize {
    VECTORS * lanes(arch)
}

/// Numbers of a vector.
pub(super) fn lanes(arch: Arch) -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    arch.dispatch(Lanes)
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;
    use crate::random::{Philox, Purpose};

    /// Largest difference allowed, as products are of numbers below 1.
    const ALLOWED: f64 = 1e-4;

    /// The products of `rows` by instructions of this processor, or by those that stand for another's, with `VECTORS` a panel.
    fn products<S: Simd, const VECTORS: usize>(
        simd: Option<S>,
        (weight, dim, stride): (&[f32], usize, usize),
        (values, rows): (Values<'_>, Range<usize>),
        wanted: usize,
        out: &mut [f32],
    ) -> Vec<f32> {
        let (mut slices, mut seen) = (Slices::new(), vec![Vec::new(); rows.len()]);
        let first = rows.start;
        let mut see = |row: usize, slice: &[f32]| seen[row - first].extend_from_slice(slice);
        match simd {
            None => {
                let columns = Columns::new(weight, dim, stride);
                columns.multiply_seen(wanted, values, rows, &mut slices, see, out);
            }
            Some(simd) => {
                let (width, mean) = (VECTORS * S::F32_LANES, vec![0.0; dim]);
                let columns = Columns::of_width(width, Arch::new(), weight, &mean, stride);
                let strip = Strip::<_, VECTORS> {
                    columns: &columns,
                    values,
                    rows,
                    slices: &mut slices,
                    seen: &mut see,
                    wanted,
                    out,
                };
                strip.with_simd(simd);
            }
        }
        seen.concat()
    }

    /// Checks products of every way, of `rows` rows and of all that are wanted of their columns.
    fn check<S: Simd, const VECTORS: usize>(
        simd: Option<S>,
        rows: usize,
        classes: usize,
        dim: usize,
    ) {
        const GUARD: f32 = 12345.0;
        const BEFORE: usize = 2;
        let numbers = Philox::new(7, Purpose::Drawing, 0, 0);
        let number = |i: usize| f16::from_f64(numbers.uniform(i as u64) - 0.5);
        let (stride, all) = (classes + 11, BEFORE + rows + 1);
        let half: Vec<f16> = (0..all * dim).map(number).collect();
        let x: Vec<f32> = half.iter().map(|x| x.to_f32()).collect();
        let w: Vec<f32> = (0..classes * dim)
            .map(|i| number(i + 999).to_f32())
            .collect();
        let written = Columns::new(&w, dim, stride).written();
        for (values, wanted) in [
            (Values::F32(&x), written),
            (Values::F16(&half), written),
            (Values::F32(&x), classes.div_ceil(2)),
        ] {
            let what = format!("{rows} {classes} {dim} {wanted} {}", values.width());
            let mut out = vec![GUARD; rows * stride];
            let head = (&w[..], dim, stride);
            let some = (values, BEFORE..BEFORE + rows);
            let seen = products::<_, VECTORS>(simd, head, some, wanted, &mut out);
            assert_eq!(seen, x[BEFORE * dim..][..rows * dim], "{what}");
            for (row, line) in out.chunks_exact(stride).enumerate() {
                let (found, guards) = line.split_at(wanted);
                assert!(guards.iter().all(|z| *z == GUARD), "{what}");
                let (found, zeros) = found.split_at(wanted.min(classes));
                assert!(zeros.iter().all(|z| *z == 0.0), "{what}");
                let x = &x[(BEFORE + row) * dim..][..dim];
                for (class, found) in found.iter().enumerate() {
                    let exact = crate::definition::dot(x, &w[class * dim..][..dim]);
                    let off = (f64::from(*found) - exact).abs();
                    assert!(off < ALLOWED, "{what}: {off}");
                }
            }
        }
    }

    const ROWS: [usize; 8] = [0, 1, 2, 5, 6, 16, 33, 48];
    const CLASSES: [usize; 9] = [1, 3, 8, 15, 16, 17, 49, 100, 300];
    const DIMS: [usize; 8] = [1, 2, 7, 64, 511, 512, 513, 1100];

    #[test]
    fn products_of_ragged_shapes_are_right_and_nothing_else_is_written() {
        for rows in ROWS.into_iter().chain([49, 101]) {
            for classes in CLASSES {
                for dim in DIMS {
                    check::<_, VECTORS>(None::<pulp::Scalar>, rows, classes, dim);
                }
            }
        }
    }

    #[test]
    fn vectors_of_every_width_have_the_same_products() {
        for rows in [1, 6, 8] {
            for classes in [1, 7, 9, 15, 17, 100] {
                for dim in [1, 7, 513] {
                    check::<_, 2>(Some(pulp::Scalar), rows, classes, dim);
                    check::<_, 2>(Some(pulp::Scalar128b), rows, classes, dim);
                    // As NEON's.
                    check::<_, 4>(Some(pulp::Scalar128b), rows, classes, dim);
                    check::<_, 2>(Some(pulp::Scalar256b), rows, classes, dim);
                    check::<_, 2>(Some(pulp::Scalar512b), rows, classes, dim);
                }
            }
        }
    }
}
