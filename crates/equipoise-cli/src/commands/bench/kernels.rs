//! Kernels, each on one block of rows.

use std::time::{Duration, Instant};

use equipoise::core::cpu::logits;
use equipoise::core::engine::{ACCEPT_ALL, GradientCentres, Nearest, NearestGradient, Task};
use equipoise::core::{Answer, Engine, Head, Pool, Question, RowSet, Scorer, Values};
use equipoise::gpu::{self, Gpu, GpuEngine, Storage};
use equipoise::pool::Dtype;
use rayon::prelude::*;

use super::Shape;
use super::measure::median;
use super::record::{DeviceRecord, Row, Timing, Work};
use super::target::Target;
use crate::failure::{Failure, Result};

/// Rows from which thresholds are made.
const SAMPLE: usize = 500;

/// Rows that a thread multiplies at a time, as the CPU engine does.
const PART_ROWS: usize = 512;

/// Most measurements of the variants of logits: each compiles them anew.
const MOST_MEASUREMENTS: usize = 5;

/// Bytes of a row's statistics, and of a row's norm.
const STATISTICS: f64 = size_of::<equipoise::core::RowStatistics>() as f64;
const NEAREST: f64 = size_of::<Nearest>() as f64;
const NEAREST_GRADIENT: f64 = size_of::<NearestGradient>() as f64;
const NORM: f64 = 4.0;

/// A device, and a pool and a head to measure it with.
pub(super) struct Setting<'a> {
    pub(super) target: &'a Target,
    pub(super) device: &'a DeviceRecord,
    pub(super) shape: Shape,
    pub(super) pool: &'a dyn Pool,
    pub(super) head: &'a Head,
    /// Time for each measurement.
    pub(super) budget: Duration,
}

impl Setting<'_> {
    /// Every kernel on this device.
    ///
    /// # Errors
    /// Where the device fails.
    pub(super) fn kernels(&self) -> Result<Vec<Row>> {
        let engine = self.target.engine();
        let thresholds = tight_thresholds(engine, self.head, self.pool)?;
        match self.target {
            Target::Cpu(_) => self.cpu(engine, &thresholds),
            Target::Gpu { gpu, engine } => self.gpu(gpu, engine, &thresholds),
        }
    }

    /// The row of a kernel on a block of `rows` rows.
    fn row(&self, kernel: &str, variant: &str, rows: usize, timing: Timing) -> Row {
        let shape = Shape { rows, ..self.shape };
        let classes = shape.classes as f64;
        let values = shape.bytes() as f64;
        let (weights, logits) = (
            4.0 * classes * shape.dim as f64,
            4.0 * classes * rows as f64,
        );
        let rows = rows as f64;
        // What a row kernel reads or writes beside logits: scales of boundaries, or gradients.
        let beside = match kernel {
            "nearest" => 0.0,
            "gradients" | "nearest_gradient" => logits,
            _ => 4.0 * classes * classes,
        };
        let mut products = shape.products(shape.rows);
        if kernel == "nearest_gradient" {
            // With as many centres as classes: of embeddings, and of gradients.
            products *= 2.0 + classes / shape.dim as f64;
        }
        let fused = matches!(self.target, Target::Cpu(_));
        // What the results take, but for lists of candidates, which hold few rows.
        let results = match kernel {
            "row_statistics" => rows * STATISTICS,
            "nearest" => rows * NEAREST,
            "gradients" | "nearest_gradient" => rows * NEAREST_GRADIENT,
            _ => 0.0,
        };
        let (operations, bytes) = match kernel {
            "logits" => (Some(products), values + weights + logits),
            "row_norms" => (None, values + rows * NORM),
            // On the CPU logits stay in the cache.
            _ if fused => (Some(products), values + weights + beside + results),
            _ => (None, logits + rows * NORM + beside + results),
        };
        let work = Work {
            name: kernel,
            variant,
            shape,
            budget: None,
            operations,
            bytes,
            matrices: variant.starts_with("matrix"),
            streamed: false,
        };
        self.device.row(work, timing)
    }

    /// `logits` alone, and the row kernels with the logits that they go over while they are in the cache.
    fn cpu(&self, engine: &dyn Engine, thresholds: &[f32]) -> Result<Vec<Row>> {
        let mut scorer = engine.scorer(self.head, self.pool, Task::Boundaries)?;
        let rows = self.pool.rows().min(scorer.max_rows());
        let values = self.pool.chunk(0, rows)?.values;
        let product = median(self.budget, true, || {
            multiply(values, self.head);
            Ok(())
        })?;
        let statistics = median(self.budget, true, || {
            answer(
                &mut *scorer,
                rows,
                Question::RowStatistics { exponentials: true },
            )
            .map(drop)
        })?;
        let candidates = median(self.budget, true, || {
            answer(&mut *scorer, rows, Question::ClassCandidates { thresholds }).map(drop)
        })?;
        drop(scorer);
        let mut scorer = engine.scorer(self.head, self.pool, Task::Nearest)?;
        let nearest = median(self.budget, true, || {
            answer(&mut *scorer, rows, Question::Nearest).map(drop)
        })?;
        drop(scorer);
        let centres = as_many_centres(self.head)?;
        let mut scorer = engine.gradient_scorer(self.head, &centres, self.pool)?;
        let gradient = median(self.budget, true, || {
            answer(&mut *scorer, rows, Question::NearestGradient).map(drop)
        })?;
        Ok(vec![
            self.row("logits", "alone", rows, product),
            self.row("row_statistics", "with logits", rows, statistics),
            self.row("class_candidates", "with logits", rows, candidates),
            self.row("nearest", "with logits", rows, nearest),
            self.row("nearest_gradient", "with products", rows, gradient),
        ])
    }

    fn gpu(&self, gpu: &Gpu, engine: &GpuEngine, thresholds: &[f32]) -> Result<Vec<Row>> {
        let block = engine
            .scorer(self.head, self.pool, Task::Boundaries)?
            .max_rows();
        let block = block.min(self.pool.rows());
        let storage = match self.shape.dtype {
            Dtype::F32 => Storage::F32,
            Dtype::F16 => Storage::F16,
        };
        let mut rows = self.variants(gpu, storage, block)?;
        let (values, dtype) = (
            self.pool.chunk(0, block)?.values,
            self.shape.dtype.to_string(),
        );
        for time in engine.time_row_kernels(self.head, values, thresholds, self.budget)? {
            let timing = Timing {
                seconds: time.seconds,
                runs: time.runs,
            };
            let variant = match time.variant {
                "" => &dtype[..],
                variant => variant,
            };
            rows.push(self.row(time.kernel, variant, time.rows, timing));
        }
        Ok(rows)
    }

    /// Every variant of `logits` that this device runs: medians of measurements of a few milliseconds.
    fn variants(&self, gpu: &Gpu, storage: Storage, rows: usize) -> Result<Vec<Row>> {
        let (start, mut measured) = (Instant::now(), Vec::new());
        while measured.is_empty()
            || (measured.len() < MOST_MEASUREMENTS && start.elapsed() < self.budget)
        {
            measured.push(gpu::measure_logits(gpu, self.head, storage, rows)?);
        }
        let of_first = measured[0].iter();
        Ok(of_first
            .map(|first| {
                let found = measured.iter().flatten();
                let mut times: Vec<f64> = found
                    .filter(|found| found.variant == first.variant)
                    .map(|found| found.seconds)
                    .collect();
                times.sort_by(f64::total_cmp);
                let timing = Timing {
                    seconds: times[times.len() / 2],
                    runs: times.len(),
                };
                self.row("logits", first.variant, first.rows, timing)
            })
            .collect())
    }
}

