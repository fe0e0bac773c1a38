//! Why a row was picked, or was not.

use crate::definition::{self, RowScore};
use crate::settle::pool_embedding;
use crate::strategies::{Ranking, Request, Selection};
use crate::{Result, Strategy};

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It has a label already.
    Labelled,
    /// It was not to be picked.
    Excluded,
    /// It holds a NaN or an infinity.
    NotFinite,
    /// It is that pick, from 0.
    Picked(usize),
    /// Others came before it, or a constraint was in the way.
    NotPicked,
}

/// A row beside the last pick of a class, or of all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// The class; `None` for a score of rows themselves.
    pub class: Option<u32>,
    /// The row's score.
    pub score: f64,
    /// The score of the last row that was picked; `None` if none was.
    pub last: Option<f64>,
    /// How many rows were picked.
    pub picked: usize,
    /// Whether the row comes before the last one picked.
    pub before: bool,
}

/// What kept a row from being picked where it came first.
#[derive(Debug, Clone, PartialEq)]
pub enum Hindrance {
    /// It lies too near to a labelled or picked row.
    Near {
        /// That row, the nearest one.
        row: usize,
        /// How far it is.
        distance: f64,
    },
    /// As many rows of its group are picked as may be.
    GroupFull {
        /// As `column=value`.
        group: String,
        /// How many rows that is.
        cap: usize,
    },
    /// What it costs, which has to fit into what is left of quota and budget.
    Cost(f64),
}

/// Why a row was picked, or was not.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The row.
    pub row: usize,
    /// What became of it.
    pub fate: Fate,
    /// The class that the head predicts; none without a head, or of a row that is not finite.
    pub predicted: Option<u32>,
    /// The class of the nearest decision boundary.
    pub runner_up: Option<u32>,
    /// Its standing in each class that picked rows, or by its own score; those that it came nearest to
    /// first. Empty where the strategy ranks rows by no score.
    pub standings: Vec<Standing>,
    /// What would have kept it from being picked in the end.
    pub hindrances: Vec<Hindrance>,
}

/// Why `row` was picked by `strategy`, or was not: `selection` is what it answered to `request`. All numbers are the
/// float64 definition's.
///
/// # Errors
/// [`crate::Error::Shape`] for a row beyond the pool, [`crate::Error::Read`].
pub fn explain(
    strategy: &dyn Strategy,
    request: &Request<'_>,
    selection: &Selection,
    row: usize,
) -> Result<Explanation> {
    let rows = request.pool.rows();
    if row >= rows {
        return Err(crate::Error::Shape {
            what: "row to explain".into(),
            expected: format!("one of {rows} rows"),
            found: row.to_string(),
        });
    }
    let x = pool_embedding(request.pool, row)?;
    let finite = x.iter().all(|x| x.is_finite());
    let fate = match selection.picks.iter().position(|pick| pick.row == row) {
        Some(rank) => Fate::Picked(rank),
        None if request.labelled.iter().any(|labelled| labelled.row == row) => Fate::Labelled,
        None if !request.available.contains(row) => Fate::Excluded,
        None if !finite => Fate::NotFinite,
        None => Fate::NotPicked,
    };
    let mut explanation = Explanation {
        row,
        fate,
        predicted: None,
        runner_up: None,
        standings: Vec::new(),
        hindrances: Vec::new(),
    };
    if !finite {
        return Ok(explanation);
    }
    if let Some(head) = request.head.filter(|head| head.dim() == x.len()) {
        let logits = definition::logits(&x, head);
        let p = definition::predicted(&logits);
        let distances = definition::distances(&logits, p, head);
        explanation.predicted = Some(p as u32);
        explanation.runner_up = definition::runner_up(&distances, p).map(|class| class as u32);
        explanation.standings = match strategy.ranking() {
            None => Vec::new(),
            Some(Ranking::Rows(score)) => {
                let (_, own) = definition::row_score(score, &logits, head);
                vec![standing(
                    None,
                    own,
                    score == RowScore::Entropy,
                    row,
                    selection,
                )]
            }
            Some(Ranking::Classes) => {
                let scores = definition::base(&distances, p);
                let of_class = |(class, score)| standing(Some(class), score, false, row, selection);
                let all = (0u32..).zip(scores).map(of_class);
                let mut all: Vec<Standing> = all.filter(|of| of.picked > 0).collect();
                let short = |of: &Standing| of.score - of.last.unwrap_or(0.0);
                all.sort_by(|a, b| short(a).total_cmp(&short(b)));
                all
            }
        };
    }
    if fate == Fate::NotPicked {
        explanation.hindrances = hindrances(request, selection, row)?;
    }
    Ok(explanation)
}

/// Beside the picks of `class`. Of `largest_first` scores the largest comes first.
fn standing(
    class: Option<u32>,
    score: f64,
    largest_first: bool,
    row: usize,
    selection: &Selection,
) -> Standing {
    let mut of_class = selection.picks.iter().filter(|pick| pick.class == class);
    let last = of_class.clone().next_back();
    let before = last.is_some_and(|last| {
        let other = last.score.unwrap_or(f64::INFINITY);
        let order = match largest_first {
            true => other.total_cmp(&score),
            false => score.total_cmp(&other),
        };
        order.then(row.cmp(&last.row)).is_le()
    });
    Standing {
        class,
        score,
        last: last.and_then(|last| last.score),
        picked: of_class.by_ref().count(),
        before,
    }
}

fn hindrances(request: &Request<'_>, selection: &Selection, row: usize) -> Result<Vec<Hindrance>> {
    let constraints = &request.constraints;
    let mut found = Vec::new();
    if let Some(least) = constraints.min_distance {
        let x = pool_embedding(request.pool, row)?;
        let labelled = request.labelled.iter().map(|labelled| labelled.row);
        let others = labelled.chain(selection.picks.iter().map(|pick| pick.row));
        let mut nearest: Option<(f64, usize)> = None;
        for other in others {
            let y = pool_embedding(request.pool, other)?;
            let square = definition::squared_distance(&x, &y);
            if nearest.is_none_or(|(nearest, _)| square < nearest) {
                nearest = Some((square, other));
            }
        }
        if let Some((square, row)) = nearest.filter(|(square, _)| *square < least * least) {
            let distance = square.sqrt();
            found.push(Hindrance::Near { row, distance });
        }
    }
    for groups in constraints.groups {
        let Some(group) = groups.of_rows[row] else {
            continue;
        };
        let mates = selection.picks.iter();
        let mates = mates.filter(|pick| groups.of_rows[pick.row] == Some(group));
        if mates.count() >= groups.cap {
            let name = groups
                .names
                .get(group as usize)
                .cloned()
                .unwrap_or_default();
            found.push(Hindrance::GroupFull {
                group: format!("{}={name}", groups.column),
                cap: groups.cap,
            });
        }
    }
    if let Some(costs) = constraints.costs {
        found.push(Hindrance::Cost(costs[row]));
    }
    Ok(found)
}
