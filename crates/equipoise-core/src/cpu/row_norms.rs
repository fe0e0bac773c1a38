//! Kernel `row_norms`: an upper bound on each row's norm.

use crate::Values;
use crate::tolerance::norm;

/// Sums of squares in f32 that lost no digits that count: where they are smaller too many may have underflowed, where they are
/// larger some may have overflowed.
pub(super) const SAFE: std::ops::Range<f32> = 1e-20..1e36;

/// Numbers of a row whose squares may be summed in f32.
pub(super) const MOST: usize = 1_000_000;

/// The squares of a row, given in pieces: multiples of 32 numbers, but for the last.
#[derive(Clone, Copy)]
pub(crate) struct Squares([f32; Squares::LANES]);

impl Squares {
    /// Sums made side by side.
    const LANES: usize = 32;

    pub(crate) const NONE: Self = Self([0.0; Self::LANES]);

    #[inline(always)]
    pub(crate) fn add(&mut self, x: &[f32]) {
        let (chunks, rest) = x.as_chunks::<{ Self::LANES }>();
        let mut sums = self.0;
        for chunk in chunks {
            for (sum, x) in sums.iter_mut().zip(chunk) {
                *sum += x * x;
            }
        }
        for (sum, x) in sums.iter_mut().zip(rest) {
            *sum += x * x;
        }
        self.0 = sums;
    }

    /// Their sum.
    #[inline(always)]
    pub(crate) fn sum(self) -> f32 {
        let mut sums = self.0;
        // By halves: one after the other, each addition would wait for the last.
        let mut width = Self::LANES;
        while width > 1 {
            width /= 2;
            for lane in 0..width {
                sums[lane] += sums[lane + width];
            }
        }
        sums[0]
    }
}

/// The Euclidean norm of a row whose squares' sum is `square`, to well within 1%, which tolerances leave room for: `None` for
/// a NaN or an infinity.
#[inline(always)]
pub(crate) fn of_square(square: f32, row: Values<'_>) -> Option<f32> {
    // 2⁻²⁴ per addition, M/32 + 6 of them, halved by the root: far below 1% for any M in memory
    // up to a million; beyond, and outside of the safe range, in float64.
    if SAFE.contains(&square) && row.len() < MOST {
        return Some(square.sqrt());
    }
    let exact = norm(&row.embedding());
    exact.is_finite().then_some((exact as f32).next_up())
}

/// The norm of a row: see [`of_square`].
#[inline(always)]
pub(crate) fn run(x: &[f32]) -> Option<f32> {
    let mut squares = Squares::NONE;
    squares.add(x);
    of_square(squares.sum(), Values::F32(x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_of_any_magnitude_are_right_and_others_are_none() {
        for scale in [0.0, 1e-45, 1e-30, 1e-10, 1.0, 1e10, 1e17, 1e37] {
            for dim in [1, 31, 32, 33, 100] {
                let x: Vec<f32> = (0..dim).map(|m| scale * (0.5 + m as f32 / 200.0)).collect();
                let found = f64::from(run(&x).unwrap());
                let exact = norm(&x);
                assert!(
                    (found - exact).abs() <= 1e-5 * exact + 3e-45,
                    "{found} {exact}"
                );
            }
        }
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = vec![1.0; 70];
            x[40] = bad;
            assert_eq!(run(&x), None);
        }
    }
}
