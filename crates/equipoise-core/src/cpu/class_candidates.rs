//! Kernel `class_candidates`: the rows that may have a place in a class's list.

use super::row::{LANES, Lowers, Row, Verdict, larger};
use crate::engine::{Candidate, UNREACHABLE};

/// Appends the candidates of one row, whose argmax is `p`, in order of classes. `thresholds` is padded with
/// [`crate::engine::ACCEPT_NONE`]; `lower` is scratch memory of as many numbers.
#[inline(always)]
pub(crate) fn run(
    index: u32,
    row: &Row<'_, '_>,
    p: usize,
    thresholds: &[f32],
    lower: &mut [f32],
    out: &mut Vec<Candidate>,
) {
    let found = row.lowers(p, lower);
    let below = below(lower, thresholds);
    if !is_nobodys(p, found, thresholds, below) {
        add(index, row, p, found, thresholds, lower, out);
    }
}

/// [`run`] of a row that may be somebody's, whose [`Row::lowers`] are `lower` and say `found`.
#[inline(always)]
pub(crate) fn add(
    index: u32,
    row: &Row<'_, '_>,
    p: usize,
    found: Lowers,
    thresholds: &[f32],
    lower: &mut [f32],
    out: &mut Vec<Candidate>,
) {
    let verdict = row.judge(p, found, lower);
    if verdict == Verdict::Nothing {
        return out.push(Candidate::unknown(index));
    }
    let (predicted, runner_up, rival) = verdict.codes();
    let chunks = lower
        .chunks_exact(LANES)
        .zip(thresholds.chunks_exact(LANES));
    for (chunk, (lower, thresholds)) in chunks.enumerate() {
        let mut found = 0u32;
        for lane in 0..LANES {
            found |= u32::from(lower[lane] < thresholds[lane]) << lane;
        }
        if found == 0 {
            continue;
        }
        let first = chunk * LANES;
        let upper = uppers(row, &verdict, first);
        out.reserve(LANES);
        while found != 0 {
            let lane = found.trailing_zeros() as usize % LANES;
            found &= found - 1;
            out.push(Candidate {
                row: index,
                class: (first + lane) as u32,
                predicted,
                runner_up,
                rival,
                lower: lower[lane],
                upper: upper[lane],
            });
        }
    }
}

/// Whether a row whose argmax is `p` and whose lower bounds, which say `found`, are [`below`] so many thresholds, is certainly no
/// candidate. Most rows are none: the rest of what is known of them is not worth finding.
#[inline(always)]
pub(crate) fn is_nobodys(p: usize, found: Lowers, thresholds: &[f32], below: u32) -> bool {
    let own = found.least < thresholds[p];
    found.certain() && !own && below == 0
}

/// The upper bounds of a row's scores for the classes from `first` on.
#[inline(always)]
fn uppers(row: &Row<'_, '_>, verdict: &Verdict, first: usize) -> [f32; LANES] {
    let put = |uppers: &mut [f32; LANES], class: usize, upper: f32| {
        if let Some(place) = uppers.get_mut(class.wrapping_sub(first)) {
            *place = upper;
        }
    };
    match *verdict {
        Verdict::Certain { p, mase, .. } => {
            let mut uppers = row.uppers(p, first, (row.scales)(p));
            put(&mut uppers, p, mase.1);
            uppers
        }
        Verdict::Either { p, s, upper, .. } => {
            let mut uppers = row.uppers(p, first, (row.scales)(p));
            let others = row.uppers(s, first, (row.scales)(s));
            for (upper, other) in uppers.iter_mut().zip(others) {
                *upper = larger(*upper, other);
            }
            put(&mut uppers, p, upper);
            put(&mut uppers, s, upper);
            uppers
        }
        Verdict::Nothing => [UNREACHABLE; LANES],
    }
}

/// How many bounds are below their thresholds.
#[inline(always)]
pub(crate) fn below(lower: &[f32], thresholds: &[f32]) -> u32 {
    let mut below = 0;
    for (lower, threshold) in lower.iter().zip(thresholds) {
        below += u32::from(lower < threshold);
    }
    below
}
