//! `select`: picks the rows that are worth a label.

use std::path::PathBuf;
use std::time::Instant;

use equipoise::core::strategies::MEMORY;
use equipoise::core::{Engine, Pick, Pool, Request, RowSet, Selection};
use equipoise::pool::{self, PickFormat};
use equipoise::report::{Balance, Table};
use serde::Serialize;

use super::constraints::Short;
use super::explain::{self, Explained};
use super::input::Input;
use super::machine::{Machine, Scans};
use super::memory_plan::Plan;
use super::output::{check_output, is_one_file, rows_of};
use super::question::{Files, Question};
use super::strategy_options::Options;
use crate::allocator;
use crate::console::{Console, grouped};
use crate::device::DeviceWish;
use crate::failure::{Failure, Result};

/// One selection.
#[derive(Clone)]
pub(crate) struct Job {
    pub question: Question,
    pub options: Options,
    pub out: PathBuf,
    pub seed: u64,
    /// Rows to explain, by id or number.
    pub explain: Vec<String>,
    pub report: Option<PathBuf>,
    pub format: PickFormat,
}

/// Selections from one pool, and how to make them.
pub(crate) struct Batch {
    /// At least one; their pools are the same.
    pub jobs: Vec<Job>,
    pub machine: Machine,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub out: PathBuf,
    pub strategy: &'static str,
    /// Whether true labels of available rows were read: then the picks are a baseline's.
    pub oracle: bool,
    pub device: String,
    pub rows: usize,
    pub available: usize,
    pub budget: usize,
    pub picked: usize,
    /// Class names and how many picks the head predicts to be of each; empty where nothing was predicted.
    pub predicted: Vec<(String, usize)>,
    pub predicted_entropy: Option<f64>,
    #[serde(serialize_with = "rows_of")]
    pub nonfinite_rows: RowSet,
    pub settled: u64,
    pub retries: u64,
    pub refills: u64,
    /// Why devices were given up for others.
    pub fallbacks: Vec<String>,
    /// Classes that did not fill their quotas.
    pub shortfalls: Vec<Short>,
    /// What else a user should know.
    pub notices: Vec<String>,
    /// Why rows were picked, or were not.
    pub explained: Vec<Explained>,
    /// What the scan was planned to take; none where there is no scan.
    pub memory: Option<Plan>,
    /// Bytes of the host's memory that were in use at most so far, mapped files aside.
    pub peak_bytes: usize,
    /// From embeddings in memory to picks.
    pub scan_seconds: f64,
    /// With reading and writing files.
    pub seconds: f64,
}

/// Runs and prints.
///
/// # Errors
/// Whatever the selections say; what is done by then stays done.
pub(crate) fn main(batch: &Batch, wish: &DeviceWish, console: Console) -> Result<()> {
    let Some(first) = batch.jobs.first() else {
        return Ok(());
    };
    for job in &batch.jobs {
        check(job)?;
    }
    let pool = first.question.open(batch.machine.memory, console)?;
    let inputs = batch
        .jobs
        .iter()
        .map(|job| Input::read(&job.question, (&job.options, job.seed), &pool, console));
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    let needs = inputs
        .iter()
        .map(|input| input.need(&batch.machine))
        .collect::<Result<Vec<_>>>()?;
    let scans = Scans {
        pool: &pool,
        needs: &needs,
    };
    batch
        .machine
        .with_engine(wish, scans, console, |engine, granted| {
            for (job, input) in batch.jobs.iter().zip(&inputs) {
                let answered = answer(job, input, (engine, granted.memory), console)?;
                let report = Report {
                    memory: granted.plan.clone(),
                    fallbacks: [granted.given_up.clone(), answered.fallbacks].concat(),
                    ..answered
                };
                console.note(summary(&report));
                if console.json {
                    console.report(&report, |_| String::new())?;
                }
            }
            Ok(())
        })
}

/// What can be refused before a device is opened or a file is read.
fn check(job: &Job) -> Result<()> {
    job.question.check()?;
    for out in std::iter::once(&job.out).chain(&job.report) {
        check_output(out, job.question.force, job.question.inputs())?;
    }
    if let Some(page) = &job.report
        && is_one_file(page, &job.out)
    {
        let failure = Failure::usage("the picks and the report cannot be one file").at(page);
        return Err(failure.with_hint("name another with --report"));
    }
    Ok(())
}

/// Selects and writes the picks.
///
/// # Errors
/// Where a file cannot be read or does not fit, and whatever the strategy says.
pub(crate) fn run(job: &Job, engine: &dyn Engine, console: Console) -> Result<Report> {
    check(job)?;
    let pool = job.question.open(None, console)?;
    let input = Input::read(&job.question, (&job.options, job.seed), &pool, console)?;
    answer(job, &input, (engine, MEMORY), console)
}

