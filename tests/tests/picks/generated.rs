//! Generated cases against the definition, whole and in odd parts.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};

use equipoise_core::definition::RowScore;
use equipoise_core::quota::{self, ClassOrder};
use equipoise_core::strategies::Nonfinite;
use equipoise_core::strategies::{Base, Confidence, Entropy, Margin, Mase};
use equipoise_core::{Engine, Pick, Pool, Request, RowSet, Strategy};
use equipoise_tests::brute_force::{self, Serving};
use equipoise_tests::cases::{Case, KINDS, Kind, Shape, Stored};
use equipoise_tests::parts::{Overconfident, Queued, Sharded, SmallBlocks};
use half::f16;
use proptest::prelude::{Just, any, prop_assert, prop_assert_eq, prop_oneof};
use proptest::strategy::Strategy as Generator;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::engines;

/// Rows and budgets of a case.
pub(crate) type Sizes = (RangeInclusive<usize>, RangeInclusive<usize>);

/// Everything fits into one list.
pub(crate) const SMALL: Sizes = (1..=130, 1..=150);

/// Thresholds tighten many times, lists run out and are filled again.
pub(crate) const LARGE: Sizes = (1500..=3000, 300..=900);

/// Dimensions and classes straddle the GPU kernels' tiles (16 deep, 64 wide).
fn shapes(rows: RangeInclusive<usize>) -> impl Generator<Value = Shape> {
    let size = |most: usize| prop_oneof![1..=most, Just(16), Just(17), Just(64), Just(65)];
    let kind = proptest::sample::select(&KINDS[..]);
    (kind, any::<bool>(), rows, size(40), size(40), any::<u64>()).prop_map(
        |(kind, half, rows, dim, classes, seed)| Shape {
            kind,
            half,
            rows,
            dim,
            classes,
            seed,
        },
    )
}

/// The quotas of a case.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Quotas {
    Uniform,
    Balance,
    /// Class c may claim c mod 3 rows.
    Uneven,
}

fn questions((rows, budget): Sizes) -> impl Generator<Value = (Shape, usize, Quotas, ClassOrder)> {
    let quotas = prop_oneof![
        Just(Quotas::Uniform),
        Just(Quotas::Balance),
        Just(Quotas::Uneven)
    ];
    let order = prop_oneof![Just(ClassOrder::Id), Just(ClassOrder::RarestFirst)];
    (shapes(rows), budget, quotas, order)
}

/// Runs `test` on generated questions.
pub(crate) fn run(
    sizes: Sizes,
    cases: u32,
    test: impl Fn(Shape, usize, Quotas, ClassOrder) -> Result<(), TestCaseError>,
) {
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    });
    runner
        .run(&questions(sizes), |(shape, budget, quotas, order)| {
            test(shape, budget, quotas, order)
        })
        .unwrap();
}

/// Asks `strategy` the same question five ways, and wants `expected` each time.
pub(crate) fn agrees(
    engine: &dyn Engine,
    strategy: &dyn Strategy,
    request: &Request<'_>,
    expected: &[Pick],
) -> Result<(), TestCaseError> {
    let rows = request.pool.rows();
    let sharded = Sharded {
        pool: request.pool,
        shard: rows / 9 + 1,
    };
    let blocks = |max_rows| SmallBlocks { engine, max_rows };
    let (small, larger) = (blocks(rows / 20 + 1), blocks(rows / 4 + 1));
    let queued = Queued {
        engine: &small,
        depth: 3,
    };
    let ways: [(&str, &dyn Engine, &dyn Pool); 5] = [
        ("whole", engine, request.pool),
        ("sharded", engine, &sharded),
        ("in small blocks", &small, request.pool),
        ("sharded, in larger blocks", &larger, &sharded),
        ("with blocks in flight", &queued, request.pool),
    ];
    for (way, engine, pool) in ways {
        let request = Request {
            pool,
            ..request.clone()
        };
        let selection = strategy
            .select(engine, &request)
            .map_err(|error| TestCaseError::fail(format!("{way}: {error}")))?;
        prop_assert_eq!(
            &selection.picks[..],
            expected,
            "{} {}",
            strategy.name(),
            way
        );
    }
    Ok(())
}

/// Ranking keys and scores in their own unit are computed apart: they order rows alike.
fn in_order(score: RowScore, picks: &[Pick]) -> Result<(), TestCaseError> {
    /// Relative rounding of a score in its own unit, some float64 operations long.
    const ROUNDING: f64 = 1e-13;
    for pair in picks.windows(2) {
        let (Some(a), Some(b)) = (pair[0].score, pair[1].score) else {
            return Err(TestCaseError::fail("a pick without a score"));
        };
        let (low, high) = match score {
            RowScore::Entropy => (b, a),
            _ => (a, b),
        };
        let ordered = low <= high + ROUNDING * high.abs();
        prop_assert!(ordered, "{:?}: {} before {}", score, a, b);
    }
    Ok(())
}

