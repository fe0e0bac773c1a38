//! Pools and heads that are made up: clusters around the classes' weights.

use std::ops::Range;

use equipoise::core::random::{Philox, Purpose};
use equipoise::core::{Head, Values};
use equipoise::pool::Dtype;
use half::f16;
use rayon::prelude::*;

use super::Shape;
use crate::failure::Result;

/// How far a row lies from the origin along its two classes, in units of the noise of a logit: most rows
/// are of a clear class, some lie near a boundary.
const SEPARATION: f32 = 6.0;

/// Streams of random numbers, apart from each other.
const WEIGHTS: u32 = 1;
const CLASSES: u32 = 2;
const NOISE: u32 = 3;

/// A pool of a shape. Every row is made by itself: the same whatever is made before it, and on how many
/// threads.
pub(crate) struct Synthetic {
    shape: Shape,
    /// (C, M), of norms near 1.
    weight: Vec<f32>,
    classes: Philox,
    noise: Philox,
}

/// Embeddings as they are stored, row-major.
pub(crate) enum Stored {
    F32(Vec<f32>),
    F16(Vec<f16>),
}

impl Stored {
    pub(crate) fn values(&self) -> Values<'_> {
        match self {
            Stored::F32(values) => Values::F32(values),
            Stored::F16(values) => Values::F16(values),
        }
    }
}

impl Synthetic {
    pub(crate) fn new(shape: Shape) -> Self {
        let stream = |step| Philox::new(0, Purpose::Drawing, 0, step);
        let mut weight = vec![0.0; shape.classes * shape.dim];
        let scale = 1.0 / (shape.dim as f32).sqrt();
        let lines = weight.par_chunks_mut(shape.dim).enumerate();
        lines.for_each(|(class, line)| {
            normal(&stream(WEIGHTS), class, line);
            line.iter_mut().for_each(|w| *w *= scale);
        });
        Self {
            shape,
            weight,
            classes: stream(CLASSES),
            noise: stream(NOISE),
        }
    }

    /// The head whose classes the clusters are.
    pub(crate) fn head(&self) -> Result<Head> {
        let bias = vec![0.0; self.shape.classes];
        Ok(Head::new(self.weight.clone(), bias, self.shape.dim)?)
    }

    /// The embeddings of some rows.
    pub(crate) fn rows(&self, rows: Range<usize>) -> Stored {
        let (first, dim) = (rows.start, self.shape.dim);
        match self.shape.dtype {
            Dtype::F32 => {
                let mut values = vec![0.0; rows.len() * dim];
                let lines = values.par_chunks_mut(dim).enumerate();
                lines.for_each(|(index, out)| self.row(first + index, out));
                Stored::F32(values)
            }
            Dtype::F16 => {
                let mut values = vec![f16::ZERO; rows.len() * dim];
                let lines = values.par_chunks_mut(dim).enumerate();
                lines.for_each_init(
                    || vec![0.0; dim],
                    |wide, (index, out)| {
                        self.row(first + index, wide);
                        let narrow = out.iter_mut().zip(wide);
                        narrow.for_each(|(out, x)| *out = f16::from_f32(*x));
                    },
                );
                Stored::F16(values)
            }
        }
    }

    fn row(&self, row: usize, out: &mut [f32]) {
        let [first, second, share, _] = self.classes.words(row as u64);
        let line = |word: u32| {
            let class = word as usize % self.shape.classes;
            &self.weight[class * self.shape.dim..(class + 1) * self.shape.dim]
        };
        // From half and half to all of the first.
        let share = 0.5 + 0.5 * share as f32 / u32::MAX as f32;
        let (near, far) = (SEPARATION * share, SEPARATION * (1.0 - share));
        normal(&self.noise, row, out);
        for ((x, a), b) in out.iter_mut().zip(line(first)).zip(line(second)) {
            *x += near * a + far * b;
        }
    }
}

/// Fills `out` with nearly normal numbers, those of line `line` among lines of its length: each the sum
/// of a word's four bytes.
fn normal(stream: &Philox, line: usize, out: &mut [f32]) {
    /// Standard deviation of the sum of four even bytes: √(4 (256² − 1) / 12).
    const DEVIATION: f32 = 147.8;
    let first = line as u64 * out.len().div_ceil(4) as u64;
    for (block, out) in (first..).zip(out.chunks_mut(4)) {
        for (x, word) in out.iter_mut().zip(stream.words(block)) {
            let sum: i32 = word.to_le_bytes().into_iter().map(i32::from).sum();
            *x = (sum - 510) as f32 / DEVIATION;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(stored: &Stored) -> Vec<f32> {
        let mut wide = vec![0.0; stored.values().len()];
        stored.values().widen(&mut wide);
        wide
    }

    #[test]
    fn rows_do_not_depend_on_where_one_begins() {
        for shape in ["40,7,3", "40,7,3,f16"] {
            let pool = Synthetic::new(shape.parse().unwrap());
            let (all, some) = (wide(&pool.rows(0..40)), wide(&pool.rows(10..20)));
            assert_eq!(all[70..140], some);
            assert_ne!(all[..70], some);
        }
    }

    #[test]
    fn numbers_are_nearly_normal() {
        let mut numbers = vec![0.0; 40_000];
        normal(&Philox::new(1, Purpose::Drawing, 0, 0), 0, &mut numbers);
        let mean = numbers.iter().sum::<f32>() / 4e4;
        let variance = numbers.iter().map(|x| x * x).sum::<f32>() / 4e4;
        // Five standard errors of 40,000 numbers.
        assert!(
            mean.abs() < 0.025 && (variance - 1.0).abs() < 0.035,
            "{mean} {variance}"
        );
    }
}
