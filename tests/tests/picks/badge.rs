//! BADGE against the definition, on generated cases.

use equipoise_core::strategies::Badge;
use equipoise_core::{Engine, Request, Strategy};
use equipoise_tests::brute_force;
use equipoise_tests::cases::{Kind, Shape};

use crate::engines;
use crate::generated::{Sizes, agrees, run};

/// Smaller than other strategies' cases: the definition weighs every row for every pick.
const SMALL: Sizes = (1..=130, 1..=60);
const LARGE: Sizes = (800..=1500, 50..=150);

fn badge_agrees(engine: &dyn Engine, sizes: Sizes, cases: u32) {
    run(sizes, cases, |shape, budget, _, _| {
        let case = shape.case();
        let pool = case.pool();
        let fresh_start = shape.seed % 3 == 0;
        let centres: Vec<usize> = match fresh_start {
            true => Vec::new(),
            false => case.labelled.iter().map(|row| row.row).collect(),
        };
        let budget = budget.min(case.available.len());
        let drawn = (budget, shape.seed);
        let expected = brute_force::badge(&case.rows, &case.head, &centres, &case.available, drawn);
        let request = Request {
            head: Some(&case.head),
            labelled: &case.labelled,
            fresh_start,
            seed: shape.seed,
            ..Request::new(&pool, &case.available, budget)
        };
        agrees(engine, &Badge, &request, &expected)
    });
}

#[test]
fn cpu_badge_equals_the_definition() {
    badge_agrees(&*engines::cpu(), SMALL, 60);
}

#[test]
fn cpu_badge_equals_the_definition_in_larger_pools() {
    badge_agrees(&*engines::cpu(), LARGE, 8);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn gpu_badge_equals_the_definition() {
    badge_agrees(&*engines::gpu(), SMALL, 6);
}

#[test]
fn another_seed_or_round_draws_others() {
    let shape = Shape {
        kind: Kind::Plain,
        half: false,
        rows: 400,
        dim: 8,
        classes: 3,
        seed: 1,
    };
    let case = shape.case();
    let pool = case.pool();
    let engine = engines::cpu();
    let picks = |seed, round| {
        let request = Request {
            head: Some(&case.head),
            seed,
            round,
            ..Request::new(&pool, &case.available, 20)
        };
        Badge.select(&*engine, &request).unwrap().picks
    };
    assert_eq!(picks(1, 0), picks(1, 0));
    assert_ne!(picks(1, 0), picks(2, 0));
    assert_ne!(picks(1, 0), picks(1, 1));
}
