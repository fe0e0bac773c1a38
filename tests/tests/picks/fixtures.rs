//! The cases of `../shared/fixtures`.

use equipoise_core::{Engine, MemoryPool, Request, Values, strategies};
use equipoise_tests::{brute_force, fixtures};

use crate::engines;

/// Strategies the fixtures are known to carry.
const CARRIED: [&str; 5] = ["base", "mase", "margin", "confidence", "coreset"];

/// How far the fixtures' distances may lie from the definition's: theirs add the products up in
/// another order, in float64, and distances near 0 come from cancellation.
const DISTANCE_TOLERANCE: f64 = 1e-10;

fn picks_equal_expected(engine: &dyn Engine) {
    let mut seen = Vec::new();
    for fixture in fixtures::all() {
        let pool = MemoryPool::new(Values::F32(&fixture.embeddings), fixture.dim).unwrap();
        for (name, expected) in &fixture.expected {
            let Some(strategy) = strategies::by_name(name) else {
                continue;
            };
            seen.push(strategy.name());
            let budget = match *name == "coreset" {
                true => expected.len(),
                false => fixture.budget,
            };
            let request = Request {
                head: Some(&fixture.head),
                labelled: &fixture.labelled,
                ..Request::new(&pool, &fixture.available, budget)
            };
            let selection = strategy.select(engine, &request).unwrap();
            let rows: Vec<usize> = selection.picks.iter().map(|pick| pick.row).collect();
            assert_eq!(rows, *expected, "{name} on {}", fixture.name);
        }
    }
    for name in CARRIED {
        assert!(seen.contains(&name), "no fixture carries {name}");
    }
}

#[test]
#[cfg_attr(not(shared), ignore = "needs ../shared, which is not here")]
fn cpu_picks_equal_the_fixtures() {
    picks_equal_expected(&*engines::cpu());
}

#[test]
#[cfg_attr(not(shared), ignore = "needs ../shared, which is not here")]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn gpu_picks_equal_the_fixtures() {
    picks_equal_expected(&*engines::gpu());
}

#[test]
#[cfg_attr(not(shared), ignore = "needs ../shared, which is not here")]
fn definition_gives_the_fixtures_distances() {
    let mut compared = 0;
    for fixture in fixtures::all() {
        let classes = fixture.head.classes();
        let given = fixture.distances.chunks(classes);
        for (row, given) in fixture.available.iter().zip(given) {
            let x = &fixture.embeddings[row * fixture.dim..(row + 1) * fixture.dim];
            let (p, found) = brute_force::distances(x, &fixture.head);
            for class in 0..classes {
                let (given, found) = (given[class], found[class]);
                let near = (given - found).abs() <= DISTANCE_TOLERANCE * given.abs().max(1.0);
                assert!(
                    near || given == found,
                    "{}: row {row}, class {class}, predicted {p}: {given} given, {found} found",
                    fixture.name
                );
            }
            compared += 1;
        }
    }
    assert!(compared > 0, "no fixture holds distances");
}
