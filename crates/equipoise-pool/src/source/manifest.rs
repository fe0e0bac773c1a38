//! Manifests: a line per image, with its path and whatever else there is to say of it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

use super::Listed;
use super::place::{Tars, resolve};
use crate::table::{syntax_of, text_of};
use crate::{Error, Problem, Result};

/// Names that the column with the path may have, the first that is there.
const PATHS: [&str; 3] = ["path", "file", "image"];

/// Names that no metadata may have: the store's own, and a row's number.
const TAKEN: [&str; 4] = ["id", "uri", "label", "row"];

/// The images of a CSV with a header: `path`, and where they are known `id`, `label`, `tar` and
/// `member`; all else is metadata.
pub(super) fn csv(path: &Path, root: &Path, tars: &mut Tars) -> Result<Vec<Listed>> {
    let syntax = |error: csv::Error| {
        let line = error.position().map_or(1, csv::Position::line) as usize;
        let problem = Problem::Syntax(syntax_of(&error));
        match error.into_kind() {
            csv::ErrorKind::Io(error) => Error::read(path)(error),
            _ => Error::line(path, line, problem),
        }
    };
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_path(path)
        .map_err(syntax)?;
    // Spreadsheets write a byte order mark.
    let header: Vec<String> = reader
        .headers()
        .map_err(syntax)?
        .iter()
        .map(|name| name.trim_start_matches('\u{feff}').to_owned())
        .collect();
    let mut listed = Vec::new();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(syntax)? {
        let line = record.position().map_or(0, csv::Position::line) as usize;
        let fields = header.iter().zip(&record);
        let fields = fields
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.clone(), value.to_owned()));
        let image = image(fields.collect(), root, tars)?;
        listed.push(image.map_err(|problem| Error::line(path, line, problem))?);
    }
    Ok(listed)
}

/// The images of JSON lines: an object each, with the same names.
pub(super) fn json_lines(path: &Path, root: &Path, tars: &mut Tars) -> Result<Vec<Listed>> {
    let file = File::open(path).map_err(Error::read(path))?;
    let mut listed = Vec::new();
    for (number, line) in (1..).zip(BufReader::new(file).lines()) {
        let line = line.map_err(Error::read(path))?;
        if line.trim().is_empty() {
            continue;
        }
        let wrong = |problem| Error::line(path, number, problem);
        let object: serde_json::Map<String, Value> = serde_json::from_str(&line)
            .map_err(|error| wrong(Problem::Syntax(format!("no JSON object: {error}"))))?;
        let fields = object.into_iter();
        let fields = fields.filter_map(|(name, value)| Some((name, text_of(&value)?)));
        let image = image(fields.collect(), root, tars)?;
        listed.push(image.map_err(wrong)?);
    }
    Ok(listed)
}

/// An image by what a line says of it, or what is wrong with the line.
fn image(
    mut fields: Vec<(String, String)>,
    root: &Path,
    tars: &mut Tars,
) -> Result<std::result::Result<Listed, Problem>> {
    let mut take = |name: &str| {
        let place = fields.iter().position(|(field, _)| field == name)?;
        Some(fields.remove(place).1)
    };
    let (tar, member) = (take("tar"), take("member"));
    let written = match (tar, member) {
        (Some(tar), Some(member)) => Some(format!("{tar}#{member}")),
        _ => PATHS.iter().find_map(|name| take(name)),
    };
    let Some(written) = written else {
        let problem = "no `path` (or `file`, or `image`; or `tar` and `member`)";
        return Ok(Err(Problem::Syntax(problem.into())));
    };
    let (id, label) = (take("id"), take("label"));
    if let Some((taken, _)) = fields
        .iter()
        .find(|(name, _)| TAKEN.contains(&name.as_str()))
    {
        let problem = format!("metadata cannot be called `{taken}`");
        return Ok(Err(Problem::Syntax(problem)));
    }
    let Some((place, uri)) = resolve(&written, root, tars)? else {
        let problem = format!("there is no `{written}`");
        return Ok(Err(Problem::Syntax(problem)));
    };
    let id = id.unwrap_or_else(|| written.clone());
    // Folders of a manifest's images may be anything; labels are told.
    let mut image = Listed::new(String::new(), id, uri, place);
    image.entry.label = label;
    image.metadata = fields;
    Ok(Ok(image))
}
