//! The file of ids beside each shard: CSV with the columns `id,uri,label`, and the source's metadata.

use std::path::Path;

use crate::ids::RowsFile;
use crate::store::Shard;
use crate::{Entry, Ids, Result};

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

/// Opens the files of ids of all shards, with these columns of metadata.
pub(crate) fn open(folder: &Path, shards: &[Shard], columns: &[String]) -> Result<Vec<RowsFile>> {
    let file = |shard: &Shard| RowsFile::open(&folder.join(&shard.rows_file), shard.rows, columns);
    shards.iter().map(file).collect()
}

/// The ids of the store `folder`, without metadata.
pub(super) fn ids(folder: &Path, shards: &[Shard]) -> Result<Ids> {
    Ok(Ids::of_files(open(folder, shards, &[])?, Vec::new()))
}
