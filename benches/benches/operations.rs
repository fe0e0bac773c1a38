//! The engines' operations on one block: rows a second, on the CPU and, where there is one, a GPU.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use equipoise_core::engine::{ACCEPT_ALL, RowStatistics};
use equipoise_core::random::{Philox, Purpose};
use equipoise_core::{Block, CpuEngine, Engine, Head, Values};
use equipoise_gpu::{DeviceChoice, Gpu, GpuEngine};

/// M and C: CIFAR, and ImageNet with a ResNet-50, for which fewer rows do.
const SHAPES: [(usize, usize, usize); 2] = [(8192, 64, 10), (1024, 2048, 1000)];

/// Tolerance of every row: a typical one for these numbers.
const TOLERANCE: f32 = 1e-4;

fn engines() -> Vec<(&'static str, Box<dyn Engine>)> {
    let mut engines: Vec<(_, Box<dyn Engine>)> = vec![("cpu", Box::new(CpuEngine::new()))];
    let gpu = Gpu::open(&DeviceChoice::Any).and_then(GpuEngine::new);
    match gpu {
        Ok(gpu) => engines.push(("gpu", Box::new(gpu))),
        Err(error) => eprintln!("the CPU alone: {error}"),
    }
    engines
}

fn operations(criterion: &mut Criterion) {
    let numbers = Philox::new(0, Purpose::Drawing, 0, 0);
    let number = |i: usize| (numbers.uniform(i as u64) - 0.5) as f32;
    for (kind, engine) in engines() {
        for (rows, dim, classes) in SHAPES {
            let weight = (0..classes * dim).map(number).collect();
            let head = Head::new(weight, vec![0.0; classes], dim).expect("a head");
            let values: Vec<f32> = (0..rows * dim).map(|i| number(i + classes * dim)).collect();
            let mut scorer = engine.scorer(&head).expect("a scorer");
            let rows = rows.min(scorer.max_rows());
            let tolerance = vec![TOLERANCE; rows];
            let block = Block {
                values: Values::F32(&values[..rows * dim]),
                tolerance: &tolerance,
            };
            let shape = format!("{rows}x{dim}x{classes}");
            let mut group = criterion.benchmark_group(kind);
            group
                .throughput(Throughput::Elements(rows as u64))
                .sample_size(10);
            let mut statistics = vec![bytemuck::Zeroable::zeroed(); rows];
            let out: &mut [RowStatistics] = &mut statistics;
            group.bench_function(BenchmarkId::new("row_statistics", &shape), |bencher| {
                bencher.iter(|| scorer.row_statistics(block, out).expect("statistics"));
            });
            // As a scan that has read enough: few rows lie below the threshold.
            let thresholds = tight_thresholds(&mut *scorer, block, classes);
            let mut found = Vec::new();
            group.bench_function(BenchmarkId::new("class_candidates", &shape), |bencher| {
                bencher.iter(|| {
                    found.clear();
                    scorer
                        .class_candidates(block, &thresholds, &mut found)
                        .expect("candidates")
                });
            });
            group.finish();
        }
    }
}

/// Per class a threshold below which about one row in a hundred lies.
fn tight_thresholds(
    scorer: &mut dyn equipoise_core::Scorer,
    block: Block<'_>,
    classes: usize,
) -> Vec<f32> {
    let few = block.rows().min(500);
    let dim = block.values.len() / block.rows();
    let sample = Block {
        values: block.values.slice(0..few * dim),
        tolerance: &block.tolerance[..few],
    };
    let mut found = Vec::new();
    let fits = scorer.class_candidates(sample, &vec![ACCEPT_ALL; classes], &mut found);
    assert!(fits.expect("candidates"), "the list holds the sample");
    let mut lower = vec![Vec::new(); classes];
    for candidate in found
        .iter()
        .filter(|found| (found.class as usize) < classes)
    {
        lower[candidate.class as usize].push(candidate.lower);
    }
    let threshold = |mut lower: Vec<f32>| {
        lower.sort_by(f32::total_cmp);
        lower.get(few / 100).copied().unwrap_or(ACCEPT_ALL)
    };
    lower.into_iter().map(threshold).collect()
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots();
    targets = operations
}
criterion_main!(benches);
