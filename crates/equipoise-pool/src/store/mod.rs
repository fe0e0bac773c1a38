//! The embedding store: a folder of shards, a file of ids beside each, and a manifest.

pub(crate) mod join;
mod progress;
pub(crate) mod rows;
mod writer;

use std::fmt;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use join::join_stores;
pub use writer::{StoreWriter, Stored};

use crate::{Error, Part, Preprocess, Result, Source};

/// Version of the store's format that is written, and the newest that is read.
pub const STORE_VERSION: u64 = 1;

/// Rows of a shard, where nothing else is asked for: what an interrupted run may lose.
pub const DEFAULT_SHARD_ROWS: usize = 8192;

pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const QUARANTINE: &str = "quarantine.csv";
pub(crate) const LABELS: &str = "labels.csv";
/// Name of the tensor in each shard.
pub(crate) const TENSOR: &str = "embeddings";

const FORMAT: &str = "equipoise-store";

/// How embeddings are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
}

impl Dtype {
    /// Bytes of one number.
    pub fn size(self) -> usize {
        match self {
            Dtype::F32 => 4,
            Dtype::F16 => 2,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dtype::F32 => "f32",
            Dtype::F16 => "f16",
        })
    }
}

/// Which images a store was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceInfo {
    /// As it was written on the command line.
    pub spec: String,
    /// [`Source::digest`].
    pub digest: String,
    /// Number of images, bad ones included.
    pub entries: usize,
    /// Which part of the source they are; `None` for all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
}

/// The settings of a store. A run goes on with an unfinished store only if all are the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoreInfo {
    /// Name of the backbone.
    pub model: String,
    /// SHA-256 of the backbone's weights file.
    pub weights_digest: String,
    /// How images were made ready.
    pub preprocess: Preprocess,
    /// How embeddings are stored.
    pub dtype: Dtype,
    /// Numbers per row.
    pub dim: usize,
    /// Rows of each shard but the last.
    pub shard_rows: usize,
    /// Class names in order; empty where the source has none.
    pub classes: Vec<String>,
    /// Columns of metadata that follow `id,uri,label` in the files of ids.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Where the images come from.
    pub source: SourceInfo,
}

impl StoreInfo {
    /// Settings for the images of `source`, in f32, with the default shard size.
    pub fn new(
        source: &Source,
        model: impl Into<String>,
        weights_digest: impl Into<String>,
        preprocess: Preprocess,
        dim: usize,
    ) -> Self {
        Self {
            model: model.into(),
            weights_digest: weights_digest.into(),
            preprocess,
            dtype: Dtype::F32,
            dim,
            shard_rows: DEFAULT_SHARD_ROWS,
            classes: source.classes().to_vec(),
            columns: source.columns().to_vec(),
            source: SourceInfo {
                spec: source.spec().into(),
                digest: source.digest().into(),
                entries: source.entries().len(),
                part: source.which_part(),
            },
        }
    }
}

/// One shard of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// The safetensors file with tensor `embeddings`.
    pub file: String,
    /// SHA-256 of it.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// The CSV file with a line per row: `id,uri,label`, and the store's columns of metadata.
    pub rows_file: String,
    /// SHA-256 of that.
    pub rows_sha256: String,
    /// Number of rows.
    pub rows: usize,
}

/// What `manifest.json` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    format: String,
    version: u64,
    /// The settings.
    #[serde(flatten)]
    pub info: StoreInfo,
    /// [`Preprocess::digest`].
    pub preprocess_digest: String,
    /// Number of rows.
    pub rows: usize,
    /// Number of images left out, each with its reason in `quarantine.csv`.
    pub quarantined: usize,
    /// The shards, in the order of their rows.
    pub shards: Vec<Shard>,
}

impl Manifest {
    fn new(info: StoreInfo, quarantined: usize, shards: Vec<Shard>) -> Self {
        Self {
            format: FORMAT.into(),
            version: STORE_VERSION,
            preprocess_digest: info.preprocess.digest(),
            rows: shards.iter().map(|shard| shard.rows).sum(),
            info,
            quarantined,
            shards,
        }
    }

    /// What several stores have in common, with all their rows and shards; `None` of none.
    pub(crate) fn joined(manifests: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut manifests = manifests.into_iter();
        let mut joined = manifests.next()?;
        for other in manifests {
            joined.rows += other.rows;
            joined.quarantined += other.quarantined;
            joined.info.source.entries += other.info.source.entries;
            joined.info.source.part = None;
            joined.shards.extend(other.shards);
        }
        Some(joined)
    }

    /// Reads the manifest of the store `folder`.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let text = fs::read(&path).map_err(Error::read(&path))?;
        let manifest: Self = parse(&path, &text, "an embedding store", FORMAT, STORE_VERSION)?;
        let rows: usize = manifest.shards.iter().map(|shard| shard.rows).sum();
        if rows != manifest.rows {
            let message = format!("it says {} rows, its shards have {rows}", manifest.rows);
            return Err(Error::damaged(&path, message));
        }
        for name in manifest
            .shards
            .iter()
            .flat_map(|shard| [&shard.file, &shard.rows_file])
        {
            if name.contains(['/', '\\']) || name == ".." {
                let message = format!("`{name}` is no file of the store");
                return Err(Error::damaged(&path, message));
            }
        }
        Ok(manifest)
    }
}

/// Whether `folder` holds a store, finished or not.
fn is_store(folder: &Path) -> bool {
    folder.join(MANIFEST).is_file() || folder.join(progress::FILE).is_file()
}

/// Parses JSON that says its format and version; `known` is the newest that is read.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(
    path: &Path,
    text: &[u8],
    what: &'static str,
    format: &str,
    known: u64,
) -> Result<T> {
    let invalid = |error: serde_json::Error| Error::format(path, format!("not {what}: {error}"));
    let value: serde_json::Value = serde_json::from_slice(text).map_err(invalid)?;
    if value["format"] != format {
        return Err(Error::format(
            path,
            format!("not {what}: its `format` is not `{format}`"),
        ));
    }
    match value["version"].as_u64() {
        Some(version) if version > known => Err(Error::Newer {
            path: path.into(),
            what,
            found: version,
            known,
        }),
        _ => serde_json::from_value(value).map_err(invalid),
    }
}