/// As many centres as classes, with the classes' weights as embeddings: how long it takes to find the nearest does
/// not depend on their numbers.
fn as_many_centres(head: &Head) -> Result<GradientCentres> {
    let classes = head.classes();
    let zeros = || vec![0.0; classes];
    Ok(GradientCentres {
        embeddings: Head::new(head.weight().to_vec(), zeros(), head.dim())?,
        gradients: Head::new(vec![0.5; classes * classes], zeros(), classes)?,
        bias: zeros(),
    })
}

/// The products of `values` with the head, on all threads, as the CPU engine cuts them.
fn multiply(values: Values<'_>, head: &Head) {
    let (dim, classes) = (head.dim(), head.classes());
    let rows = values.len() / dim;
    let part_rows = rows.div_ceil(rayon::current_num_threads()).min(PART_ROWS);
    let parts = (0..rows.div_ceil(part_rows)).into_par_iter();
    parts.for_each_init(
        || (Vec::new(), Vec::new()),
        |(wide, out), part| {
            let range = part * part_rows..rows.min((part + 1) * part_rows);
            let values = values.slice(range.start * dim..range.end * dim);
            out.resize(part_rows * classes, 0.0);
            let x = match values {
                Values::F32(x) => x,
                Values::F16(_) => {
                    wide.resize(values.len(), 0.0);
                    values.widen(wide);
                    wide.as_slice()
                }
            };
            logits::run(x, head.weight(), dim, classes, out);
            std::hint::black_box(out);
        },
    );
}

/// The answer about the first `rows` rows.
fn answer(scorer: &mut dyn Scorer, rows: usize, question: Question<'_>) -> Result<Answer> {
    let available = RowSet::all(rows);
    let taken = scorer.submit(0, rows, &available, question)?;
    let mut answer = Answer::default();
    scorer.collect(&mut answer)?;
    match taken == rows {
        true => Ok(answer),
        false => Err(Failure::new(format!(
            "the device took {taken} of {rows} rows"
        ))),
    }
}

/// Per class a threshold below which about one row in a hundred lies, as in a scan that has read
/// enough.
fn tight_thresholds(engine: &dyn Engine, head: &Head, pool: &dyn Pool) -> Result<Vec<f32>> {
    let mut scorer = engine.scorer(head, pool, Task::Boundaries)?;
    let all = vec![ACCEPT_ALL; head.classes()];
    let question = Question::ClassCandidates { thresholds: &all };
    let mut sample = SAMPLE.min(pool.rows()).min(scorer.max_rows());
    let mut found = answer(&mut *scorer, sample, question)?;
    while found.overflow && sample > 1 {
        sample /= 2;
        found = answer(&mut *scorer, sample, question)?;
    }
    let mut lower = vec![Vec::new(); head.classes()];
    for candidate in found.candidates.iter().flatten() {
        // Not those of undecided rows, which belong to every class.
        if let Some(lower) = lower.get_mut(candidate.class as usize) {
            lower.push(candidate.lower);
        }
    }
    let threshold = |mut lower: Vec<f32>| {
        lower.sort_by(f32::total_cmp);
        lower.get(sample / 100).copied().unwrap_or(ACCEPT_ALL)
    };
    Ok(lower.into_iter().map(threshold).collect())
}
