//! Generated cases: pools and heads of the kinds that break approximate scoring.

use equipoise_core::random::{Philox, Purpose};
use equipoise_core::{Head, LabelledRow, MemoryPool, RowSet, Values};
use half::f16;

/// What is hard about a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing: normal numbers.
    Plain,
    /// Few different values, so that many scores are equal.
    Grid,
    /// Few different rows, each many times.
    DuplicateRows,
    /// Classes in pairs of equal weight and bias.
    Twins,
    /// Classes in pairs of equal weight, with other biases.
    BiasTwins,
    /// Weights that differ in their last bits only.
    NearEqualWeights,
    /// Rows of norms from 1e-30 to 1e30 (1e-6 to 1e4 in f16).
    Norms,
    /// The largest and the smallest numbers of f16 side by side, and biases that differ in their last bits only.
    Extremes,
    /// Numbers whose squares, and many of which themselves, are denormals in f32 (f16's least numbers in f16), and rows of zeros;
    /// no biases.
    Tiny,
    /// Rows of small numbers but for one that is huge.
    OneHuge,
    /// Classes whose weights differ by many orders of magnitude, and some without weights.
    ClassNorms,
    /// Rows on the boundary of their predicted class and its runner-up, as near as their numbers allow.
    NearBoundary,
    /// Logits hundreds apart, so that every probability is 0 or 1.
    Saturated,
    /// All weights equal: every distance is infinite.
    AllWeightsEqual,
    /// One class.
    OneClass,
}

/// All kinds.
pub const KINDS: [Kind; 15] = [
    Kind::Plain,
    Kind::Grid,
    Kind::DuplicateRows,
    Kind::Twins,
    Kind::BiasTwins,
    Kind::NearEqualWeights,
    Kind::Norms,
    Kind::Extremes,
    Kind::Tiny,
    Kind::OneHuge,
    Kind::ClassNorms,
    Kind::NearBoundary,
    Kind::Saturated,
    Kind::AllWeightsEqual,
    Kind::OneClass,
];

/// From what a case is made.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// What is hard about it.
    pub kind: Kind,
    /// Whether embeddings are stored as f16.
    pub half: bool,
    /// Rows, N.
    pub rows: usize,
    /// Numbers per embedding, M.
    pub dim: usize,
    /// Classes, C.
    pub classes: usize,
    /// Seed of everything drawn.
    pub seed: u64,
}

/// Embeddings as they are stored.
pub enum Stored {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 16-bit floats.
    F16(Vec<f16>),
}

/// One case.
pub struct Case {
    /// The embeddings, row-major.
    pub stored: Stored,
    /// The same, widened, row by row.
    pub rows: Vec<Vec<f32>>,
    /// The head.
    pub head: Head,
    /// Rows that may be picked.
    pub available: RowSet,
    /// The others, with a class each.
    pub labelled: Vec<LabelledRow>,
}

impl Case {
    /// The pool of the embeddings.
    pub fn pool(&self) -> MemoryPool<'_> {
        let values = match &self.stored {
            Stored::F32(values) => Values::F32(values),
            Stored::F16(values) => Values::F16(values),
        };
        MemoryPool::new(values, self.head.dim()).expect("rows of one length")
    }
}

impl Shape {
    /// The case of this shape.
    pub fn case(&self) -> Case {
        let classes = match self.kind {
            Kind::OneClass => 1,
            _ => self.classes,
        };
        let mut numbers = Numbers::new(self.seed);
        let (weight, bias) = self.head(classes, &mut numbers);
        let mut embeddings = self.embeddings(&mut numbers);
        if self.kind == Kind::NearBoundary {
            self.move_to_boundary(&mut embeddings, &weight, &bias, classes);
        }
        let stored = match self.half {
            true => Stored::F16(embeddings.iter().map(|x| f16::from_f32(*x)).collect()),
            false => Stored::F32(embeddings),
        };
        let widened: Vec<f32> = match &stored {
            Stored::F32(values) => values.clone(),
            Stored::F16(values) => values.iter().map(|x| x.to_f32()).collect(),
        };
        let mut available = RowSet::all(self.rows);
        let mut labelled = Vec::new();
        for row in 0..self.rows {
            // The first row stays, so that something can be picked.
            if row > 0 && numbers.uniform() < 0.2 {
                available.remove(row);
                let class = Some(numbers.below(classes) as u32);
                labelled.push(LabelledRow { row, class });
            }
        }
        Case {
            rows: widened.chunks(self.dim).map(<[f32]>::to_vec).collect(),
            head: Head::new(weight, bias, self.dim).expect("a finite head"),
            stored,
            available,
            labelled,
        }
    }

