//! Quotas per class from a file.

use std::path::Path;

use crate::{Error, Problem, Result};

/// Reads CSV with the columns `class` and `quota`: how many rows each of `classes` classes may
/// claim. Classes are named by `names`, or by number where there are none; those left out claim
/// nothing.
///
/// # Errors
/// [`Error::NoColumn`]; [`Error::Line`] where a class is unknown or there twice, or a quota is no
/// whole number.
pub fn read_quotas(path: &Path, classes: usize, names: Option<&[String]>) -> Result<Vec<usize>> {
    let text = std::fs::read(path).map_err(Error::read(path))?;
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&text);
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text);
    let syntax = |error: csv::Error| {
        let line = error
            .position()
            .map_or(1, |position| position.line() as usize);
        Error::line(path, line, Problem::Syntax(error.to_string()))
    };
    let headers = reader.headers().map_err(syntax)?.clone();
    let column = |column: &'static str| {
        let found = headers.iter().position(|header| header == column);
        found.ok_or_else(|| Error::NoColumn {
            path: path.into(),
            column,
        })
    };
    let (class_column, quota_column) = (column("class")?, column("quota")?);
    let mut quotas: Vec<Option<usize>> = vec![None; classes];
    for record in reader.records() {
        let record = record.map_err(syntax)?;
        let line = record
            .position()
            .map_or(0, |position| position.line() as usize);
        let (class, quota) = (&record[class_column], &record[quota_column]);
        let found = match names {
            Some(names) => names.iter().position(|name| name == class),
            None => class.parse().ok(),
        };
        let problem = |problem| Error::line(path, line, problem);
        let slot = found
            .and_then(|class: usize| quotas.get_mut(class))
            .ok_or_else(|| {
                problem(Problem::UnknownLabel {
                    label: class.into(),
                    classes,
                })
            })?;
        let number = quota.parse().map_err(|_| {
            problem(Problem::NotAQuota {
                class: class.into(),
                quota: quota.into(),
            })
        })?;
        if slot.replace(number).is_some() {
            return Err(problem(Problem::ClassTwice(class.into())));
        }
    }
    Ok(quotas.into_iter().map(|quota| quota.unwrap_or(0)).collect())
}
