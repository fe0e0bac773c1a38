//! Kernels, each on one block of rows.

use std::ops::Range;

use equipoise::core::cpu::logits::{Columns, STRIP_ROWS, Slices};
use equipoise::core::cpu::rough::{Integers, RoundedRows};
use equipoise::core::engine::{ACCEPT_ALL, GradientCentres, Nearest, NearestGradient, Task};
use equipoise::core::{Answer, Engine, Error, Head, Pool, Question, RowSet, Scorer, Values};
use equipoise::gpu::{GpuEngine, GpuError, KernelBench, KernelVersion, tunings};
use equipoise::pool::Dtype;
use rayon::prelude::*;

use super::Shape;
use super::measure::median;
use super::memory::numbers;
use super::patience::Patience;
use super::row::{Row, Timing, Work, digest};
use super::setting::{Found, Own, Setting};
use super::target::Target;
use crate::failure::{Failure, Result};

/// The CPU's variant of `nearest_gradient`.
const WITH_PRODUCTS: &str = "with products";

/// Rows from which thresholds are made.
const SAMPLE: usize = 500;

/// Bytes of a row's statistics, and of a row's norm.
const STATISTICS: f64 = size_of::<equipoise::core::RowStatistics>() as f64;
const NEAREST: f64 = size_of::<Nearest>() as f64;
const NEAREST_GRADIENT: f64 = size_of::<NearestGradient>() as f64;
const NORM: f64 = 4.0;
/// Of a row's two largest logits.
const TOPS: f64 = 8.0;
/// Of a row's scores, distances aside.
const SCORES: f64 = 24.0;

/// Operations for each logit that row kernels do, and for each number that `row_norms` reads, as counted in their WGSL:
/// subtractions, products, comparisons and exponentials alike.
const OPERATIONS: [(&str, f64); 7] = [
    ("row_norms", 5.0),
    ("row_statistics", 28.0),
    ("class_candidates", 14.0),
    ("row_scores", 15.0),
    ("nearest", 2.0),
    ("gradients", 12.0),
    ("nearest_gradient", 4.0),
];

