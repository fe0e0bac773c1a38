//! Devices that share a scan, are short of memory or are lost.

use equipoise_core::combined::{Several, WithFallback};
use equipoise_core::engine::Task;
use equipoise_core::memory::ScanShape;
use equipoise_core::strategies::{Base, Entropy, Mase};
use equipoise_core::{CpuEngine, Engine, Error, Request, Selection, Strategy};
use equipoise_tests::brute_force::{self, Serving};
use equipoise_tests::cases::{Kind, Shape};
use equipoise_tests::parts::{Failing, Failure, Queued};

use crate::engines;

/// Every engine's answer to a case of 3,000 rows where it fails as `failure` says.
fn survives(engine: &dyn Engine, failure: Failure, fallback: Option<&dyn Engine>) -> Selection {
    let shape = Shape {
        kind: Kind::Grid,
        half: false,
        rows: 3000,
        dim: 8,
        classes: 12,
        seed: 5,
    };
    let case = shape.case();
    let pool = case.pool();
    let request = Request {
        head: Some(&case.head),
        ..Request::new(&pool, &case.available, 200)
    };
    let serving = Serving::uniform(200, 12);
    let expected = brute_force::base(&case.rows, &case.head, &case.available, 200, &serving);
    let failing = Failing {
        engine,
        failure,
        fallback,
        calls: Default::default(),
    };
    let selection = Base.select(&failing, &request).unwrap();
    assert_eq!(selection.picks, expected, "{failure:?}");
    let failed = match failure {
        Failure::Memory(_) | Failure::MemoryLate(_) => selection.retries > 0,
        Failure::Lost(_) | Failure::Unable => selection.fallbacks == ["device failing: as asked"],
    };
    assert!(failed, "{failure:?}: {selection:?}");
    selection
}

#[test]
fn a_device_short_of_memory_goes_on_with_smaller_blocks() {
    let selection = survives(&*engines::cpu(), Failure::Memory(100), None);
    assert!(selection.retries > 1, "{selection:?}");
    assert!(selection.fallbacks.is_empty());
}

#[test]
fn a_lost_device_is_replaced() {
    for after in [0, 1, 2, 5] {
        let cpu = engines::cpu();
        survives(&*cpu, Failure::Lost(after), Some(&*cpu));
    }
}

#[test]
fn a_device_that_is_not_able_is_replaced_and_planned_without() {
    let cpu = engines::cpu();
    survives(&*cpu, Failure::Unable, Some(&*cpu));
    let failing = Failing {
        engine: &*cpu,
        failure: Failure::Unable,
        fallback: None,
        calls: Default::default(),
    };
    let shape = ScanShape {
        rows: 3000,
        dim: 8,
        classes: 12,
        width: 4,
        task: Task::Boundaries,
    };
    assert!(matches!(failing.plan(shape), Err(Error::Device { .. })));
    let both = WithFallback::new(&failing, &*cpu);
    assert_eq!(both.plan(shape).unwrap(), cpu.plan(shape).unwrap());
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_gpu_fails_with_blocks_in_flight() {
    let gpu = engines::gpu();
    survives(&*gpu, Failure::Memory(700), None);
    survives(&*gpu, Failure::Lost(4), Some(&*engines::cpu()));
}

/// The picks of a scan that several engines share, of a case with ties.
fn shared(engines: Vec<Box<dyn Engine>>) {
    let shape = Shape {
        kind: Kind::DuplicateRows,
        half: true,
        rows: 5000,
        dim: 9,
        classes: 7,
        seed: 3,
    };
    let case = shape.case();
    let pool = case.pool();
    let request = Request {
        head: Some(&case.head),
        ..Request::new(&pool, &case.available, 150)
    };
    let several = Several::new(engines);
    for strategy in [&Base as &dyn Strategy, &Mase, &Entropy] {
        let alone = strategy.select(&*engines::cpu(), &request).unwrap();
        let together = strategy.select(&several, &request).unwrap();
        assert_eq!(together.picks, alone.picks, "{}", strategy.name());
    }
}

#[test]
fn several_engines_share_a_scan() {
    let small = |rows| Box::new(CpuEngine::with_max_rows(rows)) as Box<dyn Engine>;
    shared(vec![small(700), small(90), small(301)]);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_gpu_and_the_cpu_share_a_scan() {
    shared(vec![
        engines::gpu(),
        Box::new(CpuEngine::with_max_rows(200)),
        engines::gpu(),
    ]);
}

#[test]
fn a_memory_budget_changes_no_pick() {
    let shape = Shape {
        kind: Kind::Plain,
        half: true,
        rows: 3000,
        dim: 40,
        classes: 30,
        seed: 2,
    };
    let case = shape.case();
    let pool = case.pool();
    let request = Request {
        head: Some(&case.head),
        ..Request::new(&pool, &case.available, 100)
    };
    let free = Base.select(&*engines::cpu(), &request).unwrap();
    let of = |bytes| Base.select(&CpuEngine::with_memory(bytes), &request);
    let needed = match of(1000).unwrap_err() {
        Error::MemoryBudget {
            budget: 1000,
            needed,
            ..
        } => needed,
        other => panic!("{other}"),
    };
    assert_eq!(of(needed).unwrap().picks, free.picks);
    assert!(of(needed - 1).is_err());
}

#[test]
fn a_device_fails_with_blocks_in_flight() {
    let cpu = engines::cpu();
    for depth in 2..5 {
        let queued = Queued {
            engine: &*cpu,
            depth,
        };
        for rows in [1, 100, 700, 1200] {
            let selection = survives(&queued, Failure::Memory(rows), None);
            assert_eq!(selection.fallbacks, [""; 0]);
            // As many rows as there may be blocks in flight.
            survives(&queued, Failure::MemoryLate(rows.max(depth)), None);
        }
        for after in 0..6 {
            survives(&queued, Failure::Lost(after), Some(&*cpu));
        }
    }
}

#[test]
fn a_lost_device_without_another_is_an_error() {
    let shape = Shape {
        kind: Kind::Plain,
        half: false,
        rows: 30,
        dim: 4,
        classes: 3,
        seed: 1,
    };
    let case = shape.case();
    let pool = case.pool();
    let cpu = engines::cpu();
    let request = Request {
        head: Some(&case.head),
        ..Request::new(&pool, &case.available, 5)
    };
    let fails = |failure| {
        let failing = Failing {
            engine: &*cpu,
            failure,
            fallback: None,
            calls: Default::default(),
        };
        Base.select(&failing, &request).unwrap_err().to_string()
    };
    assert_eq!(fails(Failure::Lost(1)), "device failing: as asked");
    let none = fails(Failure::Memory(0));
    assert_eq!(none, "device failing is out of memory: as asked");
}
