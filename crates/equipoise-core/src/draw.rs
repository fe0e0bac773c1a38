//! Drawing rows in proportion to weights of which only upper bounds are known.
//!
//! With u uniform in (0, 1), the row with the smallest −ln u / w is drawn with probability w / Σ w. Weights
//! that only shrink give lower bounds on these keys: rows are weighed in order of their bounds,
//! until the best key is below the next bound.

use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use crate::random::{Philox, TOGETHER};
use crate::vectorised::vectorised;
use crate::{Result, RowSet};

/// Rows of least bounds that are found at a time: at first, and at most.
const FEW: usize = 16;
const MANY: usize = 4096;

/// Rows that a thread looks at at a time.
const ROWS: usize = 4096;

/// A row and its key, or a lower bound on it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Keyed {
    key: f64,
    row: usize,
}

impl Keyed {
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        let keys = self.key.total_cmp(&other.key);
        keys.then(self.row.cmp(&other.row))
    }
}

/// In how many jobs so many rows are looked at.
fn jobs(rows: usize) -> usize {
    (4 * rayon::current_num_threads()).min(rows.div_ceil(ROWS))
}

/// Bytes that drawing takes for so many rows.
pub(crate) fn bytes(rows: usize) -> u64 {
    // What a job finds is in memory that grows by doubling, beside what is left of it in the end.
    let found = (jobs(rows) * 5 * MANY).min(3 * rows);
    (found * size_of::<Keyed>()) as u64
}

/// Weights of rows.
pub(crate) trait Weights {
    /// Per row of the pool, what its weight is not above.
    fn upper(&self) -> &[f32];

    /// A row's weight, from now on its upper bound as well.
    fn weigh(&mut self, row: usize) -> Result<f64>;
}

/// Draws a row of `rows` by the numbers of `stream`; with its weight. Where no row weighs anything, each is as likely. `None`
/// where there is none.
///
/// # Errors
/// Those of [`Weights::weigh`].
pub(crate) fn draw(
    stream: &Philox,
    rows: &RowSet,
    weights: &mut impl Weights,
) -> Result<Option<(usize, f64)>> {
    let mut count = FEW;
    let mut best: Option<(Keyed, f64)> = None;
    loop {
        let upper = weights.upper();
        let within = best.map_or(f64::INFINITY, |(best, _)| best.key);
        let least = least(stream, rows, (count, within), |row| upper[row]);
        let (mut certain, mut tighter) = (least.len() < count, false);
        for bound in least {
            if best.is_some_and(|(best, _)| bound.key > best.key) {
                certain = true;
                break;
            }
            let before = weights.upper()[bound.row];
            better(&mut best, weighed(stream, weights, bound.row)?);
            tighter |= weights.upper()[bound.row] < before;
        }
        if !certain && count == MANY && !tighter {
            // Bounds say nothing, and will not.
            for row in rows.iter() {
                better(&mut best, weighed(stream, weights, row)?);
            }
            certain = true;
        }
        if certain {
            if let Some((best, weight)) = best {
                return Ok(Some((best.row, weight)));
            }
            let Some(row) = uniform(stream, rows) else {
                return Ok(None);
            };
            return Ok(Some((row, weights.weigh(row)?)));
        }
        count = (count * 4).min(MANY);
    }
}

/// A row's key and weight.
fn weighed(stream: &Philox, weights: &mut impl Weights, row: usize) -> Result<(Keyed, f64)> {
    let weight = weights.weigh(row)?;
    let key = exponential(stream, row) / weight;
    Ok((Keyed { key, row }, weight))
}

/// Takes the other row where its key is the smaller one.
fn better(best: &mut Option<(Keyed, f64)>, other: (Keyed, f64)) {
    // Weights too small for a finite key are none.
    let finite = other.0.key.is_finite();
    if finite && best.is_none_or(|(best, _)| other.0.order(&best).is_lt()) {
        *best = Some(other);
    }
}

