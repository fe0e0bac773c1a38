//! Whole simulations on a small pool: stopped anywhere they end as if they had not been, and what is asked
//! for later is added.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use equipoise_burn::ModelDevice;
use equipoise_core::engine::{GradientCentres, Scorer, Task};
use equipoise_core::memory::{MemoryPlan, ScanShape};
use equipoise_core::random::{Philox, Purpose};
use equipoise_core::{CpuEngine, Engine, Head, Pool, Values, strategies};
use equipoise_pool::{Dtype, EmbeddingsWriter};
use equipoise_rounds::{
    Config, DataSet, Entry, Error, Experiment, Frozen, ImbalanceType, Ledger, Results, RunFolder,
    Simulation, Training, Variant, simulate,
};

const DIM: usize = 6;
const CLASSES: usize = 3;

/// Rows around a corner per class.
fn data(folder: &Path, name: &str, rows: usize, seed: u64) -> DataSet {
    let random = Philox::new(seed, Purpose::Drawing, 0, 0);
    let mut values = Vec::new();
    let mut labels = String::from("row,label\n");
    for row in 0..rows {
        let class = row % CLASSES;
        labels += &format!("{row},c{class}\n");
        for column in 0..DIM {
            let noise = random.uniform((row * DIM + column) as u64) - 0.5;
            let centre = f64::from(u8::from(column % CLASSES == class));
            values.push((centre + 2.5 * noise) as f32);
        }
    }
    let pool = folder.join(format!("{name}.safetensors"));
    let mut writer = EmbeddingsWriter::create(&pool, true, Dtype::F32, rows, DIM).unwrap();
    writer.write(Values::F32(&values)).unwrap();
    writer.commit().unwrap();
    let file = folder.join(format!("{name}.csv"));
    std::fs::write(&file, labels).unwrap();
    DataSet::open(&pool, Some(&file), None).unwrap()
}

struct Bench {
    folder: tempfile::TempDir,
    pool: DataSet,
    test: DataSet,
    config: Config,
}

impl Bench {
    fn new(strategies: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            pool: data(folder.path(), "pool", 180, 1),
            test: data(folder.path(), "test", 60, 2),
            folder,
            config: Config {
                experiment: Experiment {
                    strategies: strategies.iter().map(|name| (*name).into()).collect(),
                    seeds: 2,
                    rounds: 3,
                    budget: 9,
                    initial: 12,
                    imbalance: ImbalanceType::Exp,
                    imbalance_factor: 0.5,
                    partitions: 2,
                    ..Experiment::default()
                },
                training: Training {
                    epochs: 8,
                    batch: 8,
                    ..Training::default()
                },
                ..Config::default()
            },
        }
    }

    /// Runs in a folder of that name; what was told, as (name, seed, round, whether known).
    fn run(&self, name: &str, jobs: usize) -> Result<Vec<(String, u64, u32, bool)>, Error> {
        self.run_on(&CpuEngine::new(), name, jobs)
    }

    fn run_on(
        &self,
        engine: &dyn Engine,
        name: &str,
        jobs: usize,
    ) -> Result<Vec<(String, u64, u32, bool)>, Error> {
        let device = ModelDevice::cpu();
        let learner = Frozen {
            pool: &self.pool,
            test: &self.test,
            training: &self.config.training,
            device: &device,
        };
        let folder = RunFolder::open(&self.folder.path().join(name), &self.config)?;
        let simulation = Simulation {
            config: &self.config,
            learner: &learner,
            engine,
            pool_digest: "abc".into(),
            jobs,
        };
        // 39 labels and 18 held-out rows of 6 numbers, three times, and 32 bytes a row.
        if self.config.experiment.budget == 9 && self.config.experiment.rounds == 3 {
            assert_eq!(simulation.bytes_per_run(), 3 * 4 * 57 * 6 + 32 * 180);
        }
        let told = Mutex::new(Vec::new());
        simulate(&simulation, &folder, &|now| {
            let line = (now.name.to_owned(), now.seed, now.round, now.known);
            told.lock().unwrap().push(line);
        })?;
        Ok(told.into_inner().unwrap())
    }

    fn results(&self, name: &str) -> Results {
        let order = &self.config.experiment.strategies;
        Results::read(&self.folder.path().join(name), order).unwrap()
    }

    fn ledger(&self, run: &str, name: &str, seed: u64) -> std::path::PathBuf {
        let path = format!("{run}/runs/{name}/seed-{seed}/ledger.jsonl");
        self.folder.path().join(path)
    }
}

/// The entries but for the times.
fn timeless(path: &Path) -> Vec<Entry> {
    let mut entries = Ledger::read(path).unwrap();
    for entry in &mut entries {
        match entry {
            Entry::Picked { seconds, .. } => *seconds = 0.0,
            Entry::Trained { seconds, .. } => *seconds = Default::default(),
            _ => {}
        }
    }
    entries
}

