//! `simulate`: rounds of select, label, train and test on data whose labels are known.

use std::path::{Path, PathBuf};
use std::time::Instant;

use equipoise::burn::{LoadOptions, ModelDevice};
use equipoise::core::Pool;
use equipoise::pool::{self, Dtype, Preprocess, SharedQuestion};
use equipoise::report::Table;
use equipoise::rounds::{
    Config, Curve, DataSet, FineTuned, Frozen, Interval, Learner, Mode, Overrides, Progress,
    Results, RunFolder, Simulation, TEMPLATE, report, resolve, simulate,
};
use serde::Serialize;

use super::embed;
use crate::console::{Console, grouped, print};
use crate::device::{Device, DeviceWish};
use crate::failure::{Failure, Result};
use crate::free_memory::free_memory;

/// What to do.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// Print a documented file.
    Template,
    /// Print what preset, file and flags make together.
    Config,
    /// Run it in a folder.
    Run(PathBuf),
}

/// An experiment.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub wanted: Wanted,
    pub config: Option<PathBuf>,
    pub overrides: Overrides,
    /// Runs side by side.
    pub jobs: Option<usize>,
    /// Bytes of memory that they may take together.
    pub memory: Option<u64>,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Report {
    out: PathBuf,
    device: String,
    classes: Vec<String>,
    curves: Vec<Curve>,
    /// Runs that ended before their last round: name, seed, why.
    ended: Vec<(String, u64, String)>,
    seconds: f64,
}

/// Runs and prints.
///
/// # Errors
/// Where the experiment cannot be meant, a file cannot be read, or a run fails; what is done stays done.
pub(crate) fn main(job: &Job, wish: &DeviceWish, console: Console) -> Result<()> {
    let config = || resolve(job.config.as_deref(), &job.overrides).map_err(Failure::from);
    match &job.wanted {
        Wanted::Template => print(TEMPLATE),
        Wanted::Config => print(&config()?.to_toml()?),
        Wanted::Run(out) => {
            let report = run(job, &config()?, out, wish, console)?;
            console.note(summary(&report));
            match console.json {
                true => console.report(&report, |_| String::new()),
                false => Ok(()),
            }
        }
    }
}

