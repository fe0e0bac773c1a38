//! Cluster-Margin: clusters in turns, each giving the row of least margin.

use super::{Request, Selection, Strategy};
use crate::class_means::ClassMeans;
use crate::clustering::{Linkage, agglomerate, bytes, in_order};
use crate::definition::RowScore;
use crate::distances::Distances;
use crate::engine::Task;
use crate::exact;
use crate::lists;
use crate::memory::ScanShape;
use crate::pick::row_picks_bytes;
use crate::random::{Philox, Purpose};
use crate::round_robin::{in_turns, shares};
use crate::scan::Scan;
use crate::settle::pool_embedding;
use crate::vectors::{Side, finite_of, squares};
use crate::{Engine, Error, Result, RowSet};

/// Most rows that are clustered, since the distances of all pairs must fit: 10,000 take 400 MB. Of more, so
/// many are drawn at random, and the others go to the cluster with the nearest mean.
pub const MOST_CLUSTERED: usize = 10_000;

/// Clusters where nobody says how many.
const CLUSTERS: usize = 20;

/// Citovsky et al., *Batch Active Learning at Scale*, arXiv 2107.14263. All available rows take part, as in
/// the published code of arXiv 2111.12880, not just those of least margin. Of clusters of one size the one
/// with the lowest row goes first.
pub struct MarginClustering;

impl Strategy for MarginClustering {
    fn name(&self) -> &'static str {
        "margin-clustering"
    }

    fn summary(&self) -> &'static str {
        "clusters in turns from the smallest up, each giving the row of least margin"
    }

    fn source(&self) -> &'static str {
        "arXiv 2107.14263"
    }

    fn needs_head(&self) -> bool {
        true
    }

    fn memory(&self, request: &Request<'_>) -> Result<u64> {
        let head = request.head_for(self.name())?;
        let (rows, dim) = (request.pool.rows(), request.pool.dim());
        let available = request.available.len();
        let clusters = count(request, available)?;
        let keep = [request.effective_budget()?].into_iter();
        let keep = keep.chain(std::iter::repeat_n(1, clusters));
        let lists = lists::bytes(keep, request.available.len());
        let lists = lists + row_picks_bytes(request.effective_budget()?);
        // Of each row its square, its number, and twice its cluster.
        let of_rows = (rows * 4 * size_of::<usize>()) as u64 + 4 * RowSet::bytes(rows);
        let assigning = match available > MOST_CLUSTERED {
            true => {
                // The nearest mean, after the random key.
                let of_rows = (rows * 3 * size_of::<usize>()) as u64;
                Distances::bytes(rows, clusters, dim) + ClassMeans::bytes(clusters, dim) + of_rows
            }
            false => 0,
        };
        let clustering = bytes(available.min(MOST_CLUSTERED), dim);
        Ok(lists + of_rows + clustering.max(assigning) + exact::bytes(request, head))
    }

    fn scan_shape(&self, request: &Request<'_>) -> Result<Option<ScanShape>> {
        let head = request.head_for(self.name())?;
        let classes = match request.available.len() > MOST_CLUSTERED {
            // There is a pass for the clusters' means, too.
            true => head.classes().max(count(request, request.available.len())?),
            false => head.classes(),
        };
        ScanShape::of_classes(classes, request.pool, Task::Boundaries).map(Some)
    }

    fn select(&self, engine: &dyn Engine, request: &Request<'_>) -> Result<Selection> {
        let head = request.head_for(self.name())?;
        let budget = request.effective_budget()?;
        count(request, request.available.len())?;
        let squares = squares(request.pool)?;
        let (available, nonfinite) = finite_of(request.available, request.nonfinite, &squares)?;
        let mut selection = Selection {
            nonfinite,
            ..Selection::default()
        };
        let mut rows: Vec<usize> = Vec::with_capacity(available.len());
        rows.extend(available.iter());
        let of_rows = clusters(engine, request, &squares, &rows, &mut selection)?;
        let mut of_pool = vec![0; request.pool.rows()];
        let mut sizes: Vec<(usize, usize)> = Vec::new();
        for (row, cluster) in rows.iter().zip(&of_rows) {
            of_pool[*row] = *cluster;
            if *cluster == sizes.len() {
                sizes.push((0, *cluster));
            }
            sizes[*cluster].0 += 1;
        }
        // The place in the order of turns.
        sizes.sort_unstable();
        let mut places = vec![0; sizes.len()];
        for (place, (_, cluster)) in sizes.iter().enumerate() {
            places[*cluster] = place;
        }
        let sizes: Vec<usize> = sizes.into_iter().map(|(size, _)| size).collect();
        let shares = shares(&sizes, budget.min(rows.len()));
        let mut scan = Scan::new(engine, request, head)?;
        let place = |row: usize| places[of_pool[row]];
        let best = scan.best_of_groups(RowScore::Margin, &available, &shares, place)?;
        let of_cluster = best.into_iter().map(|(best, _)| {
            let picks = best.into_iter().map(|(_, pick)| pick);
            picks.collect()
        });
        selection.picks = in_turns(of_cluster.collect());
        selection.add_work(scan.exact.selection);
        Ok(selection)
    }
}

