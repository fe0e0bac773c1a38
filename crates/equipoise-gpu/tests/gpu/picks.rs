//! Whole selections against the definition: by every variant that runs everywhere, with as little memory as works, from
//! pools that stay on the device, and on devices that are lost.

use equipoise_core::combined::WithFallback;
use equipoise_core::definition::{self, RowScore};
use equipoise_core::engine::Task;
use equipoise_core::memory::ScanShape;
use equipoise_core::strategies::{Base, Margin};
use equipoise_core::{
    CpuEngine, Engine, Error, Head, MemoryPool, Pool, Request, Selection, Strategy, quota,
};
use equipoise_gpu::{GpuEngine, LogitsChoice, ResidentPool, RowsChoice, Sizes};
use half::f16;

use crate::common::{Case, engine, gpu};

/// Rows and scores of the picks.
type Picks = Vec<(usize, f64)>;

/// Sorts by score; ties go to the lowest row.
fn sorted(mut scored: Picks) -> Picks {
    scored.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    scored
}

/// BASE by the definition: class by class the smallest scores of the rows not taken yet.
fn base(case: &Case, budget: usize) -> Picks {
    let scores = |row: usize| {
        let logits = definition::logits(case.embedding(row), &case.head);
        let predicted = definition::predicted(&logits);
        let distances = definition::distances(&logits, predicted, &case.head);
        definition::base(&distances, predicted)
    };
    let mut left: Vec<(usize, Vec<f64>)> = case
        .available
        .iter()
        .map(|row| (row, scores(row)))
        .collect();
    let mut picks = Picks::new();
    for (class, quota) in quota::uniform(budget, case.head.classes())
        .into_iter()
        .enumerate()
    {
        let scored = left.iter().map(|(row, scores)| (*row, scores[class]));
        let best = sorted(scored.collect()).into_iter().take(quota);
        let best: Picks = best.collect();
        left.retain(|(row, _)| best.iter().all(|(taken, _)| taken != row));
        picks.extend(best);
    }
    picks
}

/// Margin by the definition.
fn margin(case: &Case, budget: usize) -> Picks {
    let keys = case.available.iter().map(|row| {
        let logits = definition::logits(case.embedding(row), &case.head);
        (
            row,
            definition::row_score(RowScore::Margin, &logits, &case.head),
        )
    });
    let keys: Vec<(usize, (f64, f64))> = keys.collect();
    let best = sorted(keys.iter().map(|(row, (key, _))| (*row, *key)).collect());
    let score = |row: usize| {
        keys.iter()
            .find(|(other, _)| *other == row)
            .map(|found| found.1.1)
    };
    let best = best.into_iter().take(budget);
    best.map(|(row, _)| (row, score(row).expect("a score")))
        .collect()
}

fn request<'a>(case: &'a Case, pool: &'a dyn Pool, budget: usize) -> Request<'a> {
    let mut request = Request::new(pool, &case.available, budget);
    request.head = Some(&case.head);
    request
}

fn found(selection: &Selection) -> Picks {
    let picks = selection.picks.iter();
    picks
        .map(|pick| (pick.row, pick.score.expect("a score")))
        .collect()
}

/// Pools and heads of the kinds that break approximate scoring.
fn cases(dim: usize) -> Vec<(&'static str, Case)> {
    let classes = 9;
    let plain = || Case::random(70, classes, dim, 31);
    let with = |head: &dyn Fn(usize, usize) -> f32| {
        let case = plain();
        let weight = (0..classes).flat_map(|c| (0..dim).map(move |m| (c, m)));
        let weight = weight.map(|(c, m)| head(c, m)).collect();
        let bias = case.head.bias().iter().map(|b| b / 4.0).collect();
        Case {
            head: Head::new(weight, bias, dim).expect("a head"),
            ..case
        }
    };
    let mut duplicates = plain();
    let first = duplicates.values[..dim].to_vec();
    for row in duplicates.values.chunks_mut(dim).step_by(3) {
        row.copy_from_slice(&first);
    }
    let of_plain = plain();
    let weight = |c: usize, m: usize| of_plain.head.class_weight(c)[m];
    let twins = with(&|c, m| weight(c / 2 * 2, m));
    let near = with(&|c, m| weight(0, m) + f32::EPSILON * (c * m % 7) as f32);
    // Half way between two classes: on the boundary, or within a rounding of it.
    let mut boundaries = plain();
    for (row, x) in boundaries.values.chunks_mut(dim).enumerate() {
        let (a, b) = (row % classes, (row * 5 + 1) % classes);
        let between = |m| weight(a, m) - weight(b, m);
        let norm: f32 = (0..dim).map(|m| between(m).powi(2)).sum();
        let along: f32 = (0..dim).map(|m| between(m) * x[m]).sum();
        let bias = boundaries.head.bias();
        if norm > 0.0 {
            let step = (along + bias[a] - bias[b]) / norm;
            (0..dim).for_each(|m| x[m] -= step * between(m));
        }
    }
    let mut norms = plain();
    for (row, x) in norms.values.chunks_mut(dim).enumerate() {
        let factor = 10f32.powi(row as i32 % 13 - 6);
        x.iter_mut().for_each(|x| *x *= factor);
    }
    // The largest f16, and its subnormals.
    let mut extremes = plain();
    for (row, x) in extremes.values.chunks_mut(dim).enumerate() {
        let factor = [1.0, 65_504.0, 1e-6, 6e-8][row % 4];
        x.iter_mut().for_each(|x| *x *= factor);
        if row % 4 == 1 {
            (x[0], x[dim - 1]) = (65_504.0, -65_504.0);
        }
    }
    vec![
        ("plain", plain().halved()),
        ("duplicates", duplicates),
        ("twins", twins.halved()),
        ("near-equal weights", near),
        ("boundaries", boundaries.clone()),
        ("boundaries in f16", boundaries.halved()),
        ("norms", norms),
        ("extremes", extremes.halved()),
    ]
}

