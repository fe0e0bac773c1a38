//! Exact scores of the rows the fast pass could not decide: bit for bit those of
//! [`crate::definition`].
//!
//! A score of one class takes two logits where the predicted class is known, or one of two.

use std::borrow::Cow;

use crate::definition::{self, RowScore};
use crate::engine::{NO_CLASS, PAIR};
use crate::exact_sums::{ExactRow, ExactSums, ROWS};
use crate::known::Entry;
use crate::{Head, Pick, Pool, Result};

/// Makes exact scores for one head.
pub(crate) struct Settler<'a> {
    pub(crate) sums: ExactSums<'a>,
}

impl<'a> Settler<'a> {
    pub(crate) fn new(head: &'a Head) -> Self {
        Self {
            sums: ExactSums::new(head),
        }
    }

    /// A row's key and score, as [`definition::row_score`] has them.
    pub(crate) fn row_score(&self, score: RowScore, row: &ExactRow) -> (f64, f64) {
        if score == RowScore::Mase {
            let mase = definition::mase(&self.sums.distances(row));
            return (mase, mase);
        }
        definition::row_score(score, &row.logits, self.sums.head)
    }

    /// `entry` with its score for `class` as its key, its predicted class, and its runner-up where the
    /// score takes it.
    pub(crate) fn settle(&self, x: &[f32], class: usize, entry: &Entry) -> Entry {
        let Some(entry) = self.in_order(x, entry) else {
            return self.settle_whole(x, Some(class), entry);
        };
        let p = entry.predicted as usize;
        match class == p {
            true => self.settle_mase(x, &entry),
            false => {
                let distance = self.sums.distance(x, p, class);
                Entry {
                    lower: distance,
                    upper: distance,
                    ..entry
                }
            }
        }
    }

    /// `entry` with its MASE score as its key, predicted class and runner-up.
    pub(crate) fn settle_mase(&self, x: &[f32], entry: &Entry) -> Entry {
        match self.in_order(x, entry) {
            Some(entry) if entry.runner_up != NO_CLASS => {
                let (runner_up, distance) = self.nearest(x, &entry);
                Entry {
                    lower: distance,
                    upper: distance,
                    runner_up,
                    rival: NO_CLASS,
                    ..entry
                }
            }
            _ => self.settle_whole(x, None, entry),
        }
    }

    /// A settled entry of `class` with its predicted class and runner-up.
    pub(crate) fn describe(&self, x: &[f32], class: usize, entry: &Entry) -> Entry {
        match self.in_order(x, entry) {
            Some(entry) if entry.runner_up != NO_CLASS => Entry {
                runner_up: self.nearest(x, &entry).0,
                rival: NO_CLASS,
                ..entry
            },
            _ => self.settle_whole(x, Some(class), entry),
        }
    }

    /// The runner-up, of two that it may be, and its distance; the predicted class is known.
    fn nearest(&self, x: &[f32], entry: &Entry) -> (u32, f64) {
        let p = entry.predicted as usize;
        let first = self.sums.distance(x, p, entry.runner_up as usize);
        if entry.rival == NO_CLASS {
            return (entry.runner_up, first);
        }
        let second = self.sums.distance(x, p, entry.rival as usize);
        // Of equal distances the lowest class is the runner-up.
        match second < first || (second == first && entry.rival < entry.runner_up) {
            true => (entry.rival, second),
            false => (entry.runner_up, first),
        }
    }

    /// `entry` with its predicted class, where it is known or one of two.
    fn in_order(&self, x: &[f32], entry: &Entry) -> Option<Entry> {
        if entry.predicted == NO_CLASS {
            return None;
        }
        if entry.predicted & PAIR == 0 {
            return Some(*entry);
        }
        let (a, b) = (entry.predicted & !PAIR, entry.runner_up);
        let [z_a, z_b] = self.sums.two_logits(x, a as usize, b as usize);
        // Of equal logits the lowest class is predicted.
        let (predicted, runner_up) = match z_a > z_b || (z_a == z_b && a < b) {
            true => (a, b),
            false => (b, a),
        };
        Some(Entry {
            predicted,
            runner_up,
            ..*entry
        })
    }

