//! Kernel `gradients`: softmax of a row's logits less the one-hot of its predicted class.

use super::row::{LANES, ordered, unordered};
use super::row_statistics::exp_of_negative;
use crate::engine::GAP_ROUNDING;

/// Turns logits `z`, padded with [`super::row::NO_LOGIT`], whose argmax is `p` and of which each may be off by
/// `tolerance`, into the gradient, padded with zeros. Returns its squared norm; `None` where another class may be
/// the predicted one.
///
/// Every number is right within a relative error: that of `p` is summed from the others, not subtracted from 1.
#[inline(always)]
pub(crate) fn run(z: &mut [f32], p: usize, tolerance: f32) -> Option<f32> {
    let top = z[p];
    let mut second = i32::MIN;
    let mut sums = [0.0f32; LANES];
    for (chunk, z) in z.chunks_exact_mut(LANES).enumerate() {
        for lane in 0..LANES {
            let is_top = chunk * LANES + lane == p;
            second = second.max(if is_top { i32::MIN } else { ordered(z[lane]) });
            let power = exp_of_negative(top - z[lane]);
            z[lane] = if is_top { 0.0 } else { power };
            sums[lane] += z[lane];
        }
    }
    let gap = top - unordered(second);
    if gap - gap * GAP_ROUNDING <= 2.0 * tolerance {
        return None;
    }
    let sum: f32 = sums.iter().sum();
    let scale = 1.0 / (1.0 + sum);
    let mut squares = [0.0f32; LANES];
    z[p] = -sum;
    for z in z.chunks_exact_mut(LANES) {
        for (z, square) in z.iter_mut().zip(&mut squares) {
            *z *= scale;
            *square += *z * *z;
        }
    }
    Some(squares.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::row::NO_LOGIT;
    use crate::definition;

    #[test]
    fn every_number_is_right_within_a_relative_error() {
        for spread in [0.1f32, 1.0, 10.0, 30.0] {
            let logits: Vec<f32> = (0..20)
                .map(|c| spread * (c * 7 % 20) as f32 / 10.0)
                .collect();
            let wide: Vec<f64> = logits.iter().map(|z| f64::from(*z)).collect();
            let p = definition::predicted(&wide);
            let exact = definition::gradient(&wide);
            let mut z = [NO_LOGIT; 2 * LANES];
            z[..20].copy_from_slice(&logits);
            let square = run(&mut z, p, 1e-3).unwrap();
            for (found, exact) in z.iter().zip(&exact) {
                let off = (f64::from(*found) - exact).abs();
                assert!(off <= 1e-5 * exact.abs(), "{found} {exact}");
            }
            assert_eq!(z[20..], [0.0; 12]);
            let exact: f64 = exact.iter().map(|g| g * g).sum();
            assert!((f64::from(square) - exact).abs() <= 1e-4 * exact);
        }
    }

    #[test]
    fn a_doubtful_class_has_no_gradient() {
        let mut z = [NO_LOGIT; LANES];
        (z[0], z[1]) = (1.0, 1.5);
        assert!(run(&mut z.clone(), 1, 0.2).is_some());
        assert!(run(&mut z.clone(), 1, 0.25).is_none());
        z[0] = 1.5;
        assert!(run(&mut z, 0, 0.0).is_none());
    }
}
