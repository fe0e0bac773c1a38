//! The definition of every score, plain and slow, in float64.
//!
//! Logits are exact products of the stored values (two f32 fit a float64) summed over m = 0..M−1,
//! plus the bias. Everything an engine returns is settled against this module, and the tests
//! compare picks with it. `exp` and `log` come from `libm`, so that every machine agrees.

use crate::Head;

/// `Σ x[m] w[m]` for m = 0..M−1, in that order, in float64.
pub fn dot(x: &[f32], w: &[f32]) -> f64 {
    x.iter()
        .zip(w)
        .fold(0.0, |sum, (x, w)| sum + f64::from(*x) * f64::from(*w))
}

/// The C logits of one embedding.
pub fn logits(x: &[f32], head: &Head) -> Vec<f64> {
    (0..head.classes()).map(|c| logit(x, head, c)).collect()
}

/// One logit of one embedding.
pub fn logit(x: &[f32], head: &Head, class: usize) -> f64 {
    dot(x, head.class_weight(class)) + f64::from(head.bias()[class])
}

/// argmax of the logits; ties go to the lowest class.
pub fn predicted(logits: &[f64]) -> usize {
    (1..logits.len()).fold(0, |best, c| if logits[c] > logits[best] { c } else { best })
}

/// `‖W[p] − W[c]‖`, differences taken in float64.
pub fn weight_distance(head: &Head, p: usize, c: usize) -> f64 {
    head.class_weight(p)
        .iter()
        .zip(head.class_weight(c))
        .fold(0.0, |sum, (a, b)| {
            let difference = f64::from(*a) - f64::from(*b);
            sum + difference * difference
        })
        .sqrt()
}

/// Distance to the boundary between the predicted class and another, from their logits and
/// [`weight_distance`]; +∞ where it is not finite.
pub fn boundary_distance(z_p: f64, z_c: f64, weight_distance: f64) -> f64 {
    let distance = (z_p - z_c) / weight_distance;
    if distance.is_finite() {
        distance
    } else {
        f64::INFINITY
    }
}

/// Distances to the boundaries between the predicted class `p` and each class; +∞ at `p`.
pub fn distances(logits: &[f64], p: usize, head: &Head) -> Vec<f64> {
    (0..logits.len())
        .map(|c| match c == p {
            true => f64::INFINITY,
            false => boundary_distance(logits[p], logits[c], weight_distance(head, p, c)),
        })
        .collect()
}

/// The MASE score: the least of [`distances`].
pub fn mase(distances: &[f64]) -> f64 {
    distances.iter().copied().fold(f64::INFINITY, f64::min)
}

/// The BASE scores of one row, one per class: the MASE score at the predicted class, the distance
/// elsewhere.
pub fn base(distances: &[f64], p: usize) -> Vec<f64> {
    let mut scores = distances.to_vec();
    scores[p] = mase(distances);
    scores
}

/// The class of the nearest boundary, argmin over c ≠ p (lowest on ties); `None` where C = 1.
pub fn runner_up(distances: &[f64], p: usize) -> Option<usize> {
    (0..distances.len()).filter(|c| *c != p).reduce(|best, c| {
        match distances[c] < distances[best] {
            true => c,
            false => best,
        }
    })
}

/// The scores a row has by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowScore {
    /// Least distance to a boundary, smallest first.
    Mase,
    /// Top-1 minus top-2 softmax probability, smallest first.
    Margin,
    /// Top-1 softmax probability, smallest first.
    Confidence,
    /// Entropy of the softmax in nats, largest first.
    Entropy,
}

/// How the softmax spreads below its top, from which margin, confidence and entropy follow without
/// saturating. With `z` sorted in descending order:
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// z₁ − z₂.
    pub gap: f64,
    /// Σ_{i≥2} e^{zᵢ−z₂}, at least 1.
    pub sum: f64,
    /// Σ_{i≥2} (z₂−zᵢ) e^{zᵢ−z₂}.
    pub moment: f64,
}

impl Spread {
    /// The spread of some logits; `None` where C = 1.
    pub fn of(logits: &[f64]) -> Option<Self> {
        let p = predicted(logits);
        let others = || (0..logits.len()).filter(|c| *c != p).map(|c| logits[c]);
        let second = others().reduce(f64::max)?;
        let (sum, moment) = others().fold((0.0, 0.0), |(sum, moment), z| {
            let weight = libm::exp(z - second);
            (sum + weight, moment + (second - z) * weight)
        });
        Some(Self {
            gap: logits[p] - second,
            sum,
            moment,
        })
    }

    /// S = Σ_{c≠p} e^{z_c−z_p}.
    fn rest(&self) -> f64 {
        libm::exp(-self.gap) * self.sum
    }

