//! The CPU engine's scorer: blocks cut into parts, a part per thread at a time.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::centres::{Centres, Rows};
use super::logits::{self, Columns};
use super::plan::CpuPlan;
use super::row::{NO_LOGIT, Row, add_bias, is_plausible};
use super::{class_candidates, nearest, row_keys, row_norms, row_statistics};
use crate::engine::{
    ACCEPT_NONE, Answer, BoundaryScales, Candidate, Candidates, CustomScore, Engine,
    GradientCentres, NO_BOUNDARY, NONFINITE, Nearest, NearestGradient, Precision, Question, RowKey,
    RowStatistics, Scorer, Task, Tolerance, UNAVAILABLE, UNDECIDABLE,
};
use crate::memory::{MemoryPlan, ScanShape};
use crate::vectorised::vectorised;
use crate::{Chunk, Error, Head, Pool, Result, RowSet, Values};

/// The engine of machines without a GPU: float32 products, then rayon over rows.
#[derive(Debug, Clone, Copy, Default)]
pub struct CpuEngine {
    max_rows: Option<usize>,
    memory: Option<u64>,
}

impl CpuEngine {
    /// An engine on rayon's current thread pool.
    pub fn new() -> Self {
        Self::default()
    }

    /// Scores at most `rows` rows at a time. Picks do not depend on it.
    pub fn with_max_rows(rows: usize) -> Self {
        Self {
            max_rows: Some(rows.max(1)),
            ..Self::default()
        }
    }

    /// Takes at most `bytes` of memory for head, scales, blocks and candidates. Picks do not depend on it.
    pub fn with_memory(bytes: u64) -> Self {
        Self {
            memory: Some(bytes),
            ..Self::default()
        }
    }

    fn parts(&self, shape: ScanShape) -> Result<CpuPlan> {
        CpuPlan::new(shape, self.max_rows, self.memory).map_err(|needed| Error::MemoryBudget {
            device: self.name().into(),
            budget: self.memory.unwrap_or_default(),
            needed,
        })
    }
}

impl Engine for CpuEngine {
    fn name(&self) -> &str {
        "cpu"
    }

    fn plan(&self, shape: ScanShape) -> Result<MemoryPlan> {
        Ok(self.parts(shape)?.memory(shape))
    }

    fn scorer<'a>(
        &'a self,
        head: &Head,
        pool: &'a dyn Pool,
        task: Task,
    ) -> Result<Box<dyn Scorer + 'a>> {
        Ok(Box::new(self.made(head, pool, task, None)?))
    }

    fn gradient_scorer<'a>(
        &'a self,
        head: &Head,
        centres: &GradientCentres,
        pool: &'a dyn Pool,
    ) -> Result<Box<dyn Scorer + 'a>> {
        let task = Task::NearestGradient {
            centres: centres.embeddings.classes(),
        };
        let centres = Centres::new(head, centres)?;
        Ok(Box::new(self.made(head, pool, task, Some(centres))?))
    }
}

impl CpuEngine {
    fn made<'a>(
        &self,
        head: &Head,
        pool: &'a dyn Pool,
        task: Task,
        centres: Option<Centres>,
    ) -> Result<CpuScorer<'a>> {
        let plan = self.parts(ScanShape::of(head, pool, task)?)?;
        let columns = Columns::new(head.weight(), head.dim(), plan.stride);
        let mut bias = head.bias().to_vec();
        bias.resize(columns.written(), NO_LOGIT);
        bias.resize(plan.stride, 0.0);
        Ok(CpuScorer {
            pool,
            tolerance: Tolerance::new(head, logits::error(head.dim())),
            scales: match (task, plan.table) {
                (Task::Nearest | Task::NearestGradient { .. }, _) => Scales::Needless,
                (Task::Boundaries, true) => {
                    let scales = BoundaryScales::new(head);
                    Scales::Table(scales.table(head, plan.stride, NO_BOUNDARY))
                }
                (Task::Boundaries, false) => Scales::Made(BoundaryScales::new(head)),
            },
            head: head.clone(),
            columns,
            bias,
            plan,
            scratch: Mutex::new(Vec::new()),
            thresholds: Vec::new(),
            centres,
            ready: None,
        })
    }
}

struct CpuScorer<'a> {
    pool: &'a dyn Pool,
    head: Head,
    columns: Columns,
    /// Padded to the stride: of what the product writes beyond the classes, no logit comes.
    bias: Vec<f32>,
    tolerance: Tolerance,
    scales: Scales,
    plan: CpuPlan,
    /// Memory that threads hand on.
    scratch: Mutex<Vec<Scratch>>,
    /// Padded to the stride.
    thresholds: Vec<f32>,
    /// Those of [`Task::NearestGradient`].
    centres: Option<Centres>,
    /// The block in flight: scored as it is submitted.
    ready: Option<Answer>,
}