/// Draws a row of `rows`, each as likely.
pub(crate) fn uniform(stream: &Philox, rows: &RowSet) -> Option<usize> {
    let least = least(stream, rows, (1, f64::INFINITY), |_| 1.0);
    least.first().map(|keyed| keyed.row)
}

/// −ln u of a row.
fn exponential(stream: &Philox, row: usize) -> f64 {
    -libm::log(unit(stream.bits(row as u64)))
}

/// A number in (0, 1).
#[inline(always)]
fn unit(bits: u64) -> f64 {
    ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

/// The `count` rows with the least −ln u / `upper`, `within` at most, in order, of those with any weight.
fn least(
    stream: &Philox,
    rows: &RowSet,
    (count, within): (usize, f64),
    upper: impl Fn(usize) -> f32 + Sync,
) -> Vec<Keyed> {
    // What the `count`-th is not above, as far as some thread knows: keys are not negative, and ordered as their bits.
    let limit = AtomicU64::new(within.to_bits());
    let cut = |mut found: Vec<Keyed>| {
        if found.len() > count {
            found.select_nth_unstable_by(count, Keyed::order);
            found.truncate(count);
        }
        if found.len() == count
            && let Some(last) = found.iter().max_by(|a, b| a.order(b))
        {
            limit.fetch_min(last.key.to_bits(), Ordering::Relaxed);
        }
        found
    };
    let look = |mut found: Vec<Keyed>, piece: usize| {
        let range = piece * ROWS..rows.bound().min((piece + 1) * ROWS);
        let mut most = f64::from_bits(limit.load(Ordering::Relaxed));
        vectorised(
            #[inline(always)]
            || {
                let mut bits = [0; TOGETHER];
                for first in range.clone().step_by(TOGETHER) {
                    stream.bits_of(first as u64, &mut bits);
                    let end = range.end.min(first + TOGETHER);
                    for (row, bits) in (first..end).zip(bits) {
                        let (u, upper) = (unit(bits), f64::from(upper(row)));
                        // −ln u ≥ 1 − u, with room for rounding.
                        if (1.0 - u) * (1.0 - 1e-12) > most * upper || upper <= 0.0 {
                            continue;
                        }
                        let key = -libm::log(u) / upper;
                        if key <= most && rows.contains(row) {
                            found.push(Keyed { key, row });
                            if found.len() >= 2 * count {
                                found = cut(std::mem::take(&mut found));
                                most = f64::from_bits(limit.load(Ordering::Relaxed));
                            }
                        }
                    }
                }
            },
        );
        cut(found)
    };
    let (pieces, jobs) = (rows.bound().div_ceil(ROWS), jobs(rows.bound()));
    let found: Vec<Vec<Keyed>> = (0..jobs)
        .into_par_iter()
        .map(|job| (job * pieces / jobs..(job + 1) * pieces / jobs).fold(Vec::new(), look))
        .collect();
    let mut all = Vec::with_capacity(found.iter().map(Vec::len).sum());
    found.into_iter().for_each(|found| all.extend(found));
    let mut found = cut(all);
    found.sort_unstable_by(Keyed::order);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    /// Weights of which twice as much, and more, is known.
    struct Loose {
        weights: Vec<f64>,
        upper: Vec<f32>,
        weighed: usize,
    }

    impl Weights for Loose {
        fn upper(&self) -> &[f32] {
            &self.upper
        }

        fn weigh(&mut self, row: usize) -> Result<f64> {
            self.weighed += 1;
            self.upper[row] = (self.weights[row] as f32).next_up();
            Ok(self.weights[row])
        }
    }

    fn loose(weights: Vec<f64>) -> Loose {
        let upper = (0..).zip(&weights);
        let upper = upper.map(|(row, weight)| match row % 7 {
            0 => f32::INFINITY,
            rest => (*weight * (1.0 + f64::from(rest))) as f32 + 0.01,
        });
        Loose {
            upper: upper.collect(),
            weights,
            weighed: 0,
        }
    }

    #[test]
    fn rows_are_drawn_as_if_all_were_weighed() {
        let rows = 9000;
        let weights: Vec<f64> = (0..rows).map(|row| f64::from(row * 37 % 101)).collect();
        let mut left = RowSet::all(rows as usize);
        for row in 0..50 {
            left.remove(row * 13);
        }
        for step in 0..40 {
            let stream = Philox::new(3, Purpose::Badge, 0, step);
            let mut loose = loose(weights.clone());
            let found = draw(&stream, &left, &mut loose).unwrap().unwrap();
            let key = |row: usize| exponential(&stream, row) / weights[row];
            let heavy = left.iter().filter(|row| weights[*row] > 0.0);
            let expected = heavy.min_by(|a, b| key(*a).total_cmp(&key(*b))).unwrap();
            assert_eq!(found, (expected, weights[expected]), "step {step}");
            assert!(loose.weighed < 3000, "{} weighed", loose.weighed);
        }
    }

    #[test]
    fn bounds_that_say_little_or_nothing_change_no_draw() {
        struct Unbounded(Loose);
        impl Weights for Unbounded {
            fn upper(&self) -> &[f32] {
                &self.0.upper
            }
            fn weigh(&mut self, row: usize) -> Result<f64> {
                Ok(self.0.weights[row])
            }
        }
        let rows = 5 * MANY;
        let weights: Vec<f64> = (0..rows).map(|row| (row * 37 % 101) as f64).collect();
        let unknown = || Loose {
            upper: vec![f32::INFINITY; rows],
            ..loose(weights.clone())
        };
        let left = RowSet::all(rows);
        for step in 0..3 {
            let stream = Philox::new(4, Purpose::Badge, 0, step);
            let key = |row: &usize| exponential(&stream, *row) / weights[*row];
            let heavy = (0..rows).filter(|row| weights[*row] > 0.0);
            let expected = heavy.min_by(|a, b| key(a).total_cmp(&key(b))).unwrap();
            let expected = Some((expected, weights[expected]));
            assert_eq!(draw(&stream, &left, &mut unknown()).unwrap(), expected);
            let mut unbounded = Unbounded(unknown());
            assert_eq!(draw(&stream, &left, &mut unbounded).unwrap(), expected);
        }
    }

    #[test]
    fn frequencies_follow_the_weights() {
        let left = RowSet::all(4);
        let mut counts = [0; 4];
        for step in 0..4000 {
            let stream = Philox::new(9, Purpose::Badge, 0, step);
            let mut loose = loose(vec![1.0, 0.0, 5.0, 2.0]);
            counts[draw(&stream, &left, &mut loose).unwrap().unwrap().0] += 1;
        }
        for (count, expected) in counts.into_iter().zip([500, 0, 2500, 1000]) {
            let off: i32 = count - expected;
            // Four standard deviations.
            assert!(
                off.abs() <= 4 * (expected as f64).sqrt() as i32,
                "{counts:?}"
            );
        }
    }

    #[test]
    fn without_weight_each_is_as_likely() {
        let mut left = RowSet::all(300);
        left.remove(0);
        let mut seen = RowSet::none(300);
        for step in 0..2000 {
            let stream = Philox::new(1, Purpose::Badge, 0, step);
            let mut none = loose(vec![0.0; 300]);
            let (row, weight) = draw(&stream, &left, &mut none).unwrap().unwrap();
            assert_eq!((weight, Some(row)), (0.0, uniform(&stream, &left)));
            seen.insert(row);
        }
        assert!(seen.len() > 280 && !seen.contains(0), "{}", seen.len());
        let none = RowSet::none(300);
        let stream = Philox::new(1, Purpose::Badge, 0, 0);
        assert_eq!(
            draw(&stream, &none, &mut loose(vec![1.0; 300])).unwrap(),
            None
        );
    }
}