    /// Everything of an entry, from all of its row's logits; its key is its score for `class`, or its
    /// MASE score.
    fn settle_whole(&self, x: &[f32], class: Option<usize>, entry: &Entry) -> Entry {
        let row = &self.sums.exact_rows([x])[0];
        let distances = self.sums.distances(row);
        let score = match class {
            Some(class) if class != row.predicted => distances[class],
            _ => definition::mase(&distances),
        };
        Entry {
            lower: score,
            upper: score,
            predicted: row.predicted as u32,
            runner_up: runner_up_of(&distances, row.predicted),
            rival: NO_CLASS,
            ..*entry
        }
    }

    /// The picks that `entries` would be, whose embeddings are `rows`, each with its entry settled.
    pub(crate) fn row_picks(
        &self,
        score: RowScore,
        entries: &[Entry],
        rows: &[&[f32]],
    ) -> Vec<(Entry, Pick)> {
        if score == RowScore::Mase {
            let settled = entries.iter().zip(rows);
            let settled = settled.map(|(entry, x)| self.settle_mase(x, entry));
            return settled
                .map(|entry| (entry, pick(&entry, entry.lower)))
                .collect();
        }
        let exact = self.sums.exact_rows(rows.iter().copied());
        let settle = |((entry, row), x): ((&Entry, &ExactRow), &&[f32])| {
            let (key, score) = self.row_score(score, row);
            let p = row.predicted as u32;
            let runner_up = match *entry {
                Entry { runner_up, .. } if runner_up == NO_CLASS => {
                    runner_up_of(&self.sums.distances(row), row.predicted)
                }
                // A pair, in the other order.
                Entry { runner_up, .. } if runner_up == p => entry.predicted & !PAIR,
                Entry {
                    rival: NO_CLASS, ..
                } => entry.runner_up,
                _ => self.nearest(x, entry).0,
            };
            let entry = Entry {
                lower: key,
                upper: key,
                predicted: p,
                runner_up,
                rival: NO_CLASS,
                ..*entry
            };
            (entry, pick(&entry, score))
        };
        entries.iter().zip(&exact).zip(rows).map(settle).collect()
    }

    /// [`Self::settle`] of several entries, each with its embedding and class.
    pub(crate) fn settle_several(&self, wanted: &[(&[f32], usize, Entry)]) -> Vec<Entry> {
        let mut settled: Vec<Entry> = wanted.iter().map(|(_, _, entry)| *entry).collect();
        let mut simple = Vec::with_capacity(wanted.len());
        for (index, (x, class, entry)) in wanted.iter().enumerate() {
            match boundary(*class, entry) {
                Some(boundary) => simple.push((index, (*x, boundary))),
                None => settled[index] = self.settle(x, *class, entry),
            }
        }
        let (groups, rest) = simple.as_chunks::<ROWS>();
        let mut put = |index: usize, distance: f64| {
            (settled[index].lower, settled[index].upper) = (distance, distance);
        };
        for group in groups {
            let distances = self.sums.distances_of(group.map(|(_, of)| of));
            for ((index, _), distance) in group.iter().zip(distances) {
                put(*index, distance);
            }
        }
        for (index, of) in rest {
            let [distance] = self.sums.distances_of([*of]);
            put(*index, distance);
        }
        settled
    }
}

/// The boundary, between two classes, that the score of `entry` for `class` is the distance to; `None`
/// where that is not known.
fn boundary(class: usize, entry: &Entry) -> Option<(usize, usize)> {
    if entry.predicted & PAIR != 0 {
        // This includes `NO_CLASS`.
        return None;
    }
    let p = entry.predicted as usize;
    match (class == p, entry.runner_up, entry.rival) {
        (false, ..) => Some((p, class)),
        (true, NO_CLASS, _) => None,
        (true, runner_up, NO_CLASS) => Some((p, runner_up as usize)),
        _ => None,
    }
}

