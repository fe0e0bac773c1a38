//! The rounds of one strategy and seed, each step in a ledger.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use equipoise_core::{LabelledRow, Request, RowSet};

use crate::ledger::LEDGER_VERSION;
use crate::run_folder::LEDGER;
use crate::{
    Entry, Error, Ledger, Measures, Model, Progress, Result, RunFolder, Seconds, Setup, Simulation,
    Task, Variant, vaal,
};

/// One strategy and seed.
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) variant: Variant,
    pub(crate) seed: u64,
}

/// See the module.
pub(crate) struct Rounds<'a> {
    simulation: &'a Simulation<'a>,
    job: &'a Job,
    progress: &'a (dyn Fn(&Progress<'_>) + Sync),
    setup: Setup,
    folder: PathBuf,
    ledger: Ledger,
    so_far: SoFar,
    /// That of the last round, if it was trained just now.
    model: Option<Model<'a>>,
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

/// Rows that were picked, and the seconds that it took; or why there are none.
enum Picks {
    Rows(Vec<usize>, f64),
    None(String),
}

impl<'a> Rounds<'a> {
    /// Opens the ledger, and tells what it has already.
    pub(crate) fn open(
        simulation: &'a Simulation<'a>,
        folder: &RunFolder,
        job: &'a Job,
        progress: &'a (dyn Fn(&Progress<'_>) + Sync),
    ) -> Result<Self> {
        let data = simulation.learner.pool();
        let own = folder.run(&job.name, job.seed);
        std::fs::create_dir_all(&own).map_err(|source| Error::io(&own, source))?;
        let opened = Entry::Opened {
            ledger: LEDGER_VERSION,
            name: job.name.clone(),
            seed: job.seed,
            pool: simulation.pool_digest.clone(),
            classes: data.classes.clone(),
        };
        let ledger = Ledger::open(&own.join(LEDGER), opened)?;
        let rounds = Self {
            so_far: SoFar::of(ledger.entries(), &data.labels),
            setup: Setup::new(
                simulation.config,
                &data.labels,
                data.classes.len(),
                job.seed,
            ),
            folder: own,
            model: None,
            ledger,
            simulation,
            job,
            progress,
        };
        rounds.tell_known();
        Ok(rounds)
    }

    /// Does what is missing, step by step, until it is told to stop.
    pub(crate) fn go_on(&mut self, stop: &AtomicBool) -> Result<()> {
        while !self.so_far.ended && !stop.load(Ordering::Relaxed) {
            if let Some((round, rows, select)) = self.so_far.picked.take() {
                self.learn(round, &rows, select)?;
                continue;
            }
            let round = self.so_far.trained.map_or(0, |round| round + 1);
            if round > self.simulation.config.experiment.rounds {
                return Ok(());
            }
            match self.pick(round)? {
                Picks::Rows(rows, seconds) => self.label(round, rows, seconds)?,
                Picks::None(why) => {
                    self.tell(round.saturating_sub(1), false, None, Some(&why));
                    self.so_far.ended = true;
                    self.ledger.add(Entry::Ended { round, why })?;
                }
            }
        }
        Ok(())
    }

    fn tell(&self, round: u32, known: bool, top1: Option<f64>, ended: Option<&str>) {
        (self.progress)(&Progress {
            name: &self.job.name,
            seed: self.job.seed,
            round,
            known,
            top1,
            ended,
        });
    }

    fn tell_known(&self) {
        let rounds = self.simulation.config.experiment.rounds;
        for entry in self.ledger.entries() {
            match entry {
                Entry::Trained {
                    round, measures, ..
                } if *round <= rounds => {
                    let top1 = measures.as_ref().map(|measures| measures.top1);
                    self.tell(*round, true, top1, None);
                }
                Entry::Ended { round, why } if *round <= rounds => {
                    self.tell(round.saturating_sub(1), true, None, Some(why));
                }
                _ => {}
            }
        }
    }

    fn model_at(&self, round: u32) -> PathBuf {
        self.folder.join(format!("model-{round}.safetensors"))
    }

    /// Trains and tests on all labels so far; `rows` are the last of them.
    fn learn(&mut self, round: u32, rows: &[usize], select: f64) -> Result<()> {
        let learner = self.simulation.learner;
        let data = learner.pool();
        let labelled = &self.so_far.labelled;
        let learned = learner.learn(&Task {
            labelled,
            evaluation: &self.setup.evaluation,
            rows: &self.setup.pool,
            seed: self.job.seed,
            round,
        })?;
        let measures = Measures::new(
            &learned.scores,
            &learner.test().labels,
            data.classes.len(),
            labelled.iter().filter_map(|labelled| labelled.class),
            rows.iter().map(|row| data.labels[*row]),
        );
        // Before the ledger says that it is there.
        learner.remember(&learned.model, &self.model_at(round))?;
        let top1 = measures.top1;
        self.ledger.add(Entry::Trained {
            round,
            labels: labelled.len(),
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
        self.so_far.trained = Some(round);
        self.model = Some(learned.model);
        self.tell(round, false, Some(top1), None);
        if round > 0 {
            // The last one is enough to go on from; if it stays, no harm is done.
            let _ = std::fs::remove_file(self.model_at(round - 1));
        }
        Ok(())
    }

    /// The rows of a round: the first labels, or the strategy's picks.
    fn pick(&mut self, round: u32) -> Result<Picks> {
        let Some(last) = self.so_far.trained else {
            return Ok(Picks::Rows(self.setup.initial.clone(), 0.0));
        };
        let labelled = &self.so_far.labelled;
        let mut available = self.setup.pool.clone();
        for labelled in labelled {
            available.remove(labelled.row);
        }
        if available.is_empty() {
            let count = labelled.len();
            return Ok(Picks::None(format!(
                "all {count} rows of the pool are labelled"
            )));
        }
        let model = match self.model.take() {
            Some(model) => model,
            None => {
                let learner = self.simulation.learner;
                learner.recall(&self.model_at(last), &self.setup.pool)?
            }
        };
        let started = Instant::now();
        let rows = pick(
            self.simulation,
            self.job,
            &model,
            labelled,
            &available,
            round,
        )?;
        Ok(match rows.is_empty() {
            true => Picks::None(format!("{} found no row to pick", self.job.name)),
            false => Picks::Rows(rows, started.elapsed().as_secs_f64()),
        })
    }

    /// Writes down what was picked, and labels it, which a simulation can at once.
    fn label(&mut self, round: u32, rows: Vec<usize>, seconds: f64) -> Result<()> {
        let config = self.simulation.config;
        self.ledger.add(Entry::Picked {
            round,
            strategy: (round > 0).then(|| self.job.variant.strategy.clone()),
            asked: match round {
                0 => config.initial(),
                _ => config.budget(),
            },
            rows: rows.clone(),
            seconds,
        })?;
        let labels = &self.simulation.learner.pool().labels;
        self.so_far.take(round, rows, seconds, labels);
        Ok(())
    }
}

/// A round's picks.
fn pick(
    simulation: &Simulation<'_>,
    job: &Job,
    model: &Model<'_>,
    labelled: &[LabelledRow],
    available: &RowSet,
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
