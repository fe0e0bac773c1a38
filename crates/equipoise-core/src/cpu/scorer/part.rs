//! A part of a block on one thread, strip by strip: product, tolerances, and whatever the question asks of each row.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{CpuScorer, Scales};
use crate::cpu::centres::Rows;
use crate::cpu::logits::Slices;
use crate::cpu::row::{NO_LOGIT, Row, add_bias, is_plausible};
use crate::cpu::row_norms::Squares;
use crate::cpu::{class_candidates, nearest, row_keys, row_statistics};
use crate::engine::{
    Candidate, Candidates, CustomScore, NO_BOUNDARY, NONFINITE, Nearest, NearestGradient, RowKey,
    RowStatistics, UNAVAILABLE, UNDECIDABLE,
};
use crate::vectorised::vectorised;
use crate::{RowSet, Values};

/// One thread's memory.
#[derive(Default)]
pub(super) struct Scratch {
    slices: Slices,
    /// A strip's.
    logits: Vec<f32>,
    squares: Vec<Squares>,
    tolerances: Vec<f32>,
    /// Per row, the argmax.
    tops: Vec<usize>,
    /// One row's lower bounds.
    lower: Vec<f32>,
    /// The part's candidates, row by row.
    found: Vec<Candidate>,
    /// Upper bounds of the rows' norms; products with centres' embeddings, and with their gradients.
    norms: Vec<f32>,
    products: [Vec<f32>; 2],
}

/// Scales to all classes of those that a strip needs.
enum Lines<'a> {
    Table(&'a [f32]),
    /// Per class its place in the lines.
    Some(std::collections::HashMap<usize, usize>, Vec<f32>),
}

impl Lines<'_> {
    #[inline(always)]
    fn of(&self, class: usize, stride: usize) -> &[f32] {
        let (place, lines) = match self {
            Lines::Table(table) => (class, *table),
            Lines::Some(places, lines) => (places[&class], lines.as_slice()),
        };
        &lines[place * stride..(place + 1) * stride]
    }
}

/// Where what was asked of a part goes.
pub(super) enum Output<'a> {
    /// With exponentials or without.
    Statistics(&'a mut [RowStatistics], bool),
    Candidates(&'a mut Candidates),
    Keys(&'a mut [RowKey], &'a dyn CustomScore),
    Nearest(&'a mut [Nearest]),
    NearestGradient(&'a mut [NearestGradient]),
}

impl Output<'_> {
    /// Where what was asked of the next `rows` rows goes, of an output that has room for those and what follows.
    fn next(&mut self, rows: usize) -> Output<'_> {
        /// Takes the first `rows` records off.
        fn take<'o, T>(out: &mut &'o mut [T], rows: usize) -> &'o mut [T] {
            let (next, rest) = std::mem::take(out).split_at_mut(rows);
            *out = rest;
            next
        }
        match self {
            Output::Statistics(out, exponentials) => {
                Output::Statistics(take(out, rows), *exponentials)
            }
            Output::Candidates(candidates) => Output::Candidates(candidates),
            Output::Keys(out, score) => Output::Keys(take(out, rows), *score),
            Output::Nearest(out) => Output::Nearest(take(out, rows)),
            Output::NearestGradient(out) => Output::NearestGradient(take(out, rows)),
        }
    }
}

/// What the parts of a block share.
pub(super) struct Shared<'a> {
    pub(super) start: usize,
    /// All of the block's.
    pub(super) values: Values<'a>,
    pub(super) available: &'a RowSet,
    /// How many candidates they found.
    pub(super) found: AtomicUsize,
}

