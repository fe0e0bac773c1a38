//! The CPU engine's scorer: blocks cut into parts, a part per thread at a time.

mod part;
mod rough;

use std::ops::Range;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use rayon::prelude::*;

use self::part::{Output, Scratch, Shared};
use self::rough::Rough;
use super::centres::Centres;
use super::logits::{self, Columns};
use super::plan::CpuPlan;
use super::row::NO_LOGIT;
use crate::engine::{
    ACCEPT_NONE, Answer, BoundaryScales, Candidates, NO_BOUNDARY, Precision, Question, Scorer,
    Task, Tolerance,
};
use crate::tolerance::ROUNDING;
use crate::{Chunk, Head, Pool, Result, RowSet, Values};

/// See the module.
pub(super) struct CpuScorer<'a> {
    pool: &'a dyn Pool,
    head: Head,
    columns: Arc<Columns>,
    /// Padded to the stride: of what the product writes beyond the classes, no logit comes.
    bias: Vec<f32>,
    tolerance: Tolerance,
    scales: Scales,
    plan: CpuPlan,
    /// Memory that threads hand on.
    scratch: Mutex<Vec<Scratch>>,
    /// Padded to the stride: they take none where no candidates are asked for.
    thresholds: Vec<f32>,
    /// Where the plan has it.
    rough: Option<Rough>,
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

impl<'a> CpuScorer<'a> {
    pub(super) fn new(
        plan: CpuPlan,
        head: &Head,
        pool: &'a dyn Pool,
        task: Task,
        centres: Option<Centres>,
    ) -> Self {
        let columns = Arc::new(Columns::new(head.weight(), head.dim(), plan.stride));
        let scales = || BoundaryScales::with(head, || columns.clone());
        let mut bias = head.bias().to_vec();
        bias.resize(columns.written(), NO_LOGIT);
        bias.resize(plan.stride, 0.0);
        Self {
            pool,
            tolerance: Tolerance::new(head, logits::error(head.dim())),
            scales: match (task, plan.table) {
                (Task::Nearest | Task::NearestGradient { .. }, _) => Scales::Needless,
                (Task::Boundaries, true) => {
                    Scales::Table(scales().table(head, plan.stride, NO_BOUNDARY))
                }
                (Task::Boundaries, false) => Scales::Made(scales()),
            },
            head: head.clone(),
            columns,
            bias,
            plan,
            scratch: Mutex::new(Vec::new()),
            thresholds: Vec::new(),
            rough: Rough::new(plan.products),
            centres,
            ready: None,
        }
    }

    /// Answers about a block, whose place is in `answer`, part by part; returns how many logits were refined.
    fn fill(
        &self,
        answer: &mut Answer,
        values: Values<'_>,
        available: &RowSet,
        question: Question<'_>,
        roughly: bool,
    ) -> usize {
        let start = answer.start;
        let rough = match (&self.rough, &self.scales) {
            (Some(rough), Scales::Table(table)) if roughly => {
                rough.products().zip(Some(&table[..]))
            }
            _ => None,
        };
        let shared = Shared {
            start,
            values,
            available,
            rough,
            found: AtomicUsize::new(0),
            refined: AtomicUsize::new(0),
        };
        let part = |rows: Range<usize>, out: Output<'_>| {
            self.pool.touch(start + rows.start, rows.len());
            self.part(rows, &shared, out)
        };
        let parts = self.plan.parts(answer.rows);
        let nonfinite = match question {
            Question::RowStatistics { exponentials } => {
                each_part(&parts, &mut answer.statistics, |rows, out| {
                    part(rows, Output::Statistics(out, exponentials))
                })
            }
            Question::RowKeys { score } => each_part(&parts, &mut answer.keys, |rows, out| {
                part(rows, Output::Keys(out, score))
            }),
            Question::Nearest => each_part(&parts, &mut answer.nearest, |rows, out| {
                part(rows, Output::Nearest(out))
            }),
            Question::NearestGradient => each_part(&parts, &mut answer.gradients, |rows, out| {
                part(rows, Output::NearestGradient(out))
            }),
            Question::ClassCandidates { .. } => {
                (answer.candidates).resize_with(parts.len(), Candidates::default);
                let outs = parts.iter().cloned().zip(&mut answer.candidates);
                in_order(outs, |(rows, out)| part(rows, Output::Candidates(out)))
            }
        };
        answer
            .nonfinite
            .extend(nonfinite.into_iter().map(|row| start + row));
        if shared.found.into_inner() > self.plan.capacity {
            answer.candidates.iter_mut().for_each(Candidates::clear);
            answer.overflow = true;
        }
        shared.refined.into_inner()
    }
}

