//! Kernel `row_statistics`: what the per-row scores are made of.

use super::row::{LANES, Lowers, NO_LOGIT, Row, Verdict, ordered, unordered};
use crate::engine::{RowStatistics, UNREACHABLE};

/// Beyond this the exponential is below 1e-34: taken as 0.
const NEGLIGIBLE: f32 = 80.0;

/// The statistics of a row whose argmax is `p`, those of a single class without `exponentials`. `lower` is
/// scratch memory of as many numbers as it has logits.
#[inline(always)]
pub(crate) fn run(
    row: &Row<'_, '_>,
    p: usize,
    exponentials: bool,
    lower: &mut [f32],
) -> RowStatistics {
    let found = row.lowers(p, lower);
    of_lowers(row, p, found, exponentials, lower)
}

/// [`run`] of a row whose [`Row::lowers`] are `lower` and say `found`.
#[inline(always)]
pub(crate) fn of_lowers(
    row: &Row<'_, '_>,
    p: usize,
    found: Lowers,
    exponentials: bool,
    lower: &mut [f32],
) -> RowStatistics {
    let verdict = row.judge(p, found, lower);
    let (predicted, runner_up, rival) = verdict.codes();
    let (mase_lower, mase_upper) = match verdict {
        Verdict::Certain { mase, .. } => mase,
        Verdict::Either { upper, .. } => (0.0, upper),
        Verdict::Nothing => (0.0, UNREACHABLE),
    };
    let (gap, sum, moment) = match exponentials {
        false => (UNREACHABLE, 0.0, 0.0),
        true => spread(row.z, p, lower),
    };
    RowStatistics {
        tolerance: row.tolerance,
        predicted,
        runner_up,
        rival,
        gap,
        sum,
        moment,
        mase_lower,
        mase_upper,
    }
}

/// z₁ − z₂, Σ e^{z−z₂} and Σ (z₂−z) e^{z−z₂}. `others` is scratch memory.
#[inline(always)]
fn spread(z: &[f32], p: usize, others: &mut [f32]) -> (f32, f32, f32) {
    others.copy_from_slice(z);
    others[p] = NO_LOGIT;
    let mut most = i32::MIN;
    for z in &*others {
        most = most.max(ordered(*z));
    }
    let second = unordered(most);
    let (mut sums, mut moments) = ([0.0f32; LANES], [0.0f32; LANES]);
    for z in others.chunks_exact(LANES) {
        for lane in 0..LANES {
            let below = second - z[lane];
            let weight = exp_of_negative(below);
            sums[lane] += weight;
            moments[lane] += if below < NEGLIGIBLE { below } else { 0.0 } * weight;
        }
    }
    // The second class itself adds exactly 1.
    (z[p] - second, sums.iter().sum(), moments.iter().sum())
}

/// e^{−x} for x ≥ 0, within 3 units in the last place where it is not taken as 0; unlike the standard library's, several at a
/// time. Reduction and polynomial as in Cephes's `expf` (S. Moshier).
#[inline(always)]
pub(super) fn exp_of_negative(x: f32) -> f32 {
    // ln 2 in two parts, the first of few digits, so that its multiples are exact.
    const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    // Adding and subtracting it rounds to an integer.
    const ROUND: f32 = 12_582_912.0;
    const POLYNOMIAL: [f32; 6] = [
        1.987_569_1e-4,
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        5e-1,
    ];
    let x = if x < NEGLIGIBLE { -x } else { -NEGLIGIBLE };
    let n = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = (x - n * LN_2.0) - n * LN_2.1;
    let mut sum = POLYNOMIAL[0];
    for term in &POLYNOMIAL[1..] {
        sum = sum * r + term;
    }
    let fraction = sum * r * r + r + 1.0;
    // 2ⁿ: n is within −116..0.
    let power = f32::from_bits(((n as i32 + 127) as u32) << 23);
    let value = fraction * power;
    if x > -NEGLIGIBLE { value } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_within_the_promised_error() {
        let mut worst = 0.0f64;
        for i in 0..2_000_000 {
            let x = i as f32 * 4.1e-5;
            let exact = libm::exp(-f64::from(x));
            let found = f64::from(exp_of_negative(x));
            if x < NEGLIGIBLE {
                worst = worst.max((found - exact).abs() / exact * f64::from(1 << 23));
            } else {
                assert_eq!(found, 0.0);
            }
        }
        assert!(worst < 3.0, "{worst} units in the last place");
        assert_eq!(exp_of_negative(0.0), 1.0);
        assert_eq!(exp_of_negative(f32::MAX), 0.0);
    }
}
