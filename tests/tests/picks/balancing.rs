//! Balancing against its definition, on generated cases.

use equipoise_core::strategies::{Balancing, BalancingOptions, Majority, Nonfinite, PickLabels};
use equipoise_core::{Engine, Error, LabelledRow, MemoryPool, Request, RowSet, Strategy, Values};
use equipoise_tests::brute_balance;
use equipoise_tests::cases::{Case, Kind, Shape};

use crate::engines;
use crate::generated::{LARGE, SMALL, Sizes, agrees, run};
use crate::truth::truth;

/// The labelled rows, low classes more often.
fn unbalanced(case: &Case) -> Vec<LabelledRow> {
    let classes = case.head.classes();
    let skewed = |class: u32| (class as usize * class as usize / classes) as u32;
    let rows = case.labelled.iter();
    rows.map(|row| LabelledRow {
        class: row.class.map(skewed),
        ..*row
    })
    .collect()
}

fn balancing_agrees(engine: &dyn Engine, sizes: Sizes, cases: u32) {
    run(sizes, cases, |shape, budget, _, _| {
        let case = shape.case();
        let pool = case.pool();
        let (labelled, truth) = (unbalanced(&case), truth(&shape, case.head.classes()));
        let request = Request {
            head: Some(&case.head),
            labelled: &labelled,
            truth: Some(&truth),
            seed: shape.seed % 3,
            balancing: BalancingOptions {
                majority: match shape.seed / 2 % 2 {
                    0 => Majority::Nearest,
                    _ => Majority::Farthest,
                },
                labels: match shape.seed % 2 {
                    0 => PickLabels::Predicted,
                    _ => PickLabels::Oracle,
                },
            },
            ..Request::new(&pool, &case.available, budget)
        };
        let expected = brute_balance::balancing(&case.rows, &request);
        agrees(engine, &Balancing, &request, &expected)
    });
}

#[test]
fn cpu_balancing_equals_the_definition() {
    balancing_agrees(&*engines::cpu(), SMALL, 150);
}