/// Where scales come from.
enum Scales {
    /// Those of all classes to all, (C, stride).
    Table(Vec<f32>),
    /// The table would be too large: made for each part.
    Made(BoundaryScales),
    /// Nobody asks for them.
    Needless,
}

/// One thread's memory.
#[derive(Default)]
struct Scratch {
    /// f16 embeddings, widened.
    wide: Vec<f32>,
    /// A slice of embeddings, copied for the product.
    slice: Vec<f32>,
    logits: Vec<f32>,
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

/// Scales to all classes of those that a part needs.
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
enum Output<'a> {
    /// With exponentials or without.
    Statistics(&'a mut [RowStatistics], bool),
    Candidates(&'a mut Candidates),
    Keys(&'a mut [RowKey], &'a dyn CustomScore),
    Nearest(&'a mut [Nearest]),
    NearestGradient(&'a mut [NearestGradient]),
}

/// What the parts of a block share.
struct Shared<'a> {
    start: usize,
    available: &'a RowSet,
    /// How many candidates they found.
    found: AtomicUsize,
}

impl CpuScorer<'_> {
    /// Scores the rows from `first` on, within the block; returns those that are not finite.
    fn part(
        &self,
        first: usize,
        values: Values<'_>,
        shared: &Shared<'_>,
        out: Output<'_>,
    ) -> Vec<usize> {
        let spare = self.scratch.lock().ok().and_then(|mut spare| spare.pop());
        let mut scratch = spare.unwrap_or_default();
        let nonfinite = vectorised(
            #[inline(always)]
            || self.score(first, values, shared, &mut scratch, out),
        );
        if let Ok(mut spare) = self.scratch.lock() {
            spare.push(scratch);
        }
        nonfinite
    }

    #[inline(always)]
    fn score(
        &self,
        first: usize,
        values: Values<'_>,
        shared: &Shared<'_>,
        scratch: &mut Scratch,
        out: Output<'_>,
    ) -> Vec<usize> {
        let Scratch {
            wide,
            slice,
            logits,
            tolerances,
            tops,
            lower,
            found,
            norms,
            products,
        } = scratch;
        let (dim, stride) = (self.head.dim(), self.plan.stride);
        let x = match values {
            Values::F32(x) => Cow::Borrowed(x),
            Values::F16(_) => {
                wide.resize(values.len(), 0.0);
                values.widen(wide);
                Cow::Borrowed(wide.as_slice())
            }
        };
        let rows = x.len() / dim;
        // Padding that the product leaves as it is.
        logits.resize(rows * stride, NO_LOGIT);
        self.columns.multiply(&x, slice, logits);
        // After the product, which brings the rows into the cache while it computes.
        self.tolerances(first, &x, shared, tolerances, norms);
        self.tops(tolerances, logits, tops);
        if let Output::NearestGradient(out) = out {
            if let Some(centres) = &self.centres {
                let rows = Rows {
                    x: &x,
                    logits,
                    stride,
                    tolerances,
                    tops,
                    norms,
                };
                centres.nearest(rows, products, slice, out);
            }
            return nonfinite(first, tolerances);
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
            Output::Candidates(candidates) => {
                found.clear();
                for (index, tolerance) in tolerances.iter().enumerate() {
                    let (number, before) = ((first + index) as u32, found.len());
                    if is_scored(*tolerance) {
                        let (row, top) = (row(index), tops[index]);
                        let thresholds = &self.thresholds;
                        class_candidates::run(number, &row, top, thresholds, lower, found);
                    } else if *tolerance >= UNDECIDABLE {
                        found.push(Candidate::unknown(number));
                    }
                    let more = found.len() - before;
                    if more > 0
                        && shared.found.fetch_add(more, Ordering::Relaxed) + more
                            > self.plan.capacity
                    {
                        // More than the plan has room for: the caller tries fewer rows.
                        break;
                    }
                }
                candidates.group(found, self.head.classes());
            }
        }
        nonfinite(first, tolerances)
    }

    #[inline(always)]
    fn tolerances(
        &self,
        first: usize,
        x: &[f32],
        shared: &Shared<'_>,
        out: &mut Vec<f32>,
        norms: &mut Vec<f32>,
    ) {
        out.clear();
        norms.clear();
        for (index, x) in x.chunks_exact(self.head.dim()).enumerate() {
            let available = shared.available.contains(shared.start + first + index);
            let norm = if available { row_norms::run(x) } else { None };
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

    /// The scales that a part's rows may ask for.
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

/// The rows that are not finite, of those from `first` on.
fn nonfinite(first: usize, tolerances: &[f32]) -> Vec<usize> {
    let rows = tolerances.iter().enumerate();
    let rows = rows.filter(|(_, tolerance)| **tolerance == NONFINITE);
    rows.map(|(index, _)| first + index).collect()
}

/// Whether a row of that tolerance has logits to look at.
fn is_scored(tolerance: f32) -> bool {
    (0.0..UNDECIDABLE).contains(&tolerance)
}

impl Scorer for CpuScorer<'_> {
    fn max_rows(&self) -> usize {
        self.plan.max_rows
    }

    fn depth(&self) -> usize {
        1
    }

    fn precision(&self) -> Precision {
        // IEEE 754 single precision, to nearest; the exponential is ours, within 3 units.
        Precision {
            unit: 1.0 / f64::from(1 << 24),
            exp_constant: 8.0,
            exp_slope: 1.0,
        }
    }

    fn submit(
        &mut self,
        start: usize,
        rows: usize,
        available: &RowSet,
        question: Question<'_>,
    ) -> Result<usize> {
        let rows = rows.min(self.plan.max_rows);
        let Chunk { values, .. } = self.pool.chunk(start, rows)?;
        let dim = self.head.dim();
        let rows = values.len() / dim;
        // The next block's pages come in while this one is scored.
        self.pool.prefetch(start + rows, rows);
        if let Question::ClassCandidates { thresholds } = question {
            self.thresholds.clear();
            self.thresholds.extend_from_slice(thresholds);
            self.thresholds.resize(self.plan.stride, ACCEPT_NONE);
        }
        let mut answer = self.ready.take().unwrap_or_default();
        // As many parts for each thread, so that none waits for the others while they do one more.
        let parts = rows.div_ceil(self.plan.part_rows);
        let parts = parts.next_multiple_of(rayon::current_num_threads());
        let part_rows = rows.div_ceil(parts).max(1);
        let parts = rows.div_ceil(part_rows);
        let shared = Shared {
            start,
            available,
            found: AtomicUsize::new(0),
        };
        let part = |index: usize, out: Output<'_>| {
            let range: Range<usize> = index * part_rows..rows.min((index + 1) * part_rows);
            let values = values.slice(range.start * dim..range.end * dim);
            self.pool.touch(start + range.start, range.len());
            self.part(range.start, values, &shared, out)
        };
        answer.clear();
        let nonfinite: Vec<Vec<usize>> = match question {
            Question::RowStatistics { exponentials } => {
                let none = bytemuck::Zeroable::zeroed();
                answer.statistics.resize(rows, none);
                let outs = answer.statistics.par_chunks_mut(part_rows).enumerate();
                outs.map(|(index, out)| part(index, Output::Statistics(out, exponentials)))
                    .collect()
            }
            Question::RowKeys { score } => {
                let none = bytemuck::Zeroable::zeroed();
                answer.keys.resize(rows, none);
                let outs = answer.keys.par_chunks_mut(part_rows).enumerate();
                outs.map(|(index, out)| part(index, Output::Keys(out, score)))
                    .collect()
            }
            Question::Nearest => {
                let none = bytemuck::Zeroable::zeroed();
                answer.nearest.resize(rows, none);
                let outs = answer.nearest.par_chunks_mut(part_rows).enumerate();
                outs.map(|(index, out)| part(index, Output::Nearest(out)))
                    .collect()
            }
            Question::NearestGradient => {
                let none = bytemuck::Zeroable::zeroed();
                answer.gradients.resize(rows, none);
                let outs = answer.gradients.par_chunks_mut(part_rows).enumerate();
                outs.map(|(index, out)| part(index, Output::NearestGradient(out)))
                    .collect()
            }
            Question::ClassCandidates { .. } => {
                answer.candidates.resize_with(parts, Candidates::default);
                let outs = answer.candidates.par_iter_mut().enumerate();
                outs.map(|(index, out)| part(index, Output::Candidates(out)))
                    .collect()
            }
        };
        (answer.start, answer.rows) = (start, rows);
        let nonfinite = nonfinite.into_iter().flatten();
        answer.nonfinite.extend(nonfinite.map(|row| start + row));
        if shared.found.into_inner() > self.plan.capacity {
            answer.candidates.iter_mut().for_each(Candidates::clear);
            answer.overflow = true;
        }
        self.ready = Some(answer);
        Ok(rows)
    }

    fn collect(&mut self, answer: &mut Answer) -> Result<()> {
        std::mem::swap(answer, self.ready.get_or_insert_default());
        Ok(())
    }

    fn discard(&mut self) {}
}
