//! Kernel `row_scores`: scores to go on computing with.

use rayon::prelude::*;

use crate::definition::{self, RowScore, Spread};
use crate::exact_sums::{ExactSums, TOGETHER};
use crate::pool::FETCHED;
use crate::{Error, Head, Pool, Result};

/// What a head says of every row, N of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RowScores {
    /// The predicted class; −1 where the row is not finite.
    pub predicted: Vec<i32>,
    /// The class of the nearest boundary, the lowest of those as near; −1 where C = 1 or the row is not finite.
    pub runner_up: Vec<i32>,
    /// The MASE score: the distance to the nearest boundary.
    pub distance: Vec<f32>,
    /// The most probable class's probability less the second's.
    pub margin: Vec<f32>,
    /// The most probable class's probability.
    pub confidence: Vec<f32>,
    /// The entropy of the probabilities, in nats.
    pub entropy: Vec<f32>,
    /// (N, C): BASE scores. For c ≠ p the distance to the boundary with c, for p the least of them. +∞ where there
    /// is no boundary, NaN where the row is not finite.
    pub distances: Vec<f32>,
}

/// The scores of all rows by the float64 definition, rounded to f32.
///
/// # Errors
/// [`Error::Dimension`] where the head does not fit the pool, [`Error::Read`].
pub fn row_scores(pool: &dyn Pool, head: &Head) -> Result<RowScores> {
    if head.dim() != pool.dim() {
        return Err(Error::Dimension {
            head: head.dim(),
            pool: pool.dim(),
        });
    }
    let sums = ExactSums::new(head);
    let rows: Vec<usize> = (0..pool.rows()).collect();
    let mut scores = RowScores::default();
    for rows in rows.chunks(FETCHED) {
        let embeddings = pool.embeddings(rows)?;
        let pieces = embeddings.par_chunks(TOGETHER).map(|rows| {
            let mut scores = RowScores::default();
            for row in rows {
                scores.push(row, &sums);
            }
            scores
        });
        for piece in pieces.collect::<Vec<_>>() {
            scores.append(piece);
        }
    }
    Ok(scores)
}

impl RowScores {
    fn push(&mut self, x: &[f32], sums: &ExactSums<'_>) {
        if !x.iter().all(|x| x.is_finite()) {
            self.predicted.push(-1);
            self.runner_up.push(-1);
            let scores = [
                &mut self.distance,
                &mut self.margin,
                &mut self.confidence,
                &mut self.entropy,
            ];
            scores.into_iter().for_each(|of| of.push(f32::NAN));
            let none = std::iter::repeat_n(f32::NAN, sums.head.classes());
            self.distances.extend(none);
            return;
        }
        let row = &sums.exact_rows([x])[0];
        let distances = sums.distances(row);
        let runner_up = definition::runner_up(&distances, row.predicted);
        self.predicted.push(row.predicted as i32);
        self.runner_up
            .push(runner_up.map_or(-1, |class| class as i32));
        self.distance.push(definition::mase(&distances) as f32);
        let score = |score, alone: f32| match Spread::of(&row.logits) {
            Some(spread) => spread.score(score) as f32,
            None => alone,
        };
        self.margin.push(score(RowScore::Margin, 1.0));
        self.confidence.push(score(RowScore::Confidence, 1.0));
        self.entropy.push(score(RowScore::Entropy, 0.0));
        let base = definition::base(&distances, row.predicted);
        self.distances.extend(base.into_iter().map(|d| d as f32));
    }

    fn append(&mut self, mut piece: Self) {
        self.predicted.append(&mut piece.predicted);
        self.runner_up.append(&mut piece.runner_up);
        self.distance.append(&mut piece.distance);
        self.margin.append(&mut piece.margin);
        self.confidence.append(&mut piece.confidence);
        self.entropy.append(&mut piece.entropy);
        self.distances.append(&mut piece.distances);
    }
}
