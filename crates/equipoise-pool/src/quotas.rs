//! Quotas per class from a file.

use std::path::Path;

use crate::{Error, Problem, Result};

/// What each class may claim, 0 for one that is not named.
#[derive(Debug, Clone, PartialEq)]
pub enum QuotaFile {
    /// So many rows.
    Counts(Vec<usize>),
    /// That share of the budget.
    Weights(Vec<f64>),
}

/// Reads CSV with the columns `class` and `quota`, how many rows each of `classes` classes may claim, or `class` and
/// `weight`, in which proportion they share the budget. Classes are named by `names`, or by number where there are none; those left out claim
/// nothing.
///
/// # Errors
/// [`Error::NoColumn`]; [`Error::Line`] where a class is unknown or there twice, a quota is no
/// whole number or a weight no number of 0 or more.
pub fn read_quotas(path: &Path, classes: usize, names: Option<&[String]>) -> Result<QuotaFile> {
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
            column: column.into(),
        })
    };
    let class_column = column("class")?;
    let (quota_column, are_weights) = match headers.iter().position(|header| header == "weight") {
        Some(weight) => (weight, true),
        None => (column("quota")?, false),
    };
    let mut quotas: Vec<Option<f64>> = vec![None; classes];
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
        let number = match are_weights {
            true => quota
                .parse()
                .ok()
                .filter(|weight: &f64| *weight >= 0.0 && weight.is_finite()),
            // Counts are far below what a float64 holds exactly.
            false => quota.parse().ok().map(|count: u32| f64::from(count)),
        };
        let number = number.ok_or_else(|| {
            let (class, what) = (class.into(), quota.into());
            problem(match are_weights {
                true => Problem::NotAWeight {
                    class,
                    weight: what,
                },
                false => Problem::NotAQuota { class, quota: what },
            })
        })?;
        if slot.replace(number).is_some() {
            return Err(problem(Problem::ClassTwice(class.into())));
        }
    }
    let numbers = quotas.into_iter().map(Option::unwrap_or_default);
    Ok(match are_weights {
        true => QuotaFile::Weights(numbers.collect()),
        false => QuotaFile::Counts(numbers.map(|count| count as usize).collect()),
    })
}
