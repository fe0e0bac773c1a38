//! The penalised mean cross-entropy, its gradient, and scores.
//!
//! Rows are taken in blocks of fixed size, and blocks in lanes of fixed number, each lane summing
//! its blocks in order: which thread runs a lane changes no bit of any sum.

use gemm::Parallelism;
use rayon::prelude::*;

use super::Rows;
use super::lbfgs::Function;

/// Rows of a block: their standardised values and logits stay in cache for common sizes.
const BLOCK: usize = 256;

/// Lanes: the most threads that can help, and the gradients held at a time.
const LANES: usize = 16;

/// Mean and inverse deviation of each column.
#[derive(Debug, Clone)]
pub(crate) struct Standard {
    pub(crate) mean: Vec<f64>,
    /// 1/σ; 0 for a constant column, which says nothing.
    pub(crate) scale: Vec<f64>,
}

impl Standard {
    /// Of the rows `rows` of `embeddings`, one after the other in float64.
    pub(crate) fn of(embeddings: &[f32], dim: usize, rows: &[usize]) -> Self {
        let row = |row: usize| &embeddings[row * dim..(row + 1) * dim];
        let count = rows.len().max(1) as f64;
        let mut mean = vec![0.0; dim];
        for &r in rows {
            for (sum, x) in mean.iter_mut().zip(row(r)) {
                *sum += f64::from(*x);
            }
        }
        mean.iter_mut().for_each(|sum| *sum /= count);
        let mut variance = vec![0.0; dim];
        for &r in rows {
            for ((sum, x), mean) in variance.iter_mut().zip(row(r)).zip(&mean) {
                *sum += (f64::from(*x) - mean).powi(2);
            }
        }
        let scale = std::iter::zip(&variance, &mean).map(|(variance, mean)| {
            let deviation = (variance / count).sqrt();
            // Rounding of a constant column's mean is no deviation.
            match deviation > mean.abs() * 1e-12 {
                true => 1.0 / deviation,
                false => 0.0,
            }
        });
        let scale = scale.map(|scale: f64| if scale.is_finite() { scale } else { 0.0 });
        Self {
            scale: scale.collect(),
            mean,
        }
    }
}

/// The function of the parameters (weights (C, M) row-major, then C biases) that a fit minimises.
pub(crate) struct Objective<'a> {
    data: &'a Rows<'a>,
    rows: &'a [usize],
    standard: &'a Standard,
    penalty: f64,
}

/// How well parameters do on rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Score {
    /// Mean cross-entropy, without the penalty.
    pub(crate) loss: f64,
    /// Share of rows whose largest logit (ties: the lowest class) is the label's.
    pub(crate) accuracy: f64,
    /// The least ln Σ exp(z) of any row.
    pub(crate) log_sum_exp: f64,
}

/// What a lane sums up.
struct Sums {
    loss: f64,
    right: usize,
    log_sum_exp: f64,
    /// As the parameters; empty where not asked for.
    gradient: Vec<f64>,
}

impl<'a> Objective<'a> {
    /// Over the rows `rows` of `data`.
    pub(crate) fn new(
        data: &'a Rows<'a>,
        rows: &'a [usize],
        standard: &'a Standard,
        penalty: f32,
    ) -> Self {
        Self {
            data,
            rows,
            standard,
            penalty: f64::from(penalty),
        }
    }

    /// How many parameters there are.
    pub(crate) fn parameters(&self) -> usize {
        self.data.classes * (self.data.dim + 1)
    }

    /// How well `parameters` do on the rows.
    pub(crate) fn score(&self, parameters: &[f64]) -> Score {
        let sums = self.sum(parameters, false);
        let rows = self.rows.len().max(1) as f64;
        Score {
            loss: sums.loss / rows,
            accuracy: sums.right as f64 / rows,
            log_sum_exp: sums.log_sum_exp,
        }
    }

    /// Sums over all rows, lane by lane.
    fn sum(&self, parameters: &[f64], gradient: bool) -> Sums {
        let blocks: Vec<&[usize]> = self.rows.chunks(BLOCK).collect();
        let lanes: Vec<Sums> = blocks
            .par_chunks(blocks.len().div_ceil(LANES).max(1))
            .map(|blocks| self.lane(blocks, parameters, gradient))
            .collect();
        let mut lanes = lanes.into_iter();
        let mut total = lanes.next().unwrap_or_else(|| self.nothing(gradient));
        for lane in lanes {
            total.loss += lane.loss;
            total.right += lane.right;
            total.log_sum_exp = total.log_sum_exp.min(lane.log_sum_exp);
            for (sum, part) in total.gradient.iter_mut().zip(&lane.gradient) {
                *sum += part;
            }
        }
        total
    }

