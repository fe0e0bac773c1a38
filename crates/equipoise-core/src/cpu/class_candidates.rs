//! Kernel `class_candidates`: the rows that may have a place in a class's list.

use super::row::{LANES, Row, Verdict, larger};
use crate::engine::{ALL_CLASSES, Candidate, NO_CLASS, UNREACHABLE};

/// The candidate of a row about which the bounds say nothing.
pub(crate) fn unknown(row: u32) -> Candidate {
    Candidate {
        row,
        class: ALL_CLASSES,
        predicted: NO_CLASS,
        runner_up: NO_CLASS,
        rival: NO_CLASS,
        lower: 0.0,
        upper: UNREACHABLE,
    }
}

/// Appends the candidates of one row, whose argmax is `p`, in order of classes. `thresholds` is padded with
/// [`crate::engine::ACCEPT_NONE`]; `lower` is scratch memory of as many numbers.
#[inline(always)]
pub(crate) fn run(
    index: u32,
    row: &Row<'_>,
    p: usize,
    thresholds: &[f32],
    lower: &mut [f32],
    out: &mut Vec<Candidate>,
) {
    let found = row.lowers(p, lower);
    // Most rows are nobody's candidates: the rest of what is known of them is not worth finding.
    let own = found.least < thresholds[p];
    if found.certain() && !own && below(lower, thresholds) == 0 {
        return;
    }
    let verdict = row.judge(p, found, lower);
    if verdict == Verdict::Nothing {
        return out.push(unknown(index));
    }
    let chunks = lower
        .chunks_exact(LANES)
        .zip(thresholds.chunks_exact(LANES));
    for (chunk, (lower, thresholds)) in chunks.enumerate() {
        if below(lower, thresholds) == 0 {
            continue;
        }
        for (lane, (lower, threshold)) in lower.iter().zip(thresholds).enumerate() {
            if lower < threshold {
                out.push(candidate(
                    index,
                    row,
                    &verdict,
                    chunk * LANES + lane,
                    *lower,
                ));
            }
        }
    }
}

/// How many bounds are below their thresholds.
#[inline(always)]
fn below(lower: &[f32], thresholds: &[f32]) -> u32 {
    let mut below = 0;
    for (lower, threshold) in lower.iter().zip(thresholds) {
        below += u32::from(lower < threshold);
    }
    below
}

fn candidate(index: u32, row: &Row<'_>, verdict: &Verdict, class: usize, lower: f32) -> Candidate {
    let upper = match *verdict {
        Verdict::Certain { p, mase, .. } => match class == p {
            true => mase.1,
            false => row.upper(p, class, (row.scales)(p)),
        },
        Verdict::Either { p, s, upper, .. } => match class == p || class == s {
            true => upper,
            false => larger(
                row.upper(p, class, (row.scales)(p)),
                row.upper(s, class, (row.scales)(s)),
            ),
        },
        Verdict::Nothing => UNREACHABLE,
    };
    let (predicted, runner_up, rival) = verdict.codes();
    Candidate {
        row: index,
        class: class as u32,
        predicted,
        runner_up,
        rival,
        lower,
        upper,
    }
}
