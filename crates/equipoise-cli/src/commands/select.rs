//! `select`: picks the rows that are worth a label.

use std::path::{Path, PathBuf};
use std::time::Instant;

use equipoise::core::memory::ScanShape;
use equipoise::core::quota::{self, ClassOrder};
use equipoise::core::strategies::{Nonfinite, Strategy};
use equipoise::core::{Engine, LabelledRow, Pick, Pool, Request, RowSet, Selection};
use equipoise::pool::{self, EmbeddingPool, HeadFile, PickFormat};
use equipoise::report::{Balance, Table};
use serde::Serialize;

use super::machine::{Machine, Need, Plan, Scans};
use crate::console::{Console, grouped};
use crate::device::DeviceWish;
use crate::failure::{Failure, Result};

/// How many rows each class may claim.
#[derive(Debug, Clone)]
pub(crate) enum Quotas {
    /// As many for each class.
    Uniform,
    /// So that the labelled set becomes even.
    Balance,
    /// As a file says.
    File(PathBuf),
}

/// One selection.
#[derive(Clone)]
pub(crate) struct Job {
    pub embeddings: PathBuf,
    pub head: Option<PathBuf>,
    pub strategy: &'static dyn Strategy,
    pub budget: usize,
    pub out: PathBuf,
    pub labelled: Option<PathBuf>,
    pub exclude: Vec<PathBuf>,
    pub quotas: Quotas,
    pub class_order: ClassOrder,
    pub seed: u64,
    pub report: Option<PathBuf>,
    pub format: PickFormat,
    pub nonfinite: Nonfinite,
    pub force: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub out: PathBuf,
    pub strategy: &'static str,
    pub device: String,
    pub rows: usize,
    pub available: usize,
    pub budget: usize,
    pub picked: usize,
    /// Class names and how many picks the head predicts to be of each; empty without a head.
    pub predicted: Vec<(String, usize)>,
    pub predicted_entropy: f64,
    pub nonfinite_rows: Vec<usize>,
    pub settled: u64,
    pub retries: u64,
    pub refills: u64,
    /// Why devices were given up for others.
    pub fallbacks: Vec<String>,
    /// What the scan was planned to take; none where there is no scan.
    pub memory: Option<Plan>,
    /// From embeddings in memory to picks.
    pub scan_seconds: f64,
    /// With reading and writing files.
    pub seconds: f64,
}

/// Selections from one pool, and how to make them.
pub(crate) struct Batch {
    /// At least one; their pools are the same.
    pub jobs: Vec<Job>,
    pub machine: Machine,
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
    let pool = open_pool(first, console)?;
    let questions = batch.jobs.iter().map(|job| Asked::new(job, &pool, console));
    let questions = questions.collect::<Result<Vec<_>>>()?;
    let needs = batch.jobs.iter().zip(&questions);
    let needs = needs.map(|(job, asked)| asked.needs(job, &pool));
    let needs = needs.collect::<Result<Vec<_>>>()?;
    let scans = Scans {
        pool: &pool,
        needs: &needs,
    };
    batch
        .machine
        .with_engine(wish, scans, console, |engine, plan| {
            for (job, asked) in batch.jobs.iter().zip(&questions) {
                let report = Report {
                    memory: plan.cloned(),
                    ..answer(job, asked, &pool, engine, console)?
                };
                console.note(summary(&report));
                if console.json {
                    console.report(&report, |_| String::new())?;
                }
            }
            Ok(())
        })
}

fn open_pool(job: &Job, console: Console) -> Result<EmbeddingPool> {
    let pool = EmbeddingPool::open(&job.embeddings)?;
    for notice in pool.notices() {
        console.note(notice);
    }
    match pool.rows() {
        0 => Err(Failure::new("the pool has no rows")
            .at(&job.embeddings)
            .with_hint("make one with `equipoise embed`")),
        _ => Ok(pool),
    }
}

/// What can be refused before a device is opened or a file is read.
fn check(job: &Job) -> Result<()> {
    if job.budget == 0 {
        return Err(equipoise::core::Error::ZeroBudget.into());
    }
    for out in std::iter::once(&job.out).chain(&job.report) {
        pool::check_output(out, job.force)?;
    }
    Ok(())
}

/// Selects and writes the picks.
///
/// # Errors
/// Where a file cannot be read or does not fit, and whatever the strategy says.
pub(crate) fn run(job: &Job, engine: &dyn Engine, console: Console) -> Result<Report> {
    check(job)?;
    let pool = open_pool(job, console)?;
    let asked = Asked::new(job, &pool, console)?;
    answer(job, &asked, &pool, engine, console)
}

/// A job's files, read.
struct Asked {
    head: Option<HeadFile>,
    labelled: Vec<LabelledRow>,
    available: RowSet,
    quotas: Option<Vec<usize>>,
}

