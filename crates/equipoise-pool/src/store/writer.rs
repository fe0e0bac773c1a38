//! Writing a store: crash-safe and resumable.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use half::f16;

use super::progress::{self, Progress, Quarantine};
use super::rows::{self, RowsText};
use super::{LABELS, MANIFEST, Manifest, QUARANTINE, Shard, StoreInfo, TENSOR};
use crate::digest::sha256_hex;
use crate::output::{self, OutputFile};
use crate::{Dtype, Entry, Error, Result, Source, tensors};

const LOCK: &str = "lock";

/// Writes a store aside, in `POOL.emb.partial`, and gives it its name when it is finished.
///
/// Dropped before, it leaves the complete shards: the next writer with the same settings goes on
/// after them.
#[derive(Debug)]
pub struct StoreWriter {
    path: PathBuf,
    partial: PathBuf,
    progress: Progress,
    quarantine: Quarantine,
    /// The next source entry.
    next: usize,
    /// How many there are.
    images: usize,
    shard: Open,
    /// Keeps other processes away while it is open.
    lock: File,
}

/// The shard that is being filled.
struct Open {
    bytes: Vec<u8>,
    rows: usize,
    text: RowsText,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open")
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl Open {
    fn new(columns: &[String]) -> Self {
        Self {
            bytes: Vec::new(),
            rows: 0,
            text: RowsText::new(columns),
        }
    }
}

/// What [`StoreWriter::finish`] left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Number of rows.
    pub rows: usize,
    /// Number of images left out.
    pub bad: usize,
    /// The file that names them, where there are any.
    pub quarantine: Option<PathBuf>,
}

impl StoreWriter {
    /// Begins the store `path`, or goes on with an unfinished one that has the same settings:
    /// see [`StoreWriter::resume_at`]. `force` replaces a finished store, and discards an
    /// unfinished one that has other settings.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Irreplaceable`], [`Error::OtherRun`], [`Error::Busy`];
    /// [`Error::Write`] where the folder cannot be written to.
    pub fn open(path: &Path, info: StoreInfo, force: bool) -> Result<Self> {
        check(path, force)?;
        let images = info.source.entries;
        Self::begin(path, info, images, &[], force)
    }

    /// Begins to append to the finished store `path` what `source` has beyond it, or goes on with
    /// that; returns the writer and the images to embed, in order. Images that were left out are
    /// tried again. Until [`StoreWriter::finish`], the store stays as it is.
    ///
    /// # Errors
    /// [`Error::OtherStore`] where it was made with other settings than `info`, or either is a part
    /// of a source; [`Error::OtherRun`], [`Error::Busy`]; those of reading a store;
    /// [`Error::Write`].
    pub fn append(path: &Path, info: StoreInfo, source: Source) -> Result<(Self, Source)> {
        let store = Manifest::read(path)?;
        let mut what = progress::differences(&store.info, &info);
        // More images may bring more classes, and shards may have any size.
        what.retain(|name| !["source", "classes", "shard rows"].contains(&name.as_str()));
        if store.info.source.part.is_some() || info.source.part.is_some() {
            what.push("part of its source".into());
        }
        if !what.is_empty() {
            return Err(Error::OtherStore {
                path: path.into(),
                what: what.join(", "),
            });
        }
        let ids = rows::ids(path, &store.shards)?;
        let source = source.only(|entry| ids.row(&entry.id).is_none());
        let images = source.entries().len();
        let writer = Self::begin(path, info, images, &store.shards, false)?;
        Ok((writer, source))
    }

