//! The first centre, where nothing is labelled.

use rayon::prelude::*;

use crate::centres::{Centres, Far};
use crate::settle::pool_embedding;
use crate::vectorised::vectorised;
use crate::{Error, Result};

/// Most rows of which the central one is looked for unasked.
pub(crate) const MOST_UNASKED: usize = 50_000;

/// Rows whose numbers are summed up at a time, so that sums do not depend on the number of threads.
const ROWS: usize = 1024;

/// Which row coreset begins with, where nothing is labelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// As [`Start::Central`] up to 50,000 available rows, as [`Start::Mean`] beyond.
    #[default]
    Auto,
    /// The row whose farthest row is nearest.
    Central,
    /// The row nearest to the mean of the available ones.
    Mean,
    /// That row.
    Row(usize),
}

/// The first row; `None` if none is finite. There is no centre before or after.
pub(crate) fn first_row(centres: &mut Centres<'_>, start: Start) -> Result<Option<usize>> {
    let available = centres.rows.len();
    match start {
        Start::Row(row) if !centres.rows.contains(row) => Err(Error::Start { row }),
        Start::Row(row) => Ok(Some(row)),
        Start::Auto if available > MOST_UNASKED => {
            let notice = format!(
                "coreset begins with the row nearest to the mean: the most central of {available} rows takes long"
            );
            centres.selection.notices.push(notice);
            nearest_to_mean(centres)
        }
        Start::Mean => nearest_to_mean(centres),
        Start::Auto | Start::Central => {
            let row = central(centres);
            centres.clear();
            row
        }
    }
}

/// By lower bounds on how far each row's farthest is: distances to some rows found so. The row with the least
/// bound is looked at, until the best one found is not above any.
fn central(centres: &mut Centres<'_>) -> Result<Option<usize>> {
    let rows = 0..centres.request.pool.rows();
    let unknown = |row: usize| match centres.rows.contains(row) && centres.is_finite(row) {
        true => 0.0,
        false => f64::INFINITY,
    };
    let mut lower: Vec<f64> = rows.map(unknown).collect();
    let mut far: Vec<usize> = Vec::new();
    let mut best: Option<Far> = None;
    loop {
        let least = lower.par_iter().enumerate().map(|(row, square)| Far {
            row,
            square: -square,
        });
        let Some(least) = least.min_by(Far::order) else {
            return Ok(None);
        };
        let (row, bound) = (least.row, -least.square);
        if bound == f64::INFINITY || best.is_some_and(|best| bound > best.square) {
            return Ok(best.map(|best| best.row));
        }
        lower[row] = f64::INFINITY;
        let mut square = 0.0f64;
        for other in &far {
            square = square.max(centres.distance(row, *other)?);
        }
        let is_better =
            |square: f64| best.is_none_or(|best| (square, row) < (best.square, best.row));
        if !is_better(square) {
            continue;
        }
        let farthest = farthest_from(centres, row, &mut lower)?;
        if is_better(farthest.square) {
            best = Some(Far {
                row,
                square: farthest.square,
            });
        }
        if !far.contains(&farthest.row) {
            far.push(farthest.row);
            farthest_from(centres, farthest.row, &mut lower)?;
        }
    }
}

/// The row farthest from one, and how far it is; distances to that one raise the lower bounds.
fn farthest_from(centres: &mut Centres<'_>, row: usize, lower: &mut [f64]) -> Result<Far> {
    centres.clear();
    centres.add(&[row])?;
    let raise = |(row, lower): (usize, &mut f64)| {
        if centres.rows.contains(row) && centres.is_finite(row) {
            *lower = lower.max(centres.bounds(row).0);
        }
    };
    lower.par_iter_mut().enumerate().for_each(raise);
    let here = Far { row, square: 0.0 };
    Ok(centres.farthest()?.unwrap_or(here))
}

fn nearest_to_mean(centres: &Centres<'_>) -> Result<Option<usize>> {
    let (pool, dim) = (centres.request.pool, centres.request.pool.dim());
    let rows: Vec<usize> = (centres.rows.iter())
        .filter(|row| centres.is_finite(*row))
        .collect();
    let of_piece = |rows: &[usize]| -> Result<Vec<f64>> {
        let mut sums = vec![0.0; dim];
        for row in rows {
            let x = pool_embedding(pool, *row)?;
            sums.iter_mut()
                .zip(&x[..])
                .for_each(|(sum, x)| *sum += f64::from(*x));
        }
        Ok(sums)
    };
    let sums: Vec<Vec<f64>> = rows.par_chunks(ROWS).map(of_piece).collect::<Result<_>>()?;
    let mut mean = vec![0.0; dim];
    for sums in &sums {
        mean.iter_mut()
            .zip(sums)
            .for_each(|(mean, sum)| *mean += sum);
    }
    mean.iter_mut().for_each(|mean| *mean /= rows.len() as f64);
    let squares = rows.par_iter().map(|row| {
        let x = pool_embedding(pool, *row)?;
        let square = vectorised(
            #[inline(always)]
            || {
                let apart = x.iter().zip(&mean).map(|(x, mean)| f64::from(*x) - mean);
                apart.fold(0.0, |sum, apart| sum + apart * apart)
            },
        );
        Ok(Far {
            row: *row,
            square: -square,
        })
    });
    let squares = squares.collect::<Result<Vec<_>>>()?;
    Ok(squares.into_iter().min_by(Far::order).map(|far| far.row))
}
