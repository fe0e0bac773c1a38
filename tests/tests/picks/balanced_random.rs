//! Balanced-random against its definition.

use equipoise_core::strategies::BalancedRandom;
use equipoise_core::{Error, Request, RowSet, Strategy};
use equipoise_tests::brute_balance;

use crate::engines;
use crate::generated::{SMALL, agrees, run};
use crate::truth::truth;

#[test]
fn balanced_random_equals_the_definition() {
    run(SMALL, 100, |shape, budget, _, _| {
        let case = shape.case();
        let pool = case.pool();
        let truth = truth(&shape, case.head.classes());
        let request = Request {
            truth: Some(&truth),
            seed: shape.seed % 5,
            ..Request::new(&pool, &case.available, budget)
        };
        let expected = brute_balance::balanced_random(&request);
        agrees(&*engines::cpu(), &BalancedRandom, &request, &expected)
    });
}

#[test]
fn a_class_that_runs_out_gives_its_share_to_the_others() {
    let values = [0.0; 10];
    let pool = equipoise_core::MemoryPool::new(equipoise_core::Values::F32(&values), 1).unwrap();
    let classes = [0, 0, 0, 0, 0, 7, 7, 7, 7, 3];
    let truth = classes.map(Some);
    let available = RowSet::all(10);
    let request = Request {
        truth: Some(&truth),
        ..Request::new(&pool, &available, 8)
    };
    let selection = BalancedRandom.select(&*engines::cpu(), &request).unwrap();
    let picked = |class| {
        let of_class = selection.picks.iter().filter(|p| p.class == Some(class));
        of_class.count()
    };
    assert_eq!([picked(0), picked(3), picked(7)], [4, 1, 3]);
    assert!(selection.oracle && BalancedRandom.is_oracle());
}

#[test]
fn true_labels_that_are_missing_are_named() {
    let values = [0.0; 4];
    let pool = equipoise_core::MemoryPool::new(equipoise_core::Values::F32(&values), 1).unwrap();
    let available = RowSet::all(4);
    let engine = engines::cpu();
    let select = |truth, available| {
        let request = Request {
            truth,
            ..Request::new(&pool, available, 2)
        };
        BalancedRandom.select(&*engine, &request)
    };
    let none = select(None, &available).unwrap_err();
    assert!(matches!(none, Error::TruthMissing { .. }), "{none}");
    let short = select(Some(&[Some(0)]), &available).unwrap_err();
    assert!(matches!(short, Error::Shape { .. }), "{short}");
    let truth = [Some(0), None, Some(1), Some(1)];
    let one = select(Some(&truth), &available).unwrap_err();
    assert!(matches!(one, Error::ClassMissing { row: 1, .. }), "{one}");
    let mut others = available.clone();
    others.remove(1);
    assert_eq!(select(Some(&truth), &others).unwrap().picks.len(), 2);
}
