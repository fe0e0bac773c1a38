//! Kernel `row_keys` with functions of somebody's own.

use equipoise_core::engine::{Question, UNAVAILABLE, UNDECIDABLE};
use equipoise_core::{
    CpuEngine, CustomScore, Engine, Error, Operations, Request, Rounding, RowOrder,
};

use crate::common::{Case, ask, engine};

/// −ln Σ e^z, or whatever else the WGSL says.
struct Energy(&'static str);

const ENERGY: &str = "
const SMALL = -80.0;

fn row_key(row: u32) -> f32 {
    var top = logit(row, 0u);
    for (var c = 1u; c < classes(); c += 1u) {
        top = max(top, logit(row, c));
    }
    var sum = 0.0;
    for (var c = 0u; c < classes(); c += 1u) {
        sum += exp(max(logit(row, c) - top, SMALL));
    }
    return -top - log(sum);
}";

impl CustomScore for Energy {
    fn name(&self) -> &str {
        "energy"
    }

    fn key(&self, logits: &[f64]) -> f64 {
        let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        -top - logits.iter().map(|z| (z - top).exp()).sum::<f64>().ln()
    }

    fn steepness(&self) -> f64 {
        1.0
    }

    fn wgsl(&self) -> &str {
        self.0
    }

    fn rounding(&self) -> Rounding {
        Rounding {
            absolute: 1e-4,
            relative: 1e-6,
        }
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn keys_are_near_those_of_the_twin() {
    let (gpu, score) = (engine(), Energy(ENERGY));
    for (rows, classes) in [(1, 1), (63, 2), (64, 64), (65, 65), (300, 7)] {
        let mut case = Case::random(rows, classes, 9, 3);
        if rows > 1 {
            case.available.remove(rows / 2);
        }
        let question = Question::RowKeys { score: &score };
        let found = ask(&gpu, &case, question).keys;
        let expected = ask(&CpuEngine::new(), &case, question).keys;
        assert_eq!((found.len(), expected.len()), (rows, rows));
        for (row, (found, expected)) in found.iter().zip(&expected).enumerate() {
            if rows > 1 && row == rows / 2 {
                assert_eq!(
                    (found.tolerance, expected.tolerance),
                    (UNAVAILABLE, UNAVAILABLE)
                );
                continue;
            }
            let apart = f64::from((found.key - expected.key).abs());
            let allowed = 1e-4 + 1e-6 * f64::from(expected.key.abs()) + case.tolerance(row);
            assert!(
                apart <= allowed,
                "{rows} {classes} {row}: {found:?} {expected:?}"
            );
        }
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn functions_that_are_wrong_are_errors() {
    let (gpu, case) = (engine(), Case::random(20, 3, 4, 1));
    let pool = case.pool();
    let failure = |wgsl: &'static str| {
        let mut scorer = gpu.scorer(&case.head, &pool, Default::default()).unwrap();
        let score = Energy(wgsl);
        let question = Question::RowKeys { score: &score };
        match scorer.submit(0, 20, &case.available, question) {
            Err(Error::Device { message, .. }) => message,
            other => panic!("{other:?}"),
        }
    };
    let unknown = failure("fn row_key(row: u32) -> f32 {\n    return energy(row);\n}");
    assert!(
        unknown.starts_with("the WGSL of score energy: line 2:"),
        "{unknown}"
    );
    assert!(unknown.contains("energy"), "{unknown}");
    let unbound = failure(
        "@group(0) @binding(9) var<storage, read> more: array<f32>;
        fn row_key(row: u32) -> f32 { return more[row]; }",
    );
    assert!(unbound.contains("energy"), "{unbound}");
}

/// Logits of the next class or row where there is none of one's own: a key that would seem fine.
const STRAYING: [&str; 3] = [
    "fn row_key(row: u32) -> f32 { return logit(row, classes()); }",
    "fn row_key(row: u32) -> f32 { return logit(row + 1u, 0u); }",
    "fn row_key(row: u32) -> f32 { return logit(row + 1000000u, 77u); }",
];

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn keys_of_logits_that_are_not_the_rows_are_not_used() {
    let (gpu, case) = (engine(), Case::random(90, 3, 4, 1));
    let pool = case.pool();
    let request = Request {
        head: Some(&case.head),
        ..Request::new(&pool, &case.available, 1)
    };
    let best = |engine: &dyn Engine, score: &Energy| {
        let mut operations = Operations::new(engine, &request, "test").unwrap();
        let order = RowOrder::Custom(score);
        let best = operations.best_rows(order, &case.available, 20).unwrap();
        best.iter().map(|listed| listed.row).collect::<Vec<_>>()
    };
    let expected = best(&CpuEngine::new(), &Energy(ENERGY));
    for wgsl in STRAYING {
        let score = Energy(wgsl);
        let keys = ask(&gpu, &case, Question::RowKeys { score: &score }).keys;
        assert_eq!(keys.len(), 90);
        assert!(
            keys.iter().all(|key| key.tolerance >= UNDECIDABLE),
            "{wgsl}"
        );
        assert_eq!(best(&gpu, &score), expected, "{wgsl}");
    }
    // For one row alone.
    let some = ENERGY.replacen(
        "var top = logit(row, 0u);",
        "var top = logit(row, select(0u, 3u, row == 5u));",
        1,
    );
    let score = Energy(some.leak());
    let keys = ask(&gpu, &case, Question::RowKeys { score: &score }).keys;
    for (row, key) in keys.iter().enumerate() {
        assert_eq!(key.tolerance >= UNDECIDABLE, row == 5, "{row}: {key:?}");
    }
    assert_eq!(best(&gpu, &score), expected);
}
