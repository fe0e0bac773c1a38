//! The forms that lists of rows come in: text, CSV, JSON lines, Label Studio's JSON.

use std::path::Path;

use crate::label_studio;
use crate::picks::{PICKS_VERSION, VERSION_COLUMN};
use crate::{Error, Ids, Problem, Result};

/// What a list calls a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Key {
    Row(String),
    Id(String),
}

/// One row of a list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    /// From 1.
    pub(crate) line: usize,
    pub(crate) key: Key,
    pub(crate) label: Option<String>,
}

/// A list as it was read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Table {
    /// It says what its keys are.
    Keyed {
        items: Vec<Item>,
        /// Whether it has labels at all.
        labelled: bool,
    },
    /// Lines without a header, with their numbers.
    Bare(Vec<(usize, String)>),
}

/// Reads a list; `ids` tell a file name that looks like JSON from JSON.
pub(crate) fn read(path: &Path, ids: &Ids) -> Result<Table> {
    let bytes = std::fs::read(path).map_err(Error::read(path))?;
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        Error::format(
            path,
            format!("not a text: byte {} is not UTF-8", error.valid_up_to()),
        )
    })?;
    // Spreadsheets write a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().map(str::trim);
    let Some(first) = lines.clone().find(|line| !line.is_empty()) else {
        return Ok(Table::Bare(Vec::new()));
    };
    let is_id = ids.row(first).is_some();
    match first.as_bytes()[0] {
        b'[' if !is_id => return label_studio::read(path, text, ids),
        b'{' if !is_id => return json_lines(path, text),
        _ => {}
    }
    let header = csv::ReaderBuilder::new()
        .has_headers(false)
        .trim(csv::Trim::All)
        .from_reader(first.as_bytes())
        .records()
        .next();
    match header {
        Some(Ok(header)) if header.iter().any(|name| matches!(name, "row" | "id")) => {
            from_csv(path, text)
        }
        Some(Ok(header)) if header.iter().any(|name| name == "label") && !is_id => {
            Err(Error::NoColumn {
                path: path.into(),
                column: "row` or `id".into(),
            })
        }
        _ => Ok(Table::Bare(
            (1..)
                .zip(lines)
                .filter(|(_, line)| !line.is_empty())
                .map(|(number, line)| (number, line.to_owned()))
                .collect(),
        )),
    }
}

fn from_csv(path: &Path, text: &str) -> Result<Table> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let syntax = |error: csv::Error| {
        let line = error
            .position()
            .map_or(1, |position| position.line() as usize);
        Error::line(path, line, Problem::Syntax(syntax_of(&error)))
    };
    let headers = reader.headers().map_err(syntax)?.clone();
    let column = |name: &str| headers.iter().position(|header| header == name);
    let (row, id, label, version) = (
        column("row"),
        column("id"),
        column("label"),
        column(VERSION_COLUMN),
    );
    let mut items = Vec::new();
    for record in reader.records() {
        let record = record.map_err(syntax)?;
        let field = |column: Option<usize>| column.and_then(|column| record.get(column));
        check_version(path, field(version))?;
        // Ids outlast a pool that was made anew, row numbers don't.
        let key = match (field(id), field(row)) {
            (Some(id), _) => Key::Id(id.into()),
            (None, row) => Key::Row(row.unwrap_or_default().into()),
        };
        items.push(Item {
            line: record
                .position()
                .map_or(0, |position| position.line() as usize),
            key,
            label: field(label)
                .filter(|label| !label.is_empty())
                .map(Into::into),
        });
    }
    Ok(Table::Keyed {
        items,
        labelled: label.is_some(),
    })
}

/// What a CSV reader says, without the position, which is told otherwise.
pub(crate) fn syntax_of(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => {
            format!("the header has {expected_len} fields, this line {len}")
        }
        _ => error.to_string(),
    }
}

/// One object a line, with `id` or `row`, as `--format jsonl` writes them.
fn json_lines(path: &Path, text: &str) -> Result<Table> {
    let mut items = Vec::new();
    let mut labelled = false;
    for (line, text) in (1..)
        .zip(text.lines())
        .filter(|(_, text)| !text.trim().is_empty())
    {
        let object: serde_json::Value = serde_json::from_str(text).map_err(|error| {
            Error::line(path, line, Problem::Syntax(format!("not JSON: {error}")))
        })?;
        let field = |name: &str| text_of(&object[name]);
        check_version(path, field(VERSION_COLUMN).as_deref())?;
        let key = match (field("id"), field("row")) {
            (Some(id), _) => Key::Id(id),
            (None, Some(row)) => Key::Row(row),
            (None, None) => {
                let problem = Problem::Syntax("neither `id` nor `row`".into());
                return Err(Error::line(path, line, problem));
            }
        };
        let label = field("label");
        labelled |= label.is_some();
        items.push(Item { line, key, label });
    }
    Ok(Table::Keyed { items, labelled })
}

/// A JSON text or number as text.
pub(crate) fn text_of(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn check_version(path: &Path, version: Option<&str>) -> Result<()> {
    match version.and_then(|version| version.parse::<u64>().ok()) {
        Some(found) if found > PICKS_VERSION => Err(Error::Newer {
            path: path.into(),
            what: "picks",
            found,
            known: PICKS_VERSION,
        }),
        _ => Ok(()),
    }
}

impl Item {
    /// The row of the pool that is meant.
    pub(crate) fn row(&self, path: &Path, ids: &Ids) -> Result<usize> {
        let found = match &self.key {
            Key::Id(id) if !ids.are_rows() => {
                ids.row(id).ok_or_else(|| Problem::UnknownId(id.clone()))
            }
            Key::Id(row) | Key::Row(row) => row_of(row, ids.len()),
        };
        found.map_err(|problem| Error::line(path, self.line, problem))
    }
}

fn row_of(text: &str, rows: usize) -> Result<usize, Problem> {
    let row: u64 = text.parse().map_err(|_| Problem::NotARow(text.into()))?;
    match usize::try_from(row) {
        Ok(found) if found < rows => Ok(found),
        _ => Err(Problem::RowBeyond { row, rows }),
    }
}
