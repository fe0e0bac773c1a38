//! The CPU engine's scorer: blocks cut into parts, a part per thread at a time.

mod part;

use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use rayon::prelude::*;

use self::part::{Output, Scratch, Shared};
use super::centres::Centres;
use super::logits::{self, Columns};
use super::plan::CpuPlan;
use super::row::NO_LOGIT;
use crate::engine::{
    ACCEPT_NONE, Answer, BoundaryScales, Candidates, NO_BOUNDARY, Precision, Question, Scorer,
    Task, Tolerance,
};
use crate::{Chunk, Head, Pool, Result, RowSet, Values};

/// See the module.
pub(super) struct CpuScorer<'a> {
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

impl<'a> CpuScorer<'a> {
    pub(super) fn new(
        plan: CpuPlan,
        head: &Head,
        pool: &'a dyn Pool,
        task: Task,
        centres: Option<Centres>,
    ) -> Self {
        let columns = Columns::new(head.weight(), head.dim(), plan.stride);
        let mut bias = head.bias().to_vec();
        bias.resize(columns.written(), NO_LOGIT);
        bias.resize(plan.stride, 0.0);
        Self {
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
        }
    }

    /// Answers about a block, whose place is in `answer`, part by part.
    fn fill(
        &self,
        answer: &mut Answer,
        values: Values<'_>,
        available: &RowSet,
        question: Question<'_>,
    ) {
        let (start, rows) = (answer.start, answer.rows);
        // As many parts for each thread, so that none waits for the others while they do one more.
        let parts = rows.div_ceil(self.plan.part_rows);
        let parts = parts.max(1).next_multiple_of(rayon::current_num_threads());
        let part_rows = rows.div_ceil(parts).max(1);
        let shared = Shared {
            start,
            values,
            available,
            found: AtomicUsize::new(0),
        };
        let part = |index: usize, out: Output<'_>| {
            let range = index * part_rows..rows.min((index + 1) * part_rows);
            self.pool.touch(start + range.start, range.len());
            self.part(range, &shared, out)
        };
        let per_part = (part_rows, rows);
        let nonfinite = match question {
            Question::RowStatistics { exponentials } => {
                each_part(&mut answer.statistics, per_part, |index, out| {
                    part(index, Output::Statistics(out, exponentials))
                })
            }
            Question::RowKeys { score } => each_part(&mut answer.keys, per_part, |index, out| {
                part(index, Output::Keys(out, score))
            }),
            Question::Nearest => each_part(&mut answer.nearest, per_part, |index, out| {
                part(index, Output::Nearest(out))
            }),
            Question::NearestGradient => {
                each_part(&mut answer.gradients, per_part, |index, out| {
                    part(index, Output::NearestGradient(out))
                })
            }
            Question::ClassCandidates { .. } => {
                let parts = rows.div_ceil(part_rows);
                answer.candidates.resize_with(parts, Candidates::default);
                let outs = answer.candidates.par_iter_mut().enumerate();
                outs.map(|(index, out)| part(index, Output::Candidates(out)))
                    .collect()
            }
        };
        let nonfinite = nonfinite.into_iter().flatten();
        answer.nonfinite.extend(nonfinite.map(|row| start + row));
        if shared.found.into_inner() > self.plan.capacity {
            answer.candidates.iter_mut().for_each(Candidates::clear);
            answer.overflow = true;
        }
    }
}

/// Runs `part` on the records of each part, `part_rows` of `rows`; returns what each returned.
fn each_part<T: bytemuck::Zeroable + Clone + Send>(
    records: &mut Vec<T>,
    (part_rows, rows): (usize, usize),
    part: impl Fn(usize, &mut [T]) -> Vec<usize> + Sync,
) -> Vec<Vec<usize>> {
    records.resize(rows, T::zeroed());
    let parts = records.par_chunks_mut(part_rows).enumerate();
    parts.map(|(index, out)| part(index, out)).collect()
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
        answer.clear();
        (answer.start, answer.rows) = (start, rows);
        self.fill(&mut answer, values, available, question);
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
    use crate::{CpuEngine, Engine, MemoryPool};

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
}
