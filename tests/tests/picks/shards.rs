//! Shards scanned apart and merged give the picks of the whole, however short their lists are at first.

use std::ops::Range;

use equipoise_core::quota;
use equipoise_core::strategies::{
    Base, Confidence, Deeper, Entropy, Margin, Mase, Random, ShardList, merge, scan_shard,
    shard_rows,
};
use equipoise_core::{Engine, Request, Selection, Strategy};
use equipoise_tests::cases::{Kind, Shape};
use equipoise_tests::parts::SmallBlocks;
use proptest::prelude::{prop_assert, prop_assert_eq};
use proptest::test_runner::TestCaseError;

use crate::engines;
use crate::generated::{LARGE, Quotas, SMALL, Sizes, run};

/// Scans of one shard that no case needs: depths at least double.
const ENDLESS: usize = 40;

/// A pool in parts, and how deep to look at first; 0 for the depth of a strategy's own choice.
struct Parts {
    rows: Vec<Range<usize>>,
    depth: usize,
}

impl Parts {
    /// [`uneven_parts`], and odd depths.
    fn uneven(rows: usize, seed: u64) -> Self {
        Self {
            rows: uneven_parts(rows, seed),
            depth: [0, 1, 2, 3, 5, 17, 100][digit(seed, 6)],
        }
    }
}

fn digit(seed: u64, place: u32) -> usize {
    (seed / 7u64.pow(place) % 7) as usize
}

/// 2 to 5 parts of uneven lengths, some of them empty, by the digits of `seed`.
pub(crate) fn uneven_parts(rows: usize, seed: u64) -> Vec<Range<usize>> {
    let mut cuts: Vec<usize> = (0..1 + digit(seed, 0) % 4)
        .map(|cut| rows * digit(seed, 1 + cut as u32) / 6)
        .collect();
    cuts.push(rows);
    cuts.sort_unstable();
    let starts = std::iter::once(0).chain(cuts.clone());
    starts.zip(cuts).map(|(start, end)| start..end).collect()
}

/// The merged selection, and how often shards had to be scanned again.
fn merged(
    engine: &dyn Engine,
    strategy: &dyn Strategy,
    request: &Request<'_>,
    parts: &Parts,
) -> Result<(Selection, usize), TestCaseError> {
    let fail = |error: equipoise_core::Error| TestCaseError::fail(error.to_string());
    let ranking = strategy.ranking().expect("a ranking");
    let named = (strategy.name(), ranking);
    let serving = ranking.serving(strategy.name(), request).map_err(fail)?;
    let scan = |shard: usize, depths: &[usize]| {
        let rows = parts.rows[shard].clone();
        let scan = scan_shard(engine, named, request, &serving, rows, depths);
        scan.map(|scan| scan.lists).map_err(fail)
    };
    let depths = match parts.depth {
        0 => serving.depths(request.available.len()),
        depth => vec![depth; serving.quotas.len()],
    };
    let mut lists: Vec<Vec<ShardList>> = (0..parts.rows.len())
        .map(|shard| scan(shard, &depths))
        .collect::<Result<_, _>>()?;
    for round in 0..ENDLESS {
        let deeper = match merge(&lists, ranking, &serving, request.available.len()) {
            Ok(merged) => return Ok((merged, round)),
            Err(deeper) => deeper,
        };
        prop_assert!(!deeper.is_empty());
        for (shard, lists) in lists.iter_mut().enumerate() {
            let of_shard: Vec<&Deeper> = deeper.iter().filter(|d| d.shard == shard).collect();
            let mut depths = vec![0; serving.quotas.len()];
            for deeper in &of_shard {
                prop_assert!(deeper.depth > lists[deeper.list].entries.len());
                depths[deeper.list] = deeper.depth;
            }
            if of_shard.is_empty() {
                continue;
            }
            for ((list, deeper), depth) in lists.iter_mut().zip(scan(shard, &depths)?).zip(depths) {
                prop_assert_eq!(depth == 0 && !deeper.complete, deeper.entries.is_empty());
                if depth > 0 {
                    let known = list.entries.len();
                    prop_assert_eq!(&list.entries[..], &deeper.entries[..known]);
                    *list = deeper;
                }
            }
        }
    }
    Err(TestCaseError::fail("no end of deeper scans"))
}

