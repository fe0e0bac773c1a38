//! Slices of a row, or of a class's weights, rounded to 16-bit integers times a number of their own.

use pulp::{Arch, Simd, WithSimd};

use super::tile::{Line, ROWS, SLICE};
use crate::Values;
use crate::cpu::logits::STRIP_ROWS;
use crate::cpu::row::larger;
use crate::cpu::row_norms::{self, SAFE};

/// Norm of a slice's integers: with what rounding adds, at most half of each, the root of 512 numbers' quarters, it is below
/// √2³¹.
const NORM: f32 = 46_300.0;

/// Largest integer, with room for the rounding of what it is made of.
const LARGEST: f32 = 32_766.0;

/// Adding and subtracting it rounds to an integer, which is then in the lower bits.
const ROUND: f32 = 12_582_912.0;

/// Vectors summed side by side.
pub(super) const SIDE_BY_SIDE: usize = 4;

/// What is found of a row while it is rounded.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Rounded {
    /// ‖x‖².
    pub(crate) square: f32,
    /// The square of what rounding took away.
    pub(crate) left: f32,
}

impl Rounded {
    /// ‖x − x̂‖ of a row of `dim` numbers, with norm at most `norm`, to well within 1%.
    #[inline(always)]
    pub(crate) fn left(&self, norm: f32, dim: usize) -> f32 {
        match SAFE.contains(&self.square) && dim < row_norms::MOST {
            true => self.left.sqrt(),
            // Rounding takes no more away than there is.
            false => norm,
        }
    }
}

/// A strip's rows, rounded: scratch memory.
#[derive(Debug, Default)]
pub struct RoundedRows {
    pub(super) lines: Vec<Line>,
    /// Of each row, what its slice's integers are multiplied by.
    pub(super) scales: Vec<f32>,
    /// A slice, widened.
    wide: Vec<f32>,
    /// What was found of each row.
    pub(crate) rows: Vec<Rounded>,
}

impl RoundedRows {
    /// Bytes of one of at most `rows` rows.
    pub(crate) fn bytes(rows: usize) -> u64 {
        let rows = rows.min(STRIP_ROWS).next_multiple_of(ROWS);
        (rows * (size_of::<Line>() + 4 + size_of::<Rounded>()) + 4 * SLICE) as u64
    }
}

impl RoundedRows {
    /// Makes room for so many rows, of which nothing is found yet.
    pub(super) fn begin(&mut self, rows: usize) {
        self.lines.resize(rows.next_multiple_of(ROWS), [0; _]);
        self.scales.resize(rows, 0.0);
        self.rows.clear();
        self.rows.resize(rows, Rounded::default());
    }

    /// Rounds a slice of the row of that index.
    #[inline(always)]
    pub(super) fn round(&mut self, index: usize, slice: Values<'_>) {
        let line: &mut [i16] = bytemuck::cast_slice_mut(&mut self.lines[index]);
        let (scale, found) = match slice {
            Values::F32(slice) => round(slice, line),
            Values::F16(_) => {
                self.wide.resize(SLICE, 0.0);
                let wide = &mut self.wide[..slice.len()];
                slice.widen(wide);
                round(wide, line)
            }
        };
        if cfg!(target_endian = "big") {
            // The first of two columns belongs into the lower half.
            let pairs = self.lines[index].iter_mut();
            pairs.for_each(|pair| *pair = pair.rotate_left(16));
        }
        self.scales[index] = scale;
        self.rows[index].square += found.square;
        self.rows[index].left += found.left;
    }
}

/// Rounds a slice of at most [`SLICE`] numbers to integers; returns what the integers are to be multiplied by, and what was found.
pub(super) fn round(x: &[f32], out: &mut [i16]) -> (f32, Rounded) {
    Arch::new().dispatch(Round { x, out })
}

struct Round<'a> {
    x: &'a [f32],
    out: &'a mut [i16],
}

impl WithSimd for Round<'_> {
    type Output = (f32, Rounded);

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> (f32, Rounded) {
        let none = simd.splat_f32s(0.0);
        let (vectors, rest) = S::as_simd_f32s(self.x);
        let (groups, last) = vectors.as_chunks::<SIDE_BY_SIDE>();
        let (mut squares, mut most) = ([none; SIDE_BY_SIDE], [none; SIDE_BY_SIDE]);
        for group in groups.iter().map(|group| &group[..]).chain([last]) {
            for (lane, x) in group.iter().enumerate() {
                squares[lane] = simd.mul_add_e_f32s(*x, *x, squares[lane]);
                most[lane] = simd.max_f32s(most[lane], simd.abs_f32s(*x));
            }
        }
        let square = total(simd, squares) + rest.iter().map(|x| x * x).sum::<f32>();
        let [a, b, c, d] = most;
        let most = simd.max_f32s(simd.max_f32s(a, b), simd.max_f32s(c, d));
        let most = simd.reduce_max_f32s(most);
        let most = rest.iter().fold(most, |most, x| larger(most, x.abs()));
        // Beyond, squares are nothing to go by: all is left.
        let scale = match SAFE.contains(&square) {
            true => larger(square.sqrt() / NORM, most / LARGEST),
            false => 0.0,
        };
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        let mut rounded = [0.0; SLICE];
        let rounded = &mut rounded[..self.x.len()];
        let (inverses, scales) = (simd.splat_f32s(inverse), simd.splat_f32s(scale));
        let magic = simd.splat_f32s(ROUND);
        let (lines, of_rest) = S::as_mut_simd_f32s(rounded);
        let mut left = [none; SIDE_BY_SIDE];
        let both = vectors
            .chunks(SIDE_BY_SIDE)
            .zip(lines.chunks_mut(SIDE_BY_SIDE));
        for (group, line) in both {
            for (lane, (x, rounded)) in group.iter().zip(line).enumerate() {
                *rounded = simd.mul_add_e_f32s(*x, inverses, magic);
                let missing = simd.mul_add_e_f32s(simd.sub_f32s(magic, *rounded), scales, *x);
                left[lane] = simd.mul_add_e_f32s(missing, missing, left[lane]);
            }
        }
        let mut left = total(simd, left);
        for (x, rounded) in rest.iter().zip(of_rest) {
            *rounded = x * inverse + ROUND;
            let missing = x - (*rounded - ROUND) * scale;
            left += missing * missing;
        }
        for (out, rounded) in self.out.iter_mut().zip(&*rounded) {
            // The lower bits are the integer's.
            *out = rounded.to_bits() as i16;
        }
        (scale, Rounded { square, left })
    }
}

/// The sum of all numbers of some vectors.
#[inline(always)]
pub(super) fn total<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; SIDE_BY_SIDE]) -> f32 {
    simd.reduce_sum_f32s(simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d)))
}
