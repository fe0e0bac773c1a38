//! `demo`: the whole job on images that the program draws, through the commands' own functions.

use std::path::{Path, PathBuf};
use std::time::Instant;

use equipoise::burn::{LoadOptions, ModelDevice};
use equipoise::core::quota::ClassOrder;
use equipoise::core::strategies::{self, Nonfinite};
use equipoise::pool::{self, Dtype, EmbeddingPool, HeadFile, PickFormat};
use equipoise::report::Balance;

use super::constraints::Wanted;
use super::question::{Question, Quotas};
use super::strategy_options::Options;
use super::{embed, fit, select};
use crate::console::{Console, grouped};
use crate::demo::evaluate::Accuracy;
use crate::demo::figures::DEMO;
use crate::demo::outcome::{self, Report, Stage};
use crate::demo::{backbone, draw, images, sheet};
use crate::device::{DeviceWish, engine_beside};
use crate::failure::{Failure, Result};

/// What `demo` was asked to do.
#[derive(Debug, Clone)]
pub(crate) enum Job {
    /// The whole job.
    Tour(Tour),
    /// Train the backbone that the demo brings along.
    MakeBackbone(backbone::Recipe),
}

/// The whole job on a small image set.
#[derive(Debug, Clone)]
pub(crate) struct Tour {
    pub out: PathBuf,
    pub seed: u64,
    pub force: bool,
}

/// Labels drawn at random to begin with.
const INITIAL: usize = 100;
/// Rows that each strategy then picks.
const BUDGET: usize = 100;
/// The strategies that are compared.
const STRATEGIES: [&str; 3] = ["random", "margin", "base"];
/// The file by which an earlier demo is known.
const MARK: &str = "DEMO.txt";
/// Does what was asked for and prints the outcome.
///
/// # Errors
/// Whatever the steps say.
pub(crate) fn main(job: &Job, wish: &DeviceWish, console: Console) -> Result<()> {
    let device = wish.resolve()?.model()?;
    match job {
        Job::MakeBackbone(recipe) => backbone::make(recipe, &device, console),
        Job::Tour(tour) => {
            let report = run(tour, &device, console)?;
            let text = outcome::table(&report);
            std::fs::write(tour.out.join("table.txt"), &text)?;
            console.report(&report, |_| text)?;
            console.note(outcome::closing(&report));
            Ok(())
        }
    }
}

/// The files of one demo.
struct Files<'a>(&'a Path);

impl Files<'_> {
    fn images(&self) -> PathBuf {
        self.0.join("images")
    }

    fn test_images(&self) -> PathBuf {
        self.0.join("test-images")
    }

    fn pool(&self) -> PathBuf {
        self.0.join("pool.emb")
    }

    fn test(&self) -> PathBuf {
        self.0.join("test.emb")
    }

    fn picks(&self, strategy: &str) -> PathBuf {
        self.0.join(format!("picks-{strategy}.csv"))
    }

    fn initial(&self) -> PathBuf {
        self.0.join("initial.csv")
    }

    fn head(&self, stage: &str) -> PathBuf {
        self.0.join(format!("head-{stage}.safetensors"))
    }
}

