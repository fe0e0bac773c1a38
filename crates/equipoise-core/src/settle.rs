//! Exact scores of the rows the fast pass could not decide: bit for bit those of
//! [`crate::definition`].
//!
//! A score of one class takes two logits where the predicted class is known, or one of two. Several
//! sums run side by side, each in its own order of additions: products of two f32 are exact in
//! float64, so fusing them with the addition changes nothing.

use std::borrow::Cow;
use std::sync::OnceLock;

use rayon::prelude::*;

use crate::definition::{self, RowScore};
use crate::engine::{NO_CLASS, PAIR};
use crate::lists::Entry;
use crate::vectorised::vectorised;
use crate::{Chunk, Head, Pick, Pool, Result, Values};

/// Classes summed side by side.
const LANES: usize = 8;

/// Rows summed side by side: as many sums as hide an addition's latency.
const ROWS: usize = 4;

/// Rows, or entries, that a thread settles together.
pub(crate) const TOGETHER: usize = 16;

/// Most classes whose distances ‖W[p] − W[c]‖ are kept once computed, 32 MiB of them.
const KEPT_CLASSES: usize = 2048;

/// Makes exact scores for one head.
pub(crate) struct Settler<'a> {
    head: &'a Head,
    /// (⌈C/LANES⌉, M, LANES): class `block · LANES + lane`, zeros beyond C. Made when first needed.
    columns: OnceLock<Vec<f32>>,
    /// Per predicted class, ‖W[p] − W[c]‖ for all c; empty where the head has too many classes.
    weight_distances: Vec<OnceLock<Vec<f64>>>,
}

/// What is exactly known of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ExactRow {
    pub(crate) logits: Vec<f64>,
    pub(crate) predicted: usize,
}

impl<'a> Settler<'a> {
    pub(crate) fn new(head: &'a Head) -> Self {
        let classes = head.classes();
        let kept = if classes <= KEPT_CLASSES { classes } else { 0 };
        Self {
            head,
            columns: OnceLock::new(),
            weight_distances: vec![OnceLock::new(); kept],
        }
    }

    /// Bytes that it takes at most, once every class has been asked for, with the rows at hand.
    pub(crate) fn bytes(head: &Head) -> u64 {
        let (classes, dim) = (head.classes() as u64, head.dim() as u64);
        let kept = if classes <= KEPT_CLASSES as u64 {
            classes
        } else {
            0
        };
        let threads = rayon::current_num_threads() as u64;
        let rows = threads * TOGETHER as u64 * (dim + classes) * 8;
        4 * classes.next_multiple_of(LANES as u64) * dim + 8 * kept * classes + rows
    }

    fn columns(&self) -> &[f32] {
        self.columns.get_or_init(|| {
            let (classes, dim) = (self.head.classes(), self.head.dim());
            let mut columns = vec![0.0; classes.div_ceil(LANES) * dim * LANES];
            columns
                .par_chunks_mut(dim * LANES)
                .enumerate()
                .for_each(|(block, columns)| {
                    let first = block * LANES;
                    for (lane, class) in (first..classes.min(first + LANES)).enumerate() {
                        for (m, weight) in self.head.class_weight(class).iter().enumerate() {
                            columns[m * LANES + lane] = *weight;
                        }
                    }
                });
            columns
        })
    }

