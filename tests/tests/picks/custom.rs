//! Strategies and scores of a crate of somebody's own are as exact as ours.

use equipoise_core::strategies::Listed;
use equipoise_core::{
    CustomScore, Engine, Operations, Request, Rounding, RowOrder, RowSet, Selection, Strategy,
    definition,
};
use equipoise_tests::cases::{Case, Kind, Shape};
use proptest::prelude::prop_assert_eq;
use proptest::test_runner::TestCaseError;

use crate::engines;
use crate::generated::{LARGE, SMALL, Sizes, run};

/// The gap of the two largest logits, not of probabilities.
struct Gap;

impl CustomScore for Gap {
    fn name(&self) -> &str {
        "gap"
    }

    fn key(&self, logits: &[f64]) -> f64 {
        let top = |without: Option<usize>| {
            let others = (0..logits.len()).filter(|c| Some(*c) != without);
            others.map(|c| logits[c]).fold(f64::NEG_INFINITY, f64::max)
        };
        top(None) - top(Some(definition::predicted(logits)))
    }

    fn steepness(&self) -> f64 {
        2.0
    }

    fn wgsl(&self) -> &str {
        "fn row_key(row: u32) -> f32 {
            var top = -UNREACHABLE;
            var second = -UNREACHABLE;
            for (var c = 0u; c < classes(); c += 1u) {
                let z = logit(row, c);
                second = max(second, min(top, z));
                top = max(top, z);
            }
            return top - second;
        }"
    }

    fn rounding(&self) -> Rounding {
        Rounding {
            absolute: 0.0,
            relative: 1e-6,
        }
    }
}

/// The first class's logit squared: steep, and the same for many rows.
struct Square {
    steepness: f64,
}

impl CustomScore for Square {
    fn name(&self) -> &str {
        "square"
    }

    fn key(&self, logits: &[f64]) -> f64 {
        // NaN for some rows: they come last.
        match logits[0] > 3.0 {
            true => f64::NAN,
            false => logits[0] * logits[0],
        }
    }

    fn steepness(&self) -> f64 {
        self.steepness
    }

    fn wgsl(&self) -> &str {
        "fn row_key(row: u32) -> f32 { return logit(row, 0u) * logit(row, 0u); }"
    }

    fn rounding(&self) -> Rounding {
        Rounding {
            absolute: 0.0,
            relative: 1e-6,
        }
    }
}

/// Of rows in turn, each group its share.
struct InTurn<'s> {
    score: &'s dyn CustomScore,
    groups: usize,
}

impl Strategy for InTurn<'_> {
    fn name(&self) -> &'static str {
        "in-turn"
    }

    fn summary(&self) -> &'static str {
        "rows of every group"
    }

    fn source(&self) -> &'static str {
        "a test"
    }

    fn needs_head(&self) -> bool {
        true
    }

    fn select(
        &self,
        engine: &dyn Engine,
        request: &Request<'_>,
    ) -> equipoise_core::Result<Selection> {
        let mut operations = Operations::new(engine, request, self.name())?;
        let keep = vec![request.effective_budget()? / self.groups; self.groups];
        let order = RowOrder::Custom(self.score);
        let best =
            operations.best_of_groups(order, request.available, &keep, |row| row % self.groups)?;
        let picks = best.iter().flatten().map(|listed| listed.pick(None));
        Ok(operations.finish(picks.collect()))
    }
}

/// The rows of `available` by their keys.
fn in_order(case: &Case, score: &dyn CustomScore, available: &RowSet) -> Vec<(f64, usize)> {
    let key = |row: usize| match score.key(&definition::logits(&case.rows[row], &case.head)) {
        key if key.is_nan() => f64::INFINITY,
        key => key,
    };
    let mut rows: Vec<(f64, usize)> = available.iter().map(|row| (key(row), row)).collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    rows
}

