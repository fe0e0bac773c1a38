//! Whether a variant keeps its bound on the device at hand.

use equipoise_core::{Head, Values, definition};
use half::f16;
use rayon::prelude::*;
use wgpu::BufferUsages;

use super::{Arguments, LogitBound, Path, Storage, Values as DeviceValues};
use crate::GpuError;
use crate::device::{Context, Growing};

/// The logits, (rows, classes), that `path` computes.
pub(super) fn product(
    context: &Context,
    path: &Path,
    values: Values<'_>,
    head: &Head,
) -> Result<Vec<f32>, GpuError> {
    let (classes, dim) = (head.classes(), head.dim());
    let rows = values.len() / dim;
    let bytes: &[u8] = match values {
        Values::F32(values) => bytemuck::cast_slice(values),
        Values::F16(values) => bytemuck::cast_slice(values),
    };
    let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
    context.guarded(|| {
        let buffer = context.buffer("tried embeddings", bytes.len() as u64, usage);
        context.write(&buffer, bytes);
        let logits = context.buffer("tried logits", (rows * classes * 4) as u64, usage);
        let mut encoder = context.encoder("trial");
        let weights = path.weights(context, head, 0..classes)?;
        let arguments = Arguments {
            values: DeviceValues {
                rows: rows as u32,
                dim: dim as u32,
                storage: path.storage,
                buffer: &buffer,
                offset: 0,
            },
            classes: classes as u32,
            logits: &logits,
        };
        path.record(context, &mut encoder, &weights, arguments);
        let mut out = vec![0.0; rows * classes];
        let mut staging = Growing::staging("tried logits read");
        let bytes = bytemuck::cast_slice_mut(&mut out);
        context.submit_and_read(encoder, &logits, &mut staging, bytes)?;
        Ok(out)
    })
}

fn norm(x: &[f32]) -> f64 {
    let square = |x: &f32| f64::from(*x) * f64::from(*x);
    x.iter().map(square).sum::<f64>().sqrt()
}

/// The largest error of the path's logits, in units of what its bound allows for their row.
pub(super) fn largest_error(
    context: &Context,
    path: &Path,
    values: Values<'_>,
    head: &Head,
) -> Result<f64, GpuError> {
    let found = product(context, path, values, head)?;
    let mut wide = vec![0.0; values.len()];
    values.widen(&mut wide);
    Ok(largest_of(&found, &wide, head, path.bound(head.dim())))
}

/// The largest error of `found`, logits (rows, C) of `rows`, (rows, M), in units of what `bound` allows for their
/// row.
pub(crate) fn largest_of(found: &[f32], rows: &[f32], head: &Head, bound: LogitBound) -> f64 {
    let (classes, dim) = (head.classes(), head.dim());
    let largest_weight = (0..classes)
        .map(|class| norm(head.class_weight(class)))
        .fold(0.0, f64::max);
    let bias = head
        .bias()
        .iter()
        .fold(0.0, |max: f64, b| max.max(b.abs().into()));
    let root = (dim as f64).sqrt();
    let errors = rows
        .par_chunks(dim)
        .zip(found.par_chunks(classes))
        .map(|(x, found)| {
            let norm = norm(x);
            let least = 2.0 * f64::from(f32::MIN_POSITIVE);
            let flushed = bound.flushed * root * largest_weight
                + least * (dim as f64 + root * (norm + largest_weight) + 1.0);
            let allowed = bound.gamma * (norm * largest_weight + bias) + flushed;
            let exact = definition::logits(x, head);
            let off = exact
                .iter()
                .zip(found)
                .map(|(exact, found)| (exact - f64::from(*found)).abs());
            // A NaN is an error of any size.
            off.map(|off| {
                if off.is_nan() {
                    f64::INFINITY
                } else {
                    off / allowed
                }
            })
            .fold(0.0, f64::max)
        });
    errors.reduce(|| 0.0, f64::max)
}

/// Numbers in -1..1, the same for the same seed (splitmix64).
pub(super) fn random(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// Classes of the heads that are tried.
const CLASSES: usize = 131;

/// Columns of the first that is tried.
pub(super) const DIM: usize = 68;

/// A head to try, of `dim` columns.
pub(super) fn head(dim: usize) -> Result<Head, GpuError> {
    of_weights(random(CLASSES * dim, 1), dim)
}

fn of_weights(weight: Vec<f32>, dim: usize) -> Result<Head, GpuError> {
    let head = Head::new(weight, random(CLASSES, 2), dim);
    head.map_err(|error| GpuError::Failed {
        message: error.to_string(),
    })
}

/// Passes where the path's logits of some products are within its bound.
///
/// The products have ragged tiles; large numbers before small ones, where truncated additions show
/// most; subnormal f16; and numbers of one sign, rows like the weights, whose partial sums are as large as the bound's: what is lost of
/// each adds up.
pub(super) fn passes(context: &Context, path: &Path) -> Result<(), GpuError> {
    let signed = [(133, DIM, 1.0), (5, 300, 1000.0), (64, 64, 1e-6)].map(|case| (case, false));
    let of_one_sign = [(9, 2048, 1.0), (3, 300, 1000.0)].map(|case| (case, true));
    for ((rows, dim, scale), one_sign) in signed.into_iter().chain(of_one_sign) {
        let (mut head, mut values) = (head(dim)?, random(rows * dim, 3));
        for (m, x) in values.iter_mut().enumerate() {
            *x *= scale * if m % dim < dim / 2 { 16.0 } else { 1.0 };
        }
        if one_sign {
            let positive: Vec<f32> = head.weight().iter().map(|w| w.abs() + 0.01).collect();
            for (x, w) in values.iter_mut().zip(positive.iter().cycle()) {
                *x = scale * w;
            }
            head = of_weights(positive, dim)?;
        }
        let error = match path.storage {
            Storage::F32 => largest_error(context, path, Values::F32(&values), &head)?,
            Storage::F16 => {
                let values: Vec<f16> = values.into_iter().map(f16::from_f32).collect();
                largest_error(context, path, Values::F16(&values), &head)?
            }
        };
        if error > 1.0 {
            return Err(GpuError::LogitsUnfit {
                name: path.variant.name,
                reason: format!(
                    "on this device an error is {error:.2} of its bound, {rows}×{dim}×{CLASSES}"
                ),
            });
        }
    }
    Ok(())
}
