//! The picks that [`definition`] asks for: every score of every row, sorted.

use equipoise_core::definition::{self, RowScore};
use equipoise_core::quota;
use equipoise_core::random::{Philox, Purpose};
use equipoise_core::{Constraints, Head, Pick, RowSet};

use crate::cases::Case;

/// What BASE needs beyond the scores.
pub struct Serving {
    /// How many rows each class may claim.
    pub quotas: Vec<usize>,
    /// In which order classes are served.
    pub order: Vec<usize>,
}

impl Serving {
    /// Uniform quotas, classes by id.
    pub fn uniform(budget: usize, classes: usize) -> Self {
        Self {
            quotas: quota::uniform(budget, classes),
            order: (0..classes).collect(),
        }
    }
}

/// BASE: class by class the smallest scores among the rows not taken yet; ties to the lowest row.
pub fn base(
    rows: &[Vec<f32>],
    head: &Head,
    available: &RowSet,
    budget: usize,
    serving: &Serving,
) -> Vec<Pick> {
    let scored: Vec<(usize, usize, Vec<f64>)> = available
        .iter()
        .map(|row| {
            let (p, distances) = distances(&rows[row], head);
            (row, p, definition::base(&distances, p))
        })
        .collect();
    let mut taken = RowSet::none(rows.len());
    let mut picks = Vec::new();
    for class in &serving.order {
        let mut left: Vec<_> = scored
            .iter()
            .filter(|(row, ..)| !taken.contains(*row))
            .collect();
        left.sort_by(|a, b| ordered(a.2[*class], a.0, b.2[*class], b.0));
        let quota = serving.quotas[*class].min(budget - picks.len());
        for (row, _, scores) in left.into_iter().take(quota) {
            taken.insert(*row);
            picks.push(Pick {
                class: Some(*class as u32),
                score: Some(scores[*class]),
                ..described(*row, &rows[*row], head)
            });
        }
    }
    numbered(picks, available.len())
}

/// BASE under constraints: each class goes through the rows not taken yet in the order of its scores and takes whatever
/// is allowed, until its quota or the budget is used up. Says what classes fell short by, too.
pub fn constrained(
    case: &Case,
    budget: usize,
    serving: &Serving,
    constraints: &Constraints<'_>,
) -> (Vec<Pick>, Vec<(u32, f64)>) {
    let (rows, head) = (&case.rows, &case.head);
    let cost = |row: usize| constraints.costs.map_or(1.0, |costs| costs[row]);
    let least = case
        .available
        .iter()
        .map(cost)
        .fold(f64::INFINITY, f64::min);
    let near = |row: usize, others: &[usize]| {
        let apart = |other: &usize| squared_distance(&rows[row], &rows[*other]);
        let limit = constraints
            .min_distance
            .map_or(0.0, |distance| distance * distance);
        others.iter().any(|other| apart(other) < limit)
    };
    let mut centres: Vec<usize> = case.labelled.iter().map(|row| row.row).collect();
    let mut left: Vec<usize> = case.available.iter().collect();
    let (mut picks, mut short) = (Vec::new(), Vec::new());
    let mut taken: Vec<Vec<u32>> = vec![Vec::new(); constraints.groups.len()];
    let mut budget = budget as f64;
    for class in &serving.order {
        let score = |row: usize| {
            let (p, distances) = distances(&rows[row], head);
            definition::base(&distances, p)[*class]
        };
        let mut queue: Vec<(f64, usize)> = left.iter().map(|row| (score(*row), *row)).collect();
        queue.sort_by(|a, b| ordered(a.0, a.1, b.0, b.1));
        let mut quota = (serving.quotas[*class] as f64).min(budget);
        let mut gone = Vec::new();
        let mut rank = 0;
        let mut met = 0;
        for (score, row) in &queue {
            if quota <= 0.0 || quota < least {
                break;
            }
            met += 1;
            if cost(*row) > quota {
                continue;
            }
            gone.push(*row);
            let groups = constraints.groups.iter().zip(&taken);
            let is_full = groups.into_iter().any(|(groups, taken)| {
                let group = groups.of_rows[*row];
                group.is_some_and(|group| {
                    taken.iter().filter(|other| **other == group).count() >= groups.cap
                })
            });
            if is_full || near(*row, &centres) {
                continue;
            }
            quota -= cost(*row);
            budget -= cost(*row);
            rank += 1;
            centres.push(*row);
            for (groups, taken) in constraints.groups.iter().zip(&mut taken) {
                taken.extend(groups.of_rows[*row]);
            }
            picks.push(Pick {
                class: Some(*class as u32),
                score: Some(*score),
                class_rank: Some(rank),
                beat: Some((queue.len() - met) as u64),
                ..described(*row, &rows[*row], head)
            });
        }
        if quota > 0.0 && quota >= least {
            short.push((*class as u32, quota));
        }
        left.retain(|row| !gone.contains(row));
    }
    (picks, short)
}

/// `picks` with their places, each of which beat whatever of `candidates` rows came after it.
fn numbered(mut picks: Vec<Pick>, candidates: usize) -> Vec<Pick> {
    let mut of_class = std::collections::HashMap::new();
    for (index, pick) in picks.iter_mut().enumerate() {
        pick.beat = Some((candidates - index - 1) as u64);
        pick.class_rank = pick.class.map(|class| {
            let rank = of_class.entry(class).or_insert(0);
            *rank += 1;
            *rank
        });
    }
    picks
}

