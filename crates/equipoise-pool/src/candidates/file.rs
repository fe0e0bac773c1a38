//! One shard's candidates as a safetensors file.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use equipoise_core::strategies::{Listed, ShardList, ShardScan, shard_rows};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use sha2::{Digest, Sha256};

use super::{CANDIDATES_VERSION, SharedQuestion, check};
use crate::digest::{hex, sha256_hex};
use crate::{Error, Ids, OutputFile, Result, RowNames, tensors};

/// What the metadata say the file is.
const FORMAT: &str = "equipoise-candidates";

/// Key of the checksum in the metadata: SHA-256 of the file with [`NO_DIGEST`] in its place.
const DIGEST: &str = "sha256";

/// As long as a digest.
const NO_DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Stands for a class that is not there.
const NO_CLASS: u32 = u32::MAX;

/// What rows are called: id, and where the image is.
pub(super) type Names = HashMap<usize, (String, Option<String>)>;

/// What the scan of one shard leaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidates {
    /// What was asked.
    pub question: SharedQuestion,
    /// Which shard it is, from 0.
    pub shard: usize,
    /// A list for each class, or one.
    pub lists: Vec<ShardList>,
    /// Rows of the shard left out for a NaN or an infinity, ascending.
    pub nonfinite: Vec<usize>,
    /// Of the listed rows; empty where ids are row numbers.
    pub(super) names: Names,
}

impl RowNames for Names {
    fn id(&self, row: usize) -> Cow<'_, str> {
        match self.get(&row) {
            Some((id, _)) => id.into(),
            None => row.to_string().into(),
        }
    }

    fn uri(&self, row: usize) -> Option<Cow<'_, str>> {
        self.get(&row)?.1.as_deref().map(Into::into)
    }
}

impl Candidates {
    /// What `scan` found in that shard of a pool whose rows are called `ids`.
    pub fn new(question: SharedQuestion, shard: usize, scan: ShardScan, ids: &Ids) -> Self {
        let mut names = Names::new();
        if !ids.are_rows() {
            for entry in scan.lists.iter().flat_map(|list| &list.entries) {
                let name = || {
                    (
                        ids.id(entry.row).into_owned(),
                        ids.uri(entry.row).map(Cow::into_owned),
                    )
                };
                names.entry(entry.row).or_insert_with(name);
            }
        }
        Self {
            question,
            shard,
            lists: scan.lists,
            nonfinite: scan.selection.nonfinite.iter().collect(),
            names,
        }
    }

    /// Writes the candidates, whole or not at all; `force` replaces a file.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Write`].
    pub fn write(&self, path: &Path, force: bool) -> Result<()> {
        let rows = shard_rows(self.question.pool_rows, self.shard, self.question.shards);
        let metadata = [
            ("format", FORMAT.to_owned()),
            ("version", CANDIDATES_VERSION.to_string()),
            ("question", serde_json::json!(self.question).to_string()),
            ("shard", (self.shard + 1).to_string()),
            ("first_row", rows.start.to_string()),
            ("rows", rows.len().to_string()),
            (DIGEST, NO_DIGEST.to_owned()),
        ];
        let metadata: Vec<(&str, &str)> = metadata.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let mut names: Vec<_> = self
            .names
            .iter()
            .map(|(row, (id, uri))| (row, id, uri))
            .collect();
        names.sort_unstable();
        let names = serde_json::json!(names).to_string().into_bytes();
        let count = self
            .lists
            .iter()
            .map(|list| list.entries.len())
            .sum::<usize>();
        let (lists, entries) = ([self.lists.len()], [count]);
        let tensors = [
            ("offsets", Dtype::U64, &[lists[0] + 1][..]),
            ("rows", Dtype::U64, &entries),
            ("keys", Dtype::F64, &entries),
            ("scores", Dtype::F64, &entries),
            ("nonfinite", Dtype::U64, &[self.nonfinite.len()]),
            ("predicted", Dtype::U32, &entries),
            ("runner_up", Dtype::U32, &entries),
            ("complete", Dtype::U8, &lists),
            ("names", Dtype::U8, &[names.len()]),
        ];
        let mut bytes = tensors::header(&tensors, &metadata);
        let mut end = 0;
        let ends = self.lists.iter().map(|list| {
            end += list.entries.len() as u64;
            end
        });
        bytes.extend(std::iter::once(0).chain(ends).flat_map(u64::to_le_bytes));
        let all = || self.lists.iter().flat_map(|list| &list.entries);
        bytes.extend(all().flat_map(|entry| (entry.row as u64).to_le_bytes()));
        bytes.extend(all().flat_map(|entry| entry.key.to_le_bytes()));
        bytes.extend(all().flat_map(|entry| entry.score.to_le_bytes()));
        bytes.extend(
            self.nonfinite
                .iter()
                .flat_map(|row| (*row as u64).to_le_bytes()),
        );
        bytes.extend(all().flat_map(|entry| entry.predicted.to_le_bytes()));
        bytes.extend(all().flat_map(|entry| entry.runner_up.unwrap_or(NO_CLASS).to_le_bytes()));
        bytes.extend(self.lists.iter().map(|list| u8::from(list.complete)));
        bytes.extend(names);
        if let Some(place) = digest_place(&bytes, NO_DIGEST) {
            let digest = sha256_hex(&bytes);
            bytes[place].copy_from_slice(digest.as_bytes());
        }
        OutputFile::write_all_to(path, force, &bytes)
    }