impl Asked {
    fn new(job: &Job, pool: &EmbeddingPool, console: Console) -> Result<Self> {
        let head = job
            .head
            .as_deref()
            .map(|path| read_head(path, job, pool, console))
            .transpose()?;
        let labelled = read_labelled(job, pool, head.as_ref())?;
        let available = available(job, pool, &labelled)?;
        let quotas = match &head {
            Some(head) => quotas(job, head, &labelled, available.len())?,
            None => None,
        };
        Ok(Self {
            head,
            labelled,
            available,
            quotas,
        })
    }

    fn request<'a>(
        &'a self,
        job: &Job,
        pool: &'a EmbeddingPool,
        progress: &'a (dyn Fn(u64) + Sync),
    ) -> Request<'a> {
        Request {
            head: self.head.as_ref().map(|head| &head.head),
            labelled: &self.labelled,
            quotas: self.quotas.as_deref(),
            class_order: job.class_order,
            seed: job.seed,
            nonfinite: job.nonfinite,
            progress,
            ..Request::new(pool, &self.available, job.budget)
        }
    }

    /// What the job takes beside the engine, and the shape that an engine plans for; none where there
    /// is no scan.
    fn needs(&self, job: &Job, pool: &EmbeddingPool) -> Result<Option<Need>> {
        let request = self.request(job, pool, &|_| {});
        let bytes = job.strategy.memory(&request);
        let bytes = bytes.map_err(|error| name_row(error, job, pool))?;
        Ok(match (&self.head, job.strategy.needs_head()) {
            (Some(head), true) => Some(Need {
                shape: ScanShape::of(&head.head, pool)?,
                bytes,
            }),
            _ => None,
        })
    }
}

/// Selects, writes the picks and whatever else the job wants.
fn answer(
    job: &Job,
    asked: &Asked,
    pool: &EmbeddingPool,
    engine: &dyn Engine,
    console: Console,
) -> Result<Report> {
    let started = Instant::now();
    let bar = console.bar(pool.rows() as u64, "selecting");
    let progress = |rows| bar.inc(rows);
    let selection = job
        .strategy
        .select(engine, &asked.request(job, pool, &progress));
    bar.finish_and_clear();
    let scan_seconds = started.elapsed().as_secs_f64();
    let selection = selection.map_err(|error| name_row(error, job, pool))?;
    for why in &selection.fallbacks {
        console.warn(format!("{why}: went on with another device"));
    }
    let names = asked.head.as_ref().map(class_names).unwrap_or_default();
    pool::write_picks(
        &job.out,
        job.force,
        job.format,
        &selection.picks,
        pool.ids(),
        &names,
    )?;
    let available = asked.available.len();
    let times = (scan_seconds, started);
    let summed = report(job, engine, pool, available, &selection, names, times);
    if let Some(page) = &job.report {
        super::report::write(page, job.force, &summed, &selection.picks, pool, console)?;
    }
    Ok(summed)
}

/// Names the pool, and the image as well, where the strategy names the row.
fn name_row(error: equipoise::core::Error, job: &Job, pool: &EmbeddingPool) -> Failure {
    use equipoise::core::Error;
    let image = match &error {
        Error::NonFiniteRow { row } if !pool.ids().are_rows() => {
            Some(pool.ids().id(*row).into_owned())
        }
        _ => None,
    };
    let of_pool = matches!(
        &error,
        Error::NonFiniteRow { .. } | Error::Read { .. } | Error::NothingAvailable { .. }
    );
    let failure = Failure::from(error);
    match (image, of_pool) {
        (Some(id), _) => failure.at(Path::new(&id)).at(&job.embeddings),
        (None, true) => failure.at(&job.embeddings),
        (None, false) => failure,
    }
}

/// The head, where it fits the pool and the strategy.
fn read_head(path: &Path, job: &Job, pool: &EmbeddingPool, console: Console) -> Result<HeadFile> {
    let file = HeadFile::read(path)?;
    for notice in &file.notices {
        console.note(notice);
    }
    if file.head.dim() != pool.dim() {
        let error = equipoise::core::Error::Dimension {
            head: file.head.dim(),
            pool: pool.dim(),
        };
        return Err(Failure::from(error).at(path));
    }
    if job.strategy.needs_head() && file.head.classes() == 1 {
        return Err(Failure::new(format!(
            "the head has a single class: strategy {} has no boundary to look at",
            job.strategy.name()
        ))
        .at(path)
        .with_hint("fit a head on two classes or more, or use `--strategy random`"));
    }
    if let Some(what) = pool.mismatch(&file) {
        if !job.force {
            return Err(Failure::new(what)
                .at(path)
                .with_hint("fit a head on this pool; `--force` takes it all the same"));
        }
        console.warn(format!("{}: {what}", path.display()));
    }
    Ok(file)
}