fn agrees(engine: &dyn Engine, sizes: Sizes, cases: u32) {
    run(sizes, cases, |shape, budget, _, _| {
        let case = shape.case();
        let (pool, fail) = (case.pool(), |error: equipoise_core::Error| {
            TestCaseError::fail(error.to_string())
        });
        let request = Request {
            head: Some(&case.head),
            ..Request::new(&pool, &case.available, budget)
        };
        let endless = Square {
            steepness: f64::INFINITY,
        };
        let mut scores: Vec<&dyn CustomScore> = vec![&endless];
        if case.head.classes() > 1 {
            scores.push(&Gap);
        }
        for score in scores {
            let expected = in_order(&case, score, &case.available);
            let mut operations = Operations::new(engine, &request, "test").map_err(fail)?;
            let order = RowOrder::Custom(score);
            let best = operations.best_rows(order, &case.available, budget);
            let best = best.map_err(fail)?;
            let rows = |listed: &Listed| (listed.key, listed.row);
            let found: Vec<(f64, usize)> = best.iter().map(rows).collect();
            prop_assert_eq!(
                found,
                &expected[..expected.len().min(budget)],
                "{:?}",
                score
            );
            for listed in &best {
                let logits = definition::logits(&case.rows[listed.row], &case.head);
                prop_assert_eq!(listed.predicted as usize, definition::predicted(&logits));
            }
            let strategy = InTurn { score, groups: 3 };
            let selection = strategy.select(engine, &request).map_err(fail)?;
            let share = budget.min(case.available.len()) / 3;
            let of_group = |group: usize| {
                let rows = expected.iter().filter(move |(_, row)| row % 3 == group);
                rows.take(share).map(|(_, row)| *row)
            };
            let expected: Vec<usize> = (0..3).flat_map(of_group).collect();
            let picks: Vec<usize> = selection.picks.iter().map(|pick| pick.row).collect();
            prop_assert_eq!(picks, expected);
        }
        Ok(())
    });
}

#[test]
fn scores_of_somebodys_own_rank_exactly() {
    agrees(&*engines::cpu(), SMALL, 300);
    agrees(&*engines::cpu(), LARGE, 10);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn scores_of_somebodys_own_rank_exactly_on_a_gpu() {
    agrees(&*engines::gpu(), SMALL, 12);
    agrees(&*engines::gpu(), LARGE, 2);
}

#[test]
fn classes_are_ranked_as_base_ranks_them() {
    let shape = Shape {
        kind: Kind::DuplicateRows,
        half: false,
        rows: 400,
        dim: 6,
        classes: 5,
        seed: 4,
    };
    let (case, engine) = (shape.case(), engines::cpu());
    let pool = case.pool();
    let request = Request {
        head: Some(&case.head),
        ..Request::new(&pool, &case.available, 1)
    };
    let mut operations = Operations::new(&*engine, &request, "test").unwrap();
    let best = operations
        .best_of_classes(&case.available, &[0, 1, 7, 40, 1000])
        .unwrap();
    for (class, listed) in best.iter().enumerate() {
        let score = |row: usize| {
            let logits = definition::logits(&case.rows[row], &case.head);
            let p = definition::predicted(&logits);
            definition::base(&definition::distances(&logits, p, &case.head), p)[class]
        };
        let mut rows: Vec<(f64, usize)> =
            case.available.iter().map(|row| (score(row), row)).collect();
        rows.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        rows.truncate([0, 1, 7, 40, 1000][class]);
        let found: Vec<(f64, usize)> = listed.iter().map(|l| (l.key, l.row)).collect();
        assert_eq!(found, rows, "{class}");
    }
    assert!(operations.best_of_classes(&case.available, &[1]).is_err());
    let none = operations.best_of_groups(RowOrder::Custom(&Gap), &case.available, &[], |_| 0);
    assert!(none.unwrap().is_empty());
}

/// The gap of the largest logits, with WGSL that computes something else.
struct Wrong;

impl CustomScore for Wrong {
    fn name(&self) -> &str {
        "wrong"
    }

    fn key(&self, logits: &[f64]) -> f64 {
        Gap.key(logits)
    }

    fn steepness(&self) -> f64 {
        Gap.steepness()
    }

    fn wgsl(&self) -> &str {
        "fn row_key(row: u32) -> f32 { return logit(row, 0u) + 1000.0; }"
    }

    fn rounding(&self) -> Rounding {
        Gap.rounding()
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_score_whose_wgsl_is_another_is_found_out() {
    let shape = Shape {
        kind: Kind::DuplicateRows,
        half: false,
        rows: 60,
        dim: 6,
        classes: 5,
        seed: 4,
    };
    let (case, engine) = (shape.case(), engines::gpu());
    let pool = case.pool();
    let request = Request {
        head: Some(&case.head),
        ..Request::new(&pool, &case.available, 10)
    };
    let mut operations = Operations::new(&*engine, &request, "test").unwrap();
    let best = operations.best_rows(RowOrder::Custom(&Wrong), &case.available, 10);
    let error = best.unwrap_err().to_string();
    assert!(
        error.contains("score wrong: the key of row") && error.contains("hint"),
        "{error}"
    );
}