    /// Reads candidates.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Newer`]; [`Error::Damaged`] where its checksum is not that of its contents;
    /// [`Error::Format`] where the file is none, or contradicts itself.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::read(path))?;
        let (metadata, start) = tensors::read_header(path, &bytes)?;
        let file = File {
            path,
            metadata: &metadata,
            data: &bytes[start..],
        };
        file.check_version()?;
        file.check_digest(&bytes, start)?;
        let question: SharedQuestion = serde_json::from_str(file.text("question")?)
            .map_err(|error| file.wrong(format!("its question: {error}")))?;
        if let Some(problem) = question.problem() {
            return Err(file.wrong(problem));
        }
        let shard = file.text("shard")?.parse().ok();
        let shard = shard.filter(|shard| (1..=question.shards).contains(shard));
        let shard = shard.ok_or_else(|| file.wrong("its shard is none of its shards"))? - 1;
        let rows = shard_rows(question.pool_rows, shard, question.shards);
        file.is("first_row", rows.start)?;
        file.is("rows", rows.len())?;
        let candidates = Self {
            shard,
            lists: file.lists(&question)?,
            nonfinite: file.rows("nonfinite", None)?,
            names: file.names()?,
            question,
        };
        match check::problem(&candidates) {
            Some(problem) => Err(file.wrong(problem)),
            None => Ok(candidates),
        }
    }
}

/// Where in a file its metadata say that `digest` is its checksum. Quotes within metadata are escaped: this is none.
fn digest_place(file: &[u8], digest: &str) -> Option<Range<usize>> {
    let text = format!("\"{DIGEST}\":\"{digest}\"");
    let mut places = file.windows(text.len());
    let end = places.position(|part| part == text.as_bytes())? + text.len() - 1;
    Some(end - digest.len()..end)
}

/// A file that is being read.
struct File<'a> {
    path: &'a Path,
    metadata: &'a Metadata,
    data: &'a [u8],
}

