//! Pools of embeddings in files.

use std::path::{Path, PathBuf};

use equipoise_core::{Chunk, Pool};

use crate::array::Array;
use crate::digest::sha256_of_file;
use crate::labels::{self, Labels};
use crate::store::join::{self, Member};
use crate::store::{self, Manifest, TENSOR};
use crate::{Dtype, Error, HeadFile, Ids, Result};

/// An embedding store, one `.safetensors` file (tensor `embeddings`) or one `.npy` file, mapped
/// into memory: chunks borrow from the file.
#[derive(Debug)]
pub struct EmbeddingPool {
    path: PathBuf,
    shards: Vec<Array>,
    /// First row of each shard.
    starts: Vec<usize>,
    rows: usize,
    dim: usize,
    dtype: Dtype,
    ids: Ids,
    manifest: Option<Manifest>,
    notices: Vec<String>,
    /// Files of stores, and the SHA-256 that their manifests give.
    checksums: Vec<(PathBuf, String)>,
}

impl EmbeddingPool {
    /// Tells shards which of their rows are among `rows` from `start` on.
    fn in_shards(&self, start: usize, rows: usize, tell: impl Fn(&Array, std::ops::Range<usize>)) {
        let end = start.saturating_add(rows).min(self.rows);
        for (shard, first) in self.shards.iter().zip(&self.starts) {
            let last = (first + shard.rows).min(end);
            let begin = start.max(*first);
            if begin < last {
                tell(shard, begin - first..last - first);
            }
        }
    }

