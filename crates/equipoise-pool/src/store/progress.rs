//! How far an unfinished store has come.

use std::fs::{self, File};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{QUARANTINE, Shard, StoreInfo, parse};
use crate::{Entry, Error, OutputFile, Result};

pub(super) const FILE: &str = "progress.json";
const FORMAT: &str = "equipoise-store-progress";
const VERSION: u64 = 1;

/// What an unfinished store holds for good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    format: String,
    version: u64,
    pub(super) info: StoreInfo,
    /// Source entries that are done with: embedded or quarantined.
    pub(super) consumed: usize,
    /// How many of those were quarantined: lines of `quarantine.csv` that count.
    pub(super) quarantined: usize,
    /// How many of the shards are those of the store that is appended to.
    #[serde(default)]
    pub(super) appended_to: usize,
    pub(super) shards: Vec<Shard>,
}

/// Names of the settings in which two stores differ.
pub(super) fn differences(one: &StoreInfo, other: &StoreInfo) -> Vec<String> {
    let (Ok(one), Ok(other)) = (serde_json::to_value(one), serde_json::to_value(other)) else {
        return vec!["settings".into()];
    };
    let differ = one.as_object().into_iter().flatten();
    differ
        // The same images may be written another way.
        .filter(|(name, value)| match name.as_str() {
            "source" => ["digest", "part"]
                .iter()
                .any(|part| value[part] != other["source"][part]),
            name => **value != other[name],
        })
        .map(|(name, _)| name.replace('_', " "))
        .collect()
}

impl Progress {
    /// Nothing yet but `shards`, of the store that is appended to.
    pub(super) fn new(info: StoreInfo, shards: Vec<Shard>) -> Self {
        Self {
            format: FORMAT.into(),
            version: VERSION,
            info,
            consumed: 0,
            quarantined: 0,
            appended_to: shards.len(),
            shards,
        }
    }

    /// The record in `folder`; `None` where it has none.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        match fs::read(&path) {
            Ok(text) => parse(
                &path,
                &text,
                "the record of an unfinished run",
                FORMAT,
                VERSION,
            )
            .map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::read(&path)(error)),
        }
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::format(&path, error.to_string()))?;
        OutputFile::write_all_to(&path, true, &text)
    }

    /// In what a run differs that has these settings and appends to so many shards.
    pub(super) fn difference(&self, info: &StoreInfo, appended_to: usize) -> Option<String> {
        let mut names = differences(&self.info, info);
        if self.appended_to != appended_to {
            names.push("store that is appended to".into());
        }
        (!names.is_empty()).then(|| names.join(", "))
    }

    /// Whether every shard it names is there, whole.
    pub(super) fn is_whole(&self, folder: &Path) -> bool {
        self.shards.iter().all(|shard| {
            let length = |name: &str| fs::metadata(folder.join(name)).map(|found| found.len());
            length(&shard.file).is_ok_and(|bytes| bytes == shard.bytes)
                && length(&shard.rows_file).is_ok()
        })
    }
}

/// The images left out, as they are written: `id,uri,reason`.
#[derive(Debug)]
pub(super) struct Quarantine {
    path: std::path::PathBuf,
    writer: csv::Writer<File>,
    pub(super) count: usize,
}

impl Quarantine {
    /// Opens the file in `folder` and keeps its first `count` entries.
    pub(super) fn open(folder: &Path, count: usize) -> Result<Self> {
        let path = folder.join(QUARANTINE);
        let mut kept = csv::Writer::from_writer(Vec::new());
        // Writing to memory cannot fail.
        let _ = kept.write_record(["id", "uri", "reason"]);
        if count > 0 {
            let damaged = |error: csv::Error| Error::damaged(&path, error.to_string());
            let mut reader = csv::Reader::from_path(&path).map_err(damaged)?;
            for record in reader.records().take(count) {
                let _ = kept.write_record(&record.map_err(damaged)?);
            }
        }
        let kept = kept.into_inner().unwrap_or_default();
        OutputFile::write_all_to(&path, true, &kept)?;
        let file = File::options()
            .append(true)
            .open(&path)
            .map_err(Error::write(&path))?;
        let writer = csv::WriterBuilder::new()
            .has_headers(false)
            .from_writer(file);
        Ok(Self {
            path,
            writer,
            count,
        })
    }

    pub(super) fn push(&mut self, entry: &Entry, reason: &str) -> Result<()> {
        let written = self.writer.write_record([&entry.id, &entry.uri, reason]);
        // At once: a run that fails for its bad images has named them.
        written
            .map_err(std::io::Error::from)
            .and_then(|()| self.writer.flush())
            .map_err(Error::write(&self.path))?;
        self.count += 1;
        Ok(())
    }

    pub(super) fn sync(&self) -> Result<()> {
        self.writer
            .get_ref()
            .sync_all()
            .map_err(Error::write(&self.path))
    }
}
