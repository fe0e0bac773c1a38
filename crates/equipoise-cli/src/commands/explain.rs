//! `select --explain`: why rows were picked, or were not.

use equipoise::core::explain::{Explanation, Fate, Hindrance, Standing, explain};
use equipoise::core::{Request, Selection, Strategy};
use equipoise::pool::Ids;
use serde::Serialize;

use crate::console::grouped;
use crate::failure::{Failure, Result};

/// Classes whose standings are told.
const TOLD: usize = 5;

/// One row, as it is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Explained {
    row: usize,
    id: String,
    /// labelled, excluded, not finite, picked or not picked.
    fate: &'static str,
    /// From 1, of a picked row.
    rank: Option<usize>,
    predicted: Option<String>,
    runner_up: Option<String>,
    standings: Vec<Stood>,
    hindrances: Vec<String>,
    #[serde(skip)]
    ranked: bool,
}

/// Its standing in a class, or by its own score.
#[derive(Debug, Serialize)]
struct Stood {
    class: Option<String>,
    score: f64,
    last_picked_score: Option<f64>,
    picked: usize,
    before_last: bool,
}

/// The rows that are meant.
///
/// # Errors
/// Where one is neither an id of the pool nor one of its row numbers.
pub(crate) fn rows(wanted: &[String], ids: &Ids) -> Result<Vec<usize>> {
    let of = |text: &String| {
        let by_number = || text.parse().ok().filter(|row: &usize| *row < ids.len());
        ids.row(text).or_else(by_number).ok_or_else(|| {
            Failure::new(format!("--explain {text}: the pool has no such row"))
                .with_hint("give an id of the pool, or a row number from 0")
        })
    };
    wanted.iter().map(of).collect()
}

/// Why those rows were picked, or were not.
///
/// # Errors
/// Where the pool cannot be read.
pub(crate) fn run(
    rows: &[usize],
    strategy: &dyn Strategy,
    request: &Request<'_>,
    selection: &Selection,
    (ids, classes): (&Ids, &[String]),
) -> Result<Vec<Explained>> {
    let of = |row: &usize| {
        let found = explain(strategy, request, selection, *row)?;
        Ok(Explained::of(
            found,
            strategy.ranking().is_some(),
            ids,
            classes,
        ))
    };
    rows.iter().map(of).collect()
}

impl Explained {
    fn of(found: Explanation, ranked: bool, ids: &Ids, classes: &[String]) -> Self {
        let name = |class: u32| {
            let name = classes.get(class as usize).cloned();
            name.unwrap_or_else(|| class.to_string())
        };
        let stood = |of: &Standing| Stood {
            class: of.class.map(name),
            score: of.score,
            last_picked_score: of.last,
            picked: of.picked,
            before_last: of.before,
        };
        let hindered = |hindrance: &Hindrance| match hindrance {
            Hindrance::Near { row, distance } => {
                format!(
                    "it lies {distance} from {}, which is too near",
                    ids.id(*row)
                )
            }
            Hindrance::GroupFull { group, cap } => {
                format!("its group {group} is full: {cap} are picked")
            }
            Hindrance::Cost(cost) => format!("it costs {cost}"),
        };
        let (fate, rank) = match found.fate {
            Fate::Labelled => ("labelled", None),
            Fate::Excluded => ("excluded", None),
            Fate::NotFinite => ("not finite", None),
            Fate::Picked(index) => ("picked", Some(index + 1)),
            Fate::NotPicked => ("not picked", None),
        };
        Self {
            row: found.row,
            id: ids.id(found.row).into_owned(),
            fate,
            rank,
            predicted: found.predicted.map(name),
            runner_up: found.runner_up.map(name),
            standings: found.standings.iter().map(stood).collect(),
            hindrances: found.hindrances.iter().map(hindered).collect(),
            ranked,
        }
    }

    /// A few lines for people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("row {} ({}): {}", self.row, self.id, self.fate);
        if let Some(rank) = self.rank {
            text += &format!(" as number {}", grouped(rank));
        }
        if let Some(predicted) = &self.predicted {
            text += &format!("; predicted {predicted}");
        }
        if let Some(runner_up) = &self.runner_up {
            text += &format!(", nearest boundary with {runner_up}");
        }
        if !self.ranked {
            text += "\n  the strategy ranks rows by no score of their own";
        }
        for stood in self.standings.iter().take(TOLD) {
            let of = stood
                .class
                .as_ref()
                .map_or(String::new(), |class| format!("class {class}: "));
            text += &format!("\n  {of}its score is {}", stood.score);
            text += &match (stood.last_picked_score, stood.before_last) {
                (Some(last), false) => {
                    format!(
                        ", behind the last of {} picked, {last}",
                        grouped(stood.picked)
                    )
                }
                (Some(last), true) => {
                    format!(
                        ", not behind the last of {} picked, {last}",
                        grouped(stood.picked)
                    )
                }
                (None, _) => ", none was picked".into(),
            };
        }
        if self.standings.len() > TOLD {
            let more = self.standings.len() - TOLD;
            let classes = if more == 1 { "class" } else { "classes" };
            text += &format!("\n  and {more} more {classes}: --json has them all");
        }
        for hindrance in &self.hindrances {
            text += &format!("\n  {hindrance}");
        }
        text
    }
}