impl Setting<'_> {
    /// Every kernel on this device.
    ///
    /// # Errors
    /// Where the device fails; `None` where its memory does not hold what they need.
    pub(super) fn kernels(&self) -> Result<Option<Found>> {
        if let Some(reason) = self.lacks_memory_for_kernels() {
            let mut found = Found::default();
            found.leave_out("kernels", reason);
            return Ok(Some(found));
        }
        let engine = self.target.engine();
        let Some(thresholds) = tight_thresholds(engine, self.head, self.pool)? else {
            return Ok(None);
        };
        match self.target {
            Target::Cpu(_) => self.cpu(engine, &thresholds).map(Some),
            Target::Gpu { engine, .. } => self.gpu(engine, &thresholds),
        }
    }

    /// Why the kernels of this device are not measured.
    fn lacks_memory_for_kernels(&self) -> Option<String> {
        self.lacks_memory(Task::Boundaries, |planned| match self.target {
            Target::Cpu(_) => 0,
            // Gradients and distances.
            Target::Gpu { .. } => self.on_host(planned.logits.saturating_mul(2)),
        })
    }

    /// The row of a kernel on a block of `rows` rows. `matrices` says whether matrix cores multiply.
    pub(super) fn row(
        &self,
        (kernel, variant): (&str, &str),
        rows: usize,
        matrices: bool,
        timing: &Timing,
    ) -> Row {
        let shape = Shape { rows, ..self.shape };
        let classes = shape.classes as f64;
        let values = shape.bytes() as f64;
        let (weights, logits) = (
            4.0 * classes * shape.dim as f64,
            4.0 * classes * rows as f64,
        );
        let rows = rows as f64;
        // What a row kernel reads or writes beside logits: scales of the predicted classes' boundaries, or gradients.
        let beside = match kernel {
            "nearest" => 0.0,
            "gradients" | "nearest_gradient" => logits,
            _ => 4.0 * classes * classes.min(rows),
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
            "row_scores" => logits + rows * SCORES,
            _ => 0.0,
        };
        let counted = OPERATIONS.iter().find(|(name, _)| *name == kernel);
        let counted = counted.map(|(_, operations)| operations);
        let (operations, bytes) = match kernel {
            "logits" => (Some(products), values + weights + logits),
            "row_norms" => (
                counted.map(|each| each * rows * shape.dim as f64),
                values + rows * NORM,
            ),
            // burn's `topk` goes over logits that are there; its operations are not ours to count.
            _ if variant.starts_with("burn") => (None, logits + rows * TOPS),
            // On the CPU logits stay in the cache.
            _ if fused => (Some(products), values + weights + beside + results),
            _ => (
                counted.map(|each| each * rows * classes),
                logits + rows * NORM + beside + results,
            ),
        };
        let work = Work {
            name: kernel,
            variant,
            shape,
            budget: None,
            operations,
            bytes,
            matrices,
            streamed: false,
        };
        Row {
            pool_rows: self.shape.rows,
            ..self.device.row(work, timing)
        }
    }

    /// `logits` alone, by either kind of products, and the row kernels with the logits that they go over while they are in the cache.
    fn cpu(&self, engine: &dyn Engine, thresholds: &[f32]) -> Result<Found> {
        let mut measured = Vec::new();
        let mut add = |(kernel, variant), rows: usize, work: &mut dyn FnMut() -> Result<()>| {
            if self.wants(kernel, variant) {
                let timing = median(self.budget, true, work)?;
                measured.push(self.row((kernel, variant), rows, false, &timing));
            }
            Ok::<(), Failure>(())
        };
        let mut scorer = engine.scorer(self.head, self.pool, Task::Boundaries)?;
        let rows = self.pool.rows().min(scorer.max_rows());
        let values = self.pool.chunk(0, rows)?.values;
        let (dim, stride) = (self.head.dim(), self.head.classes().next_multiple_of(16));
        let columns = Columns::new(self.head.weight(), dim, stride);
        add(("logits", "alone"), rows, &mut || {
            by_strips(values, dim, stride, |slices: &mut Slices, strip, out| {
                columns.multiply(values, strip, slices, out);
            });
            Ok(())
        })?;
        let integers = Integers::new(self.head.weight(), dim, stride);
        add(("logits", "int16 alone"), rows, &mut || {
            by_strips(
                values,
                dim,
                stride,
                |rounded: &mut RoundedRows, strip, out| {
                    integers.multiply(values, strip, rounded, out);
                },
            );
            Ok(())
        })?;
        for (kernel, question) in [
            (
                "row_statistics",
                Question::RowStatistics { exponentials: true },
            ),
            ("class_candidates", Question::ClassCandidates { thresholds }),
        ] {
            add((kernel, "with logits"), rows, &mut || {
                answer(&mut *scorer, rows, question).map(drop)
            })?;
        }
        drop(scorer);
        let mut scorer = engine.scorer(self.head, self.pool, Task::Nearest)?;
        add(("nearest", "with logits"), rows, &mut || {
            answer(&mut *scorer, rows, Question::Nearest).map(drop)
        })?;
        drop(scorer);
        let (classes, dim) = (self.head.classes(), self.head.dim());
        let task = Task::NearestGradient { centres: classes };
        // The centres as they are handed to the engine, which copies them.
        let lacking = self.lacks_memory(task, |_| numbers(classes, classes + dim));
        if lacking.is_none() && self.wants("nearest_gradient", WITH_PRODUCTS) {
            let centres = as_many_centres(self.head)?;
            let mut scorer = engine.gradient_scorer(self.head, &centres, self.pool)?;
            add(("nearest_gradient", WITH_PRODUCTS), rows, &mut || {
                answer(&mut *scorer, rows, Question::NearestGradient).map(drop)
            })?;
        }
        let mut found = Found::from(measured);
        if let Some(reason) = lacking.filter(|_| self.wants("nearest_gradient", WITH_PRODUCTS)) {
            found.leave_out("nearest_gradient", reason);
        }
        Ok(found)
    }

    /// Somebody's own kernels, ours, and ours with other constants.
    fn gpu(&self, engine: &GpuEngine, thresholds: &[f32]) -> Result<Option<Found>> {
        let values = self.pool.chunk(0, self.pool.rows())?.values;
        let bench = match KernelBench::new(engine, self.head, values, thresholds) {
            Err(GpuError::OutOfMemory { .. }) => return Ok(None),
            made => made?,
        };
        let mut found = Found::default();
        for own in self.own {
            let name = (own.shader.kernel, &*own.label);
            if !self.wants(name.0, name.1) {
                continue;
            }
            match own.suits(self.shape.dtype) {
                true => self.measured(&bench, name, bench.own(name.1, &own.shader), &mut found),
                false => {
                    found.leave_out(format!("{} {}", name.0, name.1), own.reads());
                }
            }
        }
        for (variant, error) in bench.broken() {
            if self.wants("logits", variant) {
                found.fail(format!("logits {variant}"), error.to_string());
            }
        }
        for version in bench.versions()? {
            let (kernel, variant) = (version.kernel(), version.variant().to_owned());
            if self.wants(kernel, &variant) {
                self.measured(&bench, (kernel, &variant), Ok(version), &mut found);
            }
        }
        if self.tuned {
            for tuning in tunings(self.shape.dtype == Dtype::F16) {
                let shader = tuning.shader;
                let variant = format!("{} {}", shader.variant, tuning.label());
                let variant = variant.trim_start();
                let Target::Gpu { gpu, .. } = self.target else {
                    continue;
                };
                if !self.wants(shader.kernel, variant) || gpu.lacks(shader).is_some() {
                    continue;
                }
                let own = tuning
                    .own()
                    .map_err(|error| Failure::new(error.to_string()))?;
                let name = (shader.kernel, variant);
                match bench.own(variant, &own) {
                    Ok(version) => self.measured(&bench, name, Ok(version), &mut found),
                    // More lanes or memory than the device has.
                    Err(error) => {
                        found.leave_out(format!("{} {variant}", name.0), error.to_string())
                    }
                }
            }
        }
        Ok(Some(found))
    }

    /// Checks and times a kernel of somebody's own.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn own_kernel(&self, own: &Own) -> std::result::Result<Row, String> {
        let Target::Gpu { engine, .. } = self.target else {
            return Err("it runs on a GPU".into());
        };
        if let Some(reason) = self.lacks_memory_for_kernels() {
            return Err(reason);
        }
        let measure = || {
            let thresholds = tight_thresholds(engine.as_ref(), self.head, self.pool)?;
            let thresholds =
                thresholds.ok_or_else(|| Failure::new("the device's memory is full"))?;
            let values = self.pool.chunk(0, self.pool.rows())?.values;
            let bench = KernelBench::new(engine, self.head, values, &thresholds)?;
            let mut found = Found::default();
            let version = bench.own(&own.label, &own.shader);
            let name = (own.shader.kernel, &*own.label);
            let _patience = Patience::for_kernel(name.0, name.1, self.patience);
            self.measured(&bench, name, version, &mut found);
            Ok::<Found, Failure>(found)
        };
        let mut found = measure().map_err(|failure| failure.message())?;
        match (found.rows.pop(), found.failed.pop()) {
            (Some(row), _) => Ok(row),
            (None, Some((_, reason))) => Err(reason),
            (None, None) => Err("it was not measured".into()),
        }
    }

    /// Checks a version, and times it where it is right.
    fn measured(
        &self,
        bench: &KernelBench<'_>,
        (kernel, variant): (&str, &str),
        version: std::result::Result<KernelVersion, GpuError>,
        found: &mut Found,
    ) {
        let timed = version.and_then(|version| {
            let own = self.own.iter().any(|own| own.label == variant);
            let _patience = own.then(|| Patience::for_kernel(kernel, variant, self.patience));
            bench.check(&version)?;
            Ok((bench.time(&version, self.budget)?, version))
        });
        match timed {
            Ok((time, version)) => {
                let timing = Timing {
                    samples: time.samples,
                    runs: time.runs,
                    on_device: time.on_device,
                };
                found.rows.push(Row {
                    shader: Some(digest([version.source()])),
                    ..self.row((kernel, variant), time.rows, version.by_matrices(), &timing)
                });
            }
            Err(error) => found.fail(format!("{kernel} {variant}"), error.to_string()),
        }
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

/// Has `multiply` make the products of `values` with a head, on all threads, strip by strip as the CPU engine makes them.
fn by_strips<S: Default>(
    values: Values<'_>,
    dim: usize,
    stride: usize,
    multiply: impl Fn(&mut S, Range<usize>, &mut [f32]) + Sync,
) {
    let rows = values.len() / dim;
    let strips = (0..rows).into_par_iter().step_by(STRIP_ROWS);
    // So many share their memory.
    strips.with_max_len(8).for_each_init(
        || (S::default(), vec![0.0; STRIP_ROWS * stride]),
        |(scratch, out), first| {
            multiply(scratch, first..rows.min(first + STRIP_ROWS), out);
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
/// enough. None where the device's memory does not hold what a scan needs.
fn tight_thresholds(engine: &dyn Engine, head: &Head, pool: &dyn Pool) -> Result<Option<Vec<f32>>> {
    let mut scorer = match engine.scorer(head, pool, Task::Boundaries) {
        Err(Error::OutOfMemory { .. }) => return Ok(None),
        made => made?,
    };
    let all = vec![ACCEPT_ALL; head.classes()];
    let question = Question::ClassCandidates { thresholds: &all };
    let mut sample = SAMPLE.min(pool.rows()).min(scorer.max_rows());
    let mut found = answer(&mut *scorer, sample, question)?;
    while found.overflow && sample > 1 {
        sample /= 2;
        found = answer(&mut *scorer, sample, question)?;
    }
    let mut lower = vec![Vec::new(); head.classes()];
    // Without undecided rows, which belong to every class.
    for (class, lower) in lower.iter_mut().enumerate() {
        let places = found
            .candidates
            .iter()
            .flat_map(|part| part.of_class(class));
        lower.extend(places.map(|place| place.lower));
    }
    let threshold = |mut lower: Vec<f32>| {
        lower.sort_by(f32::total_cmp);
        lower.get(sample / 100).copied().unwrap_or(ACCEPT_ALL)
    };
    Ok(Some(lower.into_iter().map(threshold).collect()))
}