#[test]
fn every_strategy_runs_and_side_by_side_is_the_same() {
    let names: Vec<&str> = strategies::all().iter().map(|each| each.name()).collect();
    let bench = Bench::new(&names);
    bench.run("one", 1).unwrap();
    bench.run("two", 2).unwrap();
    let results = bench.results("one");
    assert_eq!(results.runs.len(), 2 * names.len());
    assert_eq!(results.names(), names);
    for run in &results.runs {
        assert_eq!(run.rounds.len(), 4, "{}", run.name);
        let labels: Vec<usize> = run.rounds.iter().map(|round| round.labels).collect();
        assert_eq!(labels, [12, 21, 30, 39], "{}", run.name);
        let mut picked: Vec<usize> = run
            .rounds
            .iter()
            .flat_map(|round| round.picks.clone())
            .collect();
        picked.sort_unstable();
        picked.dedup();
        assert_eq!(picked.len(), 39, "{} picked a row twice", run.name);
        // Chance is a third.
        assert!(run.rounds[3].measures.top1 > 0.45, "{}", run.name);
    }
    // The first labels are a seed's, not a strategy's.
    let first = |run: &equipoise_rounds::Run| (run.seed, run.rounds[0].picks.clone());
    let mut firsts: Vec<_> = results.runs.iter().map(first).collect();
    firsts.sort();
    firsts.dedup();
    assert_eq!(firsts.len(), 2);
    assert_eq!(bench.results("two").to_csv(), results.to_csv());
    for name in names {
        let ledgers = ["one", "two"].map(|run| timeless(&bench.ledger(run, name, 1)));
        assert_eq!(ledgers[0], ledgers[1]);
    }
}

#[test]
fn a_run_that_was_stopped_anywhere_ends_as_if_it_had_not_been() {
    let bench = Bench::new(&["base", "badge"]);
    bench.run("whole", 1).unwrap();
    let expected = bench.results("whole").to_csv();
    let path = bench.ledger("whole", "badge", 1);
    let text = std::fs::read_to_string(&path).unwrap();
    let entries = timeless(&path);
    let ends: Vec<usize> = text.match_indices('\n').map(|(end, _)| end + 1).collect();
    for line_end in ends {
        // Between two steps, and in the middle of a line: that step is done again.
        for end in [line_end, line_end - 5] {
            let folder = path.parent().unwrap();
            std::fs::write(&path, &text[..end]).unwrap();
            let whole = text[..end].rfind('\n').map_or("", |at| &text[..=at]);
            let _ = std::fs::remove_file(folder.join("model-3.safetensors"));
            // The head of the last round that is over is there, as it was then.
            let rounds = whole.matches("\"step\":\"trained\"").count();
            if let Some(round) = rounds.checked_sub(1) {
                put_head(&bench, round as u32, folder);
            }
            let told = bench.run("whole", 1).unwrap();
            let known = told.iter().filter(|line| line.3).count();
            assert_eq!(known, 3 * 4 + rounds, "{told:?}");
            assert_eq!(timeless(&path), entries, "{rounds}");
            assert_eq!(bench.results("whole").to_csv(), expected, "{rounds}");
        }
    }
}

/// The head of badge, seed 1, after a round: that of a run that has no more rounds.
fn put_head(bench: &Bench, round: u32, folder: &Path) {
    let name = format!("model-{round}.safetensors");
    let store = bench.folder.path().join("heads");
    if !store.join(&name).is_file() {
        std::fs::create_dir_all(&store).unwrap();
        for rounds in 0..4 {
            let mut config = bench.config.clone();
            config.experiment.rounds = rounds;
            let shorter = Bench {
                folder: tempfile::tempdir().unwrap(),
                pool: data(&store, "pool", 180, 1),
                test: data(&store, "test", 60, 2),
                config,
            };
            shorter.run("short", 1).unwrap();
            let own = shorter.ledger("short", "badge", 1);
            let head = format!("model-{rounds}.safetensors");
            std::fs::copy(own.with_file_name(&head), store.join(&head)).unwrap();
        }
    }
    std::fs::copy(store.join(&name), folder.join(&name)).unwrap();
}