impl File<'_> {
    fn wrong(&self, message: impl Into<String>) -> Error {
        Error::format(self.path, message)
    }

    fn text(&self, key: &str) -> Result<&str> {
        let metadata = self.metadata.metadata().as_ref();
        let found = metadata.and_then(|metadata| metadata.get(key));
        let missing = || self.wrong(format!("no candidates: its metadata have no `{key}`"));
        found.map(String::as_str).ok_or_else(missing)
    }

    /// Whether the metadata say this number, which follows from others.
    fn is(&self, key: &str, number: usize) -> Result<()> {
        let found = self.text(key)?;
        match found.parse() == Ok(number) {
            true => Ok(()),
            false => Err(self.wrong(format!(
                "its `{key}` is {found}, and that of its shard {number}"
            ))),
        }
    }

    fn check_version(&self) -> Result<()> {
        if self.text("format")? != FORMAT {
            return Err(self.wrong(format!("no candidates: its `format` is not `{FORMAT}`")));
        }
        match self.text("version")?.parse() {
            Ok(CANDIDATES_VERSION) => Ok(()),
            Ok(found) if found > CANDIDATES_VERSION => Err(Error::Newer {
                path: self.path.into(),
                what: "candidates",
                found,
                known: CANDIDATES_VERSION,
            }),
            _ => Err(self.wrong("its format version is not a number from 1")),
        }
    }

    /// Whether the checksum is that of the file's bytes, of which so many are its header. Files of earlier programs
    /// have none.
    fn check_digest(&self, bytes: &[u8], header: usize) -> Result<()> {
        let metadata = self.metadata.metadata().as_ref();
        let Some(digest) = metadata.and_then(|metadata| metadata.get(DIGEST)) else {
            return Ok(());
        };
        let sound = digest_place(&bytes[..header], digest).is_some_and(|place| {
            let mut hasher = Sha256::new_with_prefix(&bytes[..place.start]);
            hasher.update(NO_DIGEST);
            hasher.update(&bytes[place.end..]);
            hex(hasher) == *digest
        });
        match sound {
            true => Ok(()),
            false => Err(Error::damaged(
                self.path,
                "its SHA-256 is not the one it was written with",
            )),
        }
    }

    /// The bytes of a tensor of one dimension; `length` is how many numbers it must have.
    fn tensor(&self, name: &str, dtype: Dtype, length: Option<usize>) -> Result<&[u8]> {
        let info = self.metadata.info(name);
        let info = info.ok_or_else(|| self.wrong(format!("it has no tensor `{name}`")))?;
        let fits = info.dtype == dtype
            && info.shape.len() == 1
            && length.is_none_or(|length| info.shape[0] == length);
        match fits {
            true => Ok(tensors::bytes(self.data, info)),
            false => Err(self.wrong(format!(
                "tensor `{name}` is {} of shape {:?}, not {dtype} as long as the others",
                info.dtype, info.shape
            ))),
        }
    }

    fn rows(&self, name: &str, length: Option<usize>) -> Result<Vec<usize>> {
        let bytes = self.tensor(name, Dtype::U64, length)?;
        // What does not fit is beyond every pool.
        let row = |bytes| usize::try_from(u64::from_le_bytes(bytes)).unwrap_or(usize::MAX);
        Ok(tensors::numbers(bytes, row))
    }

    fn lists(&self, question: &SharedQuestion) -> Result<Vec<ShardList>> {
        let count = question.quotas.len();
        let offsets = self.rows("offsets", Some(count + 1))?;
        let complete = self.tensor("complete", Dtype::U8, Some(count))?;
        let entries = self.entries()?;
        if offsets[0] != 0 || offsets[count] != entries.len() || !offsets.is_sorted() {
            return Err(self.wrong("its offsets do not fit its rows"));
        }
        if complete.iter().any(|complete| *complete > 1) {
            return Err(self.wrong("tensor `complete` has a value other than 0 and 1"));
        }
        let lists = offsets
            .windows(2)
            .zip(complete)
            .map(|(ends, complete)| ShardList {
                entries: entries[ends[0]..ends[1]].to_vec(),
                complete: *complete != 0,
            });
        Ok(lists.collect())
    }

    fn entries(&self) -> Result<Vec<Listed>> {
        let rows = self.rows("rows", None)?;
        let length = Some(rows.len());
        let floats = |name: &str| -> Result<Vec<f64>> {
            let bytes = self.tensor(name, Dtype::F64, length)?;
            Ok(tensors::numbers(bytes, f64::from_le_bytes))
        };
        let classes = |name: &str| -> Result<Vec<u32>> {
            let bytes = self.tensor(name, Dtype::U32, length)?;
            Ok(tensors::numbers(bytes, u32::from_le_bytes))
        };
        let (keys, scores) = (floats("keys")?, floats("scores")?);
        let (predicted, runner_up) = (classes("predicted")?, classes("runner_up")?);
        let entry = |(index, row): (usize, usize)| Listed {
            row,
            key: keys[index],
            score: scores[index],
            predicted: predicted[index],
            runner_up: (runner_up[index] != NO_CLASS).then_some(runner_up[index]),
        };
        Ok(rows.into_iter().enumerate().map(entry).collect())
    }

    fn names(&self) -> Result<Names> {
        let bytes = self.tensor("names", Dtype::U8, None)?;
        let names: Vec<(usize, String, Option<String>)> = serde_json::from_slice(bytes)
            .map_err(|error| self.wrong(format!("tensor `names`: {error}")))?;
        let count = names.len();
        let name = |(row, id, uri)| (row, (id, uri));
        let names: Names = names.into_iter().map(name).collect();
        match names.len() == count {
            true => Ok(names),
            false => Err(self.wrong("tensor `names`: a row is there twice")),
        }
    }
}
