//! Small pools of the kinds that break approximate scoring, and the picks that the definition asks for.

use equipoise::core::definition::{self, RowScore};
use equipoise::core::random::{Philox, Purpose};
use equipoise::core::{Head, LabelledRow, Pick, RowSet, quota};
use equipoise::pool::Dtype;
use half::f16;

use super::Shape;
use super::synthetic::{Stored, Synthetic};
use crate::failure::Result;

/// Rows, numbers and classes straddle tiles; a multiple of 4 numbers lets every variant of logits run.
const ROWS: usize = 420;
const DIM: usize = 68;
const CLASSES: usize = 37;

/// Rows picked of each case: lists fill, and classes take rows from each other.
pub(super) const BUDGET: usize = 120;

/// What is hard about a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Clusters,
    FewDistinctRows,
    EqualClasses,
    NearlyEqualClasses,
    OnBoundaries,
    Saturated,
    LargeAndSmallRows,
    AllWeightsEqual,
}

const KINDS: [(Kind, &str); 8] = [
    (Kind::Clusters, "clusters"),
    (Kind::FewDistinctRows, "few distinct rows"),
    (Kind::EqualClasses, "classes equal in pairs"),
    (Kind::NearlyEqualClasses, "nearly equal classes"),
    (Kind::OnBoundaries, "rows on boundaries"),
    (Kind::Saturated, "saturated probabilities"),
    (Kind::LargeAndSmallRows, "large and small rows"),
    (Kind::AllWeightsEqual, "all weights equal"),
];

/// One case.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) stored: Stored,
    pub(super) head: Head,
    pub(super) available: RowSet,
    /// The other rows.
    pub(super) labelled: Vec<LabelledRow>,
    /// As stored, widened.
    wide: Vec<f32>,
    /// Distances of each row, its predicted class, and the logits they are of.
    rows: Vec<(Vec<f64>, usize, Vec<f64>)>,
}

/// All of them, stored as `dtype`.
///
/// # Errors
/// None: heads are finite.
pub(super) fn all(dtype: Dtype) -> Result<Vec<Case>> {
    KINDS
        .iter()
        .map(|(kind, name)| Case::new(*kind, format!("{name}, {dtype}"), dtype))
        .collect()
}

impl Case {
    fn new(kind: Kind, name: String, dtype: Dtype) -> Result<Self> {
        let synthetic = Synthetic::new(Shape {
            rows: ROWS,
            dim: DIM,
            classes: CLASSES,
            budget: None,
            dtype: Dtype::F32,
        });
        let head = head(kind, &synthetic.head()?)?;
        let mut wide = vec![0.0; ROWS * DIM];
        synthetic.rows(0..ROWS).values().widen(&mut wide);
        change(kind, &mut wide, &head);
        let stored = match dtype {
            Dtype::F32 => Stored::F32(wide.clone()),
            Dtype::F16 => Stored::F16(wide.iter().map(|x| f16::from_f32(*x)).collect()),
        };
        stored.values().widen(&mut wide);
        let mut available = RowSet::all(ROWS);
        let mut labelled = Vec::new();
        for row in (3..ROWS).step_by(7) {
            available.remove(row);
            labelled.push(LabelledRow { row, class: None });
        }
        let score = |x: &[f32]| {
            let logits = definition::logits(x, &head);
            let p = definition::predicted(&logits);
            (definition::distances(&logits, p, &head), p, logits)
        };
        Ok(Self {
            name,
            stored,
            available,
            labelled,
            rows: wide.chunks(DIM).map(score).collect(),
            wide,
            head,
        })
    }

    /// BASE: class by class the smallest scores among the rows not taken yet; ties to the lowest row.
    pub(super) fn base(&self) -> Vec<Pick> {
        let mut left = self.available.clone();
        let mut picks = Vec::new();
        for (class, quota) in quota::uniform(BUDGET, CLASSES).into_iter().enumerate() {
            let score = |row: usize| {
                let (distances, p, _) = &self.rows[row];
                definition::base(distances, *p)[class]
            };
            for (score, row) in smallest(left.iter().map(|row| (score(row), row)), quota) {
                left.remove(row);
                let class_rank = picks
                    .iter()
                    .filter(|pick: &&Pick| pick.class == Some(class as u32));
                picks.push(Pick {
                    class: Some(class as u32),
                    class_rank: Some(class_rank.count() as u32 + 1),
                    beat: Some(left.len() as u64),
                    ..self.pick(row, score)
                });
            }
        }
        picks
    }

    /// The rows with the smallest keys; ties to the lowest row.
    pub(super) fn best(&self, score: RowScore) -> Vec<Pick> {
        let of = |row: usize| definition::row_score(score, &self.rows[row].2, &self.head);
        let keys = self.available.iter().map(|row| (of(row).0, row));
        let best = smallest(keys, BUDGET).into_iter();
        let after = |rank: usize| (self.available.len() - rank) as u64;
        (1..)
            .zip(best)
            .map(|(rank, (_, row))| Pick {
                beat: Some(after(rank)),
                ..self.pick(row, of(row).1)
            })
            .collect()
    }

    /// Again and again the row whose nearest centre is farthest.
    pub(super) fn coreset(&self) -> Vec<Pick> {
        let apart =
            |a: usize, b: usize| definition::squared_distance(self.embedding(a), self.embedding(b));
        self.greedy(apart, |_, _, least| -least)
    }