    /// `‖W[p] − W[c]‖` for all c.
    fn weight_distances(&self, p: usize) -> Cow<'_, [f64]> {
        let compute = || {
            let squares = self.sums(&[self.head.class_weight(p)], add_square);
            squares.into_iter().flatten().map(f64::sqrt).collect()
        };
        match self.weight_distances.get(p) {
            Some(kept) => Cow::Borrowed(kept.get_or_init(compute)),
            None => Cow::Owned(compute()),
        }
    }

    /// Per row and class, the sum made by `add(x[m], W[c][m], sum)` for m = 0..M−1, in that order.
    fn sums(&self, rows: &[&[f32]], add: impl Fn(f64, f64, f64) -> f64) -> Vec<Vec<f64>> {
        let (classes, dim) = (self.head.classes(), self.head.dim());
        let columns = self.columns();
        let mut all = vec![Vec::with_capacity(classes.next_multiple_of(LANES)); rows.len()];
        let widened = |row: &&[f32]| row.iter().map(|x| f64::from(*x)).collect();
        let rows: Vec<Vec<f64>> = rows.iter().map(widened).collect();
        let rows: Vec<&[f64]> = rows.iter().map(|row| &row[..]).collect();
        vectorised(
            #[inline(always)]
            || {
                // All rows look at some classes while their weights are in the cache.
                for block in columns.chunks_exact(dim * LANES) {
                    let (weights, _) = block.as_chunks();
                    let (groups, rest) = rows.as_chunks::<ROWS>();
                    let (of_groups, of_rest) = all.split_at_mut(groups.len() * ROWS);
                    for (rows, all) in groups.iter().zip(of_groups.chunks_exact_mut(ROWS)) {
                        let sums = sums_of(*rows, weights, &add);
                        all.iter_mut().zip(sums).for_each(|(all, s)| all.extend(s));
                    }
                    for (row, all) in rest.iter().zip(of_rest) {
                        let [sums] = sums_of([*row], weights, &add);
                        all.extend(sums);
                    }
                }
            },
        );
        all.iter_mut().for_each(|all| all.truncate(classes));
        all
    }

    /// All logits and the predicted class of some embeddings, on this thread.
    pub(crate) fn exact_rows<'x>(
        &self,
        rows: impl IntoIterator<Item = &'x [f32]>,
    ) -> Vec<ExactRow> {
        let rows: Vec<&[f32]> = rows.into_iter().collect();
        let exact = self.sums(&rows, add_product);
        let with_bias = |mut logits: Vec<f64>| {
            for (logit, bias) in logits.iter_mut().zip(self.head.bias()) {
                *logit += f64::from(*bias);
            }
            ExactRow {
                predicted: definition::predicted(&logits),
                logits,
            }
        };
        exact.into_iter().map(with_bias).collect()
    }

    /// [`definition::distances`] of a row.
    pub(crate) fn distances(&self, row: &ExactRow) -> Vec<f64> {
        let (logits, p) = (&row.logits, row.predicted);
        let mut distances: Vec<f64> = logits
            .iter()
            .zip(self.weight_distances(p).iter())
            .map(|(z, weights)| definition::boundary_distance(logits[p], *z, *weights))
            .collect();
        distances[p] = f64::INFINITY;
        distances
    }

    /// A row's key and score, as [`definition::row_score`] has them.
    pub(crate) fn row_score(&self, score: RowScore, row: &ExactRow) -> (f64, f64) {
        if score == RowScore::Mase {
            let mase = definition::mase(&self.distances(row));
            return (mase, mase);
        }
        definition::row_score(score, &row.logits, self.head)
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
                let distance = self.distance(x, p, class);
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
        let first = self.distance(x, p, entry.runner_up as usize);
        if entry.rival == NO_CLASS {
            return (entry.runner_up, first);
        }
        let second = self.distance(x, p, entry.rival as usize);
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
        let [z_a, z_b] = self.two_logits(x, a as usize, b as usize);
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
        let row = &self.exact_rows([x])[0];
        let distances = self.distances(row);
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
        let exact = self.exact_rows(rows.iter().copied());
        let settle = |((entry, row), x): ((&Entry, &ExactRow), &&[f32])| {
            let (key, score) = self.row_score(score, row);
            let p = row.predicted as u32;
            let runner_up = match *entry {
                Entry { runner_up, .. } if runner_up == NO_CLASS => {
                    runner_up_of(&self.distances(row), row.predicted)
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
            let distances = self.distances_of(group.map(|(_, of)| of));
            for ((index, _), distance) in group.iter().zip(distances) {
                put(*index, distance);
            }
        }
        for (index, of) in rest {
            let [distance] = self.distances_of([*of]);
            put(*index, distance);
        }
        settled
    }

    /// The distance between one embedding of predicted class `p` and its boundary with `c`.
    fn distance(&self, x: &[f32], p: usize, c: usize) -> f64 {
        let [distance] = self.distances_of([(x, (p, c))]);
        distance
    }

    /// The distances between some embeddings and a boundary of each, between its predicted class and
    /// another: two logits and the weights' distance, of all of them summed side by side.
    fn distances_of<const N: usize>(&self, of: [(&[f32], (usize, usize)); N]) -> [f64; N] {
        let dim = self.head.dim();
        let lines = of.map(|(x, (p, c))| {
            let weight = |class| &self.head.class_weight(class)[..dim];
            (&x[..dim], weight(p), weight(c))
        });
        let sums = vectorised(
            #[inline(always)]
            || {
                let (mut z_p, mut z_c, mut square) = ([0.0f64; N], [0.0f64; N], [0.0f64; N]);
                for m in 0..dim {
                    for (i, (x, w_p, w_c)) in lines.iter().enumerate() {
                        let (x, w_p, w_c) = (f64::from(x[m]), f64::from(w_p[m]), f64::from(w_c[m]));
                        z_p[i] += x * w_p;
                        z_c[i] += x * w_c;
                        square[i] += (w_p - w_c) * (w_p - w_c);
                    }
                }
                std::array::from_fn::<_, N, _>(|i| (z_p[i], z_c[i], square[i]))
            },
        );
        let bias = |class: usize| f64::from(self.head.bias()[class]);
        std::array::from_fn(|i| {
            let ((_, (p, c)), (z_p, z_c, square)): (_, (f64, f64, f64)) = (of[i], sums[i]);
            definition::boundary_distance(z_p + bias(p), z_c + bias(c), square.sqrt())
        })
    }

    /// [`definition::logit`] of two classes.
    fn two_logits(&self, x: &[f32], a: usize, b: usize) -> [f64; 2] {
        let weights = self.head.class_weight(a).iter();
        let mut sums = [0.0f64; 2];
        for (x, (a, b)) in x.iter().zip(weights.zip(self.head.class_weight(b))) {
            sums[0] += f64::from(*x) * f64::from(*a);
            sums[1] += f64::from(*x) * f64::from(*b);
        }
        let bias = |class: usize| f64::from(self.head.bias()[class]);
        [sums[0] + bias(a), sums[1] + bias(b)]
    }
}

/// Per row and lane, the sum made by `add(x[m], weights[m][lane], sum)`. A function of its own, so that
/// its sums stay in registers.
#[inline(always)]
fn sums_of<const R: usize>(
    rows: [&[f64]; R],
    weights: &[[f32; LANES]],
    add: &impl Fn(f64, f64, f64) -> f64,
) -> [[f64; LANES]; R] {
    let rows = rows.map(|x| &x[..weights.len()]);
    let mut sums = [[0.0; LANES]; R];
    for (m, weights) in weights.iter().enumerate() {
        let weights = weights.map(f64::from);
        for (sums, x) in sums.iter_mut().zip(&rows) {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum = add(x[m], weight, *sum);
            }
        }
    }
    sums
}

