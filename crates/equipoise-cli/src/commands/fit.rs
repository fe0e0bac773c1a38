//! `fit`: a linear head on the rows that have a label.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use equipoise::burn::{Fit, FitOptions};
use equipoise::core::Pool;
use equipoise::pool::{self, EmbeddingPool, HeadFile, Labels};
use equipoise::report::{Balance, Table};
use serde::Serialize;

use crate::console::{Console, grouped};
use crate::failure::{Failure, Result};

/// One fit.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub embeddings: PathBuf,
    pub labels: Option<PathBuf>,
    pub out: PathBuf,
    pub only: Vec<PathBuf>,
    pub classes: Option<PathBuf>,
    pub penalty: Option<f32>,
    pub validation: f32,
    pub seed: u64,
    pub force: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub out: PathBuf,
    pub rows: usize,
    pub dim: usize,
    pub labels: Vec<(String, usize)>,
    pub entropy: f64,
    pub penalty: f32,
    pub train_accuracy: f64,
    pub validation_rows: usize,
    pub validation_accuracy: Option<f64>,
    pub seconds: f64,
}

/// Most L-BFGS steps; a fit on separable labels with a weak penalty needs many.
const STEPS: usize = 1000;

/// Runs and prints.
///
/// # Errors
/// Whatever [`run`] says.
pub(crate) fn main(job: &Job, console: Console) -> Result<()> {
    let report = run(job, console)?;
    console.note(summary(&report));
    if console.json {
        console.report(&report, |_| String::new())
    } else {
        Ok(())
    }
}

/// Fits and writes the head.
///
/// # Errors
/// Where a file cannot be read or does not fit, and where there is nothing to fit on.
pub(crate) fn run(job: &Job, console: Console) -> Result<Report> {
    pool::check_output(&job.out, job.force)?;
    let started = Instant::now();
    let pool = EmbeddingPool::open(&job.embeddings)?;
    for notice in pool.notices() {
        console.note(notice);
    }
    let labels = read_labels(job, &pool)?;
    if labels.rows.is_empty() {
        return Err(
            Failure::new("no row of the pool has a label").with_hint("check --labels and --only")
        );
    }
    let counts = Balance::of_rows(
        labels.rows.iter().map(|(_, class)| *class),
        labels.classes.len(),
    );
    warn_of_empty_classes(&labels, &counts, console);
    let embeddings = gather(&pool, &labels)?;
    let classes: Vec<u32> = labels.rows.iter().map(|(_, class)| *class).collect();
    let options = FitOptions {
        penalty: job.penalty,
        validation: job.validation,
        seed: job.seed,
        steps: STEPS,
    };
    let spinner = console.spinner("fitting");
    let fit = equipoise::burn::fit(
        &embeddings,
        pool.dim(),
        &classes,
        labels.classes.len(),
        &options,
    );
    spinner.finish_and_clear();
    let fit = fit?;
    if !fit.converged {
        console.warn(format!(
            "the fit stopped after {} steps, before it had settled",
            fit.steps
        ));
    }
    let file = HeadFile::for_pool(fit.head.clone(), labels.classes.clone(), &pool);
    file.write(&job.out, job.force)?;
    Ok(report(job, &pool, labels, &counts, &fit, started))
}

/// The labels, restricted to the rows of `--only`.
fn read_labels(job: &Job, pool: &EmbeddingPool) -> Result<Labels> {
    let classes = job.classes.as_deref().map(read_classes).transpose()?;
    let known = classes.as_deref().or_else(|| pool.classes());
    let mut labels = match &job.labels {
        Some(path) => pool::read_labels(path, pool.ids(), known)?,
        None => pool.labels(known)?.ok_or_else(|| {
            Failure::new("the pool has no labels of its own")
                .at(&job.embeddings)
                .with_hint("name a file with --labels: CSV with the columns `id` and `label`")
        })?,
    };
    if !job.only.is_empty() {
        let mut only = HashSet::new();
        for path in &job.only {
            only.extend(
                pool::read_rows(path, pool.ids())?
                    .into_iter()
                    .map(|(row, _)| row),
            );
        }
        labels.rows.retain(|(row, _)| only.contains(row));
    }
    Ok(labels)
}

/// Class names, one a line.
pub(crate) fn read_classes(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::from(error).at(path))?;
    let names: Vec<String> = text
        .lines()
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(Into::into)
        .collect();
    if names.is_empty() {
        return Err(Failure::new("no class name in the file").at(path));
    }
    let mut seen = HashSet::new();
    match names.iter().find(|name| !seen.insert(name.as_str())) {
        Some(twice) => Err(Failure::new(format!("class `{twice}` is there twice")).at(path)),
        None => Ok(names),
    }
}

fn warn_of_empty_classes(labels: &Labels, counts: &Balance, console: Console) {
    let empty: Vec<&str> = std::iter::zip(&labels.classes, counts.counts())
        .filter(|(_, count)| **count == 0)
        .map(|(name, _)| name.as_str())
        .collect();
    if let [first, ..] = empty.as_slice() {
        let which = if empty.len() == 1 {
            format!("class {first}")
        } else {
            format!("{} classes ({first}, …)", empty.len())
        };
        console.warn(format!(
            "{which}: no label among the {} rows; the head cannot know it yet",
            labels.rows.len()
        ));
    }
}

/// The labelled rows' embeddings, in the order of the labels.
fn gather(pool: &EmbeddingPool, labels: &Labels) -> Result<Vec<f32>> {
    let dim = pool.dim();
    let mut embeddings = vec![0.0; labels.rows.len() * dim];
    for (out, (row, _)) in embeddings.chunks_exact_mut(dim).zip(&labels.rows) {
        pool.chunk(*row, 1)?.values.widen(out);
        if out.iter().any(|value| !value.is_finite()) {
            return Err(equipoise::core::Error::NonFiniteRow { row: *row }).map_err(|error| {
                Failure::from(error).with_hint("leave its label out: nothing can be learnt from it")
            });
        }
    }
    Ok(embeddings)
}

fn report(
    job: &Job,
    pool: &EmbeddingPool,
    labels: Labels,
    counts: &Balance,
    fit: &Fit,
    started: Instant,
) -> Report {
    Report {
        out: job.out.clone(),
        rows: labels.rows.len(),
        dim: pool.dim(),
        entropy: counts.entropy(),
        labels: labels
            .classes
            .into_iter()
            .zip(counts.counts().iter().copied())
            .collect(),
        penalty: fit.penalty,
        train_accuracy: fit.train_accuracy,
        validation_rows: fit.validation_rows,
        validation_accuracy: fit.validation_accuracy,
        seconds: started.elapsed().as_secs_f64(),
    }
}

/// Most classes whose counts the summary lists.
const LISTED: usize = 20;

fn summary(report: &Report) -> String {
    let mut text = String::new();
    if report.labels.len() <= LISTED {
        let mut table = Table::new(["class", "labels"]);
        for (name, count) in &report.labels {
            table.row([name.clone(), grouped(*count)]);
        }
        text += &format!("{table}\n");
    }
    let validation = match report.validation_accuracy {
        Some(accuracy) => format!(
            "{:.1}% of {} held out",
            100.0 * accuracy,
            grouped(report.validation_rows)
        ),
        None => "no rows held out".into(),
    };
    text + &format!(
        "fitted {} classes on {} labels in {:.1} s: {:.1}% right on the labels fitted, {validation}; penalty {}\nwrote {}",
        report.labels.len(),
        grouped(report.rows),
        report.seconds,
        100.0 * report.train_accuracy,
        report.penalty,
        report.out.display(),
    )
}
