//! BASE under constraints against its definition, on generated cases.

use equipoise_core::quota::{self, ClassOrder};
use equipoise_core::strategies::Base;
use equipoise_core::{Constraints, Engine, Error, Groups, Request, Shortfall, Strategy};
use equipoise_tests::brute_force::{self, Serving};
use equipoise_tests::cases::{Case, Kind, Shape};
use proptest::prelude::prop_assert_eq;
use proptest::test_runner::TestCaseError;

use crate::engines;
use crate::generated::{LARGE, SMALL, Sizes, agrees, run};

/// What a case is constrained by, drawn from its seed.
struct Drawn {
    groups: Vec<Groups>,
    costs: Option<Vec<f64>>,
    min_distance: Option<f64>,
}

impl Drawn {
    fn of(shape: &Shape, case: &Case) -> Self {
        let rows = shape.rows;
        let (mut state, mut next) = (shape.seed, 0u64);
        let mut below = |bound: u64| {
            // splitmix64
            next += 1;
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_add(next);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ (z >> 31)) % bound
        };
        let mut groups = Vec::new();
        for (column, names) in [("site", 5), ("day", 40)] {
            if below(2) == 0 {
                let of_row = |group: u64| (group < names).then_some(group as u32);
                groups.push(Groups {
                    column: column.into(),
                    names: (0..names).map(|group| group.to_string()).collect(),
                    of_rows: (0..rows).map(|_| of_row(below(names + 1))).collect(),
                    cap: 1 + below(6) as usize,
                });
            }
        }
        // Quarters add up exactly.
        let costs = (below(2) == 0).then(|| (0..rows).map(|_| below(20) as f64 / 4.0).collect());
        let min_distance = (below(2) == 0).then(|| {
            let (a, b) = (below(rows as u64) as usize, below(rows as u64) as usize);
            let apart = brute_force::squared_distance(&case.rows[a], &case.rows[b]).sqrt();
            let share = below(10) as f64 / 10.0;
            if apart > 0.0 {
                apart * (0.1 + share)
            } else {
                0.5
            }
        });
        Self {
            groups,
            costs,
            min_distance,
        }
    }

    fn constraints(&self) -> Constraints<'_> {
        Constraints {
            min_distance: self.min_distance,
            groups: &self.groups,
            costs: self.costs.as_deref(),
        }
    }
}

fn constrained_agrees(engine: &dyn Engine, sizes: Sizes, cases: u32) {
    run(sizes, cases, |shape, budget, quotas, class_order| {
        let case = shape.case();
        let pool = case.pool();
        let drawn = Drawn::of(&shape, &case);
        let constraints = drawn.constraints();
        let classes = case.head.classes();
        let counts = quota::class_counts(&case.labelled, classes).unwrap();
        let budget = match drawn.costs {
            Some(_) => budget,
            None => budget.min(case.available.len()),
        };
        let given = match quotas {
            crate::generated::Quotas::Uniform => None,
            _ => Some(quota::balance(budget, &counts)),
        };
        let serving = Serving {
            quotas: given
                .clone()
                .unwrap_or_else(|| quota::uniform(budget, classes)),
            order: class_order.order(&counts),
        };
        let request = Request {
            head: Some(&case.head),
            labelled: &case.labelled,
            quotas: given.as_deref(),
            class_order,
            constraints,
            ..Request::new(&pool, &case.available, budget)
        };
        if !constraints.any() {
            return Ok(());
        }
        let (expected, short) = brute_force::constrained(&case, budget, &serving, &constraints);
        agrees(engine, &Base, &request, &expected)?;
        let selection = Base.select(engine, &request);
        let selection = selection.map_err(|error| TestCaseError::fail(error.to_string()))?;
        let found = selection.shortfalls.iter();
        let found: Vec<(u32, f64)> = found.map(|short| (short.class, short.missing)).collect();
        prop_assert_eq!(found, short);
        Ok(())
    });
}

#[test]
fn cpu_constrained_base_equals_the_definition() {
    constrained_agrees(&*engines::cpu(), SMALL, 150);
}

#[test]
fn cpu_constrained_base_equals_the_definition_in_larger_pools() {
    constrained_agrees(&*engines::cpu(), LARGE, 8);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn gpu_constrained_base_equals_the_definition() {
    constrained_agrees(&*engines::gpu(), SMALL, 8);
}

fn plain() -> Case {
    let shape = Shape {
        kind: Kind::Plain,
        half: false,
        rows: 300,
        dim: 6,
        classes: 3,
        seed: 8,
    };
    shape.case()
}

#[test]
fn what_falls_short_is_told_with_its_reasons() {
    let case = plain();
    let pool = case.pool();
    let engine = engines::cpu();
    let groups = [Groups {
        column: "site".into(),
        names: vec!["north".into(), "south".into()],
        of_rows: (0..300).map(|row| Some(row % 2)).collect(),
        cap: 4,
    }];
    let request = Request {
        head: Some(&case.head),
        constraints: Constraints {
            groups: &groups,
            ..Constraints::default()
        },
        ..Request::new(&pool, &case.available, 30)
    };
    let selection = Base.select(&*engine, &request).unwrap();
    assert_eq!(selection.picks.len(), 8);
    let last = selection.shortfalls.last().unwrap();
    assert_eq!((last.class, last.missing), (2, 10.0));
    let second: &Shortfall = &selection.shortfalls[0];
    assert!(second.group_full > 0 && second.too_near == 0, "{second:?}");
    assert_eq!(second.groups, ["site=north", "site=south"]);
}

#[test]
fn quotas_that_no_row_is_left_for_fall_short() {
    let case = plain();
    let pool = case.pool();
    let engine = engines::cpu();
    let rows = case.available.len();
    let request = Request {
        head: Some(&case.head),
        quotas: Some(&[5, rows, 7]),
        class_order: ClassOrder::Id,
        ..Request::new(&pool, &case.available, rows + 12)
    };
    let selection = Base.select(&*engine, &request).unwrap();
    assert_eq!(selection.picks.len(), rows);
    // The budget is cut to the rows there are.
    assert_eq!(selection.shortfalls, []);
}

#[test]
fn constraints_that_do_not_fit_are_errors() {
    let case = plain();
    let pool = case.pool();
    let engine = engines::cpu();
    let costs = |bad: f64| {
        let mut costs = vec![1.0; 300];
        costs[7] = bad;
        costs
    };
    let (negative, nan, short) = (costs(-1.0), costs(f64::NAN), vec![1.0; 5]);
    let of = |costs| Constraints {
        costs: Some(costs),
        ..Constraints::default()
    };
    let near = |distance| Constraints {
        min_distance: Some(distance),
        ..Constraints::default()
    };
    for constraints in [
        of(&negative[..]),
        of(&nan),
        of(&short),
        near(0.0),
        near(f64::INFINITY),
    ] {
        let request = Request {
            head: Some(&case.head),
            constraints,
            ..Request::new(&pool, &case.available, 5)
        };
        let error = Base.select(&*engine, &request).unwrap_err();
        assert!(matches!(error, Error::Constraints(_)), "{error}");
    }
}