    /// k-means++ over gradient embeddings, with seed 0.
    pub(super) fn badge(&self) -> Vec<Pick> {
        let gradients: Vec<Vec<f64>> = (self.rows.iter())
            .map(|(_, _, logits)| definition::gradient(logits))
            .collect();
        let apart = |a: usize, b: usize| {
            let (x, y) = (self.embedding(a), self.embedding(b));
            definition::gradient_distance((&gradients[a], x), (&gradients[b], y))
        };
        self.greedy(apart, |step, row, least| {
            let bits = Philox::new(0, Purpose::Badge, 0, step).bits(row as u64);
            -libm::log(((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64) / least
        })
    }

    /// Picks the row of the smallest key, of step, row and least distance to a labelled or picked row, one after
    /// the other; ties to the lowest row.
    fn greedy(
        &self,
        apart: impl Fn(usize, usize) -> f64,
        key: impl Fn(u32, usize, f64) -> f64,
    ) -> Vec<Pick> {
        let (mut left, mut picks) = (self.available.clone(), Vec::new());
        let mut least = vec![f64::INFINITY; ROWS];
        let mut new: Vec<usize> = self.labelled.iter().map(|row| row.row).collect();
        for step in 0..BUDGET as u32 {
            for (row, least) in least.iter_mut().enumerate() {
                *least = new
                    .iter()
                    .fold(*least, |least, centre| least.min(apart(row, *centre)));
            }
            let keys = |least: &dyn Fn(usize) -> f64| -> Vec<(f64, usize)> {
                left.iter()
                    .map(|row| (key(step, row, least(row)), row))
                    .collect()
            };
            let mut found = keys(&|row| least[row]);
            if found.iter().all(|(key, _)| key.is_infinite()) {
                // Nothing weighs anything.
                found = keys(&|_| 1.0);
            }
            new = smallest(found.into_iter(), 1)
                .into_iter()
                .map(|(_, row)| row)
                .collect();
            for row in &new {
                left.remove(*row);
                picks.push(Pick {
                    score: Some(least[*row]),
                    ..Pick::of_row(*row)
                });
            }
        }
        picks
    }

    fn embedding(&self, row: usize) -> &[f32] {
        &self.wide[row * DIM..(row + 1) * DIM]
    }

    fn pick(&self, row: usize, score: f64) -> Pick {
        let (distances, p, _) = &self.rows[row];
        Pick {
            score: Some(score),
            predicted: Some(*p as u32),
            runner_up: definition::runner_up(distances, *p).map(|class| class as u32),
            ..Pick::of_row(row)
        }
    }
}

/// The `count` smallest, in order.
fn smallest(keys: impl Iterator<Item = (f64, usize)>, count: usize) -> Vec<(f64, usize)> {
    let mut keys: Vec<_> = keys.collect();
    // By value: 0 and −0 are equal. Keys are never NaN.
    keys.sort_by(|a, b| {
        let by_key = a.0.partial_cmp(&b.0).unwrap_or(std::cmp::Ordering::Equal);
        by_key.then(a.1.cmp(&b.1))
    });
    keys.truncate(count);
    keys
}

fn head(kind: Kind, plain: &Head) -> Result<Head> {
    let mut weight = plain.weight().to_vec();
    let mut bias: Vec<f32> = (0..CLASSES).map(|c| (c * 7 % 11) as f32 / 16.0).collect();
    match kind {
        Kind::EqualClasses => {
            for class in (1..CLASSES).step_by(2) {
                weight.copy_within((class - 1) * DIM..class * DIM, class * DIM);
                bias[class] = bias[class - 1];
            }
        }
        Kind::NearlyEqualClasses => {
            for i in DIM..weight.len() {
                let bits = (i * 31 % 7 % 3) as u32;
                weight[i] = f32::from_bits(weight[i % DIM].to_bits() ^ bits);
            }
            bias.fill(0.5);
        }
        Kind::AllWeightsEqual => {
            for class in 1..CLASSES {
                weight.copy_within(..DIM, class * DIM);
            }
        }
        Kind::Saturated => weight.iter_mut().for_each(|w| *w *= 300.0),
        _ => {}
    }
    Ok(Head::new(weight, bias, DIM)?)
}

fn change(kind: Kind, rows: &mut [f32], head: &Head) {
    match kind {
        Kind::FewDistinctRows => {
            for row in 5..ROWS {
                let of = row * 3 % 5;
                rows.copy_within(of * DIM..(of + 1) * DIM, row * DIM);
            }
        }
        Kind::LargeAndSmallRows => {
            for (row, x) in rows.chunks_mut(DIM).enumerate() {
                let factor = 10f32.powi(row as i32 % 7 - 4);
                x.iter_mut().for_each(|x| *x *= factor);
            }
        }
        Kind::OnBoundaries => {
            for (row, x) in rows.chunks_mut(DIM).enumerate() {
                to_boundary(x, head, row % CLASSES, (row / 2 + 1) % CLASSES);
            }
        }
        _ => {}
    }
}

/// Moves a row to the boundary between two classes, as near as its numbers allow.
fn to_boundary(x: &mut [f32], head: &Head, a: usize, b: usize) {
    let (u, v) = (head.class_weight(a), head.class_weight(b));
    let norm: f32 = u.iter().zip(v).map(|(u, v)| (u - v) * (u - v)).sum();
    if norm > 0.0 {
        let along: f32 = (0..DIM).map(|m| (u[m] - v[m]) * x[m]).sum();
        let step = (along + head.bias()[a] - head.bias()[b]) / norm;
        (0..DIM).for_each(|m| x[m] -= step * (u[m] - v[m]));
    }
}
