//! The experiment: every strategy and seed, side by side.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use equipoise_core::{Engine, Pool};

use crate::rounds::{Job, Rounds};
use crate::stored_images::StoredImages;
use crate::{Config, Learner, Mode, Result, RunFolder};

/// Bytes that strategies keep of each row of the pool, with room: coreset and badge take 20 and 24.
const ROW_BYTES: u64 = 32;

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
            let done = Rounds::open(simulation, folder, &job, progress)
                .and_then(|mut rounds| rounds.go_on(&failed));
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
