//! The experiment: every strategy and seed, round by round, each step in a ledger.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use equipoise_core::{Engine, LabelledRow, Pool, Request};
use equipoise_pool::OutputFile;

use crate::ledger::LEDGER_VERSION;
use crate::stored_images::StoredImages;
use crate::vaal;
use crate::{
    Config, Entry, Error, Learner, Ledger, Measures, Mode, Model, Result, Seconds, Setup, Task,
    Variant, differing,
};

/// Bytes that strategies keep of each row of the pool, with room: coreset and badge take 20 and 24.
const ROW_BYTES: u64 = 32;

/// Name of the file that tells a run's settings.
const CONFIG: &str = "config.toml";

/// A folder of runs, held by one process.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: File,
}

impl RunFolder {
    /// Makes the folder, or opens it if it is of the same experiment. Strategies, seeds and rounds may
    /// differ: what is missing is run.
    ///
    /// # Errors
    /// [`Error::OtherConfig`], [`Error::Busy`], [`Error::Io`].
    pub fn open(path: &Path, config: &Config) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(|source| Error::io(path, source))?;
        let lock = lock(path)?;
        let file = path.join(CONFIG);
        let mut saved = config.clone();
        if file.is_file() {
            let text = std::fs::read_to_string(&file).map_err(|source| Error::io(&file, source))?;
            let had = Config::parse(&file, &text)?;
            let fields = differing(&identity(&had, config), &identity(config, &had))?;
            if !fields.is_empty() {
                return Err(Error::OtherConfig {
                    path: path.into(),
                    fields,
                });
            }
            add(&mut saved, had);
        }
        OutputFile::write_all_to(&file, true, saved.to_toml()?.as_bytes())?;
        Ok(Self {
            path: path.into(),
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of one strategy and seed.
    pub fn run(&self, name: &str, seed: u64) -> PathBuf {
        run_folder(&self.path, name, seed)
    }
}

/// The folder of one strategy and seed in a folder of runs.
pub(crate) fn run_folder(folder: &Path, name: &str, seed: u64) -> PathBuf {
    folder.join("runs").join(name).join(format!("seed-{seed}"))
}

/// Name of the ledger in a run's folder.
pub(crate) const LEDGER: &str = "ledger.jsonl";

/// Keeps other processes out for as long as the file is open.
pub(crate) fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(".lock");
    let file = File::create(&path).map_err(|source| Error::io(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::Busy {
            path: folder.into(),
        }),
        Err(std::fs::TryLockError::Error(source)) => Err(Error::io(&path, source)),
    }
}

/// The settings that decide what a strategy and a seed come to; of variants those that `other` has too.
fn identity(config: &Config, other: &Config) -> Config {
    let mut config = config.clone();
    config.experiment.strategies.clear();
    config.experiment.seeds = 0;
    config.experiment.rounds = 0;
    // Its fields are in the others.
    config.preset = None;
    config
        .variants
        .retain(|name, _| other.variants.contains_key(name));
    config
}

/// Adds what a folder has already to what is asked for now.
fn add(config: &mut Config, had: Config) {
    for name in had.experiment.strategies {
        if !config.experiment.strategies.contains(&name) {
            config.experiment.strategies.push(name);
        }
    }
    config.experiment.seeds = config.experiment.seeds.max(had.experiment.seeds);
    config.experiment.rounds = config.experiment.rounds.max(had.experiment.rounds);
    for (name, variant) in had.variants {
        config.variants.entry(name).or_insert(variant);
    }
}

/// An experiment, and what it runs on.
pub struct Simulation<'a> {
    /// The settings.
    pub config: &'a Config,
    /// What learns.
    pub learner: &'a dyn Learner,
    /// What selects.
    pub engine: &'a dyn Engine,
    /// What tells the pool's contents from others'.
    pub pool_digest: String,
    /// Runs side by side, at least 1.
    pub jobs: usize,
}

impl Simulation<'_> {
    /// Bytes of memory that one run takes at most, beside what all share: the rows that it trains on, on the
    /// way to the device and there, and what strategies keep of each row.
    pub fn bytes_per_run(&self) -> u64 {
        let (config, pool) = (self.config, &self.learner.pool().pool);
        let (rows, dim) = (pool.rows() as u64, pool.dim() as u64);
        let picked = config.budget() as u64 * u64::from(config.experiment.rounds);
        let labels = (config.initial() as u64 + picked).min(rows);
        let held_out = (rows as f64 * config.experiment.evaluation) as u64;
        let made = match config.experiment.mode {
            Mode::Frozen => 0,
            Mode::Finetune => rows * dim * 4,
        };
        3 * 4 * (labels + held_out) * dim + made + ROW_BYTES * rows
    }
}

