//! Margin-clustering as it is defined: clusters by trying all pairs again and again, then turns.

use equipoise_core::definition::RowScore;
use equipoise_core::{Head, Linkage, Pick, RowSet};

use crate::brute_force::{per_row, squared_distance};

/// Clusters of `available` rows, of which the two nearest become one until `clusters` are left. Only where no
/// two distances are equal is there one right answer.
pub fn clusters(
    rows: &[Vec<f32>],
    available: &RowSet,
    clusters: usize,
    linkage: Linkage,
) -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = available.iter().map(|row| vec![row]).collect();
    while all.len() > clusters {
        let mut nearest = (f64::INFINITY, 0, 0);
        for a in 0..all.len() {
            for b in a + 1..all.len() {
                let apart = match linkage {
                    Linkage::Ward => growth(rows, &all[a], &all[b]),
                    Linkage::Average => mean_distance(rows, &all[a], &all[b]),
                };
                if apart < nearest.0 {
                    nearest = (apart, a, b);
                }
            }
        }
        let (_, a, b) = nearest;
        let joined = all.remove(b);
        all[a].extend(joined);
    }
    all
}

/// How much the squared distances to the means grow where two clusters become one.
fn growth(rows: &[Vec<f32>], a: &[usize], b: &[usize]) -> f64 {
    let mean = |cluster: &[usize], m: usize| {
        let sum: f64 = cluster.iter().map(|row| f64::from(rows[*row][m])).sum();
        sum / cluster.len() as f64
    };
    let apart = (0..rows[0].len()).map(|m| (mean(a, m) - mean(b, m)).powi(2));
    let (size_a, size_b) = (a.len() as f64, b.len() as f64);
    apart.sum::<f64>() * size_a * size_b / (size_a + size_b)
}

fn mean_distance(rows: &[Vec<f32>], a: &[usize], b: &[usize]) -> f64 {
    let pairs = a.iter().flat_map(|x| b.iter().map(move |y| (x, y)));
    let apart = pairs.map(|(x, y)| squared_distance(&rows[*x], &rows[*y]).sqrt());
    apart.sum::<f64>() / (a.len() * b.len()) as f64
}

/// The clusters in turns, from the smallest up, each giving the row of least margin.
pub fn turns(
    rows: &[Vec<f32>],
    head: &Head,
    mut clusters: Vec<Vec<usize>>,
    budget: usize,
) -> Vec<Pick> {
    clusters.sort_by_key(|cluster| (cluster.len(), cluster.iter().min().copied()));
    let ranked = clusters.iter().map(|cluster| {
        let mut members = RowSet::none(rows.len());
        cluster.iter().for_each(|row| {
            members.insert(*row);
        });
        let ranked = per_row(RowScore::Margin, rows, head, &members, cluster.len());
        // Rows of other clusters are not behind a pick, nor before it.
        let unranked = |pick| Pick { beat: None, ..pick };
        ranked.into_iter().map(unranked).collect()
    });
    let ranked: Vec<Vec<Pick>> = ranked.collect();
    let rounds = ranked.iter().map(Vec::len).max().unwrap_or(0);
    let turns = (0..rounds).flat_map(|round| ranked.iter().filter_map(move |of| of.get(round)));
    turns.take(budget).copied().collect()
}
