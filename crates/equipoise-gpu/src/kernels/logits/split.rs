//! A head in f16 for matrix cores.

use std::ops::RangeInclusive;

use half::f16;
use rayon::prelude::*;

/// Magnitudes of the largest weight whose scale, and its inverse, are normal f32.
const SCALABLE: RangeInclusive<f32> = 1e-30..=1e30;

/// Exponent of the largest scaled weight: sums of two f16 and their rounding stay below 65504.
const LARGEST: i32 = 14;

/// A matrix in f16, padded with zeros, and what to multiply its products by.
#[derive(Debug)]
pub(super) struct Split {
    /// One for each part: (padded classes, padded columns) row-major. They sum to the weights scaled.
    pub(super) parts: Vec<Vec<f16>>,
    /// A power of two.
    pub(super) unscale: f32,
}

/// The power of two that brings the largest weight to 2¹⁴..2¹⁵; none where f32 cannot hold it. Weights
/// that are all 0 are left.
pub(super) fn scale(weight: &[f32]) -> Option<f64> {
    let largest = weight
        .iter()
        .fold(0.0, |largest: f32, w| largest.max(w.abs()));
    if largest == 0.0 {
        return Some(1.0);
    }
    let exponent = ((largest.to_bits() >> 23) as i32) - 127;
    SCALABLE
        .contains(&largest)
        .then(|| 2f64.powi(LARGEST - exponent))
}

/// Splits `weight`, (classes, `dim`), by `scale` into `parts`, each what the ones before leave.
/// Lines are padded to a multiple of `depth`, classes to a multiple of `tile`.
pub(super) fn split(
    weight: &[f32],
    dim: usize,
    scale: f64,
    parts: u32,
    [tile, depth]: [u32; 2],
) -> Split {
    let line = dim.next_multiple_of(depth as usize);
    let classes = (weight.len() / dim).next_multiple_of(tile as usize);
    let mut split = vec![vec![f16::ZERO; classes * line]; parts as usize];
    for index in 0..split.len() {
        let (before, part) = split.split_at_mut(index);
        let lines = part[0].par_chunks_mut(line).zip(weight.par_chunks(dim));
        lines.enumerate().for_each(|(class, (out, weight))| {
            for (m, (out, w)) in out.iter_mut().zip(weight).enumerate() {
                let before = before.iter().map(|part| part[class * line + m]);
                let rest = before.fold(f64::from(*w) * scale, |rest, w| rest - f64::from(w));
                *out = f16::from_f64(rest);
            }
        });
    }
    Split {
        parts: split,
        unscale: (1.0 / scale) as f32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_sum_to_the_weights() {
        for magnitude in [1e-29f32, 1e-3, 1.0, 3.7, 1e29] {
            let weight: Vec<f32> = [0.3f32, -1.0, 0.0, 1e-3, 0.77, 1e-9]
                .iter()
                .map(|w| w * magnitude)
                .collect();
            let scale = scale(&weight).expect("a scale");
            let largest = f64::from(magnitude) * scale;
            assert!((16384.0..32768.0).contains(&largest), "{largest}");
            let split = split(&weight, 3, scale, 2, [8, 4]);
            assert_eq!(f64::from(split.unscale) * scale, 1.0);
            for part in &split.parts {
                assert_eq!(part.len(), 8 * 4);
                // The padding of lines and of classes.
                assert_eq!((part[3], part[7]), (f16::ZERO, f16::ZERO));
                assert!(part[8..].iter().all(|w| *w == f16::ZERO));
            }
            for (i, w) in weight.iter().enumerate() {
                let at = i / 3 * 4 + i % 3;
                let parts = split.parts.iter().map(|part| f64::from(part[at]));
                let off = (parts.sum::<f64>() - f64::from(*w) * scale).abs();
                // Half a unit in the last place of the second part, or of the subnormals.
                let allowed = f64::from(w.abs()) * scale * 2f64.powi(-22) + 2f64.powi(-25);
                assert!(off <= allowed, "{w}: {off}");
            }
        }
    }

    #[test]
    fn what_cannot_be_scaled_has_no_scale() {
        assert_eq!(scale(&[0.0, -0.0]), Some(1.0));
        for largest in [1e-31, 1e-40, 1e31, f32::INFINITY] {
            assert_eq!(scale(&[0.0, -largest]), None);
        }
    }
}
