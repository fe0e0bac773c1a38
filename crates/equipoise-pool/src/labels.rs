//! Labels of rows, as class indices.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use crate::table::{self, Table};
use crate::{Error, Ids, Problem, Result};

/// Which rows have which label.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels {
    /// Row and class, each row once, in the order of the file.
    pub rows: Vec<(usize, u32)>,
    /// Class names in order.
    pub classes: Vec<String>,
}

/// Reads labels: CSV (or JSON lines) with `id` or `row`, and `label`; or a Label Studio export.
///
/// `classes` are the class names in order, from `--classes` or the source's class folders; `None`
/// makes them the labels themselves, sorted, as numbers if all are whole numbers.
///
/// # Errors
/// [`Error::Line`] where an id is unknown, a label is missing or none of `classes`, or a row has
/// two labels.
pub fn read_labels(path: &Path, ids: &Ids, classes: Option<&[String]>) -> Result<Labels> {
    let lines = read_label_lines(path, ids)?;
    let rows = lines
        .into_iter()
        .map(|line| (line.line, line.row, line.label));
    of(path, rows.collect(), classes, ids)
}

/// A line of a list of labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelLine {
    /// Its number, from 1.
    pub line: usize,
    /// The row.
    pub row: usize,
    /// Its label.
    pub label: String,
}

/// The lines of a list of labels, as [`read_labels`] reads them, before labels become classes.
///
/// # Errors
/// [`Error::Line`] where an id is unknown or a label is missing.
pub fn read_label_lines(path: &Path, ids: &Ids) -> Result<Vec<LabelLine>> {
    let no_column = || Error::NoColumn {
        path: path.into(),
        column: "label".into(),
    };
    let items = match table::read(path, ids)? {
        Table::Keyed {
            items,
            labelled: true,
        } => items,
        Table::Bare(lines) if lines.is_empty() => Vec::new(),
        Table::Keyed { .. } | Table::Bare(_) => return Err(no_column()),
    };
    let mut rows = Vec::with_capacity(items.len());
    for item in items {
        let row = item.row(path, ids)?;
        match item.label {
            Some(label) => rows.push(LabelLine {
                line: item.line,
                row,
                label,
            }),
            None => {
                let problem = Problem::NoLabel(ids.id(row).into_owned());
                return Err(Error::line(path, item.line, problem));
            }
        }
    }
    Ok(rows)
}

/// Labels from (row, number of its label), each row once; rows are told by number in messages, and lines are theirs
/// from 1.
pub(crate) fn of_numbered(
    path: &Path,
    mut rows: Vec<(usize, u32)>,
    labels: &[String],
    classes: Option<&[String]>,
) -> Result<Labels> {
    let classes = match classes {
        Some(classes) => classes.to_vec(),
        None => sorted(labels.iter().map(String::as_str)),
    };
    let index = numbers(&classes);
    let class_of: Vec<Option<u32>> = labels
        .iter()
        .map(|label| index.get(label.as_str()).copied())
        .collect();
    for (row, label) in &mut rows {
        let number = *label as usize;
        *label = class_of[number].ok_or_else(|| {
            let problem = Problem::UnknownLabel {
                label: labels[number].clone(),
                classes: classes.len(),
            };
            Error::line(path, *row + 1, problem)
        })?;
    }
    Ok(Labels { rows, classes })
}

/// Each class by its name.
fn numbers(classes: &[String]) -> HashMap<&str, u32> {
    let names = classes.iter().map(String::as_str);
    names.zip(0..).collect()
}

/// Labels from (line, row, label).
fn of(
    path: &Path,
    rows: Vec<(usize, usize, String)>,
    classes: Option<&[String]>,
    ids: &Ids,
) -> Result<Labels> {
    let classes = match classes {
        Some(classes) => classes.to_vec(),
        None => sorted(rows.iter().map(|(_, _, label)| label.as_str())),
    };
    let index = numbers(&classes);
    let mut labels = Vec::with_capacity(rows.len());
    let mut seen: HashMap<usize, u32> = HashMap::with_capacity(rows.len());
    for (line, row, label) in &rows {
        let Some(&class) = index.get(label.as_str()) else {
            let problem = Problem::UnknownLabel {
                label: label.clone(),
                classes: classes.len(),
            };
            return Err(Error::line(path, *line, problem));
        };
        match seen.insert(*row, class) {
            None => labels.push((*row, class)),
            Some(first) if first == class => {}
            Some(first) => {
                let problem = Problem::Contradiction {
                    id: ids.id(*row).into_owned(),
                    first: classes[first as usize].clone(),
                    second: label.clone(),
                };
                return Err(Error::line(path, *line, problem));
            }
        }
    }
    Ok(Labels {
        rows: labels,
        classes,
    })
}

/// The distinct labels in order: as numbers if all are whole numbers.
pub(crate) fn sorted<'a>(labels: impl Iterator<Item = &'a str>) -> Vec<String> {
    let distinct: BTreeSet<&str> = labels.collect();
    let mut labels: Vec<&str> = distinct.into_iter().collect();
    if labels.iter().all(|label| label.parse::<i64>().is_ok()) {
        // Stable: `1` and `01` are two labels, in the order of their texts.
        labels.sort_by_key(|label| label.parse::<i64>().unwrap_or(0));
    }
    labels.into_iter().map(Into::into).collect()
}
