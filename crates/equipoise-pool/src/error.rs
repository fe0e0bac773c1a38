//! What can go wrong, with path, line and operands in the message, and a hint where there is one.

use std::io;
use std::path::{Path, PathBuf};

use equipoise_core::memory::rounded_up;

use crate::Part;

/// Result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Errors of stores, heads, lists, sources and exports.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file or folder could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The output is there already.
    #[error("{}: exists already", path.display())]
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// The output is there, and is nothing that may be replaced.
    #[error("{}: exists and is {what}, which is not replaced", path.display())]
    Irreplaceable {
        /// The output.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// An unfinished store was begun with other settings.
    #[error("{}: an unfinished run with another {what} is in the way", path.display())]
    OtherRun {
        /// The unfinished store.
        path: PathBuf,
        /// The settings that differ.
        what: String,
    },
    /// A store cannot be appended to: it was made with other settings.
    #[error("{}: cannot be appended to: it has another {what}", path.display())]
    OtherStore {
        /// The store.
        path: PathBuf,
        /// The settings that differ.
        what: String,
    },
    /// Another process is writing the store.
    #[error("{}: another run is writing to it", path.display())]
    Busy {
        /// The unfinished store.
        path: PathBuf,
    },
    /// Entries did not reach the store in the source's order.
    #[error("source entry {found} reached the store where {expected} was next")]
    Order {
        /// The entry that was next.
        expected: usize,
        /// The entry that came.
        found: usize,
    },
    /// An embedding of another length than the store's.
    #[error("the embedding of {id} has {found} numbers, the store's have {expected}")]
    EmbeddingLength {
        /// The image.
        id: String,
        /// Numbers per row of the store.
        expected: usize,
        /// Numbers that came.
        found: usize,
    },
    /// A value that f16 cannot hold.
    #[error("row {row} ({id}): {value} is beyond what f16 can hold (65504)")]
    F16Overflow {
        /// Row of the store.
        row: usize,
        /// The image.
        id: String,
        /// The value.
        value: f32,
    },
    /// No image in a source.
    #[error("{spec}: no image there")]
    NoImages {
        /// The source.
        spec: String,
    },
    /// A kind of source that is not read.
    #[error("{}: {what} is not read as a source of images", path.display())]
    SourceKind {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A part of a source that there is none of.
    #[error("there is no part {}/{} of {images} images", part.index, part.count)]
    NoPart {
        /// What was asked for.
        part: Part,
        /// Images of the source.
        images: usize,
    },
    /// Two images, or two rows, with one id.
    #[error("{place}: the id `{id}` is there twice")]
    DuplicateId {
        /// The source or store.
        place: String,
        /// The id.
        id: String,
    },
    /// A file that is not what it should be.
    #[error("{}: {message}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// Numbers that would have to be copied, and too little memory for the copy.
    #[error("{}: {why}, which takes {}", path.display(), rounded_up(*needed))]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// What is to be done with its numbers.
        why: &'static str,
        /// Bytes that the copy takes.
        needed: u64,
    },
    /// A file of a newer format.
    #[error("{}: {what} of format version {found}; this program knows up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// What the file is.
        what: &'static str,
        /// Its version.
        found: u64,
        /// The newest version that is known.
        known: u64,
    },
    /// A file of a store differs from what the manifest says, or candidates from their checksum.
    #[error("{}: {message}: the file is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What differs.
        message: String,
    },
    /// Candidates of shards that were not asked the same.
    #[error("{} and {} differ in their {what}", first.display(), second.display())]
    Mismatch {
        /// The file that was looked at first.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// What differs.
        what: String,
    },
    /// Parts of a source without a store.
    #[error("no store of {} of {count} parts: {}", missing.len(), listed(missing))]
    PartsMissing {
        /// Which parts, from 1.
        missing: Vec<usize>,
        /// How many there are.
        count: usize,
    },
    /// Two stores of one part of a source.
    #[error("{} and {} are both part {part}", first.display(), second.display())]
    PartTwice {
        /// A store.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// Which part, from 1.
        part: usize,
    },
    /// Stores that are no parts of one pool.
    #[error("{} and {} were made with another {what}", first.display(), second.display())]
    OtherParts {
        /// The store that was looked at first.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// What differs.
        what: &'static str,
    },
    /// Shards without candidates.
    #[error("no candidates of {} of {shards} shards: {}", missing.len(), listed(missing))]
    ShardsMissing {
        /// Which shards, from 1.
        missing: Vec<usize>,
        /// How many there are.
        shards: usize,
    },
    /// Candidates of more rows than can be picked.
    #[error("the candidates are of {found} rows, and {available} are available")]
    TooManyRows {
        /// How many rows they name.
        found: usize,
        /// How many rows can be picked, as they say.
        available: usize,
    },
    /// A head that cannot be one.
    #[error("{}", path.display())]
    Head {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: equipoise_core::Error,
    },
    /// A line of a list that cannot be used.
    #[error("{}, line {line}: {problem}", path.display())]
    Line {
        /// The list.
        path: PathBuf,
        /// The line, from 1; for JSON arrays the item, from 1.
        line: usize,
        /// What is wrong with it.
        problem: Problem,
    },
    /// A list without a header whose numbers are rows as well as ids.
    #[error("{}: its numbers are rows of the pool as well as ids, and there is no header to tell", path.display())]
    Ambiguous {
        /// The list.
        path: PathBuf,
    },
    /// A list without a column that is needed.
    #[error("{}: no column `{column}`", path.display())]
    NoColumn {
        /// The list.
        path: PathBuf,
        /// The column, or columns.
        column: String,
    },
    /// A cost that is no number of 0 or more.
    #[error("{}: `{id}` costs `{cost}`: costs are numbers of 0 or more", path.display())]
    NotACost {
        /// The list.
        path: PathBuf,
        /// The row's id.
        id: String,
        /// What is there.
        cost: String,
    },
}