    /// Opens a pool; a folder is a store, and a file that [`crate::join_stores`] wrote is several.
    ///
    /// # Errors
    /// Where a file cannot be read, is truncated, of another kind or of a newer format; [`Error::NoRoom`] where its numbers have to be
    /// copied and the system refuses the memory.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_within(path, None)
    }

    /// [`EmbeddingPool::open`], where numbers that have to be copied (float64, or not aligned) may take `memory` bytes at most.
    ///
    /// # Errors
    /// As there; [`Error::NoRoom`] where they take more.
    pub fn open_within(path: &Path, memory: Option<u64>) -> Result<Self> {
        let ending = path.extension().and_then(|ending| ending.to_str());
        if path.is_dir() {
            return Self::open_store(path, memory);
        }
        if ending != Some("npy") && join::is_joined(path)? {
            return Self::open_members(path, join::read_joined(path)?, memory);
        }
        let (array, notice) = match ending {
            Some("npy") => Array::open_npy(path, memory)?,
            _ => Array::open_safetensors(path, TENSOR, memory)?,
        };
        let ids = Ids::numbers(array.rows);
        Ok(Self::of(
            path,
            vec![array],
            ids,
            None,
            notice.into_iter().collect(),
        ))
    }

    fn open_store(path: &Path, memory: Option<u64>) -> Result<Self> {
        if !path.join(store::MANIFEST).is_file() {
            return Err(Error::format(
                path,
                "a folder without manifest.json: no embedding store",
            ));
        }
        let manifest = Manifest::read(path)?;
        let member = Member {
            folder: path.into(),
            manifest,
        };
        Self::open_members(path, vec![member], memory)
    }

    /// The rows of all `members`, one store after the other.
    fn open_members(path: &Path, members: Vec<Member>, memory: Option<u64>) -> Result<Self> {
        let mut room = memory;
        let (mut shards, mut notices) = (Vec::new(), Vec::new());
        let (mut ids, mut checksums) = (Vec::new(), Vec::new());
        for Member { folder, manifest } in &members {
            let (dim, dtype) = (manifest.info.dim, manifest.info.dtype);
            for shard in &manifest.shards {
                let file = folder.join(&shard.file);
                let length = std::fs::metadata(&file).map_err(Error::read(&file))?.len();
                if length != shard.bytes {
                    let message = format!("{length} bytes where the manifest says {}", shard.bytes);
                    return Err(Error::damaged(&file, message));
                }
                let (array, notice) = Array::open_safetensors(&file, TENSOR, room)?;
                room = room.map(|room| room.saturating_sub(array.bytes() as u64));
                if (array.rows, array.dim, array.dtype()) != (shard.rows, dim, dtype) {
                    let message = format!(
                        "{}×{} {} where the manifest says {}×{dim} {dtype}",
                        array.rows,
                        array.dim,
                        array.dtype(),
                        shard.rows
                    );
                    return Err(Error::damaged(&file, message));
                }
                shards.push(array);
                notices.extend(notice);
                checksums.push((file, shard.sha256.clone()));
                checksums.push((folder.join(&shard.rows_file), shard.rows_sha256.clone()));
            }
            let columns = &manifest.info.columns;
            ids.extend(store::rows::open(folder, &manifest.shards, columns)?);
        }
        if shards.is_empty() {
            return Err(Error::damaged(
                &path.join(store::MANIFEST),
                "it names no shard",
            ));
        }
        // Parts of one source have the same columns.
        let first = members.first();
        let columns = first.map_or_else(Vec::new, |first| first.manifest.info.columns.clone());
        let ids = Ids::of_files(ids, columns);
        if let Some(id) = ids.duplicate() {
            return Err(Error::DuplicateId {
                place: path.display().to_string(),
                id,
            });
        }
        let manifest = Manifest::joined(members.into_iter().map(|member| member.manifest));
        Ok(Self {
            checksums,
            ..Self::of(path, shards, ids, manifest, notices)
        })
    }

    fn of(
        path: &Path,
        shards: Vec<Array>,
        ids: Ids,
        manifest: Option<Manifest>,
        notices: Vec<String>,
    ) -> Self {
        let mut rows = 0;
        let starts = shards
            .iter()
            .map(|shard| {
                let start = rows;
                rows += shard.rows;
                start
            })
            .collect();
        Self {
            path: path.into(),
            starts,
            rows,
            dim: shards[0].dim,
            dtype: shards[0].dtype(),
            shards,
            ids,
            manifest,
            notices,
            checksums: Vec::new(),
        }
    }

    /// What was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The rows' ids.
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Bytes of memory that the pool takes now, beside mapped files: numbers that had to be copied, and the
    /// rows' ids ([`Ids::bytes`]).
    pub fn bytes(&self) -> u64 {
        let copied: usize = self.shards.iter().map(Array::bytes).sum();
        copied as u64 + self.ids.bytes()
    }

    /// How the embeddings are held; float64 files are held as f32.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// What the store says of itself; `None` for single files. Of several that were joined it is what
    /// they have in common, with all their rows and shards.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// What the user should know: float64 rounded, numbers copied.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The source's class folders in order; `None` where it has none.
    pub fn classes(&self) -> Option<&[String]> {
        let classes = self.manifest.as_ref()?.info.classes.as_slice();
        (!classes.is_empty()).then_some(classes)
    }

    /// The labels that the source itself gives; `None` where it gives none. `classes` is as for
    /// [`crate::read_labels`].
    ///
    /// # Errors
    /// Where a label is none of `classes`.
    pub fn labels(&self, classes: Option<&[String]>) -> Result<Option<Labels>> {
        let (rows, labels) = self.ids.labels();
        if rows.is_empty() {
            return Ok(None);
        }
        labels::of_numbered(&self.path, rows, &labels, classes.or(self.classes())).map(Some)
    }

    /// Why a head was not made for this pool: it records another backbone's weights or another
    /// preprocessing. `None` where they agree, or where one of them does not say.
    pub fn mismatch(&self, head: &HeadFile) -> Option<String> {
        let manifest = self.manifest.as_ref()?;
        let differs = |of_head: &Option<String>, of_pool: &str| {
            of_head.as_deref().is_some_and(|of_head| of_head != of_pool)
        };
        let what = match (
            differs(&head.weights_digest, &manifest.info.weights_digest),
            differs(&head.preprocess_digest, &manifest.preprocess_digest),
        ) {
            (false, false) => return None,
            (true, false) => "backbone weights",
            (false, true) => "preprocessing",
            (true, true) => "backbone weights and preprocessing",
        };
        Some(format!(
            "the head was made for other {what} than the pool's"
        ))
    }

    /// Compares every file of the store with its checksum; nothing to do for single files.
    ///
    /// # Errors
    /// [`Error::Damaged`] names the first file that differs.
    pub fn verify(&self) -> Result<()> {
        for (path, expected) in &self.checksums {
            if sha256_of_file(path)? != *expected {
                return Err(Error::damaged(path, "its SHA-256 is not the manifest's"));
            }
        }
        Ok(())
    }
}

impl Pool for EmbeddingPool {
    fn rows(&self) -> usize {
        self.rows
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn chunk(&self, start: usize, max_rows: usize) -> equipoise_core::Result<Chunk<'_>> {
        if start >= self.rows {
            return Err(equipoise_core::Error::Read {
                row: start,
                message: format!("the pool has {} rows", self.rows),
            });
        }
        // The last shard that begins at or before the row: an empty one never holds it.
        let number = self.starts.partition_point(|first| *first <= start) - 1;
        let (shard, first) = (&self.shards[number], self.starts[number]);
        let end = (start - first).saturating_add(max_rows).min(shard.rows);
        Ok(Chunk {
            start,
            values: shard.rows(start - first..end),
        })
    }

    fn prefetch(&self, start: usize, rows: usize) {
        self.in_shards(start, rows, Array::prefetch);
    }

    fn touch(&self, start: usize, rows: usize) {
        self.in_shards(start, rows, Array::touch);
    }
}
