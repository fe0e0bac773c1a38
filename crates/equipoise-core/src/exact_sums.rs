//! Sums in float64, bit for bit those of [`crate::definition`]: logits, and distances to boundaries.
//!
//! Several run side by side, each in its own order of additions: products of two f32 are exact in
//! float64, so fusing them with the addition changes nothing.

use std::borrow::Cow;
use std::sync::OnceLock;

use crate::Head;
use crate::boundary_sums::boundary_sums;
use crate::definition;
use crate::vectorised::vectorised;

/// Classes summed side by side.
const LANES: usize = 8;

/// Rows summed side by side: as many sums as hide an addition's latency.
const ROWS: usize = 4;

/// Rows, or entries, that a thread settles together.
pub(crate) const TOGETHER: usize = 16;

/// Most classes whose distances ‖W[p] − W[c]‖ are kept once computed, 32 MiB of them.
const KEPT_CLASSES: usize = 2048;

/// Makes exact sums for one head.
pub(crate) struct ExactSums<'a> {
    pub(crate) head: &'a Head,
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

impl<'a> ExactSums<'a> {
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
        // On this thread alone: one that waits for others takes their jobs meanwhile, and such a job may ask for columns, too, and
        // would wait here for its own thread.
        self.columns.get_or_init(|| {
            let (classes, dim) = (self.head.classes(), self.head.dim());
            let mut columns = vec![0.0; classes.div_ceil(LANES) * dim * LANES];
            let blocks = self.head.weight().chunks(dim * LANES);
            for (columns, weights) in columns.chunks_exact_mut(dim * LANES).zip(blocks) {
                for (lane, weights) in weights.chunks_exact(dim).enumerate() {
                    let (columns, _) = columns.as_chunks_mut::<LANES>();
                    for (column, weight) in columns.iter_mut().zip(weights) {
                        column[lane] = *weight;
                    }
                }
            }
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

    /// [`Self::distances_of`] of any number.
    pub(crate) fn distances_of_all(&self, of: &[(&[f32], (usize, usize))]) -> Vec<f64> {
        let (groups, rest) = of.as_chunks::<ROWS>();
        let mut distances = Vec::with_capacity(of.len());
        for group in groups {
            distances.extend(self.distances_of(*group));
        }
        // A few take little longer than one: additions wait for each other.
        match *rest {
            [a, b, c] => distances.extend(self.distances_of([a, b, c])),
            [a, b] => distances.extend(self.distances_of([a, b])),
            [a] => distances.extend(self.distances_of([a])),
            _ => {}
        }
        distances
    }

    /// The distances between some embeddings and a boundary of each, between its predicted class and
    /// another: two logits and the weights' distance, of all of them summed side by side.
    pub(crate) fn distances_of<const N: usize>(
        &self,
        of: [(&[f32], (usize, usize)); N],
    ) -> [f64; N] {
        let weight = |class| self.head.class_weight(class);
        let lines = of.map(|(x, (p, c))| [x, weight(p), weight(c)]);
        let sums = boundary_sums(lines, self.head.dim());
        let bias = |class: usize| f64::from(self.head.bias()[class]);
        std::array::from_fn(|i| {
            let ((_, (p, c)), [z_p, z_c, square]) = (of[i], sums[i]);
            definition::boundary_distance(z_p + bias(p), z_c + bias(c), square.sqrt())
        })
    }

    /// [`definition::logit`] of two classes.
    pub(crate) fn two_logits(&self, x: &[f32], a: usize, b: usize) -> [f64; 2] {
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

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;

    /// A thread that makes the columns does nothing else meanwhile, which might ask for them. (Made by several threads, they
    /// were never done.)
    #[test]
    fn threads_that_ask_for_columns_at_once_get_them() {
        let (classes, dim) = (256, 2048);
        let weight: Vec<f32> = (0..classes * dim).map(|i| i as f32).collect();
        let head = Head::new(weight, vec![0.0; classes], dim).unwrap();
        for threads in [3, 4, 6, 8] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.unwrap().install(|| {
                for _ in 0..60 {
                    let sums = ExactSums::new(&head);
                    let asking = (0..threads).into_par_iter().with_max_len(1);
                    asking.for_each(|class| {
                        let column = &sums.columns()[class / LANES * dim * LANES..];
                        for (m, weight) in head.class_weight(class).iter().enumerate() {
                            assert_eq!(column[m * LANES + class % LANES], *weight);
                        }
                    });
                }
            });
        }
    }
}