#[inline(always)]
fn add_product(x: f64, w: f64, sum: f64) -> f64 {
    sum + x * w
}

#[inline(always)]
fn add_square(p: f64, c: f64, sum: f64) -> f64 {
    sum + (p - c) * (p - c)
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
fn pick(entry: &Entry, score: f64) -> Pick {
    Pick {
        row: entry.row,
        class: None,
        score: Some(score),
        predicted: Some(entry.predicted),
        runner_up: (entry.runner_up != NO_CLASS).then_some(entry.runner_up),
    }
}

/// The runner-up, [`NO_CLASS`] where there is none.
pub(crate) fn runner_up_of(distances: &[f64], p: usize) -> u32 {
    definition::runner_up(distances, p).map_or(NO_CLASS, |class| class as u32)
}

/// One embedding of a chunk, widened exactly; `row` counts within the chunk.
pub(crate) fn embedding(values: Values<'_>, dim: usize, row: usize) -> Cow<'_, [f32]> {
    match values.slice(row * dim..(row + 1) * dim) {
        Values::F32(x) => Cow::Borrowed(x),
        half => {
            let mut wide = vec![0.0; dim];
            half.widen(&mut wide);
            Cow::Owned(wide)
        }
    }
}

/// One embedding of the pool, widened exactly.
pub(crate) fn pool_embedding(pool: &dyn Pool, row: usize) -> Result<Cow<'_, [f32]>> {
    let Chunk { values, .. } = pool.chunk(row, 1)?;
    Ok(embedding(values, pool.dim(), 0))
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
            let rows = settler.exact_rows([&x[..]; 5]);
            let row = &rows[4];
            proptest::prop_assert_eq!(&rows[0], row);
            proptest::prop_assert_eq!(&row.logits, &exact);
            let p = definition::predicted(&exact);
            let distances = definition::distances(&exact, p, &head);
            proptest::prop_assert_eq!(row.predicted, p);
            proptest::prop_assert_eq!(settler.distances(row), distances.clone());
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
