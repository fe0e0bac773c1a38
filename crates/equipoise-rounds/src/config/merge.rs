//! A preset, a file on top of it, and single fields on top of both.

use std::path::Path;

use toml::{Table, Value};

use super::{Config, PRESETS, preset};
use crate::{Error, Result};

/// What the command line says beside the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// A preset, instead of the file's.
    pub preset: Option<String>,
    /// Fields as `section.field=value`, the value in TOML's words or as plain text.
    pub fields: Vec<(String, String)>,
}

/// The experiment that a file, if any, and the command line make together. Paths in the file are
/// relative to it.
///
/// # Errors
/// [`Error::Io`], [`Error::ConfigFile`] with the line, [`Error::Config`] with the field.
pub fn resolve(file: Option<&Path>, overrides: &Overrides) -> Result<Config> {
    let mut merged = Table::new();
    let mut own = Table::new();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|source| Error::io(path, source))?;
        // For errors with their lines.
        let mut config = Config::parse(path, &text)?;
        config
            .data
            .seen_from(path.parent().unwrap_or(Path::new("")));
        own = toml::from_str(&text).map_err(|error| Error::config_file(path, &text, &error))?;
        let data = table_of(&config)?.remove("data");
        if let (Some(data), true) = (data, own.contains_key("data")) {
            own.insert("data".into(), data);
        }
    }
    let name = overrides.preset.clone().or_else(|| {
        let name = own.get("preset").and_then(Value::as_str);
        name.map(ToOwned::to_owned)
    });
    if let Some(name) = &name {
        let text = preset(name).ok_or_else(|| {
            let known = PRESETS.map(|(name, _)| name).join(", ");
            Error::config("preset", format!("`{name}` is none of {known}"))
        })?;
        let preset = toml::from_str(text);
        merged = preset.map_err(|error| Error::config("preset", error.to_string()))?;
        merged.insert("preset".into(), Value::String(name.clone()));
        own.remove("preset");
    }
    lay_over(&mut merged, own);
    for (field, value) in &overrides.fields {
        set(&mut merged, field, value)?;
    }
    let mut config = read(&merged)?;
    // What is saved with a run means the same from everywhere.
    let here = std::env::current_dir().map_err(|source| Error::io(Path::new("."), source))?;
    config.data.seen_from(&here);
    config.check()?;
    Ok(config)
}

/// The experiment that a table tells.
fn read(merged: &Table) -> Result<Config> {
    let text = toml::to_string(merged);
    let text = text.map_err(|error| Error::config("the command line", error.to_string()))?;
    toml::from_str(&text).map_err(|error: toml::de::Error| {
        // Only what is read from text says where: the line has the field and its value.
        let before = &text[..error.span().map_or(0, |span| span.start)];
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let line = text[start..].lines().next().unwrap_or_default();
        Error::config(line, error.message())
    })
}

/// Fields whose values differ, as `section.field`, with both values.
pub fn differing(one: &Config, other: &Config) -> Result<Vec<(String, String, String)>> {
    let mut found = Vec::new();
    let (one, other) = (table_of(one)?, table_of(other)?);
    compare("", &Value::Table(one), &Value::Table(other), &mut found);
    Ok(found)
}

fn compare(path: &str, one: &Value, other: &Value, found: &mut Vec<(String, String, String)>) {
    let (Value::Table(one), Value::Table(other)) = (one, other) else {
        if one != other {
            found.push((path.into(), one.to_string(), other.to_string()));
        }
        return;
    };
    let mut keys: Vec<&String> = one.keys().chain(other.keys()).collect();
    keys.sort();
    keys.dedup();
    let none = Value::String("(not given)".into());
    for key in keys {
        let path = match path {
            "" => key.clone(),
            _ => format!("{path}.{key}"),
        };
        let of = |table: &Table| table.get(key).cloned().unwrap_or(none.clone());
        compare(&path, &of(one), &of(other), found);
    }
}

fn table_of(config: &Config) -> Result<Table> {
    Table::try_from(config).map_err(|error| Error::config("config", error.to_string()))
}

/// What `top` holds, in place of what `under` holds of the same name; tables are gone into.
fn lay_over(under: &mut Table, top: Table) {
    for (key, value) in top {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(top)) => lay_over(under, top),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

fn set(table: &mut Table, field: &str, value: &str) -> Result<()> {
    let (parents, name) = field.rsplit_once('.').unwrap_or(("", field));
    let mut table = table;
    for parent in parents.split('.').filter(|parent| !parent.is_empty()) {
        let under = table
            .entry(parent)
            .or_insert_with(|| Value::Table(Table::new()));
        table = under
            .as_table_mut()
            .ok_or_else(|| Error::config(field, format!("`{parent}` is no section")))?;
    }
    // What is no value in TOML's words is text: names need no quotes.
    let parsed = toml::from_str::<Table>(&format!("value = {value}"));
    let parsed = parsed.ok().and_then(|mut line| line.remove("value"));
    let parsed = parsed.unwrap_or_else(|| Value::String(value.into()));
    table.insert(name.into(), parsed);
    Ok(())
}