/// Picks by variants of the product and of the row kernels.
fn check_variants(logits: &str) {
    let choices: &[RowsChoice] = &[RowsChoice::Plain, RowsChoice::Subgroups];
    let engines: Vec<GpuEngine> = choices
        .iter()
        .map(|rows| {
            let logits = LogitsChoice::Named(logits.into());
            GpuEngine::with_variants(gpu(), &logits, *rows).expect("an engine")
        })
        .collect();
    // One column, and slices of the sums, the last of them odd.
    for dim in [1, 513, 600, 1100] {
        for (kind, mut case) in cases(dim) {
            (0..70).step_by(11).for_each(|row| {
                case.available.remove(row);
            });
            let pool = case.pool();
            let request = request(&case, &pool, 40);
            let expected = [base(&case, 40), margin(&case, 40)];
            for engine in &engines {
                for (strategy, expected) in [&Base as &dyn Strategy, &Margin].iter().zip(&expected)
                {
                    let what = format!("{logits} {} {dim} {kind}", strategy.name());
                    let selection = strategy.select(engine, &request);
                    let selection = selection.unwrap_or_else(|error| panic!("{what}: {error}"));
                    assert_eq!(&found(&selection), expected, "{what}");
                }
            }
        }
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn small_tiles_pick_what_the_definition_does() {
    check_variants("small");
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn large_tiles_pick_what_the_definition_does() {
    check_variants("large");
}

#[test]
fn the_extremes_of_f16_are_among_the_cases() {
    let cases = cases(513);
    let (_, case) = cases.last().expect("cases");
    let half = case.half.as_ref().expect("f16");
    assert!(half.contains(&f16::MAX) && half.contains(&f16::MIN));
    let subnormal = |x: &f16| x.to_f32() != 0.0 && x.to_f32().abs() < f16::MIN_POSITIVE.to_f32();
    assert!(half.iter().any(subnormal));
}

/// An engine whose blocks are small, and what loses its device.
fn fragile() -> (GpuEngine, impl Fn() + Sync) {
    let gpu = gpu();
    let device = gpu.device.clone();
    let sizes = Sizes {
        logits: 50 * 4 * 6,
        ..Sizes::of(&gpu.device.limits())
    };
    let engine = GpuEngine::with_sizes(gpu.adapter, gpu.device, gpu.queue, sizes);
    (engine.expect("an engine"), move || device.destroy())
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_device_lost_while_it_scans_is_replaced_or_an_error() {
    let case = Case::random(700, 6, 17, 5);
    let pool = case.pool();
    let cpu = CpuEngine::new();
    for strategy in [&Base as &dyn Strategy, &Margin] {
        let expected = strategy
            .select(&cpu, &request(&case, &pool, 60))
            .expect("picks");
        for (stays, replaced) in [(false, true), (false, false), (true, true), (true, false)] {
            let (engine, lose) = fragile();
            let resident = ResidentPool::new(&engine, &pool, &|_| {}).expect("a resident pool");
            let first: &dyn Engine = if stays { &resident } else { &engine };
            let lost = |_: u64| lose();
            let mut request = request(&case, &pool, 60);
            request.progress = &lost;
            let both = WithFallback::new(first, &cpu);
            let selection = match replaced {
                true => strategy.select(&both, &request),
                false => strategy.select(first, &request),
            };
            let what = format!("{} {stays} {replaced}", strategy.name());
            match (selection, replaced) {
                (Ok(selection), true) => {
                    assert_eq!(selection.picks, expected.picks, "{what}");
                    assert_eq!(
                        selection.fallbacks.len(),
                        1,
                        "{what}: {:?}",
                        selection.fallbacks
                    );
                }
                (Err(Error::Device { .. }), false) => {}
                (other, _) => panic!("{what}: {other:?}"),
            }
        }
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn the_least_memory_works_and_no_byte_less() {
    let case = Case::random(300, 12, 70, 9);
    for case in [case.clone(), case.halved()] {
        let pool = case.pool();
        let request = request(&case, &pool, 50);
        let free = Base.select(&engine(), &request).expect("picks");
        let of = |bytes| {
            let engine = GpuEngine::with_memory(gpu(), bytes).expect("an engine");
            Base.select(&engine, &request)
        };
        let least = |bytes| match of(bytes) {
            Err(Error::MemoryBudget { needed, budget, .. }) if budget == bytes => needed,
            other => panic!("{other:?}"),
        };
        let needed = least(1);
        assert_eq!(of(needed).expect("picks").picks, free.picks);
        assert_eq!(least(needed - 1), needed);
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn engines_that_share_the_host_need_more_of_it() {
    let case = Case::random(300, 12, 70, 9);
    let pool = case.pool();
    let shape = ScanShape::of(&case.head, &pool, Task::Boundaries).expect("a shape");
    let needed = |engines| {
        let engine = GpuEngine::with_memory(gpu(), 1).expect("an engine");
        match engine.sharing(engines).plan(shape) {
            Err(Error::MemoryBudget { needed, .. }) => needed,
            other => panic!("{other:?}"),
        }
    };
    let budget = needed(4);
    assert!(budget > needed(1), "{budget}");
    let engine = GpuEngine::with_memory(gpu(), budget)
        .expect("an engine")
        .sharing(4);
    let picks = |engine: &dyn Engine| {
        Base.select(engine, &request(&case, &pool, 50))
            .expect("picks")
            .picks
    };
    assert_eq!(picks(&engine), picks(&CpuEngine::new()));
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_resident_pool_is_sent_once() {
    let case = Case::random(9000, 4, 256, 8);
    let pool = case.pool();
    let engine = engine();
    let stored = 9000 * 256 * 4;
    let sent = || engine.transfers().to_device;
    let before = sent();
    let resident = ResidentPool::new(&engine, &pool, &|_| {}).expect("a resident pool");
    assert!(sent() - before >= stored);
    let expected = base(&case, 30);
    for _ in 0..2 {
        let before = sent();
        let selection = Base
            .select(&resident, &request(&case, &pool, 30))
            .expect("picks");
        assert_eq!(found(&selection), expected);
        assert!(sent() - before < stored / 50, "{}", sent() - before);
    }
    // A piece of 8 MiB is sent at a time, and is there twice.
    let host = ResidentPool::host_bytes(&pool).expect("bytes");
    assert_eq!(host, 16 << 20);
    assert!(stored > host / 2);
    let bytes = ResidentPool::bytes(&pool).expect("bytes");
    assert_eq!(bytes, stored + 4 * 9000);
}

/// Software adapters leave long loops early: up to the limit they must not, and beyond it nothing is scanned.
#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn sums_are_whole_or_refused() {
    let head = |dim: usize| {
        // Only the last numbers tell the classes apart.
        let number = |class: usize, m: usize| match m + 8 < dim {
            true => 1.0 / 64.0,
            false => ((class * 5 + m * 3) % 7) as f32 - 3.0,
        };
        let weight = (0..3).flat_map(|class| (0..dim).map(move |m| number(class, m)));
        Head::new(weight.collect(), vec![0.0; 3], dim).expect("a head")
    };
    let picks = |dim: usize, engine: &dyn Engine| {
        let rows: Vec<f32> = (0..6 * dim).map(|i| (i / dim + i * 7 % 5) as f32).collect();
        let pool = MemoryPool::new(equipoise_core::Values::F32(&rows), dim).expect("a pool");
        let (head, available) = (head(dim), equipoise_core::RowSet::all(6));
        let request = Request {
            head: Some(&head),
            ..Request::new(&pool, &available, 3)
        };
        Base.select(engine, &request)
            .map(|selection| selection.picks)
    };
    for name in ["small", "large"] {
        let (gpu, choice) = (gpu(), LogitsChoice::Named(name.into()));
        let software = gpu.adapter.get_info().device_type == equipoise_gpu::wgpu::DeviceType::Cpu;
        let engine = GpuEngine::with_variants(gpu, &choice, RowsChoice::Auto).expect("an engine");
        let most = 1 << 15;
        let expected = picks(most, &CpuEngine::new()).expect("picks");
        assert_eq!(picks(most, &engine).expect("picks"), expected, "{name}");
        if software {
            let refused = picks(most + 1, &engine).expect_err("too long").to_string();
            assert!(refused.contains("32768 at most"), "{refused}");
        }
    }
}