/// What a settled entry says of its row.
pub(crate) fn pick(entry: &Entry, score: f64) -> Pick {
    Pick {
        score: Some(score),
        predicted: Some(entry.predicted),
        runner_up: (entry.runner_up != NO_CLASS).then_some(entry.runner_up),
        ..Pick::of_row(entry.row)
    }
}

/// The runner-up, [`NO_CLASS`] where there is none.
pub(crate) fn runner_up_of(distances: &[f64], p: usize) -> u32 {
    definition::runner_up(distances, p).map_or(NO_CLASS, |class| class as u32)
}

/// One embedding of the pool, widened exactly.
pub(crate) fn pool_embedding(pool: &dyn Pool, row: usize) -> Result<Cow<'_, [f32]>> {
    Ok(pool.chunk(row, 1)?.values.embedding())
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn scores_equal_the_definition_bit_for_bit(
            dim in 1usize..20, classes in 1usize..20, seed in 0u64..1000,
        ) {
            let numbers = crate::random::Philox::new(seed, crate::random::Purpose::Drawing, 0, 0);
            let number = |i: usize| (numbers.uniform(i as u64) - 0.5) as f32;
            let weight = (0..classes * dim).map(number).collect();
            let head = Head::new(weight, vec![0.25; classes], dim).unwrap();
            let x: Vec<f32> = (0..dim).map(|m| number(m + 1_000_000)).collect();
            let exact = definition::logits(&x, &head);
            let settler = Settler::new(&head);
            let rows = settler.sums.exact_rows([&x[..]; 5]);
            let row = &rows[4];
            proptest::prop_assert_eq!(&rows[0], row);
            proptest::prop_assert_eq!(&row.logits, &exact);
            let p = definition::predicted(&exact);
            let distances = definition::distances(&exact, p, &head);
            proptest::prop_assert_eq!(row.predicted, p);
            proptest::prop_assert_eq!(settler.sums.distances(row), distances.clone());
            for score in [RowScore::Mase, RowScore::Margin] {
                let defined = definition::row_score(score, &exact, &head);
                proptest::prop_assert_eq!(settler.row_score(score, row), defined);
            }
            let other = definition::runner_up(&distances, p).map_or(NO_CLASS, |c| c as u32);
            let (own, third) = (p as u32, (0..classes as u32).find(|c| *c != p as u32 && *c != other));
            let mut codes = vec![(NO_CLASS, NO_CLASS, NO_CLASS), (own, NO_CLASS, NO_CLASS)];
            if other != NO_CLASS {
                codes.push((own, other, NO_CLASS));
                codes.push((own | PAIR, other, NO_CLASS));
                codes.push((other | PAIR, own, NO_CLASS));
            }
            if let (Some(third), true) = (third, other != NO_CLASS) {
                codes.push((own, other, third));
                codes.push((own, third, other));
            }
            for (predicted, runner_up, rival) in codes {
                for (class, score) in definition::base(&distances, p).into_iter().enumerate() {
                    let entry = Entry { lower: 0.0, upper: 9.0, row: 7, predicted, runner_up, rival };
                    let settled = settler.settle(&x, class, &entry);
                    proptest::prop_assert_eq!(settled.lower, score);
                    proptest::prop_assert_eq!((settled.upper, settled.row), (score, 7));
                    proptest::prop_assert_eq!(settled.predicted, p as u32);
                    let described = settler.describe(&x, class, &settled);
                    proptest::prop_assert_eq!(described.lower, score);
                    proptest::prop_assert_eq!((described.predicted, described.runner_up), (own, other));
                }
            }
        }
    }
}
