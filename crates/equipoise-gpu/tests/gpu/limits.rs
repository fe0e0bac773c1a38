//! Devices smaller than a head, lists that overflow, devices that fail.

use crate::common::{
    Case, candidates, check_candidates, check_statistics, engine, engine_with, gpu, in_pool,
    statistics,
};
use equipoise_core::engine::{ACCEPT_ALL, Answer, Candidates, Question, Task};
use equipoise_core::{Candidate, Engine, Error, RowStatistics, Values};
use equipoise_gpu::{
    AdapterSummary, DeviceChoice, Gpu, GpuEngine, GpuError, KernelBench, ResidentPool, adapters,
    real_gpu, wgpu,
};

/// Everything an engine says of the case; a list may hold as little as one row.
fn everything(engine: &GpuEngine, case: &Case) -> (Vec<RowStatistics>, Vec<Candidate>) {
    let all = vec![ACCEPT_ALL; case.head.classes()];
    (statistics(engine, case), candidates(engine, case, &all))
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn slices_change_nothing() {
    let case = Case::random(23, 13, 7, 6);
    let pool = case.pool();
    let expected = everything(&engine(), &case);
    let rows = |engine: &GpuEngine| {
        engine
            .scorer(&case.head, &pool, Task::Boundaries)
            .unwrap()
            .max_rows()
    };
    // 400 bytes hold 14 classes' weights, 7 lines of the scale table and of logits, and the 13
    // candidates of one row: another row's would not fit.
    let sliced = engine_with(|sizes| (sizes.binding, sizes.logits) = (400, 1));
    assert_eq!(rows(&sliced), 1);
    let found = everything(&sliced, &case);
    assert_eq!(found.0, expected.0);
    check_candidates(&case, &found.1);
    // Three workgroups a dimension: nine rows in two dimensions.
    let narrow = engine_with(|sizes| sizes.groups = 3);
    assert_eq!(rows(&narrow), 9);
    assert_eq!(everything(&narrow, &case), expected);
    let one_row = engine_with(|sizes| (sizes.values, sizes.logits) = (1, 1));
    assert_eq!(rows(&one_row), 1);
    assert_eq!(everything(&one_row, &case), expected);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_device_without_options_gives_the_same_answers() {
    // No subgroups, no f16, no timestamps.
    let Gpu { adapter, .. } = gpu();
    let descriptor = wgpu::DeviceDescriptor {
        required_limits: adapter.limits(),
        ..Default::default()
    };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    let plain = GpuEngine::from_device(adapter, device, queue).unwrap();
    for (rows, classes) in [(40, 3), (40, 63), (20, 64), (20, 130), (9, 1)] {
        let case = Case::random(rows, classes, 5, 12);
        let all = vec![ACCEPT_ALL; classes];
        let [expected, found] = [&engine(), &plain].map(|engine| candidates(engine, &case, &all));
        assert_eq!(found, expected);
        check_statistics(&case, &statistics(&plain, &case));
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_resident_pool_gives_the_same_answers() {
    // Blocks of 64 rows, and of so few that they rarely begin where they can be bound.
    for (half, rows) in [(false, 64), (true, 64), (false, 1), (true, 2), (false, 40)] {
        // 17 numbers a row: rows may be bound from every 64th (f32) or 128th (f16) on.
        let case = Case::random(600, 5, 17, 11);
        let case = if half { case.halved() } else { case };
        let pool = case.pool();
        let engine = engine();
        let expected = everything(&engine, &case);
        // Parts of 256 rows.
        let small = engine_with(|sizes| {
            sizes.binding = 300 * 17 * if half { 2 } else { 4 };
            sizes.logits = rows * 20;
        });
        let sent = std::cell::Cell::new(0);
        let resident =
            ResidentPool::new(&small, &pool, &|rows| sent.set(sent.get() + rows)).unwrap();
        assert_eq!(sent.get(), 600);
        let question = Question::ClassCandidates {
            thresholds: &[ACCEPT_ALL; 5],
        };
        let mut scorer = resident
            .scorer(&case.head, &pool, Task::Boundaries)
            .unwrap();
        assert_eq!(scorer.max_rows() as u64, rows);
        let mut found = Vec::new();
        let mut next = 0;
        while next < 600 {
            // An odd number of rows, so that blocks begin anywhere.
            let taken = scorer.submit(next, 37, &case.available, question).unwrap();
            assert!((1..=37).contains(&taken));
            next += taken;
            let mut answer = Answer::default();
            scorer.collect(&mut answer).unwrap();
            found.extend(in_pool(&answer));
        }
        found.sort_by_key(|c| (c.row, c.class));
        assert_eq!(found, expected.1);
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_full_list_says_so_and_holds_nothing() {
    let case = Case::random(3, 5, 4, 7);
    let pool = case.pool();
    let engine = engine_with(|sizes| sizes.candidates = 1);
    let mut scorer = engine.scorer(&case.head, &pool, Task::Boundaries).unwrap();
    let question = Question::ClassCandidates {
        thresholds: &[ACCEPT_ALL; 5],
    };
    let mut answer = Answer::default();
    let mut ask = |start, rows| {
        scorer
            .submit(start, rows, &case.available, question)
            .unwrap();
        scorer.collect(&mut answer).unwrap();
        (
            answer.overflow,
            answer.candidates.iter().map(Candidates::len).sum::<usize>(),
        )
    };
    assert_eq!(ask(0, 1), (false, 5));
    assert_eq!(ask(0, 3), (true, 0));
    assert_eq!(ask(2, 1), (false, 5));
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn thresholds_of_another_head_are_an_error() {
    let case = Case::random(3, 2, 4, 8);
    let (engine, pool) = (engine(), case.pool());
    let mut scorer = engine.scorer(&case.head, &pool, Task::Boundaries).unwrap();
    let question = Question::ClassCandidates {
        thresholds: &[ACCEPT_ALL],
    };
    let error = scorer.submit(0, 3, &case.available, question);
    assert!(matches!(error, Err(Error::Shape { .. })), "{error:?}");
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_head_too_large_for_the_device_is_an_error() {
    let case = Case::random(1, 3, 40, 9);
    let engine = engine_with(|sizes| sizes.binding = 100);
    let pool = case.pool();
    let error = engine
        .scorer(&case.head, &pool, Task::Boundaries)
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("an embedding of 40 numbers takes 160 bytes"),
        "{error}"
    );
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_missing_limit_is_named() {
    let Gpu { adapter, .. } = gpu();
    let descriptor = wgpu::DeviceDescriptor {
        required_limits: wgpu::Limits {
            max_storage_buffers_per_shader_stage: 4,
            ..adapter.limits()
        },
        ..Default::default()
    };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    let error = GpuEngine::from_device(adapter, device, queue).unwrap_err();
    assert!(
        matches!(&error, GpuError::Limit { limit, needed: 6, found: 4, .. }
            if *limit == "max_storage_buffers_per_shader_stage"),
        "{error}"
    );
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_lost_device_is_an_error() {
    let case = Case::random(3, 2, 4, 10);
    let gpu = gpu();
    let device = gpu.device.clone();
    let engine = GpuEngine::new(gpu).unwrap();
    let pool = case.pool();
    let mut scorer = engine.scorer(&case.head, &pool, Task::Boundaries).unwrap();
    let question = Question::ClassCandidates {
        thresholds: &[ACCEPT_ALL; 2],
    };
    let taken = scorer.submit(0, 3, &case.available, question).unwrap();
    assert_eq!(taken, 3);
    device.destroy();
    let failed = scorer.submit(0, 3, &case.available, question);
    assert!(matches!(failed, Err(Error::Device { .. })), "{failed:?}");
    let mut answer = Answer::default();
    scorer.collect(&mut answer).unwrap();
    assert_eq!(answer.rows, 0, "nothing is in flight after a failure");
    let error = engine
        .scorer(&case.head, &pool, Task::Boundaries)
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(error, Error::Device { .. }), "{error:?}");
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn adapters_are_listed_real_ones_first() {
    let found = adapters();
    assert!(!found.is_empty());
    assert!(found.iter().map(|adapter| adapter.index).eq(0..found.len()));
    let software: Vec<bool> = found.iter().map(|adapter| adapter.software).collect();
    assert!(
        software.is_sorted(),
        "software adapters come last: {software:?}"
    );
    let real = real_gpu();
    assert!(real.is_none_or(|index| !found[index].software));
    let AdapterSummary { name, .. } = &found[0];
    let first = Gpu::open(&DeviceChoice::Index(0)).unwrap();
    assert_eq!(&first.adapter.get_info().name, name);
    let error = Gpu::open(&DeviceChoice::Index(99)).unwrap_err().to_string();
    assert!(error.starts_with("no adapter for gpu:99"), "{error}");
}

#[test]
fn engines_may_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<GpuEngine>();
    shared::<ResidentPool<'_>>();
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_bench_has_a_threshold_for_each_class() {
    let (engine, case) = (engine(), Case::random(8, 5, 4, 1));
    for found in [0, 4, 6] {
        let thresholds = vec![0.5; found];
        let made = KernelBench::new(&engine, &case.head, Values::F32(&case.values), &thresholds);
        let refused = made.map(|_| ()).unwrap_err().to_string();
        let expected = format!("one a class: 5 expected, {found} found");
        assert!(refused.contains(&expected), "{refused}");
    }
}
