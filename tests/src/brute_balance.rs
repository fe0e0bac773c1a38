//! Balanced-random and balancing as they are defined, one pick at a time.

use equipoise_core::definition;
use equipoise_core::random::{Philox, Purpose};
use equipoise_core::strategies::{Majority, PickLabels};
use equipoise_core::{Pick, Request, RowSet};

use crate::brute_force::squared_distance;

/// Again and again the class with the fewest picks that has a row left, and of it the row with the smallest key.
pub fn balanced_random(request: &Request<'_>) -> Vec<Pick> {
    let numbers = Philox::new(request.seed, Purpose::BalancedPicks, request.round, 0);
    let truth = request.truth.expect("true classes");
    let mut left = request.available.clone();
    let mut picks: Vec<Pick> = Vec::new();
    while picks.len() < request.budget && !left.is_empty() {
        let class = |row: usize| truth[row].expect("a class");
        let picked = |class: u32| {
            picks
                .iter()
                .filter(|pick| pick.class == Some(class))
                .count()
        };
        let rows = left.iter();
        let best = rows.min_by_key(|row| {
            let class = class(*row);
            (picked(class), class, numbers.bits(*row as u64), *row)
        });
        let row = best.expect("a row is left");
        left.remove(row);
        picks.push(Pick {
            class: Some(class(row)),
            ..Pick::of_row(row)
        });
    }
    picks
}

/// Balancing, with every mean and every ratio made anew for each pick.
pub fn balancing(rows: &[Vec<f32>], request: &Request<'_>) -> Vec<Pick> {
    let head = request.head.expect("a head");
    let numbers = Philox::new(request.seed, Purpose::Balancing, request.round, 0);
    let mut labelled: Vec<(usize, usize)> = Vec::new();
    for row in request.labelled {
        labelled.push((row.row, row.class.expect("a class") as usize));
    }
    labelled.sort_unstable();
    let mut left = request.available.clone();
    let budget = request.budget.min(left.len());
    let mut picks = Vec::new();
    while picks.len() < budget {
        let members = members(&labelled, head.classes());
        let pick = match is_unbalanced(&members, budget - picks.len()) {
            true => least_ratio(rows, &left, &members, request.balancing.majority),
            false => {
                let key = |row: &usize| (numbers.bits(*row as u64), *row);
                Pick::of_row(left.iter().min_by_key(key).expect("a row is left"))
            }
        };
        let predicted = definition::predicted(&definition::logits(&rows[pick.row], head));
        let class = match request.balancing.labels {
            PickLabels::Predicted => predicted,
            PickLabels::Oracle => request.truth.expect("true classes")[pick.row].unwrap() as usize,
        };
        left.remove(pick.row);
        labelled.push((pick.row, class));
        picks.push(Pick {
            predicted: Some(predicted as u32),
            ..pick
        });
    }
    picks
}

/// The rows of each class, in the order in which they came.
fn members(labelled: &[(usize, usize)], classes: usize) -> Vec<Vec<usize>> {
    let mut members = vec![Vec::new(); classes];
    for (row, class) in labelled {
        members[*class].push(*row);
    }
    members
}

/// Classes with more rows than the mean, and the others.
fn majority_and_minority(members: &[Vec<usize>]) -> (Vec<usize>, Vec<usize>) {
    let mean = mean_count(members, &(0..members.len()).collect::<Vec<_>>());
    (0..members.len()).partition(|class| members[*class].len() as f64 > mean)
}

fn mean_count(members: &[Vec<usize>], classes: &[usize]) -> f64 {
    let sum: usize = classes.iter().map(|class| members[*class].len()).sum();
    sum as f64 / classes.len() as f64
}

fn is_unbalanced(members: &[Vec<usize>], budget: usize) -> bool {
    let (majority, minority) = majority_and_minority(members);
    let apart = mean_count(members, &majority) - mean_count(members, &minority);
    // Not where there is no majority: then it is not a number. Room, since it need not be a whole one.
    budget as f64 <= minority.len() as f64 * apart + 1e-9
}

fn mean(rows: &[Vec<f32>], members: &[usize]) -> Vec<f32> {
    let mut sums = vec![0.0; rows[0].len()];
    for row in members {
        let numbers = sums.iter_mut().zip(&rows[*row]);
        numbers.for_each(|(sum, x)| *sum += f64::from(*x));
    }
    let mean = sums.iter().map(|sum| (sum / members.len() as f64) as f32);
    mean.collect()
}

fn least_ratio(rows: &[Vec<f32>], left: &RowSet, members: &[Vec<usize>], which: Majority) -> Pick {
    let (majority, _) = majority_and_minority(members);
    let majority: Vec<Vec<f32>> = (majority.iter())
        .map(|class| mean(rows, &members[*class]))
        .collect();
    let rarest = (0..members.len()).min_by_key(|class| members[*class].len());
    let rarest = rarest.expect("a class");
    let rare = (!members[rarest].is_empty()).then(|| mean(rows, &members[rarest]));
    let ratio = |row: usize| {
        let squares = majority.iter().map(|c| squared_distance(&rows[row], c));
        let over = match which {
            Majority::Nearest => squares.fold(f64::INFINITY, f64::min),
            Majority::Farthest => squares.fold(0.0, f64::max),
        };
        let from = rare.as_ref().map(|c| squared_distance(&rows[row], c));
        match over == 0.0 {
            true => f64::INFINITY,
            false => from.unwrap_or(1.0) / over,
        }
    };
    let ratios = left.iter().map(|row| (ratio(row), row));
    let least = ratios.reduce(|a, b| if b.0 < a.0 { b } else { a });
    let (score, row) = least.expect("a row is left");
    Pick {
        class: Some(rarest as u32),
        score: Some(score),
        ..Pick::of_row(row)
    }
}