    fn head(&self, classes: usize, numbers: &mut Numbers) -> (Vec<f32>, Vec<f32>) {
        let mut weight: Vec<f32> = (0..classes * self.dim).map(|_| numbers.normal()).collect();
        let mut bias: Vec<f32> = (0..classes).map(|_| numbers.normal()).collect();
        match self.kind {
            Kind::Grid => {
                let grid = |x: &mut f32| *x = x.round().clamp(-1.0, 1.0);
                weight.iter_mut().chain(&mut bias).for_each(grid);
            }
            Kind::Twins | Kind::BiasTwins => {
                for class in (1..classes).step_by(2) {
                    let twin = (class - 1) * self.dim..class * self.dim;
                    weight.copy_within(twin, class * self.dim);
                    if self.kind == Kind::Twins {
                        bias[class] = bias[class - 1];
                    }
                }
            }
            Kind::NearEqualWeights | Kind::AllWeightsEqual => {
                for i in self.dim..weight.len() {
                    let bits = match self.kind {
                        Kind::NearEqualWeights => numbers.below(3) as u32,
                        _ => 0,
                    };
                    weight[i] = f32::from_bits(weight[i % self.dim].to_bits() ^ bits);
                }
                if numbers.uniform() < 0.5 {
                    bias.fill(0.5);
                }
            }
            Kind::Saturated => weight.iter_mut().for_each(|w| *w *= 300.0),
            Kind::Norms if !self.half => {
                let factor = 10f32.powi(numbers.below(41) as i32 - 20);
                weight.iter_mut().for_each(|w| *w *= factor);
            }
            Kind::Tiny => bias.fill(0.0),
            Kind::ClassNorms => {
                for (class, weight) in weight.chunks_mut(self.dim).enumerate() {
                    let factor = match class % 7 {
                        5 => 0.0,
                        other => 10f32.powi(3 * (other as i32 - 2)),
                    };
                    weight.iter_mut().for_each(|w| *w *= factor);
                }
            }
            Kind::Extremes => {
                let near =
                    |x: &mut f32| *x = f32::from_bits(0.5f32.to_bits() + numbers.below(3) as u32);
                bias.iter_mut().for_each(near);
            }
            _ => {}
        }
        (weight, bias)
    }

    fn embeddings(&self, numbers: &mut Numbers) -> Vec<f32> {
        let mut rows: Vec<Vec<f32>> = Vec::with_capacity(self.rows);
        for _ in 0..self.rows {
            let mut x: Vec<f32> = (0..self.dim).map(|_| numbers.normal()).collect();
            match self.kind {
                Kind::Grid => x.iter_mut().for_each(|x| *x = x.round().clamp(-1.0, 1.0)),
                Kind::DuplicateRows if rows.len() >= 3 => {
                    x = rows[numbers.below(3)].clone();
                }
                Kind::Norms => {
                    let exponent = match self.half {
                        true => numbers.below(10) as i32 - 6,
                        false => numbers.below(61) as i32 - 30,
                    };
                    let factor = 10f32.powi(exponent);
                    x.iter_mut().for_each(|x| *x *= factor);
                }
                Kind::Tiny => {
                    let factor = match (self.half, numbers.below(4)) {
                        (_, 0) => 0.0,
                        (true, _) => 2f32.powi(-24),
                        (false, 1) => 1e-44,
                        (false, _) => 1e-39,
                    };
                    x.iter_mut().for_each(|x| *x *= factor);
                }
                Kind::OneHuge => {
                    let huge = match self.half {
                        true => 6e4,
                        false => 1e12,
                    };
                    x.iter_mut().for_each(|x| *x *= 1e-3);
                    let at = numbers.below(self.dim);
                    x[at] = if numbers.uniform() < 0.5 { huge } else { -huge };
                }
                Kind::Extremes => {
                    // f16's largest, its least normal and its least number.
                    let some = [
                        65504.0,
                        -65504.0,
                        2f32.powi(-14),
                        2f32.powi(-24),
                        -2f32.powi(-24),
                        0.0,
                    ];
                    x.iter_mut().for_each(|x| {
                        *x = *some.get(numbers.below(8)).unwrap_or(x);
                    });
                }
                _ => {}
            }
            rows.push(x);
        }
        rows.concat()
    }

    /// Moves each row to the boundary between the two classes with the largest logits, as near as its numbers allow.
    fn move_to_boundary(&self, rows: &mut [f32], weight: &[f32], bias: &[f32], classes: usize) {
        for x in rows.chunks_mut(self.dim) {
            let logit = |class: usize| -> f32 {
                let weight = &weight[class * self.dim..][..self.dim];
                bias[class] + weight.iter().zip(&*x).map(|(w, x)| w * x).sum::<f32>()
            };
            let mut order: Vec<(usize, f32)> = (0..classes).map(|c| (c, logit(c))).collect();
            order.sort_by(|a, b| b.1.total_cmp(&a.1));
            let [(a, _), (b, _), ..] = order[..] else {
                continue;
            };
            let difference = |m: usize| weight[a * self.dim + m] - weight[b * self.dim + m];
            let norm: f32 = (0..self.dim).map(|m| difference(m) * difference(m)).sum();
            if norm > 0.0 {
                let along: f32 = (0..self.dim).map(|m| difference(m) * x[m]).sum();
                let step = (along + bias[a] - bias[b]) / norm;
                (0..self.dim).for_each(|m| x[m] -= step * difference(m));
            }
        }
    }
}

/// Random numbers one after the other.
struct Numbers {
    stream: Philox,
    drawn: u64,
}

impl Numbers {
    fn new(seed: u64) -> Self {
        let stream = Philox::new(seed, Purpose::Drawing, 0, 0);
        Self { stream, drawn: 0 }
    }

    /// In [0, 1).
    fn uniform(&mut self) -> f64 {
        self.drawn += 1;
        self.stream.uniform(self.drawn)
    }

    /// In 0..bound.
    fn below(&mut self, bound: usize) -> usize {
        (self.uniform() * bound as f64) as usize
    }

    /// Nearly normal: the sum of twelve uniform numbers, less six.
    fn normal(&mut self) -> f32 {
        ((0..12).map(|_| self.uniform()).sum::<f64>() - 6.0) as f32
    }
}