    /// The score in its own unit: a probability, a difference of two, or nats.
    pub fn score(&self, score: RowScore) -> f64 {
        let rest = self.rest();
        match score {
            RowScore::Mase => f64::INFINITY,
            RowScore::Margin => -libm::expm1(-self.gap) / (1.0 + rest),
            RowScore::Confidence => 1.0 / (1.0 + rest),
            RowScore::Entropy => {
                libm::log1p(rest)
                    + libm::exp(-self.gap) * (self.gap * self.sum + self.moment) / (1.0 + rest)
            }
        }
    }

    /// What rows are ranked by, smallest first: an increasing function of the score (a decreasing
    /// one of the entropy) that keeps apart what the score in its own unit rounds to 0 or 1.
    ///
    /// Margin and confidence: ln(s/(1−s)). Entropy: −ln H.
    pub fn key(&self, score: RowScore) -> f64 {
        match score {
            RowScore::Mase => f64::INFINITY,
            RowScore::Margin => {
                libm::log(-libm::expm1(-self.gap)) + (self.gap - libm::log(self.sum + 1.0))
            }
            RowScore::Confidence => self.gap - libm::log(self.sum),
            RowScore::Entropy => {
                let rest = self.rest();
                let log1p = match rest == 0.0 {
                    true => 1.0,
                    false => libm::log1p(rest) / rest,
                };
                let top = (self.gap * self.sum + self.moment) / (1.0 + rest);
                self.gap - libm::log(self.sum * log1p + top)
            }
        }
    }
}

/// A row's key, smallest first, and its score. Both are +∞ where C = 1.
pub fn row_score(score: RowScore, logits: &[f64], head: &Head) -> (f64, f64) {
    if score == RowScore::Mase {
        let mase = mase(&distances(logits, predicted(logits), head));
        return (mase, mase);
    }
    match Spread::of(logits) {
        Some(spread) => (spread.key(score), spread.score(score)),
        None => (f64::INFINITY, f64::INFINITY),
    }
}

/// Partial sums of [`squared_distance`].
const PARTS: usize = 16;

/// `‖a − b‖²`, differences taken in float64. Number m is added to partial sum m mod 16, in order of m; the
/// sums are added up in halves (i and i + 8, then i and i + 4, …). Any machine adds in that order, several at a time.
#[inline(always)]
pub fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    sum_in_parts(a, b, |a, b| {
        let difference = f64::from(a) - f64::from(b);
        difference * difference
    })
}

/// The sum of what `term` makes of the numbers of `a` and `b`.
#[inline(always)]
fn sum_in_parts<T: Copy>(a: &[T], b: &[T], term: impl Fn(T, T) -> f64) -> f64 {
    let length = a.len().min(b.len());
    let mut sums = [0.0; PARTS];
    let (a, rest_a) = a[..length].as_chunks::<PARTS>();
    let (b, rest_b) = b[..length].as_chunks::<PARTS>();
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += term(*a, *b);
        }
    }
    for ((sum, a), b) in sums.iter_mut().zip(rest_a).zip(rest_b) {
        *sum += term(*a, *b);
    }
    let mut width = PARTS / 2;
    while width > 0 {
        for i in 0..width {
            sums[i] += sums[i + width];
        }
        width /= 2;
    }
    sums[0]
}

/// softmax(z) − onehot(p), p the predicted class: the gradient of the loss at the logits if p were the label. With
/// S = Σ_{c≠p} e^{z_c−z_p}: e^{z_c−z_p}/(1+S), and −S/(1+S) for p.
pub fn gradient(logits: &[f64]) -> Vec<f64> {
    let p = predicted(logits);
    let mut gradient: Vec<f64> = logits.iter().map(|z| libm::exp(z - logits[p])).collect();
    gradient[p] = 0.0;
    let rest: f64 = gradient.iter().sum();
    gradient[p] = -rest;
    gradient.iter_mut().for_each(|g| *g /= 1.0 + rest);
    gradient
}

/// `‖a ⊗ x − b ⊗ y‖²` of two gradient embeddings, gradient and embedding each, at least 0; without a product of
/// C·M numbers: `‖a‖²‖x‖² + ‖b‖²‖y‖² − 2 (a·b)(x·y)`. Sums are added up as in [`squared_distance`].
#[inline(always)]
pub fn gradient_distance((a, x): (&[f64], &[f32]), (b, y): (&[f64], &[f32])) -> f64 {
    let of_a = dot_in_parts(a, a) * dot_in_parts(x, x);
    let of_b = dot_in_parts(b, b) * dot_in_parts(y, y);
    let distance = of_a + of_b - 2.0 * (dot_in_parts(a, b) * dot_in_parts(x, y));
    if distance > 0.0 { distance } else { 0.0 }
}

/// `Σ a[m] b[m]`, added up as in [`squared_distance`].
#[inline(always)]
pub fn dot_in_parts<T: Copy + Into<f64>>(a: &[T], b: &[T]) -> f64 {
    sum_in_parts(a, b, |a, b| a.into() * b.into())
}
