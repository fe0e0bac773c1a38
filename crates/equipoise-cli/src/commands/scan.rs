//! `scan`: one shard's candidates, to be merged with those of the others.

use std::path::PathBuf;
use std::time::Instant;

use equipoise::core::strategies::{Ranking, Serving, scan_shard, shard_rows};
use equipoise::core::{Engine, Pool, Request};
use equipoise::pool::{self, Candidates, Deepening, SharedQuestion};
use serde::Serialize;

use super::question::{Files, Question};
use crate::console::{Console, grouped};
use crate::device::DeviceWish;
use crate::failure::{Failure, Result};

/// The scan of one shard.
pub(crate) struct Job {
    pub question: Question,
    /// The strategy's, which must have one.
    pub ranking: Ranking,
    /// From 0.
    pub shard: usize,
    pub shards: usize,
    pub depth: Depth,
    pub out: PathBuf,
}

/// How many rows each list keeps.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Depth {
    /// What will do in most cases.
    Usual,
    /// So many.
    Of(usize),
    /// What a merge asked for.
    Asked(PathBuf),
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Nothing was written where nothing was asked of the shard.
    pub out: Option<PathBuf>,
    pub strategy: &'static str,
    pub device: String,
    pub shard: usize,
    pub shards: usize,
    pub first_row: usize,
    pub rows: usize,
    pub listed: usize,
    pub nonfinite_rows: Vec<usize>,
    pub settled: u64,
    pub retries: u64,
    pub seconds: f64,
}

/// Runs and prints.
///
/// # Errors
/// Whatever [`run`] says.
pub(crate) fn main(job: &Job, wish: &DeviceWish, console: Console) -> Result<()> {
    check(job)?;
    let engine = wish.resolve()?.engine(None)?;
    let report = run(job, engine.as_ref(), console)?;
    console.note(summary(&report));
    match console.json {
        true => console.report(&report, |_| String::new()),
        false => Ok(()),
    }
}

/// What can be refused before a device is opened or a file is read.
fn check(job: &Job) -> Result<()> {
    job.question.check()?;
    pool::check_output(&job.out, job.question.force)?;
    Ok(())
}

/// Scans and writes the candidates.
///
/// # Errors
/// Where a file cannot be read or does not fit, and whatever the scan says.
fn run(job: &Job, engine: &dyn Engine, console: Console) -> Result<Report> {
    let started = Instant::now();
    let question = &job.question;
    let strategy = question.strategy.name();
    let pool = question.open(console)?;
    let files = question.read(&pool, console)?;
    let name_row = |error| question.name_row(error, files.pool);
    let request = files.request(question);
    let serving = job.ranking.serving(strategy, &request).map_err(name_row)?;
    let shared = shared_question(job, &files, &serving)?;
    let rows = shard_rows(files.pool.rows(), job.shard, job.shards);
    let mut report = Report {
        out: None,
        strategy,
        device: engine.name().to_owned(),
        shard: job.shard + 1,
        shards: job.shards,
        first_row: rows.start,
        rows: rows.len(),
        listed: 0,
        nonfinite_rows: Vec::new(),
        settled: 0,
        retries: 0,
        seconds: 0.0,
    };
    let Some(depths) = depths(job, &serving, &shared)? else {
        report.seconds = started.elapsed().as_secs_f64();
        return Ok(report);
    };
    let bar = console.bar(rows.len() as u64, "scanning");
    let request = Request {
        progress: &|rows| bar.inc(rows),
        ..request
    };
    let named = (strategy, job.ranking);
    let scan = scan_shard(engine, named, &request, &serving, rows, &depths);
    bar.finish_and_clear();
    let scan = scan.map_err(name_row)?;
    report.nonfinite_rows = scan.selection.nonfinite.clone();
    report.settled = scan.selection.settled;
    report.retries = scan.selection.retries;
    report.listed = scan.lists.iter().map(|list| list.entries.len()).sum();
    let candidates = Candidates::new(shared, job.shard, scan, files.pool.ids());
    candidates.write(&job.out, question.force)?;
    report.out = Some(job.out.clone());
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

/// What the other shards must be asked, too.
fn shared_question(job: &Job, files: &Files<'_>, serving: &Serving) -> Result<SharedQuestion> {
    let question = &job.question;
    Ok(SharedQuestion {
        strategy: question.strategy.name().into(),
        pool_digest: SharedQuestion::pool_digest(files.pool)?,
        pool_rows: files.pool.rows(),
        head_digest: match &question.head {
            Some(head) => SharedQuestion::head_digest(head)?,
            None => String::new(),
        },
        available_digest: SharedQuestion::digest_of_available(&files.available),
        available: files.available.len(),
        shards: job.shards,
        budget: question.budget.min(files.available.len()),
        quotas: serving.quotas.clone(),
        order: serving.order.clone(),
        classes: files.class_names(),
    })
}

/// Per list, how deep to scan; `None` where nothing is asked of the shard.
fn depths(job: &Job, serving: &Serving, shared: &SharedQuestion) -> Result<Option<Vec<usize>>> {
    let asked = match &job.depth {
        Depth::Usual => return Ok(Some(serving.depths(shared.available))),
        Depth::Of(depth) => return Ok(Some(vec![*depth; serving.quotas.len()])),
        Depth::Asked(path) => path,
    };
    let deepening = Deepening::read(asked)?;
    match deepening.question.difference(shared) {
        Some(what) => Err(Failure::new(format!(
            "the scan it asks for differs from this one in its {what}"
        ))
        .at(asked)
        .with_hint("repeat the options of the first scan, with `--deepen` and another `--out`")),
        None => Ok(deepening.depths(job.shard)),
    }
}

fn summary(report: &Report) -> String {
    let (shard, shards) = (report.shard, report.shards);
    let Some(out) = &report.out else {
        return format!("nothing is asked of shard {shard}/{shards}: wrote nothing");
    };
    let mut text = format!(
        "listed {} candidates of {} rows from row {} on (shard {shard}/{shards}) by {} on {} in {:.2} s\n",
        grouped(report.listed),
        grouped(report.rows),
        report.first_row,
        report.strategy,
        report.device,
        report.seconds,
    );
    if !report.nonfinite_rows.is_empty() {
        text += &format!(
            "left out {} rows with a NaN or an infinity\n",
            grouped(report.nonfinite_rows.len())
        );
    }
    text + &format!("wrote {}", out.display())
}
