//! Lists of rows: `--labelled` and `--exclude`.

use std::collections::HashMap;
use std::path::Path;

use crate::table::{self, Item, Key, Table};
use crate::{Error, Ids, Problem, Result};

/// Reads a list of rows, each with its label where the list has one; a row named twice is listed
/// once, where it came first.
///
/// A list is text with a row number or an id a line; CSV with a column `row` or `id` (which goes
/// before `row`) and perhaps `label`; picks in any format; or a Label Studio export, of whose
/// tasks those count that have an annotation, or no list of them.
///
/// Lines without a header are rows if every one is a number and no id in the pool is.
///
/// # Errors
/// [`Error::Ambiguous`] where numbers without a header are rows as well as ids; [`Error::Line`]
/// with the first line that cannot be used.
pub fn read_rows(path: &Path, ids: &Ids) -> Result<Vec<(usize, Option<String>)>> {
    let items = match table::read(path, ids)? {
        Table::Keyed { items, .. } => items,
        Table::Bare(lines) => keyed(path, lines, ids)?,
    };
    let mut rows: Vec<(usize, Option<String>)> = Vec::with_capacity(items.len());
    let mut places = HashMap::with_capacity(items.len());
    for item in items {
        let row = item.row(path, ids)?;
        let place = *places.entry(row).or_insert(rows.len());
        match rows.get_mut(place) {
            None => rows.push((row, item.label)),
            Some((_, label @ None)) => *label = item.label,
            Some((_, Some(first))) => {
                if let Some(second) = item.label
                    && second != *first
                {
                    let problem = Problem::Contradiction {
                        id: ids.id(row).into_owned(),
                        first: first.clone(),
                        second,
                    };
                    return Err(Error::line(path, item.line, problem));
                }
            }
        }
    }
    Ok(rows)
}

/// What lines without a header mean.
fn keyed(path: &Path, lines: Vec<(usize, String)>, ids: &Ids) -> Result<Vec<Item>> {
    let numbers: Option<Vec<u64>> = lines.iter().map(|(_, text)| text.parse().ok()).collect();
    let are_rows = match numbers {
        // An empty list, and a bare array, where rows and ids are the same.
        _ if lines.is_empty() || ids.are_rows() => true,
        None => false,
        Some(numbers) if ids.any_is_a_number() => {
            let fits_rows = numbers.iter().all(|row| *row < ids.len() as u64);
            let fits_ids = lines.iter().all(|(_, id)| ids.row(id).is_some());
            if fits_rows && fits_ids {
                return Err(Error::Ambiguous { path: path.into() });
            }
            false
        }
        Some(_) => true,
    };
    let key = if are_rows { Key::Row } else { Key::Id };
    Ok(lines
        .into_iter()
        .map(|(line, text)| Item {
            line,
            key: key(text),
            label: None,
        })
        .collect())
}