/// Selects, writes the picks and whatever else the job wants.
fn answer(
    job: &Job,
    input: &Input<'_>,
    (engine, memory): (&dyn Engine, u64),
    console: Console,
) -> Result<Report> {
    let started = Instant::now();
    let (question, files) = (input.question, &input.files);
    let explained = explain::rows(&job.explain, files.pool.ids())?;
    let bar = console.bar(files.pool.rows() as u64, "selecting");
    let selection = question.strategy.select(
        engine,
        &Request {
            progress: &|rows| bar.inc(rows),
            ..input.request(memory)
        },
    );
    bar.finish_and_clear();
    let scan_seconds = started.elapsed().as_secs_f64();
    let selection = selection.map_err(|error| question.name_row(error, files.pool))?;
    for notice in &selection.notices {
        console.note(notice);
    }
    for why in &selection.fallbacks {
        console.warn(format!("{why}: went on with another device"));
    }
    let names = match &input.truth {
        Some(truth) => truth.classes.clone(),
        None => files.class_names(),
    };
    let ids = files.pool.ids();
    let picks = &selection.picks;
    pool::write_picks(&job.out, question.force, job.format, picks, ids, &names)?;
    let times = (scan_seconds, started);
    for short in &selection.shortfalls {
        console.warn(Short::of(short, &names).line());
    }
    let named = (ids, &names[..]);
    let request = input.request(memory);
    let explained = explain::run(&explained, question.strategy, &request, &selection, named)?;
    for row in &explained {
        console.note(row.text());
    }
    let mut summed = report(job, engine, files, &selection, times);
    summed.explained = explained;
    if let Some(page) = &job.report {
        let of = (picks.as_slice(), &names[..], files.pool);
        super::report::write(page, question.force, &summed, of, console)?;
    }
    Ok(summed)
}

fn report(
    job: &Job,
    engine: &dyn Engine,
    files: &Files<'_>,
    selection: &Selection,
    (scan_seconds, started): (f64, Instant),
) -> Report {
    let predicted = || {
        let picks = selection.picks.iter();
        picks.filter_map(|pick: &Pick| pick.predicted)
    };
    let names = files.class_names();
    let balance = Balance::of_rows(predicted(), names.len());
    let is_predicted = predicted().next().is_some();
    let short = selection.shortfalls.iter();
    let shortfalls = short.map(|short| Short::of(short, &names)).collect();
    Report {
        out: job.out.clone(),
        strategy: job.question.strategy.name(),
        oracle: selection.oracle,
        device: engine.name().to_owned(),
        rows: files.pool.rows(),
        available: files.available.len(),
        budget: job.question.budget,
        picked: selection.picks.len(),
        predicted_entropy: is_predicted.then(|| balance.entropy()),
        predicted: names
            .into_iter()
            .zip(balance.counts().iter().copied())
            .filter(|_| is_predicted)
            .collect(),
        nonfinite_rows: selection.nonfinite.clone(),
        settled: selection.settled,
        retries: selection.retries,
        refills: selection.refills,
        fallbacks: selection.fallbacks.clone(),
        shortfalls,
        notices: selection.notices.clone(),
        explained: Vec::new(),
        memory: None,
        peak_bytes: allocator::most(),
        scan_seconds,
        seconds: started.elapsed().as_secs_f64(),
    }
}

/// Most classes whose counts the summary lists.
const LISTED: usize = 20;

fn summary(report: &Report) -> String {
    let mut text = String::new();
    if (1..=LISTED).contains(&report.predicted.len()) {
        let mut table = Table::new(["predicted class", "picked"]);
        for (name, count) in &report.predicted {
            table.row([name.clone(), grouped(*count)]);
        }
        text += &format!("{table}\n");
    }
    text += &format!(
        "picked {} of {} available rows ({} in the pool) by {}{} on {} in {:.2} s\n",
        grouped(report.picked),
        grouped(report.available),
        grouped(report.rows),
        report.strategy,
        match report.oracle {
            true => ", an oracle that read true labels,",
            false => "",
        },
        report.device,
        report.seconds,
    );
    if report.settled + report.refills + report.retries > 0 {
        text += &format!(
            "settled {} scores in float64, {} refills, {} retries\n",
            grouped(report.settled as usize),
            report.refills,
            report.retries
        );
    }
    if !report.nonfinite_rows.is_empty() {
        text += &format!(
            "left out {} rows with a NaN or an infinity\n",
            grouped(report.nonfinite_rows.len())
        );
    }
    text + &format!("wrote {}", report.out.display())
}
