//! Margin-clustering against its definition, on generated cases.

use equipoise_core::strategies::{MOST_CLUSTERED, MarginClustering, Nonfinite};
use equipoise_core::{
    ClusterOptions, Engine, Error, Head, Linkage, MemoryPool, Pick, Request, RowSet, Strategy,
    Values,
};
use equipoise_tests::brute_clusters;
use equipoise_tests::cases::{Kind, Shape};

use crate::engines;
use crate::generated::{SMALL, Sizes, agrees, run};

fn options(shape: &Shape, available: usize) -> ClusterOptions {
    ClusterOptions {
        clusters: match shape.seed % 3 {
            0 => None,
            _ => Some(1 + (shape.seed / 7) as usize % available),
        },
        linkage: match shape.seed % 2 {
            0 => Linkage::Ward,
            _ => Linkage::Average,
        },
    }
}

/// Whether no two distances are equal, or so near that it takes another order of additions to tell: then the definition has one answer.
fn has_one_answer(shape: &Shape) -> bool {
    let has_ties = matches!(
        shape.kind,
        Kind::Grid
            | Kind::DuplicateRows
            | Kind::Norms
            | Kind::Extremes
            | Kind::Tiny
            | Kind::OneHuge
    );
    !has_ties && !shape.half && shape.dim > 3
}

fn margin_clustering_agrees(engine: &dyn Engine, sizes: Sizes, cases: u32) {
    run(sizes, cases, |shape, budget, _, _| {
        let case = shape.case();
        let pool = case.pool();
        let clustering = options(&shape, case.available.len());
        let request = Request {
            head: Some(&case.head),
            clustering,
            ..Request::new(&pool, &case.available, budget)
        };
        let expected = match has_one_answer(&shape) {
            true => {
                let rows = case.available.len();
                let count = clustering.clusters.unwrap_or(20.min(rows));
                let clusters = brute_clusters::clusters(
                    &case.rows,
                    &case.available,
                    count,
                    clustering.linkage,
                );
                brute_clusters::turns(&case.rows, &case.head, clusters, budget)
            }
            // Whatever the clusters are, they must be the same everywhere.
            false => picks(&*engines::cpu(), &request),
        };
        agrees(engine, &MarginClustering, &request, &expected)
    });
}

fn picks(engine: &dyn Engine, request: &Request<'_>) -> Vec<Pick> {
    MarginClustering.select(engine, request).unwrap().picks
}

#[test]
fn cpu_margin_clustering_equals_the_definition() {
    margin_clustering_agrees(&*engines::cpu(), SMALL, 200);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn gpu_margin_clustering_equals_the_definition() {
    margin_clustering_agrees(&*engines::gpu(), SMALL, 12);
}

/// Rows in three far blobs of unequal size.
fn blobs(rows: usize) -> (Vec<Vec<f32>>, Vec<Vec<usize>>) {
    let shape = Shape {
        kind: Kind::Plain,
        half: false,
        rows,
        dim: 4,
        classes: 3,
        seed: 11,
    };
    let mut case = shape.case();
    let mut members = vec![Vec::new(); 3];
    for (row, x) in case.rows.iter_mut().enumerate() {
        let blob = [0, 1, 1, 2, 2, 2, 2][row % 7];
        x[blob] += 100.0;
        members[blob].push(row);
    }
    (case.rows, members)
}

fn head() -> Head {
    let shape = Shape {
        kind: Kind::Plain,
        half: false,
        rows: 1,
        dim: 4,
        classes: 3,
        seed: 12,
    };
    shape.case().head
}

#[test]
fn of_many_rows_some_are_clustered_and_the_others_follow() {
    let rows = MOST_CLUSTERED + 500;
    let (embeddings, blobs) = blobs(rows);
    let values = embeddings.concat();
    let pool = MemoryPool::new(Values::F32(&values), 4).unwrap();
    let (head, available) = (head(), RowSet::all(rows));
    let request = Request {
        head: Some(&head),
        clustering: ClusterOptions {
            clusters: Some(3),
            linkage: Linkage::Ward,
        },
        ..Request::new(&pool, &available, 50)
    };
    let expected = brute_clusters::turns(&embeddings, &head, blobs, 50);
    let selection = MarginClustering.select(&*engines::cpu(), &request).unwrap();
    assert_eq!(selection.picks, expected);
    let notice = &selection.notices[0];
    assert!(notice.contains("10000 of 10500"), "{notice}");
    // A memory plan knows of the sample.
    assert!(MarginClustering.memory(&request).unwrap() > 400_000_000);
}

#[test]
fn more_clusters_than_rows_and_none_are_refused() {
    let (embeddings, _) = blobs(30);
    let values = embeddings.concat();
    let pool = MemoryPool::new(Values::F32(&values), 4).unwrap();
    let (head, mut available) = (head(), RowSet::all(30));
    available.remove(3);
    for (clusters, is_right) in [(0, false), (1, true), (29, true), (30, false)] {
        let request = Request {
            head: Some(&head),
            clustering: ClusterOptions {
                clusters: Some(clusters),
                ..ClusterOptions::default()
            },
            ..Request::new(&pool, &available, 5)
        };
        match MarginClustering.select(&*engines::cpu(), &request) {
            Ok(selection) => assert!(is_right && selection.picks.len() == 5, "{clusters}"),
            Err(Error::Clusters { rows: 29, .. }) => assert!(!is_right, "{clusters}"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn rows_that_are_not_finite_are_refused_or_left_out() {
    let (embeddings, _) = blobs(30);
    let mut values = embeddings.concat();
    values[4 * 17] = f32::INFINITY;
    let pool = MemoryPool::new(Values::F32(&values), 4).unwrap();
    let (head, available) = (head(), RowSet::all(30));
    let request = Request {
        head: Some(&head),
        ..Request::new(&pool, &available, 30)
    };
    let error = MarginClustering.select(&*engines::cpu(), &request);
    assert!(matches!(error, Err(Error::NonFiniteRow { row: 17 })));
    let skipping = Request {
        nonfinite: Nonfinite::Skip,
        ..request
    };
    let selection = MarginClustering
        .select(&*engines::cpu(), &skipping)
        .unwrap();
    assert_eq!(selection.picks.len(), 29);
    assert!(selection.nonfinite.iter().eq([17]));
    let nothing = [f32::NAN; 8];
    let pool = MemoryPool::new(Values::F32(&nothing), 4).unwrap();
    let all = RowSet::all(2);
    let request = Request {
        pool: &pool,
        available: &all,
        ..skipping
    };
    let selection = MarginClustering.select(&*engines::cpu(), &request).unwrap();
    assert!(selection.picks.is_empty() && selection.nonfinite.iter().eq([0, 1]));
}