/// Runs `part` on each of `parts` and its records; returns all that it returned, ascending.
fn each_part<T: bytemuck::Zeroable + Clone + Send>(
    parts: &[Range<usize>],
    records: &mut Vec<T>,
    part: impl Fn(Range<usize>, &mut [T]) -> Vec<usize> + Send + Sync,
) -> Vec<usize> {
    let rows = parts.last().map_or(0, |last| last.end);
    records.resize(rows, T::zeroed());
    let mut left = &mut records[..];
    let outs = parts.iter().map(|rows| {
        let (out, rest) = std::mem::take(&mut left).split_at_mut(rows.len());
        left = rest;
        (rows.clone(), out)
    });
    in_order(outs, |(rows, out)| part(rows, out))
}

/// Runs `work` on each of `parts`, on the threads that come for the next one; returns all that it returned, ascending.
fn in_order<P: Send>(
    parts: impl Iterator<Item = P> + Send,
    work: impl Fn(P) -> Vec<usize> + Send + Sync,
) -> Vec<usize> {
    let returned = parts.par_bridge().map(work);
    let mut returned = returned.collect::<Vec<_>>().concat();
    returned.sort_unstable();
    returned
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
            unit: ROUNDING,
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
        let (thresholds, each) = match question {
            Question::ClassCandidates { thresholds } => (thresholds, Some(false)),
            Question::RowStatistics {
                exponentials: false,
            } => (&[][..], Some(true)),
            // Every logit of every row counts: rough ones are no use.
            _ => (&[][..], None),
        };
        self.thresholds.clear();
        self.thresholds.extend_from_slice(thresholds);
        self.thresholds.resize(self.plan.stride, ACCEPT_NONE);
        let roughly = match (&mut self.rough, each) {
            (Some(rough), Some(each)) => rough.begin(each, &self.head, self.plan.stride),
            _ => false,
        };
        let mut answer = self.ready.take().unwrap_or_default();
        answer.clear();
        (answer.start, answer.rows) = (start, rows);
        let refined = self.fill(&mut answer, values, available, question, roughly);
        if let Some(rough) = &mut self.rough {
            rough.end((rows, self.head.classes()), refined);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{ALL_CLASSES, NO_CLASS, PAIR};
    use crate::random::{Philox, Purpose};
    use crate::{CpuEngine, CpuProducts, Engine, MemoryPool, definition};

    #[test]
    fn a_block_without_rows_is_answered() {
        let head = Head::new(vec![1.0; 3 * 600], vec![0.0; 3], 600).unwrap();
        let pool = MemoryPool::new(Values::F32(&[0.5; 1200]), 600).unwrap();
        let engine = CpuEngine::new();
        let thresholds = [crate::engine::ACCEPT_ALL; 3];
        let questions = [
            Question::RowStatistics { exponentials: true },
            Question::ClassCandidates {
                thresholds: &thresholds,
            },
        ];
        for question in questions {
            let mut scorer = engine.scorer(&head, &pool, Task::Boundaries).unwrap();
            let mut answer = Answer::default();
            for rows in [0, 2] {
                let taken = scorer.submit(0, rows, &RowSet::all(2), question).unwrap();
                scorer.collect(&mut answer).unwrap();
                assert_eq!((taken, answer.rows), (rows, rows));
            }
        }
    }

    /// Every bound and code of an answer from rough products against the definition, with loose thresholds (many candidates a row, not
    /// refined) and tight ones (few, refined).
    #[test]
    fn rough_answers_hold_what_the_definition_says() {
        let (rows, dim, classes) = (300, 70, 200);
        let numbers = |seed: u64, count: usize| -> Vec<f32> {
            let numbers = Philox::new(seed, Purpose::Drawing, 0, 0);
            let one = |i: usize| numbers.uniform(i as u64) as f32 - 0.5;
            (0..count).map(one).collect()
        };
        let x = numbers(1, rows * dim);
        let mut weight = numbers(2, classes * dim);
        // Twins, whose biases differ.
        weight.copy_within(0..dim, 9 * dim);
        let head = Head::new(weight, numbers(3, classes), dim).unwrap();
        let pool = MemoryPool::new(Values::F32(&x), dim).unwrap();
        let engine = CpuEngine::new().with_products(CpuProducts::Int16);
        let of_row = |row: usize| {
            let logits = definition::logits(&x[row * dim..][..dim], &head);
            let p = definition::predicted(&logits);
            let distances = definition::distances(&logits, p, &head);
            let runner_up = definition::runner_up(&distances, p);
            (p, runner_up, definition::base(&distances, p))
        };
        let exact: Vec<_> = (0..rows).map(of_row).collect();
        let (mut found, mut described) = ([0, 0], 0);
        for (few, threshold) in [(0, 0.6), (1, 0.02)] {
            let thresholds = vec![threshold; classes];
            let mut scorer = engine.scorer(&head, &pool, Task::Boundaries).unwrap();
            let mut answer = Answer::default();
            for question in [
                Question::ClassCandidates {
                    thresholds: &thresholds,
                },
                Question::RowStatistics {
                    exponentials: false,
                },
            ] {
                let taken = scorer
                    .submit(0, rows, &RowSet::all(rows), question)
                    .unwrap();
                assert_eq!(taken, rows);
                scorer.collect(&mut answer).unwrap();
                for (statistics, (p, runner_up, base)) in answer.statistics.iter().zip(&exact) {
                    let mase = base[*p];
                    assert!(f64::from(statistics.mase_lower) <= mase);
                    assert!(mase <= f64::from(statistics.mase_upper));
                    if statistics.predicted & PAIR == 0 && statistics.predicted != NO_CLASS {
                        assert_eq!(statistics.predicted as usize, *p);
                        let codes = [statistics.runner_up, statistics.rival];
                        let known = codes[0] != NO_CLASS;
                        let right = codes.contains(&(runner_up.unwrap() as u32));
                        assert!(!known || right, "{statistics:?}");
                        described += usize::from(known && codes[1] == NO_CLASS);
                    }
                }
                let mut missing: std::collections::BTreeSet<_> = (0..rows)
                    .flat_map(|row| (0..classes).map(move |class| (row, class)))
                    .filter(|(row, class)| exact[*row].2[*class] < f64::from(threshold))
                    .collect();
                let any = !answer.candidates.is_empty();
                for candidate in answer.candidates.iter().flat_map(Candidates::iter) {
                    let row = candidate.row as usize;
                    if candidate.class == ALL_CLASSES {
                        missing.retain(|(missing, _)| *missing != row);
                        continue;
                    }
                    let class = candidate.class as usize;
                    missing.remove(&(row, class));
                    let score = exact[row].2[class];
                    let (lower, upper) = (f64::from(candidate.lower), f64::from(candidate.upper));
                    assert!(lower <= score && score <= upper, "{candidate:?} {score}");
                    found[few] += 1;
                }
                assert!(!any || missing.is_empty(), "{missing:?}");
                answer.clear();
                answer.candidates.clear();
            }
        }
        assert!(
            found[0] > 20 * rows && (50..2 * rows).contains(&found[1]),
            "{found:?}"
        );
        assert!(described > rows, "{described}");
    }
}
