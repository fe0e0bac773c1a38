//! Picks as files.

use std::io::Write;
use std::path::Path;

use equipoise_core::Pick;
use serde_json::{Map, Value, json};

use crate::label_studio::ID_FIELD;
use crate::{Error, OutputFile, Result, RowNames};

/// Version of the format that picks are written in, and the newest that is read.
pub const PICKS_VERSION: u64 = 1;

/// The column that says the version.
pub(crate) const VERSION_COLUMN: &str = "picks_version";

const COLUMNS: [&str; 14] = [
    "rank",
    "row",
    "id",
    "class",
    "score",
    "predicted",
    "runner_up",
    "class_name",
    "predicted_name",
    "runner_up_name",
    "class_rank",
    "beat",
    "uri",
    VERSION_COLUMN,
];

/// How picks are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PickFormat {
    /// CSV with a header.
    #[default]
    Csv,
    /// A JSON object a line, with the CSV's columns as fields; `null` where CSV is empty.
    Jsonl,
    /// A JSON list of tasks for Label Studio to import.
    LabelStudio,
}

/// Writes picks in pick order, whole or not at all. `classes` are the class names; a class beyond
/// them is named by its number.
///
/// Numbers are written so that they read back as they were, and not longer: equal picks give
/// equal bytes.
///
/// # Errors
/// [`Error::Exists`], [`Error::Write`].
pub fn write_picks(
    path: &Path,
    force: bool,
    format: PickFormat,
    picks: &[Pick],
    ids: &dyn RowNames,
    classes: &[String],
) -> Result<()> {
    let lines = (1..)
        .zip(picks)
        .map(|(rank, pick)| line(rank, pick, ids, classes));
    let file = OutputFile::create(path, force)?;
    match format {
        PickFormat::Csv => csv(path, file, lines),
        PickFormat::Jsonl => json_lines(path, file, lines),
        PickFormat::LabelStudio => tasks(path, file, lines),
    }
}

/// The values of [`COLUMNS`] for one pick.
fn line(
    rank: usize,
    pick: &Pick,
    ids: &dyn RowNames,
    classes: &[String],
) -> [Value; COLUMNS.len()] {
    let name = |class: Option<u32>| {
        class.map(|class| match classes.get(class as usize) {
            Some(name) => name.clone(),
            None => class.to_string(),
        })
    };
    [
        json!(rank),
        json!(pick.row),
        json!(ids.id(pick.row)),
        json!(pick.class),
        score(pick.score),
        json!(pick.predicted),
        json!(pick.runner_up),
        json!(name(pick.class)),
        json!(name(pick.predicted)),
        json!(name(pick.runner_up)),
        json!(pick.class_rank),
        json!(pick.beat),
        json!(ids.uri(pick.row)),
        json!(PICKS_VERSION),
    ]
}

/// JSON has no infinity: as a text it is what Python's `float` reads.
fn score(score: Option<f64>) -> Value {
    match score {
        Some(score) if !score.is_finite() => json!(score.to_string()),
        score => json!(score),
    }
}

type Line = [Value; COLUMNS.len()];

fn csv(path: &Path, file: OutputFile, lines: impl Iterator<Item = Line>) -> Result<()> {
    let error = |error: ::csv::Error| Error::write(path)(error.into());
    let mut writer = ::csv::Writer::from_writer(file);
    writer.write_record(COLUMNS).map_err(error)?;
    for line in lines {
        let fields = line.map(|value| match value {
            Value::Null => String::new(),
            Value::String(text) => text,
            other => other.to_string(),
        });
        writer.write_record(fields).map_err(error)?;
    }
    let file = writer
        .into_inner()
        .map_err(|failed| Error::write(path)(failed.into_error()))?;
    file.commit()
}

fn json_lines(path: &Path, mut file: OutputFile, lines: impl Iterator<Item = Line>) -> Result<()> {
    for line in lines {
        // By hand: the fields stay in the columns' order.
        let fields: Vec<String> = std::iter::zip(COLUMNS, line)
            .map(|(name, value)| format!("{}:{value}", json!(name)))
            .collect();
        writeln!(file, "{{{}}}", fields.join(",")).map_err(Error::write(path))?;
    }
    file.commit()
}

/// Tasks with what annotators see in `data`, and the rest in `meta`.
fn tasks(path: &Path, mut file: OutputFile, lines: impl Iterator<Item = Line>) -> Result<()> {
    let mut separator = "[";
    for line in lines {
        let mut meta: Map<String, Value> = std::iter::zip(COLUMNS, line)
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.into(), value))
            .collect();
        let id = meta["id"].clone();
        let image = meta.remove("uri").unwrap_or_else(|| id.clone());
        let task = json!({ "data": { "image": image, ID_FIELD: id }, "meta": meta });
        write!(file, "{separator}\n{task}").map_err(Error::write(path))?;
        separator = ",";
    }
    let end = if separator == "[" { "[]\n" } else { "\n]\n" };
    file.write_all(end.as_bytes()).map_err(Error::write(path))?;
    file.commit()
}
