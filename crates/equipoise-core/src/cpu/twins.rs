//! The CPU twins of the row kernels, a row at a time, on logits that somebody else computed: what a device's kernels are held
//! against.

use super::row::{LANES, NO_LOGIT, Row, argmax, is_plausible};
use super::{class_candidates, gradients, nearest, nearest_gradient, row_norms, row_statistics};
use crate::Head;
use crate::engine::{
    ACCEPT_NONE, BoundaryScales, Candidate, NO_BOUNDARY, Nearest, RowStatistics, UNREACHABLE,
};

/// Twins for one head.
#[derive(Debug)]
pub struct Twins<'h> {
    head: &'h Head,
    scales: BoundaryScales,
    stride: usize,
}

impl<'h> Twins<'h> {
    /// Those for `head`.
    pub fn new(head: &'h Head) -> Self {
        Self {
            head,
            scales: BoundaryScales::new(head),
            stride: head.classes().next_multiple_of(LANES),
        }
    }

    /// The statistics of a row with `logits`, C of them with bias, of which each may be off by `tolerance`.
    pub fn row_statistics(&self, logits: &[f32], tolerance: f32) -> RowStatistics {
        let exponentials = self.head.classes() > 1;
        self.with_row(logits, tolerance, |row, p, lower| {
            row_statistics::run(row, p, exponentials, lower)
        })
    }

    /// Its candidates for `thresholds`, C of them, in order of classes; the row is number 0.
    pub fn class_candidates(
        &self,
        logits: &[f32],
        tolerance: f32,
        thresholds: &[f32],
    ) -> Vec<Candidate> {
        let thresholds = padded(thresholds, ACCEPT_NONE);
        self.with_row(logits, tolerance, |row, p, lower| {
            let mut found = Vec::new();
            class_candidates::run(0, row, p, &thresholds, lower, &mut found);
            found
        })
    }

    /// What `run` makes of a row, its argmax and scratch memory.
    fn with_row<T>(
        &self,
        logits: &[f32],
        tolerance: f32,
        run: impl FnOnce(&Row<'_, '_>, usize, &mut [f32]) -> T,
    ) -> T {
        let z = padded(logits, NO_LOGIT);
        let p = argmax(logits);
        let plausible = |c: &usize| *c != p && is_plausible(z[p], z[*c], tolerance);
        let mut classes = vec![p];
        classes.extend((0..logits.len()).find(plausible));
        let lines = self
            .scales
            .lines(self.head, &classes, self.stride, NO_BOUNDARY);
        let scales = |class: usize| {
            let place = usize::from(class != p);
            &lines[place * self.stride..(place + 1) * self.stride]
        };
        let row = Row {
            z: &z,
            tolerance,
            doubts: None,
            scales: &scales,
        };
        run(&row, p, &mut vec![0.0; self.stride])
    }
}

/// Which of the classes, or centres, of `logits` is nearest.
pub fn nearest(logits: &[f32], tolerance: f32) -> Nearest {
    nearest::run(&padded(logits, NO_LOGIT), argmax(logits), tolerance)
}

/// The gradient of `logits` and its squared norm; `None` where another class may be the predicted one.
pub fn gradient(logits: &[f32], tolerance: f32) -> Option<(Vec<f32>, f32)> {
    let mut z = padded(logits, NO_LOGIT);
    let square = gradients::run(&mut z, argmax(logits), tolerance)?;
    z.truncate(logits.len());
    Some((z, square))
}

/// Which of K centres is nearest to a row's gradient embedding: `a` are the products of its embedding with theirs, `b`
/// those of its gradient, `bias` as [`crate::engine::GradientCentres::bias`].
pub fn nearest_gradient(a: &[f32], b: &[f32], bias: &[f32], tolerance: f32) -> Nearest {
    let bias = padded(bias, -UNREACHABLE);
    nearest_gradient::run(&padded(a, 0.0), &padded(b, 0.0), &bias, tolerance)
}

/// The norm of a row, to well within 1%: `None` for a NaN or an infinity.
pub fn row_norm(x: &[f32]) -> Option<f32> {
    row_norms::run(x)
}

fn padded(numbers: &[f32], with: f32) -> Vec<f32> {
    let mut padded = numbers.to_vec();
    padded.resize(numbers.len().next_multiple_of(LANES), with);
    padded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{ACCEPT_ALL, Answer, Candidates, Question, Task};
    use crate::{CpuEngine, Engine, MemoryPool, RowSet, Values};

    #[test]
    fn twins_are_the_engine() {
        let (rows, dim, classes) = (40, 6, 21);
        let numbers =
            |count: usize, step: f32| (0..count).map(|i| (i as f32 * step).sin()).collect();
        let values: Vec<f32> = numbers(rows * dim, 0.7);
        let head = Head::new(numbers(classes * dim, 1.3), numbers(classes, 0.4), dim).unwrap();
        let pool = MemoryPool::new(Values::F32(&values), dim).unwrap();
        let engine = CpuEngine::new();
        let ask = |question: Question<'_>| {
            let mut scorer = engine.scorer(&head, &pool, Task::Boundaries).unwrap();
            let mut answer = Answer::default();
            scorer
                .submit(0, rows, &RowSet::all(rows), question)
                .unwrap();
            scorer.collect(&mut answer).unwrap();
            answer
        };
        let thresholds = vec![ACCEPT_ALL; classes];
        let statistics = ask(Question::RowStatistics { exponentials: true }).statistics;
        let answer = ask(Question::ClassCandidates {
            thresholds: &thresholds,
        });
        let candidates: Vec<Candidate> = answer
            .candidates
            .iter()
            .flat_map(Candidates::iter)
            .collect();
        let twins = Twins::new(&head);
        // As the engine multiplies: all rows of a part at once.
        let stride = classes.next_multiple_of(LANES);
        let mut products = vec![NO_LOGIT; rows * stride];
        let columns = super::super::logits::Columns::new(head.weight(), dim, stride);
        columns.multiply(
            Values::F32(&values),
            0..rows,
            &mut Vec::new(),
            &mut products,
        );
        for row in 0..rows {
            let products = products[row * stride..].iter().zip(head.bias());
            let logits: Vec<f32> = products.map(|(z, b)| z + b).collect();
            let tolerance = statistics[row].tolerance;
            let found = twins.row_statistics(&logits, tolerance);
            let codes = |of: &RowStatistics| (of.predicted, of.runner_up, of.rival, of.gap);
            assert_eq!(codes(&found), codes(&statistics[row]));
            // The engine's table of scales sums in another order.
            assert!((found.mase_upper - statistics[row].mase_upper).abs() < 1e-5);
            let found = twins.class_candidates(&logits, tolerance, &thresholds);
            let of_row = candidates.iter().filter(|c| c.row as usize == row);
            assert_eq!(found.len(), of_row.clone().count());
            for (found, expected) in found.iter().zip(of_row) {
                assert_eq!(
                    (found.class, found.predicted),
                    (expected.class, expected.predicted)
                );
                assert!(
                    (found.lower - expected.lower).abs() < 1e-5,
                    "{found:?} {expected:?}"
                );
            }
            let top = nearest(&logits, tolerance);
            assert_eq!(top.centre as usize, argmax(&logits));
        }
    }
}
