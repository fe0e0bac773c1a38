//! Label Studio's JSON: tasks to import, and exports of annotated tasks.

use std::path::Path;

use serde_json::Value;

use crate::table::{Item, Key, Table, text_of};
use crate::{Error, Ids, Problem, Result};

/// The field of a task's data that names the row.
pub(crate) const ID_FIELD: &str = "pool_id";

/// Reads tasks: written by us, exported as JSON, or exported as JSON-MIN.
pub(crate) fn read(path: &Path, text: &str, ids: &Ids) -> Result<Table> {
    let tasks: Vec<Value> = serde_json::from_str(text).map_err(|error| {
        Error::format(path, format!("not a list of Label Studio tasks: {error}"))
    })?;
    let mut items = Vec::new();
    for (number, task) in (1..).zip(&tasks) {
        let problem = |problem| Error::line(path, number, problem);
        let key = key(task, ids).map_err(problem)?;
        let name = match &key {
            Key::Row(name) | Key::Id(name) => name.as_str(),
        };
        let label = label(task, name).map_err(problem)?;
        if let Some(label) = label {
            items.push(Item {
                line: number,
                key,
                label: label.map(Into::into),
            });
        }
    }
    Ok(Table::Keyed {
        items,
        labelled: true,
    })
}

/// What a task calls its row: the id we gave it, or else its image.
fn key(task: &Value, ids: &Ids) -> Result<Key, Problem> {
    let data = task.get("data").unwrap_or(task);
    if let Some(id) = text_of(&data[ID_FIELD]) {
        return Ok(Key::Id(id));
    }
    let Some(image) = data["image"].as_str() else {
        let message = format!("the task has neither `{ID_FIELD}` nor `image`");
        return Err(Problem::Syntax(message));
    };
    Ok(match ids.row_of_uri(image) {
        Some(row) => Key::Row(row.to_string()),
        None => Key::Id(image.into()),
    })
}

/// The label of a task: `None` where annotators skipped it, `Some(None)` where nobody was asked.
fn label<'a>(task: &'a Value, name: &str) -> Result<Option<Option<&'a str>>, Problem> {
    let Some(annotations) = task["annotations"].as_array() else {
        // JSON-MIN puts the choice beside the data.
        return Ok(Some(task["choice"].as_str()));
    };
    let several = || Problem::SeveralLabels(name.into());
    let mut found = None;
    for annotation in annotations {
        if annotation["was_cancelled"].as_bool() == Some(true) {
            continue;
        }
        let results = annotation["result"].as_array().into_iter().flatten();
        for choices in results.filter_map(|result| result["value"]["choices"].as_array()) {
            let [choice] = choices.as_slice() else {
                return Err(several());
            };
            match (found, choice.as_str()) {
                (Some(first), second) if second != Some(first) => return Err(several()),
                (_, second) => found = second,
            }
        }
    }
    Ok(found.map(Some))
}