fn run(
    job: &Job,
    config: &Config,
    out: &Path,
    wish: &DeviceWish,
    console: Console,
) -> Result<Report> {
    let started = Instant::now();
    let device = wish.resolve()?;
    let model = device.model()?;
    let (pool, test, folder) = open(config, out, &model, console)?;
    let engine = device.engine(None)?;
    let learner: Box<dyn Learner> = match config.experiment.mode {
        Mode::Frozen => Box::new(Frozen {
            pool: &pool,
            test: &test,
            training: &config.training,
            device: &model,
        }),
        Mode::Finetune => Box::new(FineTuned::new(&pool, &test, config, &model)?),
    };
    let folder = match folder {
        Some(folder) => folder,
        None => RunFolder::open(out, config)?,
    };
    let mut simulation = Simulation {
        config,
        learner: learner.as_ref(),
        engine: engine.as_ref(),
        pool_digest: SharedQuestion::pool_digest(&pool.pool)?,
        jobs: 1,
    };
    simulation.jobs = side_by_side(job, config, &device, simulation.bytes_per_run());
    let runs = config.experiment.strategies.len() as u64 * config.experiment.seeds;
    let bar = console.bar(runs * u64::from(config.experiment.rounds + 1), "rounds");
    let told = |progress: &Progress<'_>| {
        match progress.ended {
            Some(why) => {
                let left = u64::from(config.experiment.rounds - progress.round);
                bar.inc(left);
                let (name, seed) = (progress.name, progress.seed);
                bar.suspend(|| console.note(format!("{name}, seed {seed}: ended early: {why}")));
            }
            None => bar.inc(1),
        };
    };
    let outcome = simulate(&simulation, &folder, &told);
    bar.finish_and_clear();
    outcome?;
    let results = Results::read(out, &folder.config().experiment.strategies)?;
    results.write_csv(&out.join("results.csv"))?;
    let page = report(&results, folder.config(), &pool)?.html();
    pool::OutputFile::write_all_to(&out.join("report.html"), true, page.as_bytes())?;
    let ended = results.runs.iter();
    let ended = ended.filter_map(|run| Some((run.name.clone(), run.seed, run.ended.clone()?)));
    Ok(Report {
        out: out.into(),
        device: model.name().to_owned(),
        curves: results.curves(),
        ended: ended.collect(),
        classes: results.classes,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// Pool and test rows; images are embedded into the folder first, which is then open already.
fn open(
    config: &Config,
    out: &Path,
    device: &ModelDevice,
    console: Console,
) -> Result<(DataSet, DataSet, Option<RunFolder>)> {
    let data = &config.data;
    let mut folder = None;
    let mut store =
        |given: &Option<PathBuf>, images: &Option<String>, what: &str| -> Result<PathBuf> {
            if let Some(path) = given {
                return Ok(path.clone());
            }
            let images = images.as_ref().ok_or_else(|| {
                Failure::usage(format!("no data: data.{what} is not given")).with_hint(format!(
                    "name an embedding store with --{what}, or images in the file"
                ))
            })?;
            if folder.is_none() {
                folder = Some(RunFolder::open(out, config)?);
            }
            let path = out.join(format!("{what}.emb"));
            if !path.exists() {
                embed::run(&embedding(config, images, &path)?, device, console)?;
            }
            Ok(path)
        };
    let (pool, test) = (
        store(&data.pool, &data.images, "pool")?,
        store(&data.test, &data.test_images, "test")?,
    );
    let pool = DataSet::open(&pool, data.labels.as_deref(), None)?;
    let test = DataSet::open(&test, data.test_labels.as_deref(), Some(&pool.classes))?;
    if test.pool.dim() != pool.pool.dim() {
        return Err(Failure::new(format!(
            "embeddings of {} numbers, the pool's have {}",
            test.pool.dim(),
            pool.pool.dim()
        ))
        .at(test.pool.path())
        .with_hint("embed pool and test images with the same backbone"));
    }
    Ok((pool, test, folder))
}

/// How images of the experiment are embedded.
fn embedding(config: &Config, images: &str, out: &Path) -> Result<embed::Job> {
    let data = &config.data;
    let needed = |field: &str| {
        Failure::usage(format!(
            "data.{field} is not given, and images are embedded with it"
        ))
        .with_hint(format!("--set data.{field}=…"))
    };
    let preprocess = data.preprocess.as_deref();
    let preset = match preprocess {
        None => Some(Preprocess::IMAGENET),
        Some(name) => Preprocess::by_name(name),
    };
    let preset = preset.ok_or_else(|| {
        Failure::usage(format!(
            "data.preprocess: `{}` is none of {}",
            preprocess.unwrap_or_default(),
            Preprocess::NAMES.join(", ")
        ))
    })?;
    Ok(embed::Job {
        images: images.to_owned(),
        root: None,
        part: None,
        model: data.model.clone().ok_or_else(|| needed("model"))?,
        weights: data.weights.clone().ok_or_else(|| needed("weights"))?,
        reading: LoadOptions::default(),
        out: out.to_owned(),
        batch: None,
        dtype: Dtype::F32,
        preprocess: preset,
        sized: preprocess.is_some(),
        max_bad_fraction: 0.01,
        shard_rows: None,
        head_out: None,
        append: false,
        force: false,
    })
}

/// Runs at a time. Threads share a CPU's cores well where each trains a head; a network uses all of
/// them, and a GPU has one queue. No more than the memory holds.
fn side_by_side(job: &Job, config: &Config, device: &Device, bytes: u64) -> usize {
    if let Some(jobs) = job.jobs {
        return jobs;
    }
    let useful = match (device, config.experiment.mode) {
        (Device::Cpu, Mode::Frozen) => std::thread::available_parallelism().map_or(1, usize::from),
        _ => 1,
    };
    match job.memory.or_else(free_memory) {
        Some(memory) => useful.min((memory / bytes.max(1)) as usize).max(1),
        None => useful,
    }
}

fn summary(report: &Report) -> String {
    let mut table = Table::new([
        "strategy",
        "seeds",
        "labels",
        "top-1 %",
        "over random",
        "area %",
        "random needs",
        "balance",
    ]);
    for curve in &report.curves {
        let Some(last) = curve.points.last() else {
            continue;
        };
        let needs = curve.efficiency.map(|efficiency| {
            let more = if efficiency.reached { "" } else { "over " };
            format!("{more}{}", grouped(efficiency.random.round() as usize))
        });
        table.row([
            curve.name.clone(),
            last.seeds.to_string(),
            grouped(last.labels.round() as usize),
            percent(Some(&last.top1), false),
            percent(curve.gain.as_ref(), true),
            percent(curve.area.as_ref(), false),
            needs.unwrap_or_default(),
            format!("{:.3}", last.balance.mean),
        ]);
    }
    format!(
        "{table}\n± 95% intervals over seeds; `random needs`: labels for the same accuracy; {} in {:.1} s\nwrote {}, and results.csv beside it",
        report.device,
        report.seconds,
        report.out.join("report.html").display()
    )
}

/// In per cent, with its interval.
fn percent(interval: Option<&Interval>, signed: bool) -> String {
    let Some(interval) = interval else {
        return String::new();
    };
    let mean = 100.0 * interval.mean;
    let mean = match signed {
        true => format!("{mean:+.1}"),
        false => format!("{mean:.1}"),
    };
    match interval.half {
        Some(half) => format!("{mean} ± {:.1}", 100.0 * half),
        None => mean,
    }
}
