//! A part of a block on one thread, strip by strip: product, tolerances, and whatever the question asks of each row.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::rough::Products;
use super::{CpuScorer, Scales};
use crate::cpu::centres::Rows;
use crate::cpu::logits::Slices;
use crate::cpu::rough::refine::{Look, Refined, RoughRow};
use crate::cpu::rough::rounding::RoundedRows;
use crate::cpu::row::{NO_LOGIT, Row, add_bias, is_plausible};
use crate::cpu::row_norms::{self, Squares};
use crate::cpu::{class_candidates, nearest, row_keys, row_statistics};
use crate::engine::{
    Candidate, Candidates, CustomScore, NO_BOUNDARY, NONFINITE, Nearest, NearestGradient, RowKey,
    RowStatistics, Tolerance, UNAVAILABLE, UNDECIDABLE,
};
use crate::vectorised::vectorised;
use crate::{RowSet, Values};

/// One thread's memory.
#[derive(Default)]
pub(super) struct Scratch {
    slices: Slices,
    /// A strip's.
    logits: Vec<f32>,
    /// Per row, ‖x‖².
    squares: Vec<f32>,
    sums: Vec<Squares>,
    tolerances: Vec<f32>,
    /// Per row, the argmax.
    tops: Vec<usize>,
    /// One row's lower bounds.
    lower: Vec<f32>,
    /// The part's candidates, row by row.
    found: Vec<Candidate>,
    /// A strip looked at roughly, and what is refined of one of its rows.
    rounded: RoundedRows,
    refined: Refined,
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
    /// Where rows are looked at roughly first; and the scales of all classes to all.
    pub(super) rough: Option<(&'a Products, &'a [f32])>,
    /// How many candidates they found.
    pub(super) found: AtomicUsize,
    /// How many logits they refined.
    pub(super) refined: AtomicUsize,
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
        self.logits(strip.clone(), shared, scratch);
        if let Some(rough) = shared.rough {
            return self.look(strip, shared, rough, scratch, out);
        }
        let stride = self.plan.stride;
        let Scratch {
            slices,
            logits,
            tolerances,
            tops,
            lower,
            found,
            norms,
            products,
            ..
        } = scratch;
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
            doubts: None,
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
                    let (number, before) = (strip.start + index, found.len());
                    match is_scored(*tolerance) {
                        true => class_candidates::run(
                            number as u32,
                            &row(index),
                            tops[index],
                            &self.thresholds,
                            lower,
                            found,
                        ),
                        false => add_undecidable(number, *tolerance, found),
                    }
                    if !self.has_room(shared, found.len() - before) {
                        break;
                    }
                }
            }
        }
    }

    /// Counts candidates that a row added; whether there is room for more.
    #[inline(always)]
    fn has_room(&self, shared: &Shared<'_>, more: usize) -> bool {
        more == 0 || shared.found.fetch_add(more, Ordering::Relaxed) + more <= self.plan.capacity
    }

    /// A strip's logits, with bias, how far they may be off, and their argmax: as float32 makes them, or rough ones with
    /// the tolerances of refined ones.
    #[inline(always)]
    fn logits(&self, strip: Range<usize>, shared: &Shared<'_>, scratch: &mut Scratch) {
        let Scratch {
            slices,
            logits,
            squares,
            sums,
            tolerances,
            tops,
            rounded,
            norms,
            ..
        } = scratch;
        let rows = strip.len();
        // Padding that the product leaves as it is.
        logits.resize(rows * self.plan.stride, NO_LOGIT);
        squares.clear();
        let tolerance = match shared.rough {
            None => {
                sums.clear();
                sums.resize(rows, Squares::NONE);
                self.columns.multiply_seen(
                    self.columns.written(),
                    shared.values,
                    strip.clone(),
                    slices,
                    #[inline(always)]
                    |row, slice| sums[row - strip.start].add(slice),
                    logits,
                );
                squares.extend(sums.iter().map(|sums| sums.sum()));
                &self.tolerance
            }
            Some((rough, _)) => {
                (rough.integers).multiply(shared.values, strip.clone(), rounded, logits);
                squares.extend(rounded.rows.iter().map(|row| row.square));
                &rough.refined
            }
        };
        self.tolerances(strip.start, shared, tolerance, squares, tolerances, norms);
        self.tops(tolerances, logits, tops);
    }

    /// Answers about a strip's rows from rough logits, of which it refines those that matter.
    #[inline(always)]
    fn look(
        &self,
        strip: Range<usize>,
        shared: &Shared<'_>,
        (products, table): (&Products, &[f32]),
        scratch: &mut Scratch,
        mut out: Output<'_>,
    ) {
        let (stride, dim) = (self.plan.stride, self.head.dim());
        let scales = |class: usize| &table[class * stride..(class + 1) * stride];
        let Scratch {
            logits,
            tolerances,
            tops,
            lower,
            found: candidates,
            rounded,
            refined,
            norms,
            ..
        } = scratch;
        lower.resize(stride, 0.0);
        refined.count = 0;
        let thresholds = match out {
            Output::Candidates(_) => Some(&self.thresholds[..]),
            _ => None,
        };
        for (index, number) in strip.enumerate() {
            let (tolerance, norm) = (tolerances[index], norms[index]);
            let z = &mut logits[index * stride..(index + 1) * stride];
            // No closure: it would not be compiled for this processor's vectors.
            let (look, rough) = if is_scored(tolerance) {
                let left = rounded.rows[index].left(norm, dim);
                let row = RoughRow {
                    head: &self.head,
                    x: shared.values.slice(number * dim..(number + 1) * dim),
                    scales: &scales,
                    thresholds,
                    rough: products.rough.of_row(norm, left),
                    tolerance,
                };
                (row.refine(z, tops[index], lower, refined), row.rough)
            } else {
                (None, 0.0)
            };
            let row = look.map(|look| {
                let (tolerance, doubts) = match look.refined {
                    true => (tolerance, Some(refined.doubts())),
                    false => (rough, None),
                };
                let row = Row {
                    z,
                    tolerance,
                    doubts,
                    scales: &scales,
                };
                (row, look)
            });
            match &mut out {
                Output::Statistics(statistics, _) => match row {
                    Some((row, Look { p, found, .. })) => {
                        statistics[index] = row_statistics::of_lowers(&row, p, found, false, lower);
                    }
                    None => statistics[index].tolerance = tolerance,
                },
                _ => {
                    let before = candidates.len();
                    match row {
                        Some((row, Look { p, found, .. })) => class_candidates::add(
                            number as u32,
                            &row,
                            p,
                            found,
                            &self.thresholds,
                            lower,
                            candidates,
                        ),
                        None => add_undecidable(number, tolerance, candidates),
                    }
                    if !self.has_room(shared, candidates.len() - before) {
                        break;
                    }
                }
            }
        }
        shared.refined.fetch_add(refined.count, Ordering::Relaxed);
    }

    #[inline(always)]
    fn tolerances(
        &self,
        first: usize,
        shared: &Shared<'_>,
        tolerance: &Tolerance,
        squares: &[f32],
        out: &mut Vec<f32>,
        norms: &mut Vec<f32>,
    ) {
        let dim = self.head.dim();
        out.clear();
        norms.clear();
        for (row, square) in (first..).zip(squares) {
            let available = shared.available.contains(shared.start + row);
            let norm = match available {
                true => {
                    row_norms::of_square(*square, shared.values.slice(row * dim..(row + 1) * dim))
                }
                false => None,
            };
            out.push(match (available, norm) {
                (false, _) => UNAVAILABLE,
                (true, Some(norm)) => tolerance.of_norm(norm),
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

/// Adds a row that has no logits to look at, if nothing is known of it.
fn add_undecidable(row: usize, tolerance: f32, found: &mut Vec<Candidate>) {
    if tolerance >= UNDECIDABLE {
        found.push(Candidate::unknown(row as u32));
    }
}

/// Whether a row of that tolerance has logits to look at.
fn is_scored(tolerance: f32) -> bool {
    (0.0..UNDECIDABLE).contains(&tolerance)
}
