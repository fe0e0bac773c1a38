//! Coreset against the definition, on generated cases.

use equipoise_core::strategies::{Coreset, KCenter, PARTITIONED_CORESET, partitions};
use equipoise_core::{Engine, Error, Request, RowSet, Start, Strategy};
use equipoise_tests::brute_force;
use equipoise_tests::cases::{Kind, Shape};

use crate::engines;
use crate::generated::{LARGE, SMALL, Sizes, agrees, run};

const NORMAL: Shape = Shape {
    kind: Kind::Plain,
    half: false,
    rows: 300,
    dim: 8,
    classes: 2,
    seed: 5,
};

fn coreset_agrees(engine: &dyn Engine, sizes: Sizes, cases: u32) {
    run(sizes, cases, |shape, budget, _, _| {
        let case = shape.case();
        let pool = case.pool();
        // Half of the cases begin with nothing.
        let labelled = match shape.seed % 2 {
            0 => &case.labelled[..],
            _ => &[],
        };
        let rows: Vec<usize> = labelled.iter().map(|row| row.row).collect();
        let budget = budget.min(case.available.len());
        let expected = brute_force::coreset(&case.rows, &rows, &case.available, budget);
        let request = Request {
            labelled,
            ..Request::new(&pool, &case.available, budget)
        };
        agrees(engine, &Coreset, &request, &expected)
    });
}

#[test]
fn cpu_coreset_equals_the_definition() {
    coreset_agrees(&*engines::cpu(), SMALL, 60);
}

#[test]
fn cpu_coreset_equals_the_definition_in_larger_pools() {
    coreset_agrees(&*engines::cpu(), LARGE, 6);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn gpu_coreset_equals_the_definition() {
    coreset_agrees(&*engines::gpu(), SMALL, 8);
}

#[test]
fn distances_are_kept_between_rounds() {
    let case = NORMAL.case();
    let pool = case.pool();
    let labelled: Vec<usize> = case.labelled.iter().map(|row| row.row).collect();
    let request = Request::new(&pool, &case.available, 1);
    let engine = engines::cpu();
    let mut greedy = KCenter::new(&*engine, &request).unwrap();
    greedy.add(&labelled[..10]).unwrap();
    let mut centres = labelled[..10].to_vec();
    let mut available = case.available.clone();
    for (round, more) in labelled[10..40].chunks(10).enumerate() {
        let expected = brute_force::coreset(&case.rows, &centres, &available, 20);
        let mut picks = Vec::new();
        while picks.len() < 20 {
            picks.extend(greedy.pick(20 - picks.len()).unwrap());
        }
        assert_eq!(picks, expected, "round {round}");
        for pick in &picks {
            available.remove(pick.row);
            centres.push(pick.row);
        }
        // Somebody labelled others, too.
        greedy.add(more).unwrap();
        centres.extend(more);
    }
}

#[test]
fn the_first_row_may_be_named_or_near_the_mean() {
    let case = NORMAL.case();
    let pool = case.pool();
    let engine = engines::cpu();
    let first = |start| {
        let request = Request {
            start,
            ..Request::new(&pool, &case.available, 3)
        };
        Coreset
            .select(&*engine, &request)
            .map(|selection| selection.picks[0])
    };
    let row = case.available.first_from(50);
    assert_eq!(first(Start::Row(row)).unwrap().row, row);
    let mean: Vec<f32> = (0..NORMAL.dim)
        .map(|m| {
            let sum: f64 = case
                .available
                .iter()
                .map(|row| f64::from(case.rows[row][m]))
                .sum();
            (sum / case.available.len() as f64) as f32
        })
        .collect();
    let apart = |row: &usize| brute_force::squared_distance(&case.rows[*row], &mean);
    let nearest = case
        .available
        .iter()
        .min_by(|a, b| apart(a).total_cmp(&apart(b)));
    assert_eq!(Some(first(Start::Mean).unwrap().row), nearest);
    let labelled = case.labelled[0].row;
    let error = first(Start::Row(labelled)).unwrap_err();
    assert!(
        matches!(error, Error::Start { row } if row == labelled),
        "{error}"
    );
}

#[test]
fn rows_that_are_not_finite_are_refused_or_left_out() {
    let case = NORMAL.case();
    let mut values: Vec<f32> = case.rows.concat();
    let bad = case.available.first_from(100);
    values[bad * NORMAL.dim] = f32::NAN;
    let pool = equipoise_core::MemoryPool::new(equipoise_core::Values::F32(&values), NORMAL.dim);
    let pool = pool.unwrap();
    let engine = engines::cpu();
    let request = Request::new(&pool, &case.available, case.available.len());
    let error = Coreset.select(&*engine, &request).unwrap_err();
    assert!(
        matches!(error, Error::NonFiniteRow { row } if row == bad),
        "{error}"
    );
    let skipping = Request {
        nonfinite: equipoise_core::strategies::Nonfinite::Skip,
        ..request
    };
    let selection = Coreset.select(&*engine, &skipping).unwrap();
    assert!(selection.nonfinite.iter().eq([bad]));
    let picked: Vec<usize> = selection.picks.iter().map(|pick| pick.row).collect();
    let mut expected = case.available.clone();
    expected.remove(bad);
    let mut found = RowSet::none(NORMAL.rows);
    picked.iter().for_each(|row| assert!(found.insert(*row)));
    assert_eq!(found, expected);
}

#[test]
fn partitions_are_disjoint_and_each_is_a_coreset() {
    let case = NORMAL.case();
    let pool = case.pool();
    let engine = engines::cpu();
    let request = Request {
        labelled: &case.labelled,
        partitions: 7,
        seed: 3,
        ..Request::new(&pool, &case.available, 40)
    };
    let parts = partitions(&request).unwrap();
    let mut expected = Vec::new();
    let (mut rows, mut labelled) = (RowSet::none(NORMAL.rows), 0);
    for part in &parts {
        part.available
            .iter()
            .for_each(|row| assert!(rows.insert(row)));
        labelled += part.labelled.len();
        let centres: Vec<usize> = part.labelled.iter().map(|row| row.row).collect();
        let picks = brute_force::coreset(&case.rows, &centres, &part.available, part.budget);
        expected.extend(picks);
    }
    assert_eq!(
        (rows, labelled),
        (case.available.clone(), case.labelled.len())
    );
    let lengths: Vec<usize> = parts.iter().map(|part| part.budget).collect();
    assert_eq!(lengths, [6, 6, 6, 6, 6, 5, 5]);
    let selection = PARTITIONED_CORESET.select(&*engine, &request).unwrap();
    assert_eq!(selection.picks, expected);
    let other = Request {
        seed: 4,
        ..request.clone()
    };
    assert_ne!(partitions(&other).unwrap(), parts);
    for partitions in [0, case.available.len() + 1] {
        let wrong = Request {
            partitions,
            ..request.clone()
        };
        let error = PARTITIONED_CORESET.select(&*engine, &wrong).unwrap_err();
        assert!(matches!(error, Error::Partitions { .. }), "{error}");
    }
}
