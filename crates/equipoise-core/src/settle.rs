//! Exact scores of the rows the fast pass could not decide: bit for bit those of
//! [`crate::definition`], several classes at a time.

use std::borrow::Cow;
use std::sync::OnceLock;

use crate::definition::RowScore;
use crate::{Chunk, Head, Pool, Result, Values, definition};

/// Classes summed side by side: each keeps its own order of additions.
const LANES: usize = 8;

/// Most classes whose distances ‖W[p] − W[c]‖ are kept once computed, 512 MiB of them.
const KEPT_CLASSES: usize = 8192;

/// The head, laid out for exact logits of whole rows.
pub(crate) struct Settler<'a> {
    head: &'a Head,
    /// (⌈C/LANES⌉, M, LANES): class `block · LANES + lane`, zeros beyond C.
    columns: Vec<f32>,
    /// Per predicted class, ‖W[p] − W[c]‖ for all c; empty where the head has too many classes.
    weight_distances: Vec<OnceLock<Vec<f64>>>,
}

impl<'a> Settler<'a> {
    pub(crate) fn new(head: &'a Head) -> Self {
        let (classes, dim) = (head.classes(), head.dim());
        let mut columns = vec![0.0; classes.div_ceil(LANES) * dim * LANES];
        for class in 0..classes {
            let block = &mut columns[class / LANES * dim * LANES..];
            for (m, weight) in head.class_weight(class).iter().enumerate() {
                block[m * LANES + class % LANES] = *weight;
            }
        }
        let kept = if classes <= KEPT_CLASSES { classes } else { 0 };
        Self {
            head,
            columns,
            weight_distances: vec![OnceLock::new(); kept],
        }
    }

    /// `‖W[p] − W[c]‖` for all c.
    fn weight_distances(&self, p: usize) -> Cow<'_, [f64]> {
        let compute = || {
            let mut squares = self.sums(self.head.class_weight(p), |p, c| (p - c) * (p - c));
            squares
                .iter_mut()
                .for_each(|square| *square = square.sqrt());
            squares
        };
        match self.weight_distances.get(p) {
            Some(kept) => Cow::Borrowed(kept.get_or_init(compute)),
            None => Cow::Owned(compute()),
        }
    }

    /// Per class, Σ term(x[m], W[c][m]) for m = 0..M−1, in that order.
    fn sums(&self, x: &[f32], term: impl Fn(f64, f64) -> f64) -> Vec<f64> {
        let classes = self.head.classes();
        let mut all = Vec::with_capacity(classes.next_multiple_of(LANES));
        for block in self.columns.chunks_exact(self.head.dim() * LANES) {
            let mut sums = [0.0f64; LANES];
            for (x, weights) in x.iter().zip(block.chunks_exact(LANES)) {
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum += term(f64::from(*x), f64::from(*weight));
                }
            }
            all.extend_from_slice(&sums);
        }
        all.truncate(classes);
        all
    }

    /// All logits of one embedding.
    pub(crate) fn logits(&self, x: &[f32]) -> Vec<f64> {
        let mut logits = self.sums(x, |x, weight| x * weight);
        for (logit, bias) in logits.iter_mut().zip(self.head.bias()) {
            *logit += f64::from(*bias);
        }
        logits
    }

    /// The distance between one embedding of predicted class `p` and its boundary with `c`.
    pub(crate) fn distance(&self, x: &[f32], p: usize, c: usize) -> f64 {
        let logit = |class| definition::logit(x, self.head, class);
        let weights = definition::weight_distance(self.head, p, c);
        definition::boundary_distance(logit(p), logit(c), weights)
    }

    /// All distances of one embedding, and its predicted class.
    pub(crate) fn distances(&self, x: &[f32]) -> (usize, Vec<f64>) {
        let logits = self.logits(x);
        let p = definition::predicted(&logits);
        (p, self.distances_of_logits(&logits, p))
    }

    /// [`definition::distances`], with the weights' distances kept.
    pub(crate) fn distances_of_logits(&self, logits: &[f64], p: usize) -> Vec<f64> {
        let mut distances: Vec<f64> = logits
            .iter()
            .zip(self.weight_distances(p).iter())
            .map(|(z, weights)| definition::boundary_distance(logits[p], *z, *weights))
            .collect();
        distances[p] = f64::INFINITY;
        distances
    }

    /// A row's key and score, as [`definition::row_score`] has them.
    pub(crate) fn row_score(&self, score: RowScore, logits: &[f64]) -> (f64, f64) {
        if score == RowScore::Mase {
            let distances = self.distances_of_logits(logits, definition::predicted(logits));
            let mase = definition::mase(&distances);
            return (mase, mase);
        }
        definition::row_score(score, logits, self.head)
    }
}

/// One embedding of a chunk, widened exactly; `row` counts within the chunk.
pub(crate) fn embedding(values: Values<'_>, dim: usize, row: usize) -> Vec<f32> {
    let mut wide = vec![0.0; dim];
    values.slice(row * dim..(row + 1) * dim).widen(&mut wide);
    wide
}

/// One embedding of the pool, widened exactly.
pub(crate) fn pool_embedding(pool: &dyn Pool, row: usize) -> Result<Vec<f32>> {
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
            proptest::prop_assert_eq!(settler.logits(&x), exact.clone());
            let p = definition::predicted(&exact);
            let distances = definition::distances(&exact, p, &head);
            proptest::prop_assert_eq!(settler.distances(&x), (p, distances));
            for score in [RowScore::Mase, RowScore::Margin] {
                let defined = definition::row_score(score, &exact, &head);
                proptest::prop_assert_eq!(settler.row_score(score, &exact), defined);
            }
        }
    }
}