/// What has just been done.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// Strategy or variant.
    pub name: &'a str,
    /// Its seed.
    pub seed: u64,
    /// The round that was trained and tested, from 0; or the last where the run ends early.
    pub round: u32,
    /// Whether a ledger had it already.
    pub known: bool,
    /// Test accuracy.
    pub top1: Option<f64>,
    /// Why the run ends before its last round.
    pub ended: Option<&'a str>,
}

/// One strategy and seed.
struct Job {
    name: String,
    variant: Variant,
    seed: u64,
}

/// Runs what is missing of every strategy and seed. Errors end the whole, after the steps that others are at.
///
/// # Errors
/// The first of any run.
pub fn simulate(
    simulation: &Simulation<'_>,
    folder: &RunFolder,
    progress: &(dyn Fn(&Progress<'_>) + Sync),
) -> Result<()> {
    let chosen = simulation.config.chosen()?;
    if simulation.config.looks_at_images()? {
        // Before anything is trained.
        StoredImages::new(simulation.learner.pool())?;
    }
    let mut jobs = VecDeque::new();
    for seed in 0..simulation.config.experiment.seeds {
        for (name, variant) in &chosen {
            jobs.push_back(Job {
                name: name.clone(),
                variant: variant.clone(),
                seed,
            });
        }
    }
    let workers = simulation.jobs.clamp(1, jobs.len().max(1));
    let jobs = Mutex::new(jobs);
    let failed = AtomicBool::new(false);
    let work = || -> Result<()> {
        loop {
            // Nothing panics while it is held.
            let job = jobs
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front();
            let Some(job) = job.filter(|_| !failed.load(Ordering::Relaxed)) else {
                return Ok(());
            };
            let done = run(simulation, folder, &job, &failed, progress);
            if done.is_err() {
                failed.store(true, Ordering::Relaxed);
                return done;
            }
        }
    };
    let results: Vec<Result<()>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<()>>| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        threads.into_iter().map(join).collect()
    });
    results.into_iter().collect()
}

/// How far a run has come.
struct SoFar {
    labelled: Vec<LabelledRow>,
    /// Rows of this round's picks, while they are not trained on.
    picked: Option<(u32, Vec<usize>, f64)>,
    /// The last round that was trained.
    trained: Option<u32>,
    ended: bool,
}

impl SoFar {
    fn of(entries: &[Entry], labels: &[u32]) -> Self {
        let mut standing = Self {
            labelled: Vec::new(),
            picked: None,
            trained: None,
            ended: false,
        };
        for entry in entries {
            match entry {
                Entry::Picked {
                    round,
                    rows,
                    seconds,
                    ..
                } => standing.take(*round, rows.clone(), *seconds, labels),
                Entry::Trained { round, .. } => {
                    standing.trained = Some(*round);
                    standing.picked = None;
                }
                Entry::Ended { .. } => standing.ended = true,
                Entry::Opened { .. } | Entry::Labelled { .. } => {}
            }
        }
        standing
    }

    /// Labels picked rows, which a simulation can at once.
    fn take(&mut self, round: u32, rows: Vec<usize>, seconds: f64, labels: &[u32]) {
        let labelled = rows.iter().map(|row| LabelledRow {
            row: *row,
            class: labels.get(*row).copied(),
        });
        self.labelled.extend(labelled);
        self.picked = Some((round, rows, seconds));
    }
}

