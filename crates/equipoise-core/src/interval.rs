//! From a row's approximate statistics to an interval that holds its key.
//!
//! With every logit off by at most t, the sorted logits are off by at most t each, and their
//! differences by 2t. Hence, for any logits:
//! - confidence's key −ln Σ_{i≥2} e^{zᵢ−z₁} moves by at most 2t;
//! - entropy's key −ln H moves by at most 2t, because Σ|∂H/∂z_c| = Σ p_c |ln p_c + H| ≤ 2H;
//! - margin's key is ln(1−e^{−gap}), which increases with the gap, less ln Σ_{i≥2} e^{zᵢ−z₁} plus
//!   e^{z₂−z₁}, which moves by at most 2t.
//!
//! What the device's own rounding of `gap`, `sum` and `moment` adds is bounded term by term.

use crate::definition::{RowScore, Spread};
use crate::engine::{GAP_ROUNDING, Precision, RowStatistics, UNDECIDABLE};
use crate::lists::reachable;

/// Relative rounding of the float64 arithmetic here and in the definition, with room.
const FLOAT64: f64 = 1e-11;

/// Beyond this relative error the first-order bounds here do not hold: settle every row.
const FIRST_ORDER: f64 = 0.05;

/// Lower and upper bound of the key of a row.
pub(crate) fn key_interval(
    score: RowScore,
    statistics: &RowStatistics,
    precision: Precision,
    classes: usize,
) -> (f64, f64) {
    const NO_CLASS: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);
    let tolerance = statistics.tolerance;
    if tolerance >= UNDECIDABLE {
        return NO_CLASS;
    }
    if score == RowScore::Mase {
        return (
            reachable(statistics.mase_lower),
            reachable(statistics.mase_upper),
        );
    }
    if classes == 1 {
        return (f64::INFINITY, f64::INFINITY);
    }
    let Rounding { gap, sum, moment } = Rounding::of(statistics, precision, classes);
    let rounding = sum + moment;
    if rounding.is_nan() || rounding >= FIRST_ORDER {
        return NO_CLASS;
    }
    let moved = 2.0 * f64::from(tolerance);
    let spread = Spread {
        gap: f64::from(statistics.gap),
        sum: f64::from(statistics.sum),
        moment: f64::from(statistics.moment),
    };
    let error = match score {
        RowScore::Entropy => moved + 4.0 * gap + 4.0 * sum + 2.0 * moment,
        _ => moved + gap + 2.0 * sum,
    };
    let ends = match score {
        RowScore::Margin => [-1.0, 1.0].map(|sign| {
            let end = (spread.gap + sign * (moved + gap)).max(0.0);
            let rest = spread.gap - libm::log(spread.sum + 1.0);
            libm::log(-libm::expm1(-end)) + rest + sign * error
        }),
        _ => [-1.0, 1.0].map(|sign| spread.key(score) + sign * error),
    };
    let room = |end: f64| match end.is_finite() {
        true => FLOAT64 * (1.0 + end.abs() + spread.gap),
        false => 0.0,
    };
    (ends[0] - room(ends[0]), ends[1] + room(ends[1]))
}

/// Bounds on the device's rounding: of `gap`, absolute; of `sum` and `moment`, relative to `sum`.
struct Rounding {
    gap: f64,
    sum: f64,
    moment: f64,
}

impl Rounding {
    fn of(statistics: &RowStatistics, precision: Precision, classes: usize) -> Self {
        let Precision {
            unit,
            exp_constant,
            exp_slope,
        } = precision;
        let (sum, moment) = (f64::from(statistics.sum), f64::from(statistics.moment));
        // Flushed terms, and the tail of t² e^{−t} beyond t = 20, each below 1e-6.
        let tail = 1e-6 * classes as f64;
        let additions = classes as f64 + exp_constant + 4.0;
        let per_sum = additions + (1.0 + exp_slope) * moment / sum;
        let per_moment =
            (additions + 20.0 * (1.0 + exp_slope)) * moment / sum + (1.0 + exp_slope) * tail;
        Self {
            gap: f64::from(statistics.gap) * f64::from(GAP_ROUNDING),
            sum: 1.2 * unit * per_sum,
            moment: 1.2 * unit * per_moment,
        }
    }
}
