//! How good a model is on the test rows, and how even its labels are.

use equipoise_report::Balance;
use serde::{Deserialize, Serialize};

/// What a model says of test rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scores {
    /// Of each row, how many classes come before the true one: 0 is right.
    pub ranks: Vec<u32>,
}

impl Scores {
    /// Adds rows, from their logits (n, C) and true classes. Equal logits: the lower class comes first.
    pub fn add(&mut self, logits: &[f32], classes: usize, truth: &[u32]) {
        let rank = |(logits, truth): (&[f32], &u32)| {
            let truth = *truth as usize;
            let own = logits[truth];
            let before =
                |(class, logit): (usize, &f32)| *logit > own || (*logit == own && class < truth);
            logits
                .iter()
                .enumerate()
                .filter(|each| before(*each))
                .count() as u32
        };
        self.ranks
            .extend(logits.chunks_exact(classes).zip(truth).map(rank));
    }
}

/// What is known of a round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Share of test rows whose class is the first.
    pub top1: f64,
    /// Share whose class is among the first five.
    pub top5: f64,
    /// Mean over classes of their accuracies.
    pub mean_class: f64,
    /// Accuracy of each class; none where no test row has it.
    pub per_class: Vec<Option<f64>>,
    /// Labelled rows of each class.
    pub labelled: Vec<usize>,
    /// Entropy of the labelled rows' classes over ln C.
    pub balance: f64,
    /// Labelled rows of the class that has fewest.
    pub smallest: usize,
    /// Most labelled rows of a class over fewest; none where a class has none.
    pub imbalance: Option<f64>,
    /// Of each class, rows picked in this round.
    pub picked: Vec<usize>,
}

impl Measures {
    /// From test scores and the classes of test rows, of labelled rows and of this round's picks.
    pub fn new(
        scores: &Scores,
        truth: &[u32],
        classes: usize,
        labelled: impl Iterator<Item = u32>,
        picked: impl Iterator<Item = u32>,
    ) -> Self {
        let count = truth.len().max(1) as f64;
        let within =
            |most: u32| scores.ranks.iter().filter(|rank| **rank < most).count() as f64 / count;
        let (mut right, mut rows) = (vec![0usize; classes], vec![0usize; classes]);
        for (rank, class) in scores.ranks.iter().zip(truth) {
            right[*class as usize] += usize::from(*rank == 0);
            rows[*class as usize] += 1;
        }
        let share =
            |(right, rows): (&usize, &usize)| (*rows > 0).then(|| *right as f64 / *rows as f64);
        let per_class: Vec<Option<f64>> = right.iter().zip(&rows).map(share).collect();
        let known: Vec<f64> = per_class.iter().flatten().copied().collect();
        let balance = Balance::of_rows(labelled, classes);
        Self {
            top1: within(1),
            top5: within(5),
            mean_class: known.iter().sum::<f64>() / known.len().max(1) as f64,
            per_class,
            balance: balance.entropy(),
            smallest: balance.smallest(),
            imbalance: balance.imbalance(),
            labelled: balance.counts().to_vec(),
            picked: Balance::of_rows(picked, classes).counts().to_vec(),
        }
    }

    /// The class with the least accuracy, and that.
    pub fn worst(&self) -> Option<(usize, f64)> {
        self.known().min_by(|(_, a), (_, b)| a.total_cmp(b))
    }

    /// The class with the greatest accuracy, and that; the lowest where several have it.
    pub fn best(&self) -> Option<(usize, f64)> {
        self.known().rev().max_by(|(_, a), (_, b)| a.total_cmp(b))
    }

    fn known(&self) -> impl DoubleEndedIterator<Item = (usize, f64)> + '_ {
        let classes = self.per_class.iter().enumerate();
        classes.filter_map(|(class, share)| share.map(|share| (class, share)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_by_row_and_by_class() {
        let mut scores = Scores::default();
        let logits = [
            [3.0, 1.0, 0.0],
            [1.0, 2.0, 0.0],
            [1.0, 1.0, 0.0],
            [5.0, 4.0, 6.0],
        ];
        let truth = [0, 0, 1, 2];
        scores.add(logits.as_flattened(), 3, &truth);
        assert_eq!(scores.ranks, [0, 1, 1, 0]);
        let labelled = [0, 0, 0, 1].into_iter();
        let measures = Measures::new(&scores, &truth, 4, labelled, [1].into_iter());
        assert_eq!((measures.top1, measures.top5), (0.5, 1.0));
        assert_eq!(measures.per_class, [Some(0.5), Some(0.0), Some(1.0), None]);
        assert_eq!(measures.mean_class, 0.5);
        assert_eq!(
            (measures.worst(), measures.best()),
            (Some((1, 0.0)), Some((2, 1.0)))
        );
        assert_eq!(measures.labelled, [3, 1, 0, 0]);
        assert_eq!((measures.smallest, measures.imbalance), (0, None));
        assert_eq!(measures.picked, [0, 1, 0, 0]);
    }
}
