//! The file of ids beside each shard: CSV with the columns `id,uri,label`, and the source's metadata.

use std::path::Path;

use crate::ids::Column;
use crate::store::Shard;
use crate::table::syntax_of;
use crate::{Entry, Error, Ids, Result};

const HEADER: [&str; 3] = ["id", "uri", "label"];

/// The lines of one shard as they are written.
pub(super) struct RowsText(csv::Writer<Vec<u8>>);

impl RowsText {
    /// Lines with these columns of metadata.
    pub(super) fn new(columns: &[String]) -> Self {
        let mut writer = csv::Writer::from_writer(Vec::new());
        // Writing to memory cannot fail.
        let _ = writer.write_record(HEADER.into_iter().chain(columns.iter().map(String::as_str)));
        Self(writer)
    }

    pub(super) fn push(&mut self, entry: &Entry) {
        let label = entry.label.as_deref().unwrap_or_default();
        let fields = [&entry.id, &entry.uri, label].into_iter();
        let _ = self
            .0
            .write_record(fields.chain(entry.metadata.iter().map(String::as_str)));
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap_or_default()
    }
}

/// Reads the ids of all shards, with these columns of metadata.
pub(crate) fn read(folder: &Path, shards: &[Shard], columns: &[String]) -> Result<Ids> {
    let (mut ids, mut uris, mut labels) = (Column::default(), Column::default(), Column::default());
    let mut metadata = vec![Column::default(); columns.len()];
    let mut record = csv::StringRecord::new();
    for shard in shards {
        let path = folder.join(&shard.rows_file);
        let damaged = |error: csv::Error| {
            let line = error.position().map_or(1, csv::Position::line);
            let message = format!("line {line}: {}", syntax_of(&error));
            match error.into_kind() {
                csv::ErrorKind::Io(error) => Error::read(&path)(error),
                _ => Error::damaged(&path, message),
            }
        };
        let before = ids.len();
        let mut reader = csv::Reader::from_path(&path).map_err(damaged)?;
        let headers = reader.headers().map_err(damaged)?.clone();
        let [id, uri, label] = HEADER.map(|name| headers.iter().position(|header| header == name));
        let Some(id) = id else {
            return Err(Error::damaged(&path, "it has no column `id`"));
        };
        let place = |name: &str| headers.iter().position(|header| header == name);
        let places: Vec<_> = columns.iter().map(|name| place(name)).collect();
        while reader.read_record(&mut record).map_err(damaged)? {
            let field = |column: Option<usize>| column.and_then(|column| record.get(column));
            ids.push(field(Some(id)).unwrap_or_default());
            uris.push(field(uri).unwrap_or_default());
            labels.push(field(label).unwrap_or_default());
            for (column, place) in metadata.iter_mut().zip(&places) {
                column.push(field(*place).unwrap_or_default());
            }
        }
        if ids.len() - before != shard.rows {
            let message = format!(
                "{} rows where the shard has {}",
                ids.len() - before,
                shard.rows
            );
            return Err(Error::damaged(&path, message));
        }
    }
    let metadata = columns.iter().cloned().zip(metadata).collect();
    Ok(Ids::named(ids, uris, labels, metadata))
}
