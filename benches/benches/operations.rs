//! The engines' operations on one block: rows a second, on the CPU and, where there is one, a GPU.
//!
//! Timed by hand: criterion would change the features that burn's dependencies are built with, and
//! have everything compiled twice.

use std::time::{Duration, Instant};

use equipoise_core::engine::ACCEPT_ALL;
use equipoise_core::random::{Philox, Purpose};
use equipoise_core::{
    Answer, CpuEngine, Engine, Head, MemoryPool, Question, RowSet, Scorer, Values,
};
use equipoise_gpu::{DeviceChoice, Gpu, GpuEngine};

/// N, M and C: CIFAR with a ResNet-20, and ImageNet with a ResNet-50, for which fewer rows do.
const SHAPES: [(usize, usize, usize); 2] = [(8192, 64, 10), (1024, 2048, 1000)];

/// Each operation runs this long, and at least [`LEAST_RUNS`] times.
const TIME: Duration = Duration::from_secs(2);
const LEAST_RUNS: usize = 5;

fn main() {
    println!(
        "{:<40} {:<18} {:<16} {:>10} {:>12}",
        "device", "operation", "N x M x C", "median ms", "rows/s"
    );
    for engine in engines() {
        for shape in SHAPES {
            measure(&*engine, shape);
        }
    }
}

fn engines() -> Vec<Box<dyn Engine>> {
    let mut engines: Vec<Box<dyn Engine>> = vec![Box::new(CpuEngine::new())];
    match Gpu::open(&DeviceChoice::Any).and_then(GpuEngine::new) {
        Ok(gpu) => engines.push(Box::new(gpu)),
        Err(error) => eprintln!("the CPU alone: {error}"),
    }
    engines
}

fn measure(engine: &dyn Engine, (rows, dim, classes): (usize, usize, usize)) {
    let numbers = Philox::new(0, Purpose::Drawing, 0, 0);
    let number = |i: usize| (numbers.uniform(i as u64) - 0.5) as f32;
    let weight: Vec<f32> = (0..classes * dim).map(number).collect();
    let head = Head::new(weight, vec![0.0; classes], dim).expect("a head");
    let values: Vec<f32> = (0..rows * dim).map(|i| number(i + classes * dim)).collect();
    let pool = MemoryPool::new(Values::F32(&values), dim).expect("a pool");
    let mut scorer = engine.scorer(&head, &pool).expect("a scorer");
    let rows = rows.min(scorer.max_rows());
    let report = |operation: &str, median: Duration| {
        let seconds = median.as_secs_f64();
        println!(
            "{:<40} {operation:<18} {:<16} {:>10.3} {:>12.0}",
            engine.name(),
            format!("{rows} x {dim} x {classes}"),
            seconds * 1e3,
            rows as f64 / seconds
        );
    };
    let median = median(|| {
        answer(&mut *scorer, rows, Question::RowStatistics);
    });
    report("row_statistics", median);
    let thresholds = tight_thresholds(&mut *scorer, rows, classes);
    let question = Question::ClassCandidates {
        thresholds: &thresholds,
    };
    let median = self::median(|| {
        answer(&mut *scorer, rows, question);
    });
    report("class_candidates", median);
}

/// The answer about the first `rows` rows.
fn answer(scorer: &mut dyn Scorer, rows: usize, question: Question<'_>) -> Answer {
    let mut answer = Answer::default();
    let available = RowSet::all(rows);
    let taken = scorer.submit(0, rows, &available, question);
    assert_eq!(taken.expect("a submission"), rows);
    scorer.collect(&mut answer).expect("an answer");
    assert!(!answer.overflow, "the list holds the candidates");
    answer
}

/// The middle one of the times that `work` takes, after a run to warm up.
fn median(mut work: impl FnMut()) -> Duration {
    work();
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.len() < LEAST_RUNS || start.elapsed() < TIME {
        let run = Instant::now();
        work();
        times.push(run.elapsed());
    }
    times.sort_unstable();
    times[times.len() / 2]
}

/// Per class a threshold below which about one row in a hundred lies, as in a scan that has read
/// enough.
fn tight_thresholds(scorer: &mut dyn Scorer, rows: usize, classes: usize) -> Vec<f32> {
    let few = rows.min(500);
    let question = Question::ClassCandidates {
        thresholds: &vec![ACCEPT_ALL; classes],
    };
    let found = answer(scorer, few, question).candidates;
    let mut lower = vec![Vec::new(); classes];
    for candidate in &found {
        // Not those of undecided rows, which belong to every class.
        if let Some(lower) = lower.get_mut(candidate.class as usize) {
            lower.push(candidate.lower);
        }
    }
    let threshold = |mut lower: Vec<f32>| {
        lower.sort_by(f32::total_cmp);
        lower.get(few / 100).copied().unwrap_or(ACCEPT_ALL)
    };
    lower.into_iter().map(threshold).collect()
}
