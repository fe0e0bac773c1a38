//! Balanced-random and balancing as they are defined, one pick at a time.

use equipoise_core::definition;
use equipoise_core::random::{Philox, Purpose};
use equipoise_core::strategies::{Majority, PickLabels};
use equipoise_core::{Pick, Request};

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
    let classes = head.classes();
    let options = request.balancing;
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
        let counts: Vec<usize> = (0..classes)
            .map(|class| labelled.iter().filter(|(_, c)| *c == class).count())
            .collect();
        let mean = labelled.len() as f64 / classes as f64;
        let (majority, minority): (Vec<usize>, Vec<usize>) =
            (0..classes).partition(|class| counts[*class] as f64 > mean);
        let mean_count = |of: &[usize]| {
            let sum: usize = of.iter().map(|class| counts[*class]).sum();
            sum as f64 / of.len() as f64
        };
        let lacking = minority.len() as f64 * (mean_count(&majority) - mean_count(&minority));
        let mean = |class: usize| -> Vec<f32> {
            let of_class = labelled.iter().filter(|(_, c)| *c == class);
            let mut sums = vec![0.0; head.dim()];
            for (row, _) in of_class {
                let numbers = sums.iter_mut().zip(&rows[*row]);
                numbers.for_each(|(sum, x)| *sum += f64::from(*x));
            }
            let mean = sums.iter().map(|sum| (sum / counts[class] as f64) as f32);
            mean.collect()
        };
        // Not where there is no majority: then it is not a number. Room, since it need not be a whole one.
        let unbalanced = (budget - picks.len()) as f64 <= lacking + 1e-9;
        let pick = match unbalanced {
            true => {
                let rarest = (0..classes).min_by_key(|class| counts[*class]).unwrap();
                let rare = (counts[rarest] > 0).then(|| mean(rarest));
                let means: Vec<Vec<f32>> = majority.iter().map(|class| mean(*class)).collect();
                let ratio = |row: usize| {
                    let x = &rows[row];
                    let squares = means.iter().map(|mean| squared_distance(x, mean));
                    let over = match options.majority {
                        Majority::Nearest => squares.fold(f64::INFINITY, f64::min),
                        Majority::Farthest => squares.fold(0.0, f64::max),
                    };
                    let from = rare.as_ref().map_or(1.0, |mean| squared_distance(x, mean));
                    if over == 0.0 {
                        f64::INFINITY
                    } else {
                        from / over
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
            false => {
                let key = |row: &usize| (numbers.bits(*row as u64), *row);
                Pick::of_row(left.iter().min_by_key(key).expect("a row is left"))
            }
        };
        let predicted = definition::predicted(&definition::logits(&rows[pick.row], head));
        let class = match options.labels {
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