fn run(tour: &Tour, device: &ModelDevice, console: Console) -> Result<Report> {
    let started = Instant::now();
    prepare(tour)?;
    let files = Files(&tour.out);
    let steps = Console {
        quiet: true,
        json: false,
    };
    let counts = images::pool_counts();
    let total = grouped(counts.iter().sum());
    console.note(format!(
        "[1/5] drawing {total} images of {} classes, few of some",
        DEMO.len()
    ));
    images::write(&files.images(), tour.seed, draw::Set::Pool, &counts)?;
    images::write(
        &files.test_images(),
        tour.seed,
        draw::Set::Test,
        &images::test_counts(),
    )?;

    console.note(format!(
        "[2/5] embedding them with the built-in backbone on {}",
        device.name()
    ));
    let weights = tour.out.join("backbone.safetensors");
    std::fs::write(&weights, backbone::WEIGHTS)?;
    for (source, out) in [
        (files.images(), files.pool()),
        (files.test_images(), files.test()),
    ] {
        embed::run(&embed_job(&source, &weights, out), device, console)?;
    }

    console.note(format!(
        "[3/5] labelling {INITIAL} images at random and fitting a head"
    ));
    let engine = engine_beside(device)?;
    let initial = select_job(tour, "random", INITIAL, files.initial(), Vec::new());
    select::run(&initial, engine.as_ref(), steps)?;
    let test = TestSet::open(&files.test())?;
    let mut stages = vec![stage(tour, "start", &[files.initial()], &test, console)?];

    console.note(format!(
        "[4/5] picking {BUDGET} more, by {}",
        STRATEGIES.join(", ")
    ));
    for strategy in STRATEGIES {
        let out = files.picks(strategy);
        let job = select_job(tour, strategy, BUDGET, out.clone(), vec![files.initial()]);
        select::run(&job, engine.as_ref(), steps)?;
        draw_sheet(&files, &out, strategy)?;
        stages.push(stage(
            tour,
            strategy,
            &[files.initial(), out],
            &test,
            steps,
        )?);
    }
    console.note("[5/5] fitted again with the picks' labels and counted:\n");
    Ok(Report {
        out: tour.out.clone(),
        seed: tour.seed,
        device: engine.name().to_owned(),
        classes: DEMO.iter().map(|figure| figure.name).collect(),
        pool_per_class: counts,
        test_images: test.labels.len(),
        stages,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// An empty folder with a mark; an earlier demo in it goes away if that was asked for.
fn prepare(tour: &Tour) -> Result<()> {
    let occupied = std::fs::read_dir(&tour.out).is_ok_and(|mut entries| entries.next().is_some());
    if occupied || tour.out.is_file() {
        let earlier = tour.out.join(MARK).is_file();
        if !tour.force || !earlier {
            let hint = match earlier {
                true => "`--force` replaces the earlier demo; `--out DIR` takes another folder",
                false => {
                    "it holds something else than a demo: take another folder with `--out DIR`"
                }
            };
            return Err(Failure::new("exists already").at(&tour.out).with_hint(hint));
        }
        std::fs::remove_dir_all(&tour.out).map_err(|error| Failure::from(error).at(&tour.out))?;
    }
    let mark = format!(
        "Made by `equipoise demo --seed {}`; `--force` may replace this folder.\n",
        tour.seed
    );
    std::fs::create_dir_all(&tour.out)
        .and_then(|()| std::fs::write(tour.out.join(MARK), mark))
        .map_err(|error| Failure::from(error).at(&tour.out))
}

fn embed_job(images: &Path, weights: &Path, out: PathBuf) -> embed::Job {
    embed::Job {
        reading: LoadOptions::default(),
        images: images.display().to_string(),
        root: None,
        part: None,
        append: false,
        model: backbone::MODEL.into(),
        weights: weights.into(),
        out,
        batch: None,
        dtype: Dtype::F32,
        preprocess: backbone::preprocess(),
        sized: true,
        max_bad_fraction: 0.0,
        shard_rows: None,
        head_out: None,
        force: false,
    }
}

fn select_job(
    tour: &Tour,
    strategy: &str,
    budget: usize,
    out: PathBuf,
    exclude: Vec<PathBuf>,
) -> select::Job {
    let strategy = strategies::by_name(strategy).unwrap_or(&strategies::Random);
    let files = Files(&tour.out);
    select::Job {
        explain: Vec::new(),
        question: Question {
            embeddings: files.pool(),
            head: strategy.needs_head().then(|| files.head("start")),
            strategy,
            budget,
            labelled: None,
            exclude,
            constraints: Wanted::default(),
            quotas: Quotas::Uniform,
            class_order: ClassOrder::Id,
            nonfinite: Nonfinite::Refuse,
            force: false,
        },
        out,
        options: Options::default(),
        seed: tour.seed,
        report: None,
        format: PickFormat::Csv,
    }
}

/// The balanced test set.
struct TestSet {
    pool: EmbeddingPool,
    labels: Vec<(usize, u32)>,
}

impl TestSet {
    fn open(path: &Path) -> Result<Self> {
        let pool = EmbeddingPool::open(path)?;
        let labels = pool
            .labels(None)?
            .ok_or_else(|| Failure::new("no labels in the store").at(path))?;
        Ok(Self {
            pool,
            labels: labels.rows,
        })
    }
}

/// Fits on the rows listed in `labelled` and measures.
fn stage(
    tour: &Tour,
    name: &str,
    labelled: &[PathBuf],
    test: &TestSet,
    console: Console,
) -> Result<Stage> {
    let files = Files(&tour.out);
    let fitted = fit::run(
        &fit::Job {
            embeddings: files.pool(),
            labels: None,
            out: files.head(name),
            only: labelled.to_vec(),
            classes: None,
            penalty: None,
            validation: 0.2,
            seed: tour.seed,
            force: false,
        },
        console,
    )?;
    let head = HeadFile::read(&fitted.out)?.head;
    let accuracy = Accuracy::measure(&head, &test.pool, &test.labels)?;
    // The store's classes are sorted by name, the demo's by frequency.
    let count_of = |name: &str| {
        let found = fitted.labels.iter().find(|(class, _)| class == name);
        found.map_or(0, |(_, count)| *count)
    };
    let slot_of = |name: &str| fitted.labels.iter().position(|(class, _)| class == name);
    let rare = outcome::rare()
        .iter()
        .filter_map(|figure| slot_of(figure.name));
    let balance = Balance::of_counts(DEMO.iter().map(|figure| count_of(figure.name)).collect());
    Ok(Stage {
        name: name.into(),
        labels: balance.total(),
        entropy: balance.entropy(),
        smallest_class: balance.smallest(),
        accuracy: accuracy.among(0..head.classes()),
        rare_accuracy: accuracy.among(rare),
        mean_class_accuracy: accuracy.mean_class(),
        labels_per_class: balance.counts().to_vec(),
        head: fitted.out,
    })
}

/// A contact sheet of the picks, a row a class.
fn draw_sheet(files: &Files<'_>, picks: &Path, strategy: &str) -> Result<()> {
    let pool = EmbeddingPool::open(&files.pool())?;
    let rows = pool::read_rows(picks, pool.ids())?;
    let ids: Vec<String> = rows
        .iter()
        .map(|(row, _)| pool.ids().id(*row).into_owned())
        .collect();
    let path = files.0.join(format!("picks-{strategy}.png"));
    let sheet = sheet::by_class(DEMO, &images::by_class(&files.images(), &ids)?, 20);
    sheet
        .save(&path)
        .map_err(|error| Failure::from(error).at(&path))
}
