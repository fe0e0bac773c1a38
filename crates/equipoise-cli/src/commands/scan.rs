//! `scan`: one shard's candidates, to be merged with those of the others.

use std::path::PathBuf;
use std::time::Instant;

use equipoise::core::engine::Task;
use equipoise::core::memory::ScanShape;
use equipoise::core::strategies::{Ranking, Serving, scan_shard, shard_memory, shard_rows};
use equipoise::core::{Engine, Pool, Request, RowSet};
use equipoise::pool::{Candidates, Deepening, SharedQuestion};
use serde::Serialize;

use super::machine::{Granted, Machine, Need, Scans};
use super::memory_plan::Plan;
use super::output::{check_output, rows_of};
use super::question::{Files, Question};
use crate::allocator;
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
    pub machine: Machine,
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
    /// Which scanned; none where nothing was asked.
    pub device: Option<String>,
    pub shard: usize,
    pub shards: usize,
    pub first_row: usize,
    pub rows: usize,
    pub listed: usize,
    #[serde(serialize_with = "rows_of")]
    pub nonfinite_rows: RowSet,
    pub settled: u64,
    pub retries: u64,
    /// Why devices were given up for others.
    pub fallbacks: Vec<String>,
    /// What the scan was planned to take.
    pub memory: Option<Plan>,
    /// Bytes of the host's memory that were in use at most, mapped files aside.
    pub peak_bytes: usize,
    pub seconds: f64,
}

/// Runs and prints.
///
/// # Errors
/// Where a file cannot be read or does not fit, and whatever the scan says.
pub(crate) fn main(job: &Job, wish: &DeviceWish, console: Console) -> Result<()> {
    let started = Instant::now();
    check(job)?;
    let question = &job.question;
    let strategy = question.strategy.name();
    let pool = question.open(job.machine.memory, console)?;
    let files = question.read(&pool, console)?;
    let serving = job.ranking.serving(strategy, &files.request(question));
    let serving = serving.map_err(|error| question.name_row(error, files.pool))?;
    let shared = shared_question(job, &files, &serving)?;
    let rows = shard_rows(files.pool.rows(), job.shard, job.shards);
    let report = Report {
        out: None,
        strategy,
        device: None,
        shard: job.shard + 1,
        shards: job.shards,
        first_row: rows.start,
        rows: rows.len(),
        listed: 0,
        nonfinite_rows: RowSet::default(),
        settled: 0,
        retries: 0,
        fallbacks: Vec::new(),
        memory: None,
        peak_bytes: 0,
        seconds: started.elapsed().as_secs_f64(),
    };
    let Some(depths) = depths(job, &serving, &shared)? else {
        return print(&report, console);
    };
    let head = files.request(question).head_for(strategy)?;
    let bytes = job.machine.allowances().into_iter().map(|memory| {
        let request = Request {
            memory,
            ..files.request(question)
        };
        shard_memory(&request, head, &serving, &depths, rows.len())
    });
    let need = Need {
        shape: ScanShape::of(head, files.pool, Task::Boundaries)?,
        bytes: bytes.collect(),
    };
    let scans = Scans {
        pool: &pool,
        needs: &[Some(need)],
    };
    let machine = &job.machine;
    machine.with_engine(wish, scans, console, |engine, granted| {
        let of = (&files, &serving, &depths[..]);
        let mut report = Report {
            memory: granted.plan.clone(),
            ..scan(job, shared, of, (engine, granted), report, console)?
        };
        report.seconds = started.elapsed().as_secs_f64();
        print(&report, console)
    })
}

fn print(report: &Report, console: Console) -> Result<()> {
    console.note(summary(report));
    match console.json {
        true => console.report(report, |_| String::new()),
        false => Ok(()),
    }
}

/// What can be refused before a device is opened or a file is read.
fn check(job: &Job) -> Result<()> {
    job.question.check()?;
    let asked = match &job.depth {
        Depth::Asked(path) => Some(path.as_path()),
        _ => None,
    };
    let inputs = job.question.inputs().chain(asked);
    check_output(&job.out, job.question.force, inputs)
}

/// Scans and writes the candidates; completes the report.
///
/// # Errors
/// Whatever the scan says, and where the candidates cannot be written.
fn scan(
    job: &Job,
    shared: SharedQuestion,
    (files, serving, depths): (&Files<'_>, &Serving, &[usize]),
    (engine, granted): (&dyn Engine, &Granted),
    report: Report,
    console: Console,
) -> Result<Report> {
    let question = &job.question;
    let rows = report.first_row..report.first_row + report.rows;
    let bar = console.bar(report.rows as u64, "scanning");
    let request = Request {
        progress: &|rows| bar.inc(rows),
        memory: granted.memory,
        ..files.request(question)
    };
    let named = (report.strategy, job.ranking);
    let scan = scan_shard(engine, named, &request, serving, rows, depths);
    bar.finish_and_clear();
    let scan = scan.map_err(|error| question.name_row(error, files.pool))?;
    let selection = scan.selection.clone();
    for why in &selection.fallbacks {
        console.warn(format!("{why}: went on with another device"));
    }
    let listed = scan.lists.iter().map(|list| list.entries.len()).sum();
    let candidates = Candidates::new(shared, job.shard, scan, files.pool.ids());
    candidates.write(&job.out, question.force)?;
    Ok(Report {
        out: Some(job.out.clone()),
        device: Some(engine.name().to_owned()),
        listed,
        nonfinite_rows: selection.nonfinite,
        settled: selection.settled,
        retries: selection.retries,
        fallbacks: [granted.given_up.clone(), selection.fallbacks].concat(),
        peak_bytes: allocator::most(),
        ..report
    })
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
        report.device.as_deref().unwrap_or("no device"),
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