fn base_agrees(engine: &dyn Engine, sizes: Sizes, cases: u32) {
    run(sizes, cases, |shape, budget, quotas, class_order| {
        let case = shape.case();
        let pool = case.pool();
        let classes = case.head.classes();
        let counts = quota::class_counts(&case.labelled, classes).unwrap();
        let effective = budget.min(case.available.len());
        let given = match quotas {
            Quotas::Uniform => None,
            Quotas::Balance => Some(quota::balance(effective, &counts)),
            Quotas::Uneven => Some((0..classes).map(|class| class % 3).collect()),
        };
        let serving = Serving {
            quotas: given
                .clone()
                .unwrap_or_else(|| quota::uniform(effective, classes)),
            order: class_order.order(&counts),
        };
        let expected =
            brute_force::base(&case.rows, &case.head, &case.available, effective, &serving);
        let request = Request {
            head: Some(&case.head),
            labelled: &case.labelled,
            quotas: given.as_deref(),
            class_order,
            ..Request::new(&pool, &case.available, budget)
        };
        agrees(engine, &Base, &request, &expected)
    });
}

fn per_row_agrees(engine: &dyn Engine, sizes: Sizes, cases: u32) {
    let scores: [(RowScore, &dyn Strategy); 4] = [
        (RowScore::Mase, &Mase),
        (RowScore::Margin, &Margin),
        (RowScore::Confidence, &Confidence),
        (RowScore::Entropy, &Entropy),
    ];
    run(sizes, cases, |shape, budget, _, _| {
        let case: Case = shape.case();
        let pool = case.pool();
        for (score, strategy) in scores {
            let expected =
                brute_force::per_row(score, &case.rows, &case.head, &case.available, budget);
            let request = Request {
                head: Some(&case.head),
                ..Request::new(&pool, &case.available, budget)
            };
            in_order(score, &expected)?;
            agrees(engine, strategy, &request, &expected)?;
        }
        Ok(())
    });
}

#[test]
fn cpu_base_equals_the_definition() {
    base_agrees(&*engines::cpu(), SMALL, 1000);
}

#[test]
fn cpu_row_scores_equal_the_definition() {
    per_row_agrees(&*engines::cpu(), SMALL, 400);
}

#[test]
fn cpu_base_equals_the_definition_in_larger_pools() {
    base_agrees(&*engines::cpu(), LARGE, 40);
}

#[test]
fn cpu_row_scores_equal_the_definition_in_larger_pools() {
    per_row_agrees(&*engines::cpu(), LARGE, 20);
}

#[test]
fn rough_base_equals_the_definition() {
    base_agrees(&*engines::rough(), SMALL, 1000);
}

#[test]
fn rough_row_scores_equal_the_definition() {
    per_row_agrees(&*engines::rough(), SMALL, 400);
}

#[test]
fn rough_base_equals_the_definition_in_larger_pools() {
    base_agrees(&*engines::rough(), LARGE, 40);
}

/// Rows with a NaN or an infinity among the others, left out: what is picked of the rest is the definition's.
fn others_are_picked(engine: &dyn Engine, kinds: &[Kind]) {
    for (number, kind) in kinds.iter().enumerate() {
        let shape = Shape {
            kind: *kind,
            half: number % 2 == 0,
            rows: 300,
            dim: 19,
            classes: 13,
            seed: 11 + number as u64,
        };
        let mut case = shape.case();
        let mut finite = case.available.clone();
        let bad: Vec<usize> = case.available.iter().skip(1).step_by(7).collect();
        for row in &bad {
            finite.remove(*row);
            let at = row * shape.dim + row % shape.dim;
            let value = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][row % 3];
            match &mut case.stored {
                Stored::F32(values) => values[at] = value,
                Stored::F16(values) => values[at] = f16::from_f32(value),
            }
        }
        let pool = case.pool();
        let request = Request {
            head: Some(&case.head),
            nonfinite: Nonfinite::Skip,
            ..Request::new(&pool, &case.available, 70)
        };
        let serving = Serving::uniform(70, case.head.classes());
        let base = brute_force::base(&case.rows, &case.head, &finite, 70, &serving);
        let mase = brute_force::per_row(RowScore::Mase, &case.rows, &case.head, &finite, 70);
        for (strategy, expected) in [(&Base as &dyn Strategy, &base), (&Mase, &mase)] {
            agrees(engine, strategy, &request, expected).unwrap();
            let left_out = strategy.select(engine, &request).unwrap().nonfinite;
            assert_eq!(left_out.iter().collect::<Vec<_>>(), bad, "{shape:?}");
        }
    }
}