impl CpuScorer<'_> {
    /// Scores the rows `rows` of the block; returns those that are not finite.
    pub(super) fn part(
        &self,
        rows: Range<usize>,
        shared: &Shared<'_>,
        mut out: Output<'_>,
    ) -> Vec<usize> {
        let spare = self.scratch.lock().ok().and_then(|mut spare| spare.pop());
        let mut scratch = spare.unwrap_or_default();
        scratch.found.clear();
        let mut nonfinite = Vec::new();
        for first in rows.clone().step_by(self.plan.strip_rows) {
            let strip = first..rows.end.min(first + self.plan.strip_rows);
            let out = out.next(strip.len());
            vectorised(
                #[inline(always)]
                || self.score(strip.clone(), shared, &mut scratch, out),
            );
            let doubts = strip.zip(&scratch.tolerances);
            let spoilt = doubts.filter(|(_, tolerance)| **tolerance == NONFINITE);
            nonfinite.extend(spoilt.map(|(row, _)| row));
            if shared.found.load(Ordering::Relaxed) > self.plan.capacity {
                // More than the plan has room for: the caller tries fewer rows.
                break;
            }
        }
        if let Output::Candidates(candidates) = out {
            candidates.group(&scratch.found, self.head.classes());
        }
        if let Ok(mut spare) = self.scratch.lock() {
            spare.push(scratch);
        }
        nonfinite
    }

    #[inline(always)]
    fn score(
        &self,
        strip: Range<usize>,
        shared: &Shared<'_>,
        scratch: &mut Scratch,
        out: Output<'_>,
    ) {
        let Scratch {
            slices,
            logits,
            squares,
            tolerances,
            tops,
            lower,
            found,
            norms,
            products,
        } = scratch;
        let (rows, stride, capacity) = (strip.len(), self.plan.stride, self.plan.capacity);
        // Padding that the product leaves as it is.
        logits.resize(rows * stride, NO_LOGIT);
        squares.clear();
        squares.resize(rows, Squares::NONE);
        self.columns.multiply_seen(
            self.columns.written(),
            shared.values,
            strip.clone(),
            slices,
            #[inline(always)]
            |row, slice| squares[row - strip.start].add(slice),
            logits,
        );
        self.tolerances(strip.start, shared, squares, tolerances, norms);
        self.tops(tolerances, logits, tops);
        if let Output::NearestGradient(out) = out {
            if let Some(centres) = &self.centres {
                let rows = Rows {
                    values: shared.values,
                    strip,
                    logits,
                    stride,
                    tolerances,
                    tops,
                    norms,
                };
                centres.nearest(rows, products, slices, out);
            }
            return;
        }
        let lines = self.lines(tolerances, logits, tops);
        let scales = |class| lines.of(class, stride);
        lower.resize(stride, 0.0);
        let row = |index: usize| Row {
            z: &logits[index * stride..(index + 1) * stride],
            tolerance: tolerances[index],
            scales: &scales,
        };
        match out {
            Output::Statistics(statistics, exponentials) => {
                for (index, out) in statistics.iter_mut().enumerate() {
                    match is_scored(tolerances[index]) {
                        true => {
                            // Those of a single class are known.
                            let exponentials = exponentials && self.head.classes() > 1;
                            *out =
                                row_statistics::run(&row(index), tops[index], exponentials, lower);
                        }
                        false => out.tolerance = tolerances[index],
                    }
                }
            }
            Output::Nearest(nearest) => {
                for (index, out) in nearest.iter_mut().enumerate() {
                    match is_scored(tolerances[index]) {
                        true => {
                            *out = nearest::run(row(index).z, tops[index], tolerances[index]);
                        }
                        false => out.tolerance = tolerances[index],
                    }
                }
            }
            Output::Keys(keys, score) => {
                let (classes, mut wide) = (self.head.classes(), Vec::new());
                for (index, out) in keys.iter_mut().enumerate() {
                    let tolerance = tolerances[index];
                    match is_scored(tolerance) {
                        true => {
                            let z = &row(index).z[..classes];
                            *out = row_keys::run(score, z, tolerance, &mut wide);
                        }
                        false => out.tolerance = tolerance,
                    }
                }
            }
            // Done above.
            Output::NearestGradient(_) => {}
            Output::Candidates(_) => {
                for (index, tolerance) in tolerances.iter().enumerate() {
                    let (number, before) = ((strip.start + index) as u32, found.len());
                    if is_scored(*tolerance) {
                        let (row, top) = (row(index), tops[index]);
                        let thresholds = &self.thresholds;
                        class_candidates::run(number, &row, top, thresholds, lower, found);
                    } else if *tolerance >= UNDECIDABLE {
                        found.push(Candidate::unknown(number));
                    }
                    let more = found.len() - before;
                    if more > 0 && shared.found.fetch_add(more, Ordering::Relaxed) + more > capacity
                    {
                        break;
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn tolerances(
        &self,
        first: usize,
        shared: &Shared<'_>,
        squares: &[Squares],
        out: &mut Vec<f32>,
        norms: &mut Vec<f32>,
    ) {
        let dim = self.head.dim();
        out.clear();
        norms.clear();
        for (row, squares) in (first..).zip(squares) {
            let available = shared.available.contains(shared.start + row);
            let norm = match available {
                true => squares.norm(shared.values.slice(row * dim..(row + 1) * dim)),
                false => None,
            };
            out.push(match (available, norm) {
                (false, _) => UNAVAILABLE,
                (true, Some(norm)) => self.tolerance.of_norm(norm),
                (true, None) => NONFINITE,
            });
            norms.push(norm.unwrap_or_default());
        }
    }

    /// Adds the bias to the logits and finds each row's argmax.
    #[inline(always)]
    fn tops(&self, tolerances: &[f32], logits: &mut [f32], out: &mut Vec<usize>) {
        out.clear();
        for (z, tolerance) in logits.chunks_exact_mut(self.plan.stride).zip(tolerances) {
            out.push(match is_scored(*tolerance) {
                true => add_bias(z, &self.bias),
                false => 0,
            });
        }
    }

    /// The scales that a strip's rows may ask for.
    fn lines(&self, tolerances: &[f32], logits: &[f32], tops: &[usize]) -> Lines<'_> {
        let made = match &self.scales {
            Scales::Table(table) => return Lines::Table(table),
            Scales::Made(made) => made,
            Scales::Needless => return Lines::Table(&[]),
        };
        let mut classes = Vec::new();
        let rows = logits
            .chunks_exact(self.plan.stride)
            .zip(tolerances)
            .zip(tops);
        for ((z, tolerance), top) in rows.filter(|((_, tolerance), _)| is_scored(**tolerance)) {
            classes.push(*top);
            let plausible = |c: &usize| *c != *top && is_plausible(z[*top], z[*c], *tolerance);
            let mut others = (0..self.head.classes()).filter(plausible);
            // With more than one, nobody asks.
            if let (Some(other), None) = (others.next(), others.next()) {
                classes.push(other);
            }
        }
        classes.sort_unstable();
        classes.dedup();
        let lines = made.lines(&self.head, &classes, self.plan.stride, NO_BOUNDARY);
        let places = classes.into_iter().enumerate().map(|(i, c)| (c, i));
        Lines::Some(places.collect(), lines)
    }
}

/// Whether a row of that tolerance has logits to look at.
fn is_scored(tolerance: f32) -> bool {
    (0.0..UNDECIDABLE).contains(&tolerance)
}