fn agrees(
    engine: &dyn Engine,
    strategy: &dyn Strategy,
    request: &Request<'_>,
    seed: u64,
) -> Result<(), TestCaseError> {
    let selection = strategy
        .select(engine, request)
        .map_err(|error| TestCaseError::fail(error.to_string()))?;
    let parts = Parts::uneven(request.pool.rows(), seed);
    let small = SmallBlocks {
        engine,
        max_rows: request.pool.rows() / 10 + 1,
    };
    let (merged, _) = merged(&small, strategy, request, &parts)?;
    prop_assert_eq!(
        (merged.picks, merged.shortfalls),
        (selection.picks, selection.shortfalls),
        "{} {:?}",
        strategy.name(),
        &parts.rows
    );
    Ok(())
}

fn base_agrees(engine: &dyn Engine, sizes: Sizes, cases: u32) {
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
        agrees(engine, &Base, &request, shape.seed)
    });
}

fn per_row_agrees(engine: &dyn Engine, sizes: Sizes, cases: u32) {
    let strategies: [&dyn Strategy; 4] = [&Mase, &Margin, &Confidence, &Entropy];
    run(sizes, cases, |shape, budget, _, _| {
        let case = shape.case();
        let pool = case.pool();
        for strategy in strategies {
            let request = Request {
                head: Some(&case.head),
                ..Request::new(&pool, &case.available, budget)
            };
            agrees(engine, strategy, &request, shape.seed)?;
        }
        Ok(())
    });
}

#[test]
fn merged_shards_equal_base() {
    base_agrees(&*engines::cpu(), SMALL, 600);
}

#[test]
fn merged_shards_equal_row_scores() {
    per_row_agrees(&*engines::cpu(), SMALL, 200);
}

#[test]
fn merged_shards_equal_base_in_larger_pools() {
    base_agrees(&*engines::cpu(), LARGE, 30);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn merged_gpu_shards_equal_base() {
    base_agrees(&*engines::gpu(), SMALL, 12);
}

#[test]
fn merge_says_how_deep_to_scan_and_is_then_exact() {
    let shape = Shape {
        // Every score is +∞: all classes want the same rows, those of the first shard.
        kind: Kind::AllWeightsEqual,
        half: false,
        rows: 900,
        dim: 4,
        classes: 12,
        seed: 3,
    };
    let case = shape.case();
    let pool = case.pool();
    let request = Request {
        head: Some(&case.head),
        ..Request::new(&pool, &case.available, 120)
    };
    let engine = engines::cpu();
    let expected = Base.select(&*engine, &request).unwrap().picks;
    let parts = |depth| Parts {
        rows: (0..3).map(|shard| shard_rows(900, shard, 3)).collect(),
        depth,
    };
    let (found, rounds) = merged(&*engine, &Base, &request, &parts(1)).unwrap();
    assert_eq!(found.picks, expected);
    assert!((2..10).contains(&rounds), "{rounds}");
    // Depths of their own choice are enough for the first classes, and never more is needed than all
    // quotas up to a class.
    let (found, rounds) = merged(&*engine, &Base, &request, &parts(120)).unwrap();
    assert_eq!((found.picks, rounds), (expected, 0));
}

#[test]
fn random_picks_have_no_ranking() {
    assert!(Random.ranking().is_none());
}

#[test]
fn shards_are_contiguous_and_hold_every_row() {
    for (rows, shards) in [(0, 3), (2, 5), (10, 3), (usize::MAX, 7)] {
        let ranges: Vec<_> = (0..shards).map(|i| shard_rows(rows, i, shards)).collect();
        assert_eq!((ranges[0].start, ranges[shards - 1].end), (0, rows));
        assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
    }
}
