//! Constraints on BASE's picks: what was wanted, the files that say it, and what fell short.

use std::path::{Path, PathBuf};

use equipoise::core::{Constraints, Groups, RowSet, Shortfall};
use equipoise::pool::{self, Ids};
use serde::Serialize;

use crate::failure::{Failure, Result};

/// What was wanted.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Wanted {
    pub min_distance: Option<f64>,
    /// Columns, and how many rows of each value may be picked.
    pub caps: Vec<(String, usize)>,
    pub metadata: Option<PathBuf>,
    pub costs: Option<PathBuf>,
}

/// What its files hold.
#[derive(Debug, Default)]
pub(crate) struct Read {
    min_distance: Option<f64>,
    groups: Vec<Groups>,
    costs: Option<Vec<f64>>,
}

impl Wanted {
    /// Whether there is any.
    pub(crate) fn any(&self) -> bool {
        *self != Self::default()
    }

    /// Reads the files.
    ///
    /// # Errors
    /// Where one cannot be read, lacks a column or does not name an available row.
    pub(crate) fn read(&self, ids: &Ids, available: &RowSet) -> Result<Read> {
        let mut groups = Vec::new();
        for (column, cap) in &self.caps {
            let values = match &self.metadata {
                Some(path) => {
                    let values = pool::read_column(path, ids, column)?;
                    every(path, &values, ids, available, column)?;
                    values
                }
                None => of_pool(ids, column)?,
            };
            groups.push(grouped(column, *cap, values));
        }
        let costs = match &self.costs {
            Some(path) => {
                let costs = pool::read_costs(path, ids)?;
                every(path, &costs, ids, available, "cost")?;
                Some(costs.into_iter().map(Option::unwrap_or_default).collect())
            }
            None => None,
        };
        Ok(Read {
            min_distance: self.min_distance,
            groups,
            costs,
        })
    }
}

/// A column of the pool's own metadata; rows without a value are in no group.
fn of_pool(ids: &Ids, column: &str) -> Result<Vec<Option<String>>> {
    ids.metadata(column).ok_or_else(|| {
        let columns: Vec<&str> = ids.columns().collect();
        let failure = Failure::usage(format!("--group-cap: the pool has no metadata `{column}`"));
        failure.with_hint(match columns.is_empty() {
            true => "name a CSV with --metadata: the pool has none".to_owned(),
            false => format!(
                "it has {}; or name a CSV with --metadata",
                columns.join(", ")
            ),
        })
    })
}

impl Read {
    /// As strategies take them.
    pub(crate) fn constraints(&self) -> Constraints<'_> {
        Constraints {
            min_distance: self.min_distance,
            groups: &self.groups,
            costs: self.costs.as_deref(),
        }
    }
}

/// Asserts that the file names every available row.
fn every<T>(
    path: &Path,
    values: &[Option<T>],
    ids: &Ids,
    available: &RowSet,
    column: &str,
) -> Result<()> {
    let missing: Vec<usize> = available
        .iter()
        .filter(|row| values[*row].is_none())
        .collect();
    match missing.first() {
        None => Ok(()),
        Some(first) => {
            let id = ids.id(*first);
            let message = format!(
                "{} available rows have no {column}, first `{id}`",
                missing.len()
            );
            Err(Failure::new(message)
                .at(path)
                .with_hint("the file must name every row that may be picked"))
        }
    }
}

/// Rows by their values; an empty one is no group.
fn grouped(column: &str, cap: usize, values: Vec<Option<String>>) -> Groups {
    let mut names: Vec<String> = values
        .iter()
        .flatten()
        .filter(|name| !name.is_empty())
        .cloned()
        .collect();
    names.sort_unstable();
    names.dedup();
    let of = |value: Option<String>| {
        let place = names.binary_search(&value?).ok()?;
        u32::try_from(place).ok()
    };
    Groups {
        column: column.into(),
        of_rows: values.into_iter().map(of).collect(),
        names,
        cap,
    }
}

/// A class that fell short, as it is printed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Short {
    pub class: u32,
    pub class_name: String,
    /// Rows, or cost.
    pub missing: f64,
    pub too_near: usize,
    pub group_full: usize,
    pub groups: Vec<String>,
    pub too_costly: usize,
}

impl Short {
    pub(crate) fn of(short: &Shortfall, names: &[String]) -> Self {
        let name = names.get(short.class as usize).cloned();
        Self {
            class: short.class,
            class_name: name.unwrap_or_else(|| short.class.to_string()),
            missing: short.missing,
            too_near: short.too_near,
            group_full: short.group_full,
            groups: short.groups.clone(),
            too_costly: short.too_costly,
        }
    }

    /// One line.
    pub(crate) fn line(&self) -> String {
        let mut why = Vec::new();
        if self.too_near > 0 {
            why.push(format!("{} too near to others", self.too_near));
        }
        if self.group_full > 0 {
            let groups = match &self.groups[..] {
                [first @ .., _] if first.len() > 4 => {
                    format!("{}, … {} in all", first[..4].join(", "), self.groups.len())
                }
                all => all.join(", "),
            };
            why.push(format!("{} in full groups ({groups})", self.group_full));
        }
        if self.too_costly > 0 {
            why.push(format!("{} too costly", self.too_costly));
        }
        let why = match why.is_empty() {
            true => "no row was left".to_owned(),
            false => format!("of the rows it met, {}; then none was left", why.join(", ")),
        };
        format!(
            "class {} fell short by {}: {why}",
            self.class_name, self.missing
        )
    }
}
