//! Agglomerative clusters of some rows of a pool.

use kodama::Method;
use rayon::prelude::*;

use crate::definition::squared_distance;
use crate::settle::pool_embedding;
use crate::vectorised::vectorised;
use crate::{Pool, Result};

/// How near two clusters are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Linkage {
    /// How much the squared distances to the clusters' means grow when they become one (Ward, *Hierarchical
    /// Grouping to Optimize an Objective Function*, 1963).
    #[default]
    Ward,
    /// The mean distance of a row of one from a row of the other.
    Average,
}

/// How rows are clustered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClusterOptions {
    /// How many clusters; `None` for 20, as the published code, or one a row where there are fewer.
    pub clusters: Option<usize>,
    /// Which clusters become one.
    pub linkage: Linkage,
}

/// Bytes that clustering takes: the distances of all pairs, in float64, and the embeddings.
pub(crate) fn bytes(rows: usize, dim: usize) -> u64 {
    let rows = rows as u64;
    8 * (rows * rows.saturating_sub(1) / 2) + 4 * rows * dim as u64
}

/// The cluster of each of `rows`: of one a row, the two nearest become one until `clusters` are left, which is
/// at most as many as rows. Clusters are numbered in the order of their first rows.
///
/// # Errors
/// [`crate::Error::Read`].
pub(crate) fn agglomerate(
    pool: &dyn Pool,
    rows: &[usize],
    clusters: usize,
    linkage: Linkage,
) -> Result<Vec<usize>> {
    let mut distances = pair_distances(pool, rows)?;
    let method = match linkage {
        Linkage::Ward => Method::Ward,
        Linkage::Average => Method::Average,
    };
    let steps = kodama::linkage(&mut distances, rows.len(), method);
    let mut into = Joined((0..rows.len()).collect());
    // The row that stands for each cluster of the steps, which come after one for each row.
    let mut stands: Vec<usize> = (0..rows.len()).collect();
    for step in &steps.steps()[..rows.len().saturating_sub(clusters)] {
        let (a, b) = (stands[step.cluster1], stands[step.cluster2]);
        stands.push(into.join(a, b));
    }
    let of_rows: Vec<usize> = (0..rows.len()).map(|row| into.first(row)).collect();
    Ok(in_order(&of_rows))
}

/// Clusters, whatever their numbers, numbered in the order of their first rows.
pub(crate) fn in_order(of_rows: &[usize]) -> Vec<usize> {
    let largest = of_rows.iter().max().map_or(0, |largest| largest + 1);
    let mut numbers = vec![None; largest];
    let mut next = 0;
    let number = |old: &usize| {
        *numbers[*old].get_or_insert_with(|| {
            next += 1;
            next - 1
        })
    };
    of_rows.iter().map(number).collect()
}

/// The distance of each row from each later one, row by row.
fn pair_distances(pool: &dyn Pool, rows: &[usize]) -> Result<Vec<f64>> {
    let (count, dim) = (rows.len(), pool.dim());
    let mut embeddings = vec![0.0; count * dim];
    for (x, row) in embeddings.chunks_exact_mut(dim).zip(rows) {
        x.copy_from_slice(&pool_embedding(pool, *row)?);
    }
    let mut all = vec![0.0; count * count.saturating_sub(1) / 2];
    let mut left = &mut all[..];
    let mut lines = Vec::with_capacity(count);
    for row in 0..count {
        let (line, rest) = left.split_at_mut(count - 1 - row);
        lines.push(line);
        left = rest;
    }
    lines.into_par_iter().enumerate().for_each(|(row, line)| {
        let (x, later) = embeddings[row * dim..].split_at(dim);
        vectorised(
            #[inline(always)]
            || {
                for (distance, other) in line.iter_mut().zip(later.chunks_exact(dim)) {
                    *distance = squared_distance(x, other).sqrt();
                }
            },
        );
    });
    Ok(all)
}

/// Sets of rows that become one: for each row an earlier one of its set, or itself.
struct Joined(Vec<usize>);

impl Joined {
    /// The first row of a row's set.
    fn first(&mut self, row: usize) -> usize {
        let mut first = row;
        while self.0[first] != first {
            // Half of the way next time.
            self.0[first] = self.0[self.0[first]];
            first = self.0[first];
        }
        first
    }

    /// Joins the sets of two rows; returns the first row of both.
    fn join(&mut self, a: usize, b: usize) -> usize {
        let (a, b) = (self.first(a), self.first(b));
        self.0[a.max(b)] = a.min(b);
        a.min(b)
    }
}
