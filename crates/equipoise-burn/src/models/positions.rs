//! Position embeddings of patches, for images of any size.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use burn::tensor::{Device, Tensor, TensorData};

/// What each patch's token gets added, learnt for a square of patches.
#[derive(Debug)]
pub(super) struct Positions {
    /// (side, side, width).
    learnt: Vec<f32>,
    side: usize,
    width: usize,
    device: Device,
    /// Those made so far, by rows and columns.
    made: Mutex<BTreeMap<(usize, usize), Tensor<3>>>,
}

impl Positions {
    /// `learnt`: (side, side, width) row-major.
    pub(super) fn new(learnt: Vec<f32>, width: usize, device: &Device) -> Self {
        Self {
            side: (learnt.len() / width).isqrt(),
            learnt,
            width,
            device: device.clone(),
            made: Mutex::default(),
        }
    }

    /// Positions (1, rows·columns, width) of so many patches: where they are not those that were
    /// learnt, these are resampled, bicubic and antialiased, as timm does.
    pub(super) fn of(&self, rows: usize, columns: usize) -> Tensor<3> {
        // A panic elsewhere leaves the map as it was.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let positions = made.entry((rows, columns)).or_insert_with(|| {
            let values = match (rows, columns) == (self.side, self.side) {
                true => self.learnt.clone(),
                false => self.resampled(rows, columns),
            };
            let data = TensorData::new(values, [1, rows * columns, self.width]);
            Tensor::from_data(data, &self.device)
        });
        positions.clone()
    }

    fn resampled(&self, rows: usize, columns: usize) -> Vec<f32> {
        let (side, width) = (self.side, self.width);
        // First along rows: (side, columns, width).
        let across = taps(side, columns);
        let mut wide = vec![0.0f64; side * columns * width];
        for (y, line) in wide.chunks_exact_mut(columns * width).enumerate() {
            for (place, (first, weights)) in line.chunks_exact_mut(width).zip(&across) {
                for (x, weight) in weights.iter().enumerate() {
                    let from = &self.learnt[(y * side + first + x) * width..][..width];
                    for (sum, value) in place.iter_mut().zip(from) {
                        *sum += weight * f64::from(*value);
                    }
                }
            }
        }
        let mut values = Vec::with_capacity(rows * columns * width);
        for (first, weights) in taps(side, rows) {
            let mut line = vec![0.0f64; columns * width];
            for (y, weight) in weights.iter().enumerate() {
                let from = &wide[(first + y) * columns * width..][..columns * width];
                for (sum, value) in line.iter_mut().zip(from) {
                    *sum += weight * value;
                }
            }
            values.extend(line.iter().map(|value| *value as f32));
        }
        values
    }
}

/// Of each of `outputs` places: the first of `inputs` places that it is made of, and their weights.
fn taps(inputs: usize, outputs: usize) -> Vec<(usize, Vec<f64>)> {
    let scale = inputs as f64 / outputs as f64;
    let stretch = scale.max(1.0);
    (0..outputs)
        .map(|place| {
            let centre = (place as f64 + 0.5) * scale;
            let reach = 2.0 * stretch;
            let first = (centre - reach + 0.5).max(0.0) as usize;
            let end = ((centre + reach + 0.5) as usize).min(inputs);
            let weights: Vec<f64> = (first..end)
                .map(|input| cubic((input as f64 - centre + 0.5) / stretch))
                .collect();
            let sum: f64 = weights.iter().sum();
            (first, weights.iter().map(|weight| weight / sum).collect())
        })
        .collect()
}

/// Keys' cubic kernel (*Cubic convolution interpolation for digital image processing*, 1981),
/// a = −1/2.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    match x.abs() {
        x if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        x if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
        _ => 0.0,
    }
}