#[test]
fn rows_that_are_not_finite_are_left_out_among_others() {
    others_are_picked(&*engines::cpu(), &KINDS);
    others_are_picked(&*engines::rough(), &KINDS);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn rows_that_are_not_finite_are_left_out_on_a_gpu() {
    others_are_picked(&*engines::gpu(), &[Kind::Plain, Kind::Grid, Kind::Norms]);
}

#[test]
fn many_classes_equal_the_definition() {
    // So many that a row may be a few classes' candidate, not one's or all.
    for kind in KINDS {
        for half in [false, true] {
            let shape = Shape {
                kind,
                half,
                rows: 700,
                dim: 24,
                classes: 300,
                seed: 9,
            };
            let case = shape.case();
            let pool = case.pool();
            let serving = Serving::uniform(400, case.head.classes());
            let expected =
                brute_force::base(&case.rows, &case.head, &case.available, 400, &serving);
            let request = Request {
                head: Some(&case.head),
                ..Request::new(&pool, &case.available, 400)
            };
            for engine in [engines::cpu(), engines::rough()] {
                agrees(&*engine, &Base, &request, &expected).unwrap();
            }
        }
    }
}

#[test]
fn wide_embeddings_equal_the_definition() {
    // Of several slices, the last an odd one.
    for kind in KINDS {
        for half in [false, true] {
            let shape = Shape {
                kind,
                half,
                rows: 400,
                dim: 1101,
                classes: 40,
                seed: 4,
            };
            let case = shape.case();
            let pool = case.pool();
            let request = Request {
                head: Some(&case.head),
                ..Request::new(&pool, &case.available, 90)
            };
            let serving = Serving::uniform(90, case.head.classes());
            let base = brute_force::base(&case.rows, &case.head, &case.available, 90, &serving);
            let mase =
                brute_force::per_row(RowScore::Mase, &case.rows, &case.head, &case.available, 90);
            for (strategy, expected) in [(&Base as &dyn Strategy, base), (&Mase, mase)] {
                for engine in [engines::rough(), engines::cpu()] {
                    let found = strategy.select(&*engine, &request).unwrap().picks;
                    assert_eq!(found, expected, "{} {shape:?}", strategy.name());
                }
            }
        }
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn gpu_base_equals_the_definition() {
    base_agrees(&*engines::gpu(), SMALL, 48);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn gpu_row_scores_equal_the_definition() {
    per_row_agrees(&*engines::gpu(), SMALL, 24);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn gpu_base_equals_the_definition_in_larger_pools() {
    base_agrees(&*engines::gpu(), LARGE, 10);
}

#[test]
fn lists_run_out_and_are_filled_again() {
    let shape = Shape {
        kind: Kind::AllWeightsEqual,
        half: false,
        rows: 4000,
        dim: 8,
        classes: 40,
        seed: 1,
    };
    let case = shape.case();
    let pool = case.pool();
    let request = Request {
        head: Some(&case.head),
        ..Request::new(&pool, &case.available, 2000)
    };
    let selection = Base.select(&*engines::cpu(), &request).unwrap();
    // Every score is +∞, so that all classes want the same rows, in order.
    let rows: Vec<usize> = selection.picks.iter().map(|pick| pick.row).collect();
    let expected: Vec<usize> = case.available.iter().take(2000).collect();
    assert_eq!(rows, expected);
    assert!(selection.refills > 0, "the case is too easy: {selection:?}");
}

#[test]
fn stretches_without_available_rows_are_not_read() {
    let shape = Shape {
        kind: Kind::Grid,
        half: false,
        rows: 20_000,
        dim: 3,
        classes: 5,
        seed: 2,
    };
    let case = shape.case();
    let (pool, engine) = (case.pool(), engines::cpu());
    let mut available = RowSet::none(shape.rows);
    for row in (700..1000).chain(1100..1600).chain(9000..9300) {
        available.insert(row);
    }
    let read = AtomicU64::new(0);
    let count = |rows| {
        read.fetch_add(rows, Ordering::Relaxed);
    };
    let request = Request {
        head: Some(&case.head),
        progress: &count,
        ..Request::new(&pool, &available, 60)
    };
    let serving = Serving::uniform(60, 5);
    let expected = brute_force::base(&case.rows, &case.head, &available, 60, &serving);
    assert_eq!(Base.select(&*engine, &request).unwrap().picks, expected);
    // From 700 to 1600, and from 9000 to 9300.
    assert_eq!(read.load(Ordering::Relaxed), 1200);
}

#[test]
fn cases_notice_bounds_that_are_too_tight() {
    let engine = engines::cpu();
    let overconfident = Overconfident(&*engine);
    let wrong = |score, strategy: &dyn Strategy| {
        let seeds = (0..200).filter(|seed| {
            let shape = Shape {
                kind: Kind::NearBoundary,
                half: false,
                rows: 130,
                dim: 40,
                classes: 8,
                seed: *seed,
            };
            let case = shape.case();
            let pool = case.pool();
            let request = Request {
                head: Some(&case.head),
                ..Request::new(&pool, &case.available, 5)
            };
            let selection = strategy.select(&overconfident, &request).unwrap();
            let expected = brute_force::per_row(score, &case.rows, &case.head, &case.available, 5);
            selection.picks != expected
        });
        seeds.count()
    };
    assert!(wrong(RowScore::Mase, &Mase) > 0);
    assert!(wrong(RowScore::Margin, &Margin) > 0);
}
