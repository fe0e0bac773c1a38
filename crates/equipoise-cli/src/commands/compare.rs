//! `compare`: what several strategies would pick from one pool, side by side.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Instant;

use equipoise::core::{Engine, Pool, Request, coverage_radius, predictions};
use equipoise::pool::{self, OutputFile};
use equipoise::report::{Balance, Bars, Table, bars_svg};
use serde::Serialize;

use super::input::Input;
use super::machine::{Machine, Scans};
use super::question::{Files, Question};
use super::strategy_options::Options;
use crate::allocator;
use crate::console::{Console, grouped};
use crate::device::DeviceWish;
use crate::failure::{Failure, Result};

/// One comparison.
pub(crate) struct Job {
    /// One for each strategy, alike otherwise.
    pub questions: Vec<Question>,
    /// With the true labels that say how even picks are.
    pub options: Options,
    pub figure: Option<PathBuf>,
    pub seed: u64,
    pub machine: Machine,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Report {
    device: String,
    rows: usize,
    available: usize,
    labelled: usize,
    budget: usize,
    seed: u64,
    strategies: Vec<Line>,
    /// For each strategy and each other, the share of its picks that the other has, too.
    overlap: Vec<Vec<f64>>,
}

/// One strategy.
#[derive(Debug, Serialize)]
struct Line {
    strategy: &'static str,
    /// Whether it read true labels.
    oracle: bool,
    picked: usize,
    /// By the head's classes; none without a head.
    predicted: Option<Evenness>,
    /// By true classes; none without `--labels`.
    labelled: Option<Evenness>,
    /// Picks that `--labels` does not know.
    unlabelled_picks: usize,
    /// Largest distance of a row of the pool to a labelled or picked one.
    coverage_radius: Option<f64>,
    /// From embeddings in memory to picks.
    seconds: f64,
    /// Host memory taken at most meanwhile, beside mapped files.
    peak_bytes: usize,
    #[serde(skip)]
    rows: Vec<usize>,
}

/// How even picks are over classes.
#[derive(Debug, Serialize)]
struct Evenness {
    /// Normalised: 1 where every class has as many.
    entropy: f64,
    smallest: usize,
    largest: usize,
}

impl Evenness {
    fn of(classes: impl IntoIterator<Item = u32>, count: usize) -> Self {
        let balance = Balance::of_rows(classes, count);
        Self {
            entropy: balance.entropy(),
            smallest: balance.smallest(),
            largest: balance.largest(),
        }
    }
}

/// True classes: per row its class, and how many classes there are.
struct Truth {
    classes: Vec<Option<u32>>,
    count: usize,
}

/// Runs and prints.
///
/// # Errors
/// Whatever the selections say; nothing is written then.
pub(crate) fn main(job: &Job, wish: &DeviceWish, console: Console) -> Result<()> {
    let Some(first) = job.questions.first() else {
        return Ok(());
    };
    for question in &job.questions {
        question.check()?;
    }
    if let Some(figure) = &job.figure {
        pool::check_output(figure, first.force)?;
    }
    let pool = first.open(job.machine.memory, console)?;
    let of = (&job.options, job.seed);
    let inputs = job.questions.iter();
    let inputs = inputs.map(|question| Input::read(question, of, &pool, console));
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    let files = &inputs[0].files;
    let truth = truth(job, files)?;
    let needs = inputs
        .iter()
        .map(|input| input.need(&job.machine))
        .collect::<Result<Vec<_>>>()?;
    let scans = Scans {
        pool: &pool,
        needs: &needs,
    };
    job.machine
        .with_engine(wish, scans, console, |engine, granted| {
            let lines = inputs
                .iter()
                .map(|input| line(input, truth.as_ref(), (engine, granted.memory), console));
            let strategies = lines.collect::<Result<Vec<_>>>()?;
            let report = Report {
                device: engine.name().to_owned(),
                rows: pool.rows(),
                available: files.available.len(),
                labelled: files.labelled.len(),
                budget: first.budget,
                seed: job.seed,
                overlap: overlap(&strategies),
                strategies,
            };
            if let Some(figure) = &job.figure {
                let svg = bars_svg(&charts(&report)).map_err(Failure::new)?;
                OutputFile::write_all_to(figure, first.force, svg.as_bytes())?;
            }
            console.report(&report, text)
        })
}

fn truth(job: &Job, files: &Files<'_>) -> Result<Option<Truth>> {
    let Some(path) = &job.options.labels else {
        return Ok(None);
    };
    let names = files.head.as_ref().and_then(|head| head.classes.as_deref());
    let labels = pool::read_labels(path, files.pool.ids(), names)?;
    let mut classes = vec![None; files.pool.rows()];
    for (row, class) in labels.rows {
        classes[row] = Some(class);
    }
    Ok(Some(Truth {
        classes,
        count: labels.classes.len(),
    }))
}

fn line(
    input: &Input<'_>,
    truth: Option<&Truth>,
    (engine, memory): (&dyn Engine, u64),
    console: Console,
) -> Result<Line> {
    let (question, files) = (input.question, &input.files);
    let strategy = question.strategy;
    let bar = console.bar(files.pool.rows() as u64, strategy.name());
    let before = allocator::restart();
    let started = Instant::now();
    let selection = strategy.select(
        engine,
        &Request {
            progress: &|rows| bar.inc(rows),
            ..input.request(memory)
        },
    );
    let seconds = started.elapsed().as_secs_f64();
    let peak_bytes = allocator::most() - before;
    bar.finish_and_clear();
    let selection = selection.map_err(|error| question.name_row(error, files.pool))?;
    for notice in &selection.notices {
        console.note(notice);
    }
    let rows: Vec<usize> = selection.picks.iter().map(|pick| pick.row).collect();
    let predicted = match &files.head {
        Some(head) => {
            let predicted = predictions(files.pool, &head.head, &rows)?;
            Some(Evenness::of(predicted, head.head.classes()))
        }
        None => None,
    };
    let centres = files.labelled.iter().map(|labelled| labelled.row);
    let centres: Vec<usize> = centres.chain(rows.iter().copied()).collect();
    let radius = coverage_radius(engine, files.pool, &centres);
    let radius = radius.map_err(|error| question.name_row(error, files.pool))?;
    let of_rows = |truth: &Truth| {
        Evenness::of(
            rows.iter().filter_map(|row| truth.classes[*row]),
            truth.count,
        )
    };
    let unknown = |truth: &Truth| {
        rows.iter()
            .filter(|row| truth.classes[**row].is_none())
            .count()
    };
    Ok(Line {
        strategy: strategy.name(),
        oracle: selection.oracle,
        picked: rows.len(),
        predicted,
        labelled: truth.map(of_rows),
        unlabelled_picks: truth.map_or(0, unknown),
        coverage_radius: radius,
        seconds,
        peak_bytes,
        rows,
    })
}

fn overlap(lines: &[Line]) -> Vec<Vec<f64>> {
    let sets: Vec<HashSet<usize>> = lines
        .iter()
        .map(|line| line.rows.iter().copied().collect())
        .collect();
    let share = |line: &Line, other: &HashSet<usize>| {
        let shared = line.rows.iter().filter(|row| other.contains(row)).count();
        shared as f64 / line.rows.len().max(1) as f64
    };
    let of_line = |line: &Line| sets.iter().map(|other| share(line, other)).collect();
    lines.iter().map(of_line).collect()
}

fn text(report: &Report) -> String {
    let mut columns = vec!["strategy", "picked", "entropy", "min/max"];
    let labelled = report.strategies.iter().any(|line| line.labelled.is_some());
    if labelled {
        columns.extend(["true entropy", "true min/max"]);
    }
    columns.extend(["radius", "seconds", "peak MiB"]);
    let mut table = Table::new(columns);
    let evenness = |evenness: &Option<Evenness>| match evenness {
        Some(of) => [
            format!("{:.3}", of.entropy),
            format!("{}/{}", grouped(of.smallest), grouped(of.largest)),
        ],
        None => ["-".to_owned(), "-".to_owned()],
    };
    for line in &report.strategies {
        let oracle = if line.oracle { " (oracle)" } else { "" };
        let mut cells = vec![format!("{}{oracle}", line.strategy), grouped(line.picked)];
        cells.extend(evenness(&line.predicted));
        if labelled {
            cells.extend(evenness(&line.labelled));
        }
        let radius = line.coverage_radius;
        cells.push(radius.map_or("-".to_owned(), |radius| format!("{radius:.4}")));
        cells.push(format!("{:.3}", line.seconds));
        cells.push(format!("{:.1}", mib(line.peak_bytes)));
        table.row(cells);
    }
    let names = report.strategies.iter().map(|line| line.strategy);
    let mut shared = Table::new(std::iter::once("share of its picks").chain(names));
    for (line, shares) in report.strategies.iter().zip(&report.overlap) {
        let shares = shares.iter().map(|share| format!("{:.0}%", 100.0 * share));
        shared.row(std::iter::once(line.strategy.to_owned()).chain(shares));
    }
    format!(
        "{} of {} available rows, {} labelled, on {}\n\n{table}\nin those of\n{shared}",
        grouped(report.budget),
        grouped(report.available),
        grouped(report.labelled),
        report.device,
    )
}

fn charts(report: &Report) -> Vec<Bars> {
    let chart = |title: &str, value: &dyn Fn(&Line) -> Option<f64>| Bars {
        title: title.into(),
        values: report
            .strategies
            .iter()
            .map(|line| (line.strategy.to_owned(), value(line)))
            .collect(),
    };
    let entropy = |evenness: &Option<Evenness>| evenness.as_ref().map(|of| of.entropy);
    let mut charts = vec![chart(
        "balance over predicted classes (entropy, 1 is even)",
        &|line| entropy(&line.predicted),
    )];
    if report.strategies.iter().any(|line| line.labelled.is_some()) {
        charts.push(chart(
            "balance over true classes (entropy, 1 is even)",
            &|line| entropy(&line.labelled),
        ));
    }
    charts.push(chart("coverage radius (smaller covers better)", &|line| {
        line.coverage_radius
    }));
    charts.push(chart("seconds", &|line| Some(line.seconds)));
    charts.push(chart("peak memory, MiB", &|line| {
        Some(mib(line.peak_bytes))
    }));
    charts
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