    fn nothing(&self, gradient: bool) -> Sums {
        let length = if gradient { self.parameters() } else { 0 };
        Sums {
            loss: 0.0,
            right: 0,
            log_sum_exp: f64::INFINITY,
            gradient: vec![0.0; length],
        }
    }

    fn lane(&self, blocks: &[&[usize]], parameters: &[f64], gradient: bool) -> Sums {
        let mut sums = self.nothing(gradient);
        let (dim, classes) = (self.data.dim, self.data.classes);
        let mut x = vec![0.0; BLOCK * dim];
        let mut z = vec![0.0; BLOCK * classes];
        for rows in blocks {
            let (x, z) = (&mut x[..rows.len() * dim], &mut z[..rows.len() * classes]);
            self.standardise(rows, x);
            let (weights, biases) = parameters.split_at(classes * dim);
            z.chunks_exact_mut(classes)
                .for_each(|z| z.copy_from_slice(biases));
            // z += x Wᵀ
            let shape = [rows.len(), classes, dim];
            product(shape, z, (x, dim, 1), (weights, 1, dim));
            for (row, z) in rows.iter().zip(z.chunks_exact_mut(classes)) {
                residual(z, self.data.slots[*row] as usize, &mut sums);
            }
            if gradient {
                let (weights, biases) = sums.gradient.split_at_mut(classes * dim);
                // ∂W += (softmax − onehot)ᵀ x
                let shape = [classes, dim, rows.len()];
                product(shape, weights, (z, 1, classes), (x, dim, 1));
                for z in z.chunks_exact(classes) {
                    biases.iter_mut().zip(z).for_each(|(sum, r)| *sum += r);
                }
            }
        }
        sums
    }

    fn standardise(&self, rows: &[usize], out: &mut [f64]) {
        let dim = self.data.dim;
        for (row, out) in rows.iter().zip(out.chunks_exact_mut(dim)) {
            let embedding = &self.data.embeddings[row * dim..(row + 1) * dim];
            for (column, out) in out.iter_mut().enumerate() {
                let x = f64::from(embedding[column]);
                *out = (x - self.standard.mean[column]) * self.standard.scale[column];
            }
        }
    }
}

impl Function for Objective<'_> {
    fn evaluate(&self, parameters: &[f64]) -> (f64, Vec<f64>) {
        let rows = self.rows.len().max(1) as f64;
        let mut sums = self.sum(parameters, true);
        sums.gradient.iter_mut().for_each(|sum| *sum /= rows);
        let weights = &parameters[..self.data.classes * self.data.dim];
        let mut squares = 0.0;
        for (gradient, weight) in sums.gradient.iter_mut().zip(weights) {
            *gradient += self.penalty * weight;
            squares += weight * weight;
        }
        (
            sums.loss / rows + self.penalty / 2.0 * squares,
            sums.gradient,
        )
    }
}

/// Turns a row's logits into softmax − onehot and adds its loss.
fn residual(z: &mut [f64], label: usize, sums: &mut Sums) {
    let mut best = 0;
    for class in 1..z.len() {
        if z[class] > z[best] {
            best = class;
        }
    }
    let (largest, of_label) = (z[best], z[label]);
    let mut total = 0.0;
    for z in z.iter_mut() {
        *z = (*z - largest).exp();
        total += *z;
    }
    z.iter_mut().for_each(|z| *z /= total);
    z[label] -= 1.0;
    let log_sum_exp = largest + total.ln();
    sums.loss += log_sum_exp - of_label;
    sums.right += usize::from(best == label);
    sums.log_sum_exp = sums.log_sum_exp.min(log_sum_exp);
}

/// `out` (m, n) += `a` (m, k) · `b` (k, n); `out` is row-major, `a` and `b` come with the distances
/// of their rows and columns.
fn product(
    [m, n, k]: [usize; 3],
    out: &mut [f64],
    (a, a_row, a_column): (&[f64], usize, usize),
    (b, b_row, b_column): (&[f64], usize, usize),
) {
    assert!(out.len() == m * n && a.len() == m * k && b.len() == k * n);
    // SAFETY: the lengths above hold every index of the three matrices.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            true,
            a.as_ptr(),
            a_column as isize,
            a_row as isize,
            b.as_ptr(),
            b_column as isize,
            b_row as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