    /// Begins a store of the `shards` of the one at `path` and of so many `images` more.
    fn begin(
        path: &Path,
        info: StoreInfo,
        images: usize,
        shards: &[Shard],
        force: bool,
    ) -> Result<Self> {
        let partial = output::beside(path, ".partial");
        fs::create_dir_all(&partial).map_err(Error::write(&partial))?;
        let lock = lock(&partial)?;
        let earlier = Progress::read(&partial)?;
        let difference = earlier
            .as_ref()
            .and_then(|earlier| earlier.difference(&info, shards.len()));
        if let (Some(what), false) = (&difference, force) {
            return Err(Error::OtherRun {
                path: partial,
                what: what.clone(),
            });
        }
        let earlier = earlier.filter(|earlier| difference.is_none() && earlier.is_whole(&partial));
        let progress = match earlier {
            Some(progress) => progress,
            None => {
                clear(&partial)?;
                for name in shards
                    .iter()
                    .flat_map(|shard| [&shard.file, &shard.rows_file])
                {
                    link(&path.join(name), &partial.join(name))?;
                }
                let progress = Progress::new(info, shards.to_vec());
                progress.write(&partial)?;
                progress
            }
        };
        Ok(Self {
            quarantine: Quarantine::open(&partial, progress.quarantined)?,
            path: path.into(),
            partial,
            next: progress.consumed,
            images,
            shard: Open::new(&progress.info.columns),
            progress,
            lock,
        })
    }

    /// The source entry to go on with: 0 for a new store.
    pub fn resume_at(&self) -> usize {
        self.progress.consumed
    }

    /// Number of rows so far.
    pub fn rows(&self) -> usize {
        let complete: usize = self.progress.shards.iter().map(|shard| shard.rows).sum();
        complete + self.shard.rows
    }

    /// Number of images left out so far.
    pub fn bad(&self) -> usize {
        self.quarantine.count
    }

    /// The file that names the images left out, as long as the store is unfinished.
    pub fn quarantine_path(&self) -> PathBuf {
        self.partial.join(QUARANTINE)
    }

    /// Appends the embedding of source entry `index`. Entries come in order, each once, whether
    /// here or through [`StoreWriter::reject`].
    ///
    /// # Errors
    /// [`Error::Order`], [`Error::EmbeddingLength`], [`Error::F16Overflow`], [`Error::Write`].
    pub fn push(&mut self, index: usize, entry: &Entry, embedding: &[f32]) -> Result<()> {
        self.check_order(index)?;
        let info = &self.progress.info;
        if embedding.len() != info.dim {
            return Err(Error::EmbeddingLength {
                id: entry.id.clone(),
                expected: info.dim,
                found: embedding.len(),
            });
        }
        match info.dtype {
            Dtype::F32 => {
                let bytes = embedding.iter().flat_map(|value| value.to_le_bytes());
                self.shard.bytes.extend(bytes);
            }
            Dtype::F16 => {
                let too_large =
                    |value: &&f32| value.is_finite() && !f16::from_f32(**value).is_finite();
                if let Some(value) = embedding.iter().find(too_large) {
                    return Err(Error::F16Overflow {
                        row: self.rows(),
                        id: entry.id.clone(),
                        value: *value,
                    });
                }
                let bytes = embedding
                    .iter()
                    .flat_map(|value| f16::from_f32(*value).to_le_bytes());
                self.shard.bytes.extend(bytes);
            }
        }
        self.shard.text.push(entry);
        self.shard.rows += 1;
        self.next = index + 1;
        match self.shard.rows >= self.progress.info.shard_rows.max(1) {
            true => self.complete_shard(),
            false => Ok(()),
        }
    }

    /// Leaves source entry `index` out and names it, with the reason, in the quarantine file.
    ///
    /// # Errors
    /// [`Error::Order`], [`Error::Write`].
    pub fn reject(&mut self, index: usize, entry: &Entry, reason: &str) -> Result<()> {
        self.check_order(index)?;
        self.quarantine.push(entry, reason)?;
        self.next = index + 1;
        Ok(())
    }

    fn check_order(&self, index: usize) -> Result<()> {
        match index == self.next {
            true => Ok(()),
            false => Err(Error::Order {
                expected: self.next,
                found: index,
            }),
        }
    }

    /// Writes the rows at hand as a shard, then that it is there: a crash in between loses the
    /// shard, never more.
    fn complete_shard(&mut self) -> Result<()> {
        let number = self.progress.shards.len();
        let open = std::mem::replace(&mut self.shard, Open::new(&self.progress.info.columns));
        let info = &self.progress.info;
        let header = tensors::header(
            &[(TENSOR, info.dtype.into(), &[open.rows, info.dim])],
            &[("equipoise_store", "1")],
        );
        let bytes = [header, open.bytes].concat();
        let text = open.text.into_bytes();
        let shard = Shard {
            file: format!("embeddings-{number:05}.safetensors"),
            sha256: sha256_hex(&bytes),
            bytes: bytes.len() as u64,
            rows_file: format!("rows-{number:05}.csv"),
            rows_sha256: sha256_hex(&text),
            rows: open.rows,
        };
        OutputFile::write_all_to(&self.partial.join(&shard.file), true, &bytes)?;
        OutputFile::write_all_to(&self.partial.join(&shard.rows_file), true, &text)?;
        self.quarantine.sync()?;
        self.progress.shards.push(shard);
        self.progress.consumed = self.next;
        self.progress.quarantined = self.quarantine.count;
        self.progress.write(&self.partial)
    }

