//! What a version computed for some rows, and its CPU twin: whether they agree.
//!
//! Nothing that decides what is compared comes from the version: which rows have an answer follows from their norms, as the
//! kernels of the engine made them.

mod gradients;
mod scores;

use equipoise_core::cpu::twins::{self, Twins};
use equipoise_core::engine::{
    ALL_CLASSES, Candidate, NO_CLASS, NONFINITE, Nearest, RowStatistics, UNDECIDABLE, UNREACHABLE,
};
use equipoise_shaders::class_candidates_plain::NONFINITE_ROW;
use equipoise_shaders::row_norms_f32::HUGE;

use super::KernelBench;
use super::check::{Inputs, Selected};
use crate::kernels::class_candidates::list_bytes;
use crate::kernels::logits::largest_of;
use crate::{GpuError, LogitBound};

/// Relative difference allowed of what is a few f32 operations, in any order and fused or not: a
/// subtraction of logits that are the same on both sides, and products.
const ROUNDING: f32 = 1e-5;

/// Of sums of exponentials: WGSL's exp is within 3 + 2|x| ULP, and x is at most 80.
const OF_SUMS: f32 = 1e-4;

/// Of what WGSL's exp and log make near 1 and 0, absolutely: log is within 2⁻²¹.
const OF_LOGARITHMS: f64 = 1e-6;

/// Factors of the tolerance by which a comparison may fall either way.
const NUDGES: [f32; 3] = [1.0, 1.0 - ROUNDING, 1.0 + ROUNDING];

impl KernelBench<'_> {
    pub(super) fn logits_agree(
        &self,
        found: &[f32],
        rows: Selected,
        bound: LogitBound,
    ) -> Result<(), String> {
        let error = largest_of(found, &self.embeddings(rows), self.head, bound);
        match error <= 1.0 {
            true => Ok(()),
            false => Err(format!(
                "the largest error is {error:.3} of what f32 sums may be off"
            )),
        }
    }

    pub(super) fn norms_agree(&self, found: &[f32], rows: Selected) -> Result<(), String> {
        let dim = self.head.dim();
        let wide = self.embeddings(rows);
        for ((row, found), x) in rows.iter().zip(found).zip(wide.chunks(dim)) {
            let Some(norm) = twins::row_norm(x) else {
                agree(
                    "norm",
                    *found < 0.0,
                    row,
                    found,
                    &"below 0: the row is not finite",
                )?;
                continue;
            };
            // An upper bound, to what roundings may add up to.
            let room = 1.0 + (dim + 64) as f32 / (1 << 20) as f32;
            let range = norm.min(HUGE) * (1.0 - ROUNDING)..=norm * room + 1e-30;
            agree("norm", range.contains(found), row, found, &range)?;
        }
        Ok(())
    }

    pub(super) fn statistics_agree(
        &self,
        found: &[RowStatistics],
        rows: Selected,
        inputs: &Inputs,
    ) -> Result<(), String> {
        let twins = Twins::new(self.head);
        self.each_row(rows, inputs, |given| {
            let found = &found[given.index];
            given.tolerance_agrees(found.tolerance, found)?;
            if !given.is_scored() {
                return Ok(());
            }
            either_way(given.tolerance, |tolerance| {
                let twin = twins.row_statistics(given.logits, tolerance);
                let codes = |of: &RowStatistics| (of.predicted, of.runner_up, of.rival);
                let scale = twin.sum + twin.moment;
                let same = codes(found) == codes(&twin)
                    && near(found.gap, twin.gap)
                    && within(found.sum, twin.sum, OF_SUMS * scale)
                    && within(found.moment, twin.moment, OF_SUMS * scale)
                    && bounds_agree(
                        (found.mase_lower, found.mase_upper),
                        (twin.mase_lower, twin.mase_upper),
                    );
                agree("statistics", same, given.row, found, &twin)
            })
        })
    }

    pub(super) fn candidates_agree(
        &self,
        rows: Selected,
        inputs: &Inputs,
    ) -> Result<Result<(), String>, GpuError> {
        let count: Vec<u32> = self.read_ranges(&self.block.found, &[(0, 4)])?;
        let (count, capacity) = (count[0] as usize, self.block.capacity);
        if count > capacity {
            return Ok(Err(format!(
                "{count} candidates: the list holds {capacity}"
            )));
        }
        let bytes = list_bytes(count) - 4;
        let mut found: Vec<Candidate> = self.read_ranges(&self.block.found, &[(4, bytes)])?;
        found.sort_by_key(|candidate| (candidate.row, candidate.class));
        if let Some(last) = found.last().filter(|last| last.row >= self.block.rows) {
            return Ok(Err(format!("{last:?}: there is no such row")));
        }
        let twins = Twins::new(self.head);
        Ok(self.each_row(rows, inputs, |given| {
            let row = given.row;
            let start = found.partition_point(|candidate| (candidate.row as usize) < row);
            let of_row = &found[start..];
            let end = of_row.partition_point(|candidate| candidate.row as usize == row);
            let of_row = &of_row[..end];
            if !given.is_scored() {
                let odd = odd_candidate(row as u32, given.tolerance);
                return agree("candidates", of_row == [odd], row, &of_row, &[odd]);
            }
            either_way(given.tolerance, |tolerance| {
                let twin = twins.class_candidates(given.logits, tolerance, self.thresholds);
                self.lists_agree(row, of_row, &twin)
            })
        }))
    }

    /// Whether two lists of a row's candidates, in order of classes, are the same but for those at their threshold.
    fn lists_agree(
        &self,
        row: usize,
        found: &[Candidate],
        twin: &[Candidate],
    ) -> Result<(), String> {
        let doubtful = |candidate: &Candidate| {
            let threshold = self.thresholds.get(candidate.class as usize);
            threshold.is_some_and(|threshold| {
                bounds_agree(
                    (candidate.lower, candidate.upper),
                    (*threshold, candidate.upper),
                )
            })
        };
        let (mut i, mut j) = (0, 0);
        loop {
            match (found.get(i), twin.get(j)) {
                (None, None) => return Ok(()),
                (Some(a), Some(b)) if a.class == b.class => {
                    let codes = |of: &Candidate| (of.predicted, of.runner_up, of.rival);
                    let same = codes(a) == codes(b)
                        && bounds_agree((a.lower, a.upper), (b.lower, b.upper));
                    agree("candidate", same, row, a, b)?;
                    (i, j) = (i + 1, j + 1);
                }
                (Some(a), b) if b.is_none_or(|b| a.class < b.class) => {
                    agree("candidate", doubtful(a), row, a, &"none of that class")?;
                    i += 1;
                }
                (_, Some(b)) => {
                    agree("candidate", doubtful(b), row, &"none of that class", b)?;
                    j += 1;
                }
                (Some(_), None) => return Ok(()),
            }
        }
    }

    pub(super) fn nearest_agree(
        &self,
        found: &[Nearest],
        rows: Selected,
        inputs: &Inputs,
    ) -> Result<(), String> {
        self.each_row(rows, inputs, |given| {
            let found = &found[given.index];
            given.tolerance_agrees(found.tolerance, found)?;
            if !given.is_scored() {
                return Ok(());
            }
            let twin = twins::nearest(given.logits, given.tolerance);
            let numbers = |of: &Nearest| (of.centre, of.top, of.second);
            let same = numbers(found) == numbers(&twin);
            agree("nearest", same, given.row, found, &twin)
        })
    }

    /// Runs `compare` on what is given of each selected row.
    fn each_row(
        &self,
        rows: Selected,
        inputs: &Inputs,
        compare: impl Fn(Given<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let logits = inputs.logits.chunks(self.head.classes());
        for (index, (logits, norm)) in logits.zip(&inputs.norms).enumerate().take(rows.len()) {
            let tolerance = match *norm < 0.0 {
                true => NONFINITE,
                false => self.block.tolerance.of_norm(*norm),
            };
            compare(Given {
                index,
                row: rows.row(index),
                logits,
                norm: *norm,
                tolerance,
            })?;
        }
        Ok(())
    }

    /// The selected rows' embeddings, widened.
    fn embeddings(&self, rows: Selected) -> Vec<f32> {
        let dim = self.head.dim();
        let mut wide = vec![0.0; rows.len() * dim];
        for (row, wide) in rows.iter().zip(wide.chunks_mut(dim)) {
            self.values.slice(row * dim..(row + 1) * dim).widen(wide);
        }
        wide
    }
}

