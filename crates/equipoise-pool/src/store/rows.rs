//! The file of ids beside each shard: CSV with the columns `id,uri,label`.

use std::path::Path;

use crate::ids::Column;
use crate::store::Shard;
use crate::table::syntax_of;
use crate::{Entry, Error, Ids, Result};

const HEADER: [&str; 3] = ["id", "uri", "label"];

/// The lines of one shard as they are written.
pub(super) struct RowsText(csv::Writer<Vec<u8>>);

impl RowsText {
    pub(super) fn new() -> Self {
        let mut writer = csv::Writer::from_writer(Vec::new());
        // Writing to memory cannot fail.
        let _ = writer.write_record(HEADER);
        Self(writer)
    }

    pub(super) fn push(&mut self, entry: &Entry) {
        let label = entry.label.as_deref().unwrap_or_default();
        let _ = self.0.write_record([&entry.id, &entry.uri, label]);
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap_or_default()
    }
}

/// Reads the ids of all shards.
pub(crate) fn read(folder: &Path, shards: &[Shard]) -> Result<Ids> {
    let (mut ids, mut uris, mut labels) = (Column::default(), Column::default(), Column::default());
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
        while reader.read_record(&mut record).map_err(damaged)? {
            let field = |column: Option<usize>| column.and_then(|column| record.get(column));
            ids.push(field(Some(id)).unwrap_or_default());
            uris.push(field(uri).unwrap_or_default());
            labels.push(field(label).unwrap_or_default());
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
    let ids = Ids::named(ids, uris, labels);
    match ids.duplicate() {
        Some(id) => Err(Error::DuplicateId {
            place: folder.display().to_string(),
            id: id.into(),
        }),
        None => Ok(ids),
    }
}