    /// Writes what is left and gives the store its name.
    ///
    /// # Errors
    /// [`Error::Order`] where source entries are missing; [`Error::Write`].
    pub fn finish(mut self) -> Result<Stored> {
        self.check_order(self.images)?;
        // A store without a row has one empty shard, so that it can be read as any other.
        if self.shard.rows > 0 || self.progress.shards.is_empty() {
            self.complete_shard()?;
        }
        self.write_labels()?;
        let bad = self.quarantine.count;
        self.quarantine.sync()?;
        if bad == 0 {
            output::remove(&self.quarantine_path())?;
        }
        let manifest = Manifest::new(self.progress.info, bad, self.progress.shards);
        let path = self.partial.join(MANIFEST);
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| Error::format(&path, error.to_string()))?;
        OutputFile::write_all_to(&path, true, &text)?;
        // Windows renames no folder in which a file is open.
        drop((self.lock, self.quarantine));
        // Renamed first: a run that dies here leaves a whole store with two files too many.
        output::replace_folder(&self.partial, &self.path)?;
        output::remove(&self.path.join(progress::FILE))?;
        output::remove(&self.path.join(LOCK))?;
        Ok(Stored {
            rows: manifest.rows,
            bad,
            quarantine: (bad > 0).then(|| self.path.join(QUARANTINE)),
        })
    }

    /// Writes `labels.csv` where the source has class folders.
    fn write_labels(&self) -> Result<()> {
        if self.progress.info.classes.is_empty() {
            return Ok(());
        }
        let ids = rows::ids(&self.partial, &self.progress.shards)?;
        let path = self.partial.join(LABELS);
        let mut writer = csv::Writer::from_writer(OutputFile::create(&path, true)?);
        let error = |error: csv::Error| Error::write(&path)(error.into());
        writer.write_record(["id", "label"]).map_err(error)?;
        ids.each_labelled(|id, label| writer.write_record([id, label]))
            .map_err(error)?;
        let file = writer
            .into_inner()
            .map_err(|failed| Error::write(&path)(failed.into_error()))?;
        file.commit()
    }
}

/// Whether the finished store may take the name `path`.
fn check(path: &Path, force: bool) -> Result<()> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    let what = match found.is_dir() {
        true if super::is_store(path) => None,
        true => Some("no embedding store"),
        false => Some("a file"),
    };
    match (force, what) {
        (false, _) => Err(Error::Exists { path: path.into() }),
        (true, None) => Ok(()),
        (true, Some(what)) => Err(Error::Irreplaceable {
            path: path.into(),
            what,
        }),
    }
}

fn lock(partial: &Path) -> Result<File> {
    let path = partial.join(LOCK);
    let file = File::create(&path).map_err(Error::write(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Busy {
            path: partial.into(),
        }),
        // Some network file systems know no locks; a store there is worth more than the check.
        Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// Gives a file, which is never written again, a second name: without copying it, where the file
/// system can.
fn link(from: &Path, to: &Path) -> Result<()> {
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to).map(drop).map_err(Error::write(to))
}

/// Removes what an earlier run left in the unfinished store: its own files and nothing else.
fn clear(partial: &Path) -> Result<()> {
    let ours = |name: &str| {
        [progress::FILE, QUARANTINE, LABELS, MANIFEST].contains(&name)
            || ["embeddings-", "rows-", output::ASIDE]
                .iter()
                .any(|start| name.starts_with(start))
    };
    for item in fs::read_dir(partial).map_err(Error::read(partial))? {
        let path = item.map_err(Error::read(partial))?.path();
        if path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(ours)
        {
            output::remove(&path)?;
        }
    }
    Ok(())
}