fn run(
    simulation: &Simulation<'_>,
    folder: &RunFolder,
    job: &Job,
    stop: &AtomicBool,
    progress: &(dyn Fn(&Progress<'_>) + Sync),
) -> Result<()> {
    let (config, learner) = (simulation.config, simulation.learner);
    let data = learner.pool();
    let own = folder.run(&job.name, job.seed);
    std::fs::create_dir_all(&own).map_err(|source| Error::io(&own, source))?;
    let opened = Entry::Opened {
        ledger: LEDGER_VERSION,
        name: job.name.clone(),
        seed: job.seed,
        pool: simulation.pool_digest.clone(),
        classes: data.classes.clone(),
    };
    let mut ledger = Ledger::open(&own.join(LEDGER), opened)?;
    let mut standing = SoFar::of(ledger.entries(), &data.labels);
    let setup = Setup::new(config, &data.labels, data.classes.len(), job.seed);
    let told = |round, known, top1, ended: Option<&str>| {
        progress(&Progress {
            name: &job.name,
            seed: job.seed,
            round,
            known,
            top1,
            ended,
        });
    };
    for entry in ledger.entries() {
        match entry {
            Entry::Trained {
                round, measures, ..
            } if *round <= config.experiment.rounds => {
                told(
                    *round,
                    true,
                    measures.as_ref().map(|measures| measures.top1),
                    None,
                );
            }
            Entry::Ended { round, why } if *round <= config.experiment.rounds => {
                told(round.saturating_sub(1), true, None, Some(why));
            }
            _ => {}
        }
    }
    let model_at = |round: u32| own.join(format!("model-{round}.safetensors"));
    let mut model: Option<Model<'_>> = None;
    loop {
        if standing.ended || stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        if let Some((round, rows, select)) = standing.picked.take() {
            let learned = learner.learn(&Task {
                labelled: &standing.labelled,
                evaluation: &setup.evaluation,
                rows: &setup.pool,
                seed: job.seed,
                round,
            })?;
            let of_row = |row: &usize| data.labels[*row];
            let measures = Measures::new(
                &learned.scores,
                &learner.test().labels,
                data.classes.len(),
                standing
                    .labelled
                    .iter()
                    .filter_map(|labelled| labelled.class),
                rows.iter().map(of_row),
            );
            // Before the ledger says that it is there.
            learner.remember(&learned.model, &model_at(round))?;
            let top1 = measures.top1;
            ledger.add(Entry::Trained {
                round,
                labels: standing.labelled.len(),
                epochs: learned.epochs,
                best_epoch: learned.best_epoch,
                evaluation: learned.evaluation_accuracy,
                measures: Some(measures),
                seconds: Seconds {
                    select,
                    train: learned.train_seconds,
                    test: learned.test_seconds,
                },
            })?;
            standing.trained = Some(round);
            model = Some(learned.model);
            told(round, false, Some(top1), None);
            if round > 0 {
                // The last one is enough to go on from; if it stays, no harm is done.
                let _ = std::fs::remove_file(model_at(round - 1));
            }
            continue;
        }
        let round = standing.trained.map_or(0, |round| round + 1);
        if round > config.experiment.rounds {
            return Ok(());
        }
        let (rows, seconds) = match standing.trained {
            None => (setup.initial.clone(), 0.0),
            Some(last) => {
                let model = match model.take() {
                    Some(model) => model,
                    None => learner.recall(&model_at(last), &setup.pool)?,
                };
                let mut available = setup.pool.clone();
                for labelled in &standing.labelled {
                    available.remove(labelled.row);
                }
                if available.is_empty() {
                    let why = format!(
                        "all {} rows of the pool are labelled",
                        standing.labelled.len()
                    );
                    told(last, false, None, Some(&why));
                    ledger.add(Entry::Ended { round, why })?;
                    return Ok(());
                }
                let started = Instant::now();
                let rows = pick(
                    simulation,
                    job,
                    &model,
                    &standing.labelled,
                    &available,
                    round,
                )?;
                (rows, started.elapsed().as_secs_f64())
            }
        };
        let asked = match round {
            0 => config.initial(),
            _ => config.budget(),
        };
        if rows.is_empty() {
            let why = format!("{} found no row to pick", job.name);
            told(round.saturating_sub(1), false, None, Some(&why));
            ledger.add(Entry::Ended { round, why })?;
            return Ok(());
        }
        ledger.add(Entry::Picked {
            round,
            strategy: (round > 0).then(|| job.variant.strategy.clone()),
            asked,
            rows: rows.clone(),
            seconds,
        })?;
        standing.take(round, rows, seconds, &data.labels);
    }
}

/// A round's picks.
fn pick(
    simulation: &Simulation<'_>,
    job: &Job,
    model: &Model<'_>,
    labelled: &[LabelledRow],
    available: &equipoise_core::RowSet,
    round: u32,
) -> Result<Vec<usize>> {
    let (config, data) = (simulation.config, simulation.learner.pool());
    if job.variant.is_vaal() {
        let device = simulation.learner.device();
        let streams = (job.seed, round);
        return vaal::pick(config, data, labelled, available, streams, device);
    }
    let strategy = job.variant.strategy(&job.name)?;
    let budget = config.budget().min(available.len());
    let quotas = job.variant.quotas(budget, labelled, data.classes.len())?;
    let truth: Option<Vec<Option<u32>>> = job
        .variant
        .reads_labels(strategy)
        .then(|| data.labels.iter().map(|class| Some(*class)).collect());
    model.pool.with(|pool| {
        let request = Request {
            head: Some(&model.head),
            labelled,
            truth: truth.as_deref(),
            quotas: quotas.as_deref(),
            partitions: config.experiment.partitions,
            seed: job.seed,
            round,
            ..Request::new(pool, available, budget)
        };
        let selection = strategy.select(simulation.engine, &job.variant.applied(request))?;
        Ok(selection.picks.iter().map(|pick| pick.row).collect())
    })
}