#[test]
fn what_is_asked_for_later_is_added_and_the_rest_left_alone() {
    let mut bench = Bench::new(&["random"]);
    bench.run("r", 2).unwrap();
    let before = std::fs::read(bench.ledger("r", "random", 0)).unwrap();
    bench.config.experiment.strategies = vec!["even".into(), "mase".into()];
    let even = Variant {
        quotas: equipoise_rounds::QuotasName::Balance,
        ..Variant::of("base")
    };
    bench.config.variants.insert("even".into(), even.clone());
    let told = bench.run("r", 2).unwrap();
    assert!(
        told.iter()
            .all(|(name, .., known)| name != "random" && !known)
    );
    assert_eq!(
        std::fs::read(bench.ledger("r", "random", 0)).unwrap(),
        before
    );
    assert_eq!(bench.results("r").names(), ["even", "mase", "random"]);
    // More rounds and another seed of one of them.
    bench.config.experiment.strategies = vec!["random".into()];
    (
        bench.config.experiment.rounds,
        bench.config.experiment.seeds,
    ) = (4, 3);
    let told = bench.run("r", 2).unwrap();
    assert_eq!(told.iter().filter(|line| line.3).count(), 8);
    assert_eq!(told.iter().filter(|line| !line.3).count(), 2 + 5);
    // The folder's file tells all of it.
    let path = bench.folder.path().join("r/config.toml");
    let saved = Config::parse(&path, &std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(saved.experiment.strategies, ["random", "even", "mase"]);
    assert_eq!((saved.experiment.seeds, saved.experiment.rounds), (3, 4));
    assert_eq!(saved.variants["even"], even);
}

#[test]
fn another_experiment_is_refused_by_its_fields() {
    let mut bench = Bench::new(&["random"]);
    bench.run("r", 1).unwrap();
    bench.config.training.epochs = 9;
    bench.config.experiment.imbalance = ImbalanceType::Step;
    let message = bench.run("r", 1).unwrap_err().to_string();
    assert!(
        message.contains("training.epochs was 8 and is 9"),
        "{message}"
    );
    assert!(message.contains("experiment.imbalance was"), "{message}");
}

#[test]
fn a_folder_is_one_process_s_at_a_time() {
    let bench = Bench::new(&["random"]);
    let folder = bench.folder.path().join("r");
    let _held = RunFolder::open(&folder, &bench.config).unwrap();
    let refused = RunFolder::open(&folder, &bench.config).unwrap_err();
    assert!(matches!(refused, Error::Busy { .. }), "{refused}");
}

#[test]
fn rounds_that_outgrow_the_pool_end_early() {
    let mut bench = Bench::new(&["random", "base"]);
    bench.config.experiment.budget = 40;
    bench.config.experiment.rounds = 6;
    bench.run("r", 2).unwrap();
    for run in bench.results("r").runs {
        let rows = run.rounds.last().unwrap().labels;
        assert!(run.ended.unwrap().contains(&format!("all {rows} rows")));
        assert!(run.rounds.len() < 7 && rows > 100, "{rows}");
    }
    // Asked again, it says so again and does nothing.
    let told = bench.run("r", 1).unwrap();
    assert!(told.iter().all(|line| line.3));
}

/// A device that is lost after so many scans.
struct Lost {
    cpu: CpuEngine,
    left: AtomicUsize,
}

impl Lost {
    fn scan(&self) -> equipoise_core::Result<()> {
        let left = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
        left.map(drop).map_err(|_| equipoise_core::Error::Device {
            device: "gone".into(),
            message: "the device is lost".into(),
        })
    }
}

impl Engine for Lost {
    fn name(&self) -> &str {
        "gone"
    }

    fn plan(&self, shape: ScanShape) -> equipoise_core::Result<MemoryPlan> {
        self.cpu.plan(shape)
    }

    fn scorer<'a>(
        &'a self,
        head: &Head,
        pool: &'a dyn Pool,
        task: Task,
    ) -> equipoise_core::Result<Box<dyn Scorer + 'a>> {
        self.scan()?;
        self.cpu.scorer(head, pool, task)
    }

    fn gradient_scorer<'a>(
        &'a self,
        head: &Head,
        centres: &GradientCentres,
        pool: &'a dyn Pool,
    ) -> equipoise_core::Result<Box<dyn Scorer + 'a>> {
        self.scan()?;
        self.cpu.gradient_scorer(head, centres, pool)
    }
}

#[test]
fn a_device_that_is_lost_stops_the_run_and_the_next_call_goes_on() {
    let bench = Bench::new(&["base", "margin"]);
    bench.run("whole", 1).unwrap();
    let mut left = 1;
    loop {
        let engine = Lost {
            cpu: CpuEngine::new(),
            left: AtomicUsize::new(left),
        };
        match bench.run_on(&engine, "lost", 2) {
            Ok(_) => break,
            Err(error) => assert!(error.to_string().contains("lost"), "{error}"),
        }
        assert!(left < 50, "it never ends");
        left += 1;
    }
    assert!(left > 2, "it was never lost");
    assert_eq!(
        bench.results("lost").to_csv(),
        bench.results("whole").to_csv()
    );
}