/// The rows of `--labelled`, with their class where file and head know it.
fn read_labelled(
    job: &Job,
    pool: &EmbeddingPool,
    head: Option<&HeadFile>,
) -> Result<Vec<LabelledRow>> {
    let Some(path) = &job.labelled else {
        return Ok(Vec::new());
    };
    let rows = pool::read_rows(path, pool.ids())?;
    rows.into_iter()
        .map(|(row, label)| {
            let class = match (label, head) {
                (Some(label), Some(head)) => Some(
                    class_of(&label, &pool.ids().id(row), head)
                        .map_err(|failure| failure.at(path))?,
                ),
                _ => None,
            };
            Ok(LabelledRow { row, class })
        })
        .collect()
}

/// The class that `label` means to the head: by name, or by number where it has no names.
fn class_of(label: &str, id: &str, head: &HeadFile) -> Result<u32> {
    let classes = head.head.classes();
    let class = match &head.classes {
        Some(names) => names.iter().position(|name| name == label),
        None => label.parse().ok().filter(|class| *class < classes),
    };
    class.map(|class| class as u32).ok_or_else(|| {
        let failure = Failure::new(format!(
            "label `{label}` of `{id}` is none of the head's {classes} classes"
        ));
        match &head.classes {
            Some(names) => failure.with_hint(format!("the head knows {}", shortened(names))),
            None => failure.with_hint(format!(
                "the head has no class names: labels are 0 to {}",
                classes - 1
            )),
        }
    })
}

fn shortened(names: &[String]) -> String {
    match names {
        [first @ .., _] if names.len() > 12 => {
            format!("{}, … ({} in all)", first[..11].join(", "), names.len())
        }
        _ => names.join(", "),
    }
}

/// The rows neither labelled nor excluded.
fn available(job: &Job, pool: &EmbeddingPool, labelled: &[LabelledRow]) -> Result<RowSet> {
    let mut available = RowSet::all(pool.rows());
    for labelled in labelled {
        available.remove(labelled.row);
    }
    for path in &job.exclude {
        for (row, _) in pool::read_rows(path, pool.ids())? {
            available.remove(row);
        }
    }
    Ok(available)
}

/// What each class may claim; `None` for the uniform quota.
fn quotas(
    job: &Job,
    head: &HeadFile,
    labelled: &[LabelledRow],
    available: usize,
) -> Result<Option<Vec<usize>>> {
    let classes = head.head.classes();
    Ok(match &job.quotas {
        Quotas::Uniform => None,
        Quotas::Balance => {
            let counts = quota::class_counts(labelled, classes)?;
            Some(quota::balance(job.budget.min(available), &counts))
        }
        Quotas::File(path) => Some(pool::read_quotas(path, classes, head.classes.as_deref())?),
    })
}

/// The head's class names, or its class numbers.
fn class_names(head: &HeadFile) -> Vec<String> {
    let numbers = || {
        (0..head.head.classes())
            .map(|class| class.to_string())
            .collect()
    };
    head.classes.clone().unwrap_or_else(numbers)
}

fn report(
    job: &Job,
    engine: &dyn Engine,
    pool: &EmbeddingPool,
    available: usize,
    selection: &Selection,
    names: Vec<String>,
    (scan_seconds, started): (f64, Instant),
) -> Report {
    let predicted = selection
        .picks
        .iter()
        .filter_map(|pick: &Pick| pick.predicted);
    let balance = Balance::of_rows(predicted, names.len());
    Report {
        out: job.out.clone(),
        strategy: job.strategy.name(),
        device: engine.name().to_owned(),
        rows: pool.rows(),
        available,
        budget: job.budget,
        picked: selection.picks.len(),
        predicted_entropy: balance.entropy(),
        predicted: names
            .into_iter()
            .zip(balance.counts().iter().copied())
            .collect(),
        nonfinite_rows: selection.nonfinite.clone(),
        settled: selection.settled,
        retries: selection.retries,
        refills: selection.refills,
        fallbacks: selection.fallbacks.clone(),
        memory: None,
        scan_seconds,
        seconds: started.elapsed().as_secs_f64(),
    }
}

/// Most classes whose counts the summary lists.
const LISTED: usize = 20;

fn summary(report: &Report) -> String {
    let mut text = String::new();
    if report.predicted.iter().any(|(_, count)| *count > 0) && report.predicted.len() <= LISTED {
        let mut table = Table::new(["predicted class", "picked"]);
        for (name, count) in &report.predicted {
            table.row([name.clone(), grouped(*count)]);
        }
        text += &format!("{table}\n");
    }
    text += &format!(
        "picked {} of {} available rows ({} in the pool) by {} on {} in {:.2} s\n",
        grouped(report.picked),
        grouped(report.available),
        grouped(report.rows),
        report.strategy,
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