/// What a version is given of a row.
#[derive(Clone, Copy)]
struct Given<'a> {
    /// Its place among the selected rows.
    index: usize,
    row: usize,
    logits: &'a [f32],
    norm: f32,
    /// How far its logits may be off, or why it has no answer.
    tolerance: f32,
}

impl Given<'_> {
    fn is_scored(&self) -> bool {
        is_scored(self.tolerance)
    }

    /// Whether a version found the row's tolerance, in what it wrote of the row.
    fn tolerance_agrees(&self, found: f32, record: &dyn std::fmt::Debug) -> Result<(), String> {
        let same = near(found, self.tolerance);
        agree("tolerance", same, self.row, record, &self.tolerance)
    }
}

/// What stands in the list for a row without an answer.
fn odd_candidate(row: u32, tolerance: f32) -> Candidate {
    Candidate {
        row,
        class: match tolerance == NONFINITE {
            true => NONFINITE_ROW,
            false => ALL_CLASSES,
        },
        predicted: NO_CLASS,
        runner_up: NO_CLASS,
        rival: NO_CLASS,
        lower: 0.0,
        upper: UNREACHABLE,
    }
}

fn is_scored(tolerance: f32) -> bool {
    (0.0..UNDECIDABLE).contains(&tolerance)
}

fn within(found: f32, expected: f32, most: f32) -> bool {
    found == expected || (found - expected).abs() <= most
}

fn near(found: f32, expected: f32) -> bool {
    within(found, expected, ROUNDING * expected.abs())
}

/// Whether lower and upper bound are those expected: both are products of a gap that may be a difference of
/// nearly equal numbers, of which the upper one is no smaller than either.
fn bounds_agree(found: (f32, f32), expected: (f32, f32)) -> bool {
    let scale = match expected.1 >= UNREACHABLE {
        true => expected.0,
        false => expected.1,
    };
    let slack = 10.0 * ROUNDING * scale.abs() + 1e-30;
    within(found.0, expected.0, slack) && within(found.1, expected.1, slack)
}

/// What `compare` says of the tolerance, or of one a little smaller or larger, where that agrees.
fn either_way(tolerance: f32, compare: impl Fn(f32) -> Result<(), String>) -> Result<(), String> {
    let plain = compare(tolerance);
    let nudged = |nudge: &f32| compare(tolerance * nudge).is_ok();
    match plain.is_ok() || NUDGES[1..].iter().any(nudged) {
        true => Ok(()),
        false => plain,
    }
}

fn agree(
    what: &str,
    same: bool,
    row: usize,
    found: &dyn std::fmt::Debug,
    expected: &dyn std::fmt::Debug,
) -> Result<(), String> {
    match same {
        true => Ok(()),
        false => Err(format!(
            "{what} of row {row}: {found:?}, expected {expected:?}"
        )),
    }
}
