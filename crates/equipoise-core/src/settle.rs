//! Exact scores of the rows the fast pass could not decide: bit for bit those of
//! [`crate::definition`].
//!
//! A score of one class takes two logits where the predicted class is known, or one of two.

use std::borrow::Cow;

use crate::definition::{self, RowScore};
use crate::engine::{NO_CLASS, PAIR};
use crate::exact_sums::{ExactRow, ExactSums};
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

    /// `wanted` of several entries, each with its embedding: with their scores as their keys, predicted classes, and runners-up
    /// where the score takes them.
    pub(crate) fn settle<'x>(
        &self,
        wanted: impl IntoIterator<Item = (&'x [f32], Wanted, Entry)>,
    ) -> Vec<Entry> {
        let (mut settled, mut boundaries) = (Vec::new(), Vec::new());
        // Of each that takes distances, its place, whether they are its key, and how many they are.
        let mut open = Vec::new();
        for (x, wanted, entry) in wanted {
            let place = settled.len();
            let Some(entry) = self.in_order(x, &entry) else {
                settled.push(self.settle_whole(x, wanted.class(), &entry));
                continue;
            };
            let before = boundaries.len();
            let p = entry.predicted as usize;
            let mut ask = |class: u32| boundaries.push((x, (p, class as usize)));
            match wanted {
                Wanted::Score(class) if class != p => ask(class as u32),
                _ if entry.runner_up == NO_CLASS => {
                    settled.push(self.settle_whole(x, wanted.class(), &entry));
                    continue;
                }
                _ => {
                    ask(entry.runner_up);
                    if entry.rival != NO_CLASS {
                        ask(entry.rival);
                    }
                }
            }
            let is_key = !matches!(wanted, Wanted::Description(_));
            open.push((place, is_key, boundaries.len() - before));
            settled.push(entry);
        }
        let distances = self.sums.distances_of_all(&boundaries);
        let mut distances = &distances[..];
        for (place, is_key, count) in open {
            let entry = &mut settled[place];
            let (asked, rest) = distances.split_at(count);
            distances = rest;
            let (runner_up, distance) = nearest(entry, asked);
            if asked.len() > 1 {
                (entry.runner_up, entry.rival) = (runner_up, NO_CLASS);
            }
            if is_key {
                (entry.lower, entry.upper) = (distance, distance);
            }
        }
        settled
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
            let wanted = rows.iter().zip(entries);
            let settled = self.settle(wanted.map(|(x, entry)| (*x, Wanted::Mase, *entry)));
            let with_pick = |entry: Entry| (entry, pick(&entry, entry.lower));
            return settled.into_iter().map(with_pick).collect();
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
                _ => {
                    let both =
                        [entry.runner_up, entry.rival].map(|c| (*x, (row.predicted, c as usize)));
                    nearest(entry, &self.sums.distances_of(both)).0
                }
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
}

/// What is wanted of an entry whose predicted class will be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Its score for a class.
    Score(usize),
    /// Its MASE score.
    Mase,
    /// Of a settled entry of a class, its runner-up.
    Description(usize),
}

impl Wanted {
    /// The class whose score it is about, if it is not MASE.
    fn class(self) -> Option<usize> {
        match self {
            Wanted::Score(class) | Wanted::Description(class) => Some(class),
            Wanted::Mase => None,
        }
    }
}

/// The runner-up, and its distance, of an entry whose predicted class is known, by the distances of the one or two that it may be.
fn nearest(entry: &Entry, distances: &[f64]) -> (u32, f64) {
    match *distances {
        // Of equal distances the lowest class is the runner-up.
        [first, second] if second < first || (second == first && entry.rival < entry.runner_up) => {
            (entry.rival, second)
        }
        [first, ..] => (entry.runner_up, first),
        [] => (entry.runner_up, f64::INFINITY),
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
            let (mut wanted, mut one_by_one) = (Vec::new(), Vec::new());
            for (predicted, runner_up, rival) in codes {
                for (class, score) in definition::base(&distances, p).into_iter().enumerate() {
                    let entry = Entry { lower: 0.0, upper: 9.0, row: 7, predicted, runner_up, rival };
                    let mut settle = |what, entry| {
                        wanted.push((&x[..], what, entry));
                        one_by_one.extend(settler.settle([(&x[..], what, entry)]));
                        one_by_one[one_by_one.len() - 1]
                    };
                    let settled = settle(Wanted::Score(class), entry);
                    proptest::prop_assert_eq!(settled.lower, score);
                    proptest::prop_assert_eq!((settled.upper, settled.row), (score, 7));
                    proptest::prop_assert_eq!(settled.predicted, p as u32);
                    let described = settle(Wanted::Description(class), settled);
                    proptest::prop_assert_eq!(described.lower, score);
                    proptest::prop_assert_eq!((described.predicted, described.runner_up), (own, other));
                    proptest::prop_assert_eq!(settle(Wanted::Mase, entry).lower, definition::mase(&distances));
                }
            }
            // Side by side they are what they are alone.
            proptest::prop_assert_eq!(settler.settle(wanted), one_by_one);
        }
    }
}