#[test]
fn cpu_balancing_equals_the_definition_in_larger_pools() {
    balancing_agrees(&*engines::cpu(), LARGE, 4);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn gpu_balancing_equals_the_definition() {
    balancing_agrees(&*engines::gpu(), (1..=80, 1..=30), 8);
}

const PLAIN: Shape = Shape {
    kind: Kind::Plain,
    half: false,
    rows: 200,
    dim: 6,
    classes: 4,
    seed: 21,
};

#[test]
fn a_balanced_labelled_set_leads_to_random_picks_and_an_unbalanced_one_does_not() {
    let case = PLAIN.case();
    let pool = case.pool();
    let class = |of: &dyn Fn(usize) -> u32| -> Vec<LabelledRow> {
        let rows = case.labelled[..32].iter().enumerate();
        rows.map(|(index, row)| LabelledRow {
            row: row.row,
            class: Some(of(index)),
        })
        .collect()
    };
    let select = |labelled: &[LabelledRow]| {
        let request = Request {
            head: Some(&case.head),
            labelled,
            ..Request::new(&pool, &case.available, 8)
        };
        Balancing.select(&*engines::cpu(), &request).unwrap()
    };
    let even = select(&class(&|index| index as u32 % 4));
    assert!(even.picks[0].score.is_none() && even.picks[0].class.is_none());
    let uneven = select(&class(&|index| u32::from(index % 16 == 0)));
    // Classes 2 and 3 have no label: the lower is the rarest.
    let first = uneven.picks[0];
    assert_eq!(first.class, Some(2));
    assert!(uneven.picks.iter().all(|pick| pick.score.is_some()));
    assert!(!uneven.oracle);
}

#[test]
fn bounds_settle_few_rows_of_many() {
    let shape = Shape {
        rows: 3000,
        dim: 32,
        ..PLAIN
    };
    let case = shape.case();
    let pool = case.pool();
    let labelled = unbalanced(&case);
    let request = Request {
        head: Some(&case.head),
        labelled: &labelled,
        ..Request::new(&pool, &case.available, 60)
    };
    let selection = Balancing.select(&*engines::cpu(), &request).unwrap();
    let ratios = selection.picks.iter().filter(|pick| pick.score.is_some());
    let (settled, ratios) = (selection.settled, ratios.count() as u64);
    assert!(ratios > 30, "the case is too easy: {ratios}");
    assert!(
        settled <= 64 * ratios,
        "{settled} settled for {ratios} picks"
    );
}

#[test]
fn labels_that_are_missing_or_unknown_are_named() {
    let case = PLAIN.case();
    let pool = case.pool();
    let row = case.labelled[0].row;
    let select = |labelled: LabelledRow, labels, truth| {
        let request = Request {
            head: Some(&case.head),
            labelled: &[labelled],
            truth,
            balancing: BalancingOptions {
                labels,
                ..BalancingOptions::default()
            },
            ..Request::new(&pool, &case.available, 3)
        };
        Balancing.select(&*engines::cpu(), &request).unwrap_err()
    };
    let of = |class| LabelledRow { row, class };
    let error = select(of(None), PickLabels::Predicted, None);
    assert!(matches!(error, Error::ClassMissing { row: found, .. } if found == row));
    let error = select(of(Some(4)), PickLabels::Predicted, None);
    assert!(matches!(error, Error::ClassUnknown { class: 4, .. }));
    let beyond = LabelledRow {
        row: 999,
        class: Some(0),
    };
    let error = select(beyond, PickLabels::Predicted, None);
    assert!(matches!(error, Error::Shape { .. }), "{error}");
    let error = select(of(Some(0)), PickLabels::Oracle, None);
    assert!(matches!(error, Error::TruthMissing { .. }), "{error}");
    let unknown = vec![Some(9); PLAIN.rows];
    let error = select(of(Some(0)), PickLabels::Oracle, Some(&unknown[..]));
    assert!(
        matches!(error, Error::ClassUnknown { class: 9, .. }),
        "{error}"
    );
}

#[test]
fn rows_that_are_not_finite_are_refused_or_left_out() {
    let case = PLAIN.case();
    let labelled = unbalanced(&case);
    let mut values = case.rows.concat();
    let bad = case.available.first_from(100);
    values[bad * PLAIN.dim + 1] = f32::NAN;
    let pool = MemoryPool::new(Values::F32(&values), PLAIN.dim).unwrap();
    let request = Request {
        head: Some(&case.head),
        labelled: &labelled,
        ..Request::new(&pool, &case.available, PLAIN.rows)
    };
    let error = Balancing.select(&*engines::cpu(), &request);
    assert!(matches!(error, Err(Error::NonFiniteRow { row }) if row == bad));
    let skipping = Request {
        nonfinite: Nonfinite::Skip,
        ..request.clone()
    };
    let selection = Balancing.select(&*engines::cpu(), &skipping).unwrap();
    assert!(selection.nonfinite.iter().eq([bad]));
    let mut found = RowSet::none(PLAIN.rows);
    let mut picks = selection.picks.iter();
    assert!(picks.all(|pick| found.insert(pick.row)));
    let mut expected = case.available.clone();
    expected.remove(bad);
    assert_eq!(found, expected);
    let nothing = [f32::NAN; 12];
    let pool = MemoryPool::new(Values::F32(&nothing), PLAIN.dim).unwrap();
    let all = RowSet::all(2);
    let request = Request {
        pool: &pool,
        available: &all,
        labelled: &[],
        ..skipping.clone()
    };
    let selection = Balancing.select(&*engines::cpu(), &request).unwrap();
    assert!(selection.picks.is_empty() && selection.nonfinite.iter().eq([0, 1]));
    let mut values = values.clone();
    values[labelled[0].row * PLAIN.dim] = f32::INFINITY;
    let pool = MemoryPool::new(Values::F32(&values), PLAIN.dim).unwrap();
    let request = Request {
        pool: &pool,
        ..skipping
    };
    let error = Balancing.select(&*engines::cpu(), &request);
    assert!(matches!(error, Err(Error::NonFiniteRow { row }) if row == labelled[0].row));
}
