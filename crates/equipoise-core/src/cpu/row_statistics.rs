//! Kernel `row_statistics`: what the per-row scores are made of.

use rayon::prelude::*;

use super::ScaleTable;
use crate::engine::{
    BOUND_ROUNDING, GAP_ROUNDING, NO_BOUNDARY, RowStatistics, UNAVAILABLE, UNDECIDABLE,
    UNREACHABLE, UNSCALED,
};

/// Writes the statistics of every row that `tolerance` lets decide; others are left as they are.
pub fn run(logits: &[f32], tolerance: &[f32], scale: &ScaleTable, out: &mut [RowStatistics]) {
    let classes = logits.len() / tolerance.len();
    logits
        .par_chunks_exact(classes)
        .zip(tolerance)
        .zip(out)
        .with_min_len(16)
        .for_each(|((z, tolerance), out)| {
            if *tolerance != UNAVAILABLE && *tolerance < UNDECIDABLE {
                *out = of_row(z, *tolerance, scale);
            }
        });
}

fn of_row(z: &[f32], tolerance: f32, scale: &ScaleTable) -> RowStatistics {
    let p = argmax(z);
    let others = || (0..z.len()).filter(move |c| *c != p);
    let Some(second) = others().map(|c| z[c]).reduce(f32::max) else {
        return RowStatistics {
            predicted: 0,
            gap: UNREACHABLE,
            sum: 0.0,
            moment: 0.0,
            mase_lower: UNREACHABLE,
            mase_upper: UNREACHABLE,
        };
    };
    let (mut sum, mut moment) = (0.0, 0.0);
    for c in others() {
        let below = second - z[c];
        let weight = (-below).exp();
        sum += weight;
        moment += below * weight;
    }
    let scale = scale.row(p);
    let (mase_lower, mase_upper) = match decided(z, p, tolerance, &scale) {
        true => mase_bounds(z, p, tolerance, &scale),
        false => (0.0, UNREACHABLE),
    };
    RowStatistics {
        predicted: p as u32,
        gap: z[p] - second,
        sum,
        moment,
        mase_lower,
        mase_upper,
    }
}

/// argmax, ties to the lowest class.
pub(super) fn argmax(z: &[f32]) -> usize {
    (1..z.len()).fold(0, |best, c| if z[c] > z[best] { c } else { best })
}

/// Whether `p` is the exact logits' argmax for certain, and all its boundaries have a scale.
pub(super) fn decided(z: &[f32], p: usize, tolerance: f32, scale: &[f32]) -> bool {
    (0..z.len()).filter(|c| *c != p).all(|c| {
        let gap = z[p] - z[c];
        gap - slack(gap, tolerance) > 0.0 && scale[c] != UNSCALED
    })
}

fn slack(gap: f32, tolerance: f32) -> f32 {
    2.0 * tolerance + gap * GAP_ROUNDING
}

/// Bounds of the distance to one boundary.
pub(super) fn distance_bounds(gap: f32, tolerance: f32, scale: f32) -> (f32, f32) {
    if scale == NO_BOUNDARY {
        return (UNREACHABLE, UNREACHABLE);
    }
    let slack = slack(gap, tolerance);
    (
        (gap - slack).max(0.0) * scale * (1.0 - BOUND_ROUNDING),
        (gap + slack) * scale * (1.0 + BOUND_ROUNDING),
    )
}

/// Bounds of the least distance.
pub(super) fn mase_bounds(z: &[f32], p: usize, tolerance: f32, scale: &[f32]) -> (f32, f32) {
    (0..z.len())
        .filter(|c| *c != p)
        .map(|c| distance_bounds(z[p] - z[c], tolerance, scale[c]))
        .fold((UNREACHABLE, UNREACHABLE), |least, bounds| {
            (least.0.min(bounds.0), least.1.min(bounds.1))
        })
}
