//! Rows that come by in batches give the picks of all of them at once.

use equipoise_core::strategies::{Base, Confidence, Coreset, Entropy, Margin, Mase, Nonfinite};
use equipoise_core::{
    Engine, Error, MemoryPool, Request, RowSet, Strategy, Stream, StreamOptions, Values, quota,
};
use equipoise_tests::cases::{Case, Kind, Shape};
use proptest::prelude::prop_assert_eq;
use proptest::test_runner::TestCaseError;

use crate::engines;
use crate::generated::{LARGE, Quotas, SMALL, Sizes, run};
use crate::shards::uneven_parts;

/// Compares a stream's selection with that of the whole pool.
fn agrees(
    engine: &dyn Engine,
    strategy: &dyn Strategy,
    request: &Request<'_>,
    (case, seed): (&Case, u64),
) -> Result<(), TestCaseError> {
    let fail = |error: Error| TestCaseError::fail(error.to_string());
    let whole = strategy.select(engine, request).map_err(fail)?;
    let options = StreamOptions {
        quotas: request.quotas.map(<[usize]>::to_vec),
        class_order: request.class_order,
        labelled: request.labelled.to_vec(),
        ..StreamOptions::new(request.budget)
    };
    let dim = case.head.dim();
    let values = request
        .pool
        .chunk(0, request.pool.rows())
        .map_err(fail)?
        .values;
    let mut stream = Stream::new(engine, strategy, &case.head, options).map_err(fail)?;
    for part in uneven_parts(request.pool.rows(), seed) {
        let batch = MemoryPool::new(values.slice(part.start * dim..part.end * dim), dim);
        let mut available = RowSet::none(part.len());
        for row in part.clone().filter(|row| request.available.contains(*row)) {
            available.insert(row - part.start);
        }
        stream
            .push(&batch.map_err(fail)?, &available)
            .map_err(fail)?;
    }
    prop_assert_eq!(stream.rows(), request.pool.rows());
    let streamed = stream.finish().map_err(fail)?;
    prop_assert_eq!(&streamed.picks, &whole.picks, "{}", strategy.name());
    prop_assert_eq!(&streamed.shortfalls, &whole.shortfalls);
    Ok(())
}

fn all_agree(engine: &dyn Engine, sizes: Sizes, cases: u32) {
    run(sizes, cases, |shape, budget, quotas, class_order| {
        let case = shape.case();
        let pool = case.pool();
        let classes = case.head.classes();
        let counts = quota::class_counts(&case.labelled, classes).unwrap();
        let quotas = match quotas {
            Quotas::Uniform => None,
            Quotas::Balance => Some(quota::balance(budget.min(case.available.len()), &counts)),
            Quotas::Uneven => Some((0..classes).map(|class| class % 3).collect::<Vec<_>>()),
        };
        let request = Request {
            head: Some(&case.head),
            labelled: &case.labelled,
            quotas: quotas.as_deref(),
            class_order,
            ..Request::new(&pool, &case.available, budget)
        };
        let strategies: [&dyn Strategy; 5] = [&Base, &Mase, &Margin, &Confidence, &Entropy];
        for strategy in strategies {
            agrees(engine, strategy, &request, (&case, shape.seed))?;
        }
        Ok(())
    });
}

#[test]
fn batches_give_the_picks_of_the_whole() {
    all_agree(&*engines::cpu(), SMALL, 300);
}

#[test]
fn batches_of_larger_pools_give_the_picks_of_the_whole() {
    all_agree(&*engines::cpu(), LARGE, 10);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn batches_on_a_gpu_give_the_picks_of_the_whole() {
    all_agree(&*engines::gpu(), SMALL, 6);
}

#[test]
fn bad_batches_are_errors_and_break_the_stream() {
    let shape = Shape {
        kind: Kind::Plain,
        half: false,
        rows: 20,
        dim: 4,
        classes: 3,
        seed: 9,
    };
    let (case, engine) = (shape.case(), engines::cpu());
    let stream = |budget| Stream::new(&*engine, &Base, &case.head, StreamOptions::new(budget));
    assert!(matches!(stream(0).err(), Some(Error::ZeroBudget)));
    let not = Stream::new(&*engine, &Coreset, &case.head, StreamOptions::new(1));
    assert!(matches!(
        not.err(),
        Some(Error::NotStreamed {
            strategy: "coreset"
        })
    ));
    assert!(matches!(
        stream(3).unwrap().finish(),
        Err(Error::NothingAvailable { rows: 0 })
    ));
    // However large the budget is, memory is taken for what comes by.
    let mut greedy = stream(usize::MAX).unwrap();
    greedy.push(&case.pool(), &case.available).unwrap();
    assert_eq!(greedy.finish().unwrap().picks.len(), case.available.len());

    let values = [1.0; 6];
    let narrow = MemoryPool::new(Values::F32(&values), 3).unwrap();
    let mut broken = stream(3).unwrap();
    let failed = broken.push(&narrow, &RowSet::all(2)).unwrap_err();
    assert!(matches!(failed, Error::Dimension { head: 4, pool: 3 }));
    let again = broken.push(&case.pool(), &case.available).unwrap_err();
    assert!(matches!(again, Error::Broken));
    let mut uncounted = stream(3).unwrap();
    let failed = uncounted.push(&case.pool(), &RowSet::all(19)).unwrap_err();
    assert!(failed.to_string().contains("20 rows"), "{failed}");
    assert!(matches!(uncounted.finish(), Err(Error::Broken)));

    let mut values = [1.0; 8];
    values[5] = f32::NAN;
    let odd = MemoryPool::new(Values::F32(&values), 4).unwrap();
    let mut refused = stream(3).unwrap();
    refused.push(&case.pool(), &case.available).unwrap();
    let failed = refused.push(&odd, &RowSet::all(2)).unwrap_err();
    assert!(
        matches!(failed, Error::NonFiniteRow { row: 21 }),
        "{failed}"
    );
    let options = StreamOptions {
        nonfinite: Nonfinite::Skip,
        ..StreamOptions::new(3)
    };
    let mut skipping = Stream::new(&*engine, &Base, &case.head, options).unwrap();
    skipping.push(&case.pool(), &case.available).unwrap();
    skipping.push(&odd, &RowSet::all(2)).unwrap();
    assert!(skipping.finish().unwrap().nonfinite.iter().eq([21]));
}
