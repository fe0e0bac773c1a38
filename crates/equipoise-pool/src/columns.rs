//! One column of a table about the pool's rows: metadata, costs.

use std::path::Path;

use crate::table::{Item, Key, syntax_of};
use crate::{Error, Ids, Problem, Result};

/// Reads `column` of a CSV with `id` or `row`: per row of the pool its text, `None` where the file does
/// not name the row.
///
/// # Errors
/// [`Error::NoColumn`]; [`Error::Line`] with the first line that cannot be used, or names a row again.
pub fn read_column(path: &Path, ids: &Ids, column: &str) -> Result<Vec<Option<String>>> {
    let bytes = std::fs::read(path).map_err(Error::read(path))?;
    let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes);
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text);
    let syntax = |error: csv::Error| {
        let line = error
            .position()
            .map_or(1, |position| position.line() as usize);
        Error::line(path, line, Problem::Syntax(syntax_of(&error)))
    };
    let headers = reader.headers().map_err(syntax)?.clone();
    let place = |name: &str| headers.iter().position(|header| header == name);
    let missing = |column: &str| Error::NoColumn {
        path: path.into(),
        column: column.into(),
    };
    let (id, row) = (place("id"), place("row"));
    let key_of = id.or(row).ok_or_else(|| missing("row` or `id"))?;
    let wanted = place(column).ok_or_else(|| missing(column))?;
    let mut values = vec![None; ids.len()];
    let mut seen = vec![false; ids.len()];
    for record in reader.records() {
        let record = record.map_err(syntax)?;
        let line = record
            .position()
            .map_or(0, |position| position.line() as usize);
        let key = record[key_of].to_owned();
        let item = Item {
            line,
            key: if id.is_some() {
                Key::Id(key)
            } else {
                Key::Row(key)
            },
            label: None,
        };
        let row = item.row(path, ids)?;
        if std::mem::replace(&mut seen[row], true) {
            let problem = Problem::RowTwice(ids.id(row).into_owned());
            return Err(Error::line(path, line, problem));
        }
        values[row] = Some(record[wanted].to_owned());
    }
    Ok(values)
}

/// Reads column `cost` of a CSV with `id` or `row`: per row of the pool a number of 0 or more, `None` where there
/// is none.
///
/// # Errors
/// As [`read_column`]; [`Error::NotACost`].
pub fn read_costs(path: &Path, ids: &Ids) -> Result<Vec<Option<f64>>> {
    let column = read_column(path, ids, "cost")?;
    let cost = |(row, text): (usize, Option<String>)| match text {
        None => Ok(None),
        Some(text) => match text.parse::<f64>() {
            Ok(cost) if cost >= 0.0 && cost.is_finite() => Ok(Some(cost)),
            _ => Err(Error::NotACost {
                path: path.into(),
                id: ids.id(row).into_owned(),
                cost: text,
            }),
        },
    };
    column.into_iter().enumerate().map(cost).collect()
}
