//! How fast variants are on the device at hand.

use std::time::Duration;

use equipoise_core::Head;
use wgpu::BufferUsages;

use super::choice::Request;
use super::{Arguments, Path, Values};
use crate::GpuError;
use crate::device::Context;
use crate::timer::Timer;

/// Multiplications and additions of a product that is timed: 0.2 ms at 40 TFLOP/s.
const OPERATIONS: u64 = 1 << 33;

/// Most bytes of its embeddings, and of its logits.
const BYTES: u64 = 64 << 20;

/// Device time that a variant's measurement is to last.
const LASTING: Duration = Duration::from_millis(3);

/// Most products in a measurement.
const PRODUCTS: u32 = 16;

/// Measurements; the least counts, as other work only adds to it.
const REPEATS: usize = 3;

/// A variant of kernel `logits` and what it was measured at.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measured {
    /// The variant's name.
    pub(super) variant: &'static str,
    /// Seconds of a product.
    pub(super) seconds: f64,
}

/// The name of the fastest.
pub(super) fn fastest(measured: &[Measured]) -> Option<&'static str> {
    let least = measured
        .iter()
        .min_by(|a, b| a.seconds.total_cmp(&b.seconds))?;
    Some(least.variant)
}

/// Times `paths`, which must fit `request`, on a slice of the head: it is bound as a scan binds it, and takes no more
/// memory.
pub(super) fn measure(
    context: &Context,
    paths: &[Path],
    request: Request<'_>,
) -> Result<Vec<Measured>, GpuError> {
    let rows = rows(request);
    let (dim, classes) = (request.head.dim(), classes(request));
    let storage = |label, bytes: u64| {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
        context.buffer(label, bytes, usage)
    };
    let (timer, values, logits) = context.guarded(|| {
        let bytes = (rows * dim) as u64 * request.storage.bytes();
        let values = storage("measured embeddings", bytes);
        context.fill(&values)?;
        let logits = storage("measured logits", (rows * classes * 4) as u64);
        Ok((Timer::of(context), values, logits))
    })?;
    let arguments = Arguments {
        values: Values {
            rows: rows as u32,
            dim: dim as u32,
            storage: request.storage,
            buffer: &values,
            offset: 0,
        },
        classes: classes as u32,
        logits: &logits,
    };
    let time = |path: &Path| {
        Ok(Measured {
            variant: path.variant.name,
            seconds: seconds(context, &timer, path, request.head, arguments)?,
        })
    };
    paths.iter().map(time).collect()
}

/// Classes whose logits are timed.
fn classes(request: Request<'_>) -> usize {
    request.head.classes().min(request.slice.max(1))
}

fn rows(request: Request<'_>) -> usize {
    let (dim, classes) = (request.head.dim() as u64, classes(request) as u64);
    let limits = [
        OPERATIONS / (2 * dim * classes),
        BYTES / (dim * request.storage.bytes()),
        BYTES / (classes * 4),
    ];
    let most = limits.into_iter().fold(u64::MAX, u64::min).max(1);
    request.rows.clamp(1, most as usize)
}

/// Seconds of one product.
fn seconds(
    context: &Context,
    timer: &Timer,
    path: &Path,
    head: &Head,
    arguments: Arguments<'_>,
) -> Result<f64, GpuError> {
    let classes = 0..arguments.classes as usize;
    let weights = context.guarded(|| path.weights(context, head, classes))?;
    let run = |products: u32| {
        let time = timer.time(|encoder| {
            for _ in 0..products {
                path.record(context, encoder, &weights, arguments);
            }
            Ok(())
        });
        time.map(|time| time.as_secs_f64() / f64::from(products))
    };
    // The first wakes the device up.
    run(1)?;
    let once = run(1)?;
    let products = (LASTING.as_secs_f64() / REPEATS as f64 / once).ceil();
    let products = products.clamp(1.0, PRODUCTS.into()) as u32;
    (0..REPEATS).try_fold(once, |least: f64, _| Ok(least.min(run(products)?)))
}