/// What is wrong with a line of a list.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// An id that no row has.
    #[error("no row of the pool has the id `{0}`")]
    UnknownId(String),
    /// A row that is no number.
    #[error("`{0}` is not a row number")]
    NotARow(String),
    /// A row beyond the pool.
    #[error("row {row} is beyond the pool's {rows} rows")]
    RowBeyond {
        /// The row.
        row: u64,
        /// Rows of the pool.
        rows: usize,
    },
    /// A row without the label it should have.
    #[error("no label for `{0}`")]
    NoLabel(String),
    /// A label that is no class.
    #[error("label `{label}` is none of the {classes} classes")]
    UnknownLabel {
        /// The label.
        label: String,
        /// Number of classes.
        classes: usize,
    },
    /// One row with two labels.
    #[error("`{id}` has the label `{second}` here and `{first}` before")]
    Contradiction {
        /// The row's id.
        id: String,
        /// Its label before.
        first: String,
        /// Its label here.
        second: String,
    },
    /// A label for a row that nobody was asked to label.
    #[error("nobody was asked for a label of `{0}`")]
    NotAsked(String),
    /// An annotation with several choices.
    #[error("`{0}` has several labels")]
    SeveralLabels(String),
    /// A quota that is no number.
    #[error("quota `{quota}` of class `{class}` is no whole number of 0 or more")]
    NotAQuota {
        /// The class.
        class: String,
        /// What stands for the quota.
        quota: String,
    },
    /// A weight that is none.
    #[error("weight `{weight}` of class `{class}` is no number of 0 or more")]
    NotAWeight {
        /// The class.
        class: String,
        /// What stands for the weight.
        weight: String,
    },
    /// A class that is there twice.
    #[error("class `{0}` is there twice")]
    ClassTwice(String),
    /// A row that is there twice.
    #[error("`{0}` is there twice")]
    RowTwice(String),
    /// Not CSV, or not JSON.
    #[error("{0}")]
    Syntax(String),
}