/// How many clusters of so many rows.
fn count(request: &Request<'_>, rows: usize) -> Result<usize> {
    let clustered = rows.min(MOST_CLUSTERED);
    match request.clustering.clusters {
        None => Ok(CLUSTERS.min(clustered)),
        Some(clusters) if (1..=clustered).contains(&clusters) => Ok(clusters),
        Some(clusters) => Err(Error::Clusters {
            clusters,
            rows: clustered,
        }),
    }
}

/// The cluster of each of `rows`, ascending; numbered in the order of their first rows.
fn clusters(
    engine: &dyn Engine,
    request: &Request<'_>,
    squares: &[f64],
    rows: &[usize],
    selection: &mut Selection,
) -> Result<Vec<usize>> {
    let (clusters, linkage) = (count(request, rows.len())?, request.clustering.linkage);
    if rows.len() <= MOST_CLUSTERED {
        return agglomerate(request.pool, rows, clusters, linkage);
    }
    selection.notices.push(format!(
        "margin-clustering clusters {MOST_CLUSTERED} of {} rows, drawn at random, with {} linkage; the others go \
         to the nearest cluster's mean",
        rows.len(),
        match linkage {
            Linkage::Ward => "Ward",
            Linkage::Average => "average",
        },
    ));
    let numbers = Philox::new(request.seed, Purpose::Clustering, request.round, 0);
    let mut keyed: Vec<(u64, usize)> = (rows.iter())
        .map(|row| (numbers.bits(*row as u64), *row))
        .collect();
    keyed.select_nth_unstable(MOST_CLUSTERED);
    let (drawn, others) = keyed.split_at(MOST_CLUSTERED);
    let mut drawn: Vec<usize> = drawn.iter().map(|(_, row)| *row).collect();
    drawn.sort_unstable();
    let of_drawn = agglomerate(request.pool, &drawn, clusters, linkage)?;
    let mut means = ClassMeans::new(clusters, request.pool.dim());
    let mut of_pool = vec![0; request.pool.rows()];
    for (row, cluster) in drawn.iter().zip(of_drawn) {
        means.add(cluster, &pool_embedding(request.pool, *row)?);
        of_pool[*row] = cluster;
    }
    let mut left = RowSet::none(request.pool.rows());
    others.iter().for_each(|(_, row)| {
        left.insert(*row);
    });
    drop(keyed);
    let mut distances = Distances::new(engine, request, squares, Side::Nearest);
    let means = (0..clusters).map(|cluster| means.mean(cluster));
    distances.set(means.collect(), &left)?;
    let nearest = distances.settle_all(&left)?;
    for (row, cluster) in nearest {
        of_pool[row] = cluster;
    }
    selection.add_work(distances.work);
    let of_rows: Vec<usize> = rows.iter().map(|row| of_pool[*row]).collect();
    Ok(in_order(&of_rows))
}