/// A score of the rows themselves: the smallest keys; ties to the lowest row.
pub fn per_row(
    score: RowScore,
    rows: &[Vec<f32>],
    head: &Head,
    available: &RowSet,
    budget: usize,
) -> Vec<Pick> {
    let mut scored: Vec<(usize, f64, f64)> = available
        .iter()
        .map(|row| {
            let logits = definition::logits(&rows[row], head);
            let (key, value) = definition::row_score(score, &logits, head);
            (row, key, value)
        })
        .collect();
    scored.sort_by(|a, b| ordered(a.1, a.0, b.1, b.0));
    let best = scored.into_iter().take(budget);
    let best = best.map(|(row, _, value)| Pick {
        score: Some(value),
        ..described(row, &rows[row], head)
    });
    numbered(best.collect(), available.len())
}

/// Distances of one embedding to the boundaries of its predicted class, which comes first.
pub fn distances(x: &[f32], head: &Head) -> (usize, Vec<f64>) {
    let logits = definition::logits(x, head);
    let p = definition::predicted(&logits);
    let distances = definition::distances(&logits, p, head);
    (p, distances)
}

fn described(row: usize, x: &[f32], head: &Head) -> Pick {
    let (p, distances) = distances(x, head);
    Pick {
        predicted: Some(p as u32),
        runner_up: definition::runner_up(&distances, p).map(|c| c as u32),
        ..Pick::of_row(row)
    }
}

fn ordered(a: f64, row_a: usize, b: f64, row_b: usize) -> std::cmp::Ordering {
    a.partial_cmp(&b)
        .expect("a score is never NaN")
        .then(row_a.cmp(&row_b))
}

/// `Σ (a − b)²`, as the definition adds it up.
pub fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    definition::squared_distance(a, b)
}

/// k-center greedy: again and again the row whose nearest centre is farthest; ties to the lowest row. With no
/// centre, first the row whose farthest row is nearest.
pub fn coreset(
    rows: &[Vec<f32>],
    centres: &[usize],
    available: &RowSet,
    budget: usize,
) -> Vec<Pick> {
    let apart = |a: usize, b: usize| squared_distance(&rows[a], &rows[b]);
    let (mut left, mut picks) = (available.clone(), Vec::new());
    let mut nearest = vec![f64::INFINITY; rows.len()];
    for (row, nearest) in nearest.iter_mut().enumerate() {
        let squares = centres.iter().map(|centre| apart(row, *centre));
        *nearest = squares.fold(*nearest, f64::min);
    }
    while picks.len() < budget {
        let key = |row: usize| match nearest[row] {
            f64::INFINITY => available
                .iter()
                .map(|other| apart(row, other))
                .fold(0.0, f64::max),
            nearest => -nearest,
        };
        let best = left.iter().map(|row| (key(row), row));
        let best = best.min_by(|a, b| ordered(a.0, a.1, b.0, b.1));
        let Some((_, row)) = best else {
            break;
        };
        let score = nearest[row];
        picks.push(Pick {
            score: score.is_finite().then_some(score),
            ..Pick::of_row(row)
        });
        left.remove(row);
        for (other, nearest) in nearest.iter_mut().enumerate() {
            *nearest = nearest.min(apart(other, row));
        }
    }
    picks
}

/// k-means++ over gradient embeddings: each pick is the row with the smallest −ln u / D² (D² its least squared
/// distance to a centre, u drawn for pick and row), the one with the largest u where there is no centre or none
/// of these is finite.
pub fn badge(
    rows: &[Vec<f32>],
    head: &Head,
    centres: &[usize],
    available: &RowSet,
    (budget, seed): (usize, u64),
) -> Vec<Pick> {
    let gradients: Vec<Vec<f64>> = rows
        .iter()
        .map(|x| definition::gradient(&definition::logits(x, head)))
        .collect();
    let apart = |a: usize, b: usize| {
        definition::gradient_distance((&gradients[a], &rows[a]), (&gradients[b], &rows[b]))
    };
    let (mut left, mut picks) = (available.clone(), Vec::new());
    let mut nearest = vec![f64::INFINITY; rows.len()];
    for (row, nearest) in nearest.iter_mut().enumerate() {
        let squares = centres.iter().map(|centre| apart(row, *centre));
        *nearest = squares.fold(*nearest, f64::min);
    }
    while picks.len() < budget {
        let stream = Philox::new(seed, Purpose::Badge, 0, picks.len() as u32);
        let has_centre = !(centres.is_empty() && picks.is_empty());
        let drawn = |row: usize| {
            let u = ((stream.bits(row as u64) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
            -libm::log(u)
        };
        let weighs = |row: usize| (drawn(row) / nearest[row]).is_finite();
        let weighs = has_centre && left.iter().any(weighs);
        let key = |row: usize| match weighs {
            true => drawn(row) / nearest[row],
            false => drawn(row),
        };
        let best = left.iter().map(|row| (key(row), row));
        let Some((_, row)) = best.min_by(|a, b| ordered(a.0, a.1, b.0, b.1)) else {
            break;
        };
        picks.push(Pick {
            score: has_centre.then_some(nearest[row]),
            ..Pick::of_row(row)
        });
        left.remove(row);
        for (other, nearest) in nearest.iter_mut().enumerate() {
            *nearest = nearest.min(apart(other, row));
        }
    }
    picks
}