impl Error {
    /// What to do about it, where something can be done.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Error::Read { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => "is the path right, seen from the folder you are in?",
                io::ErrorKind::PermissionDenied => "you may not read it: ask its owner, or copy it",
                _ => return None,
            },
            Error::Write { .. } => "is its folder there, writable and not full?",
            Error::Format { .. } => {
                "is it the right file, and whole? docs/formats.md says what is read"
            }
            Error::NoRoom { .. } => {
                "save them as float32 or float16, which are read where they lie; or let it take more, where --memory says how much"
            }
            Error::DuplicateId { .. } => "rename one of them",
            Error::Exists { .. } => "`--force` replaces it",
            Error::OtherRun { .. } => {
                "repeat the earlier command to finish it, or give `--force` to discard it"
            }
            Error::OtherStore { .. } => {
                "append with the settings that the store was made with, or name another output"
            }
            Error::Busy { .. } => "wait for that run, or name another output",
            Error::Irreplaceable { .. } => "name another output",
            Error::F16Overflow { .. } => "store the embeddings with `--dtype f32`",
            Error::NoImages { .. } => {
                "images are files ending in .jpg, .jpeg, .png or .webp, in class folders or flat"
            }
            Error::SourceKind { .. } => {
                "name a folder, a .tar, a manifest (.csv, .jsonl), a list (.txt), or a glob of .tar or \
                 image files in quotes"
            }
            Error::NoPart { .. } => "parts are 1/n to n/n, of at least one image each",
            Error::Newer { .. } => "update equipoise, or write the file again with this version",
            Error::Damaged { .. } => {
                "copy it again from where it came, or make it anew: a store by `embed`, candidates by `scan`"
            }
            Error::Mismatch { .. } => {
                "scan every shard of one pool with the same head, lists of rows, quotas and budget"
            }
            Error::OtherParts { .. } => {
                "embed every part of one source with the same model, weights and preprocessing"
            }
            Error::PartsMissing { .. } => "embed those parts with `--shard`, and name all stores",
            Error::PartTwice { .. } => "name one of them",
            Error::ShardsMissing { .. } => "scan those shards, and name all files",
            Error::TooManyRows { .. } => "one of the files is damaged: scan the shards again",
            Error::Ambiguous { .. } => "give the list a first line that says `row` or `id`",
            Error::NoColumn { .. } => "the first line must name the columns",
            Error::Line { problem, .. } => return problem.hint().map(Into::into),
            _ => return None,
        };
        Some(hint.into())
    }

    /// Whether the command line is to blame, exit status 2, and not what was found (1).
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Error::Ambiguous { .. } | Error::SourceKind { .. } | Error::NoPart { .. }
        )
    }

    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Error::Read {
            path: path.into(),
            source,
        }
    }

    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Error::Write {
            path: path.into(),
            source,
        }
    }

    pub(crate) fn format(path: &Path, message: impl Into<String>) -> Self {
        Error::Format {
            path: path.into(),
            message: message.into(),
        }
    }

    pub(crate) fn damaged(path: &Path, message: impl Into<String>) -> Self {
        Error::Damaged {
            path: path.into(),
            message: message.into(),
        }
    }

    pub(crate) fn line(path: &Path, line: usize, problem: Problem) -> Self {
        Error::Line {
            path: path.into(),
            line,
            problem,
        }
    }
}

/// The first of some numbers.
fn listed(numbers: &[usize]) -> String {
    let first: Vec<String> = numbers.iter().take(10).map(usize::to_string).collect();
    let more = if numbers.len() > 10 { ", …" } else { "" };
    first.join(", ") + more
}

impl Problem {
    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Problem::UnknownId(_) => {
                "ids are those of the pool's source; a first line `row` or `id` says what a list holds"
            }
            Problem::NotARow(_) => {
                "rows count from 0; a pool that is a bare array has no other ids than its rows"
            }
            Problem::RowBeyond { .. } => "rows count from 0; is the list of another pool?",
            Problem::NoLabel(_) => "leave rows without a label out of the file",
            Problem::UnknownLabel { .. } => {
                "class names come from `--classes`, the source's class folders or the head"
            }
            Problem::Contradiction { .. } => "keep one of the lines",
            Problem::NotAsked(_) => {
                "label the rows of the last round's picks; earlier labels are given when a campaign begins"
            }
            Problem::SeveralLabels(_) => "equipoise selects for one label per image",
            _ => return None,
        })
    }
}
