//! Where images come from: folders, tar files, lists of paths; listed first, then read in order.

mod classes;
mod folder;
mod list;
mod lookup;
mod manifest;
#[cfg(feature = "parquet")]
mod parquet;
mod place;
mod stream;
mod tarball;
mod webdataset;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use lookup::ImageLookup;
pub use stream::{Encoded, Stream};

use crate::digest::hex;
use crate::labels;
use crate::output::folder_of;
use crate::{Error, Result};
use place::{Place, Tars};

/// One image of a source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// The image's stable name: its path inside the source, with `/`, its key in a WebDataset tar,
    /// or what a manifest calls it.
    pub id: String,
    /// Where it is: its absolute path, or `TAR#MEMBER`.
    pub uri: String,
    /// The label that the source gives it: its class folder, say.
    pub label: Option<String>,
    /// What else the source says of it, in the order of [`Source::columns`]; empty where it says
    /// nothing.
    pub metadata: Vec<String>,
}

/// What a source lists.
struct Listed {
    /// Path inside the source, which classes are told from where no label is given; empty where
    /// folders mean nothing.
    path: String,
    entry: Entry,
    place: Place,
    /// Metadata by column, before all columns are known.
    metadata: Vec<(String, String)>,
}

impl Listed {
    fn new(path: String, id: String, uri: String, place: Place) -> Self {
        Self {
            path,
            entry: Entry {
                id,
                uri,
                ..Entry::default()
            },
            place,
            metadata: Vec::new(),
        }
    }
}

/// Which images of a source one machine takes, where several share it: part `index` of `count`, from
/// 1. The parts are slices of the sorted source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// From 1.
    pub index: usize,
    /// How many there are.
    pub count: usize,
}

/// Images in a folder, in tar files, or named by a list; sorted bytewise by id.
#[derive(Debug, Clone)]
pub struct Source {
    spec: String,
    entries: Vec<Entry>,
    places: Vec<Place>,
    tars: Vec<PathBuf>,
    classes: Vec<String>,
    columns: Vec<String>,
    digest: String,
    part: Option<Part>,
}

impl Source {
    /// Lists the images of `spec`:
    ///
    /// - a folder (class folders or flat, at any depth);
    /// - a `.tar` with members alike, or with a WebDataset's: an image, `.cls` and `.json` by key;
    /// - a manifest, `.csv` or `.jsonl`, with `path` and whatever else there is to say;
    /// - a `.txt` list of paths, each with a label or none, as ImageNet-LT has;
    /// - a `.parquet` of Hugging Face, with the feature `parquet`;
    /// - a glob of tars, of Parquet files or of images.
    ///
    /// Images are files ending in .jpg, .jpeg, .png or .webp; hidden files are left alone. Their
    /// folders are classes if there are two or more and no image lies beside them; folders that
    /// enclose everything do not count. Paths in manifests and lists are relative to `root`, or to
    /// the file's folder.
    ///
    /// # Errors
    /// Where something cannot be read, no image is there, or two have one id.
    pub fn open(spec: &str, root: Option<&Path>) -> Result<Self> {
        let path = Path::new(spec);
        let mut tars = Tars::default();
        let listed = if path.is_dir() {
            folder::list(path)?
        } else if path.exists() {
            one_file(path, root, &mut tars)?
        } else if spec.contains(['*', '?', '[']) {
            globbed(spec, &mut tars)?
        } else {
            let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(Error::read(path)(missing));
        };
        Self::of(spec, listed, tars.into_paths())
    }

    fn of(spec: &str, mut listed: Vec<Listed>, tars: Vec<PathBuf>) -> Result<Self> {
        if listed.is_empty() {
            return Err(Error::NoImages { spec: spec.into() });
        }
        let given = listed.iter();
        let given = given.filter_map(|image| image.entry.label.as_deref());
        let mut classes = labels::sorted(given);
        if classes.is_empty() {
            classes = classes::assign(&mut listed);
        }
        let columns: BTreeSet<String> = listed
            .iter()
            .flat_map(|image| image.metadata.iter().map(|(column, _)| column.clone()))
            .collect();
        let columns: Vec<String> = columns.into_iter().collect();
        for image in &mut listed {
            image.entry.metadata = in_order(std::mem::take(&mut image.metadata), &columns);
        }
        listed.sort_by(|a, b| a.entry.id.cmp(&b.entry.id));
        let twice = listed
            .windows(2)
            .find(|pair| pair[0].entry.id == pair[1].entry.id);
        if let Some(pair) = twice {
            return Err(Error::DuplicateId {
                place: spec.into(),
                id: pair[0].entry.id.clone(),
            });
        }
        let (entries, places): (Vec<Entry>, _) = listed
            .into_iter()
            .map(|listed| (listed.entry, listed.place))
            .unzip();
        Ok(Self {
            spec: spec.into(),
            digest: digest_of(&entries),
            entries,
            places,
            tars,
            classes,
            columns,
            part: None,
        })
    }

    /// One part of it; its digest stays that of the whole.
    ///
    /// # Errors
    /// [`Error::NoPart`] where there is none of that number, or it has no image.
    pub fn part(mut self, part: Part) -> Result<Self> {
        let images = self.entries.len();
        let Part { index, count } = part;
        if index == 0 || index > count || count > images {
            return Err(Error::NoPart { part, images });
        }
        let bound = |index: usize| (images as u128 * index as u128 / count as u128) as usize;
        let kept = bound(index - 1)..bound(index);
        self.entries = self.entries.drain(kept.clone()).collect();
        self.places = self.places.drain(kept).collect();
        self.part = Some(part);
        Ok(self)
    }

    /// Only the images that `wanted` holds of, in the same order.
    pub fn only(mut self, wanted: impl Fn(&Entry) -> bool) -> Self {
        let keep: Vec<bool> = self.entries.iter().map(wanted).collect();
        let mut kept = keep.iter();
        self.entries
            .retain(|_| kept.next().copied().unwrap_or(false));
        let mut kept = keep.iter();
        self.places
            .retain(|_| kept.next().copied().unwrap_or(false));
        self
    }

    /// What was opened, as it was written.
    pub fn spec(&self) -> &str {
        &self.spec
    }

    /// The images, in the order in which they are read.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Names of the class folders, or the labels that the source gives, sorted; empty if there are
    /// none.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// What the source says of its images beside path and label: names of columns, sorted.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Which part of the source this is; `None` for all of it.
    pub fn which_part(&self) -> Option<Part> {
        self.part
    }

    /// SHA-256 over the ids of all parts: the same for the same list of images.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Reads the encoded images one after the other, beginning with entry `from`; the items carry
    /// the entry's index. After an error the stream ends.
    pub fn stream(&self, from: usize) -> Stream<'_> {
        Stream::new(self, from)
    }
}

/// The images of a file that is no image itself.
fn one_file(path: &Path, root: Option<&Path>, tars: &mut Tars) -> Result<Vec<Listed>> {
    let root = root.unwrap_or(folder_of(path));
    let name = path.to_string_lossy().to_ascii_lowercase();
    match name.rsplit('.').next() {
        Some("tar") => tars.list(path, None),
        Some("csv") => manifest::csv(path, root, tars),
        Some("jsonl") => manifest::json_lines(path, root, tars),
        Some("txt") => list::list(path, root),
        #[cfg(feature = "parquet")]
        Some("parquet") => tars.list_parquet(path),
        _ => Err(unknown_kind(path)),
    }
}

/// A file that is no source.
fn unknown_kind(path: &Path) -> Error {
    let name = path.to_string_lossy().to_ascii_lowercase();
    let what = match name.rsplit('.').next() {
        Some("gz" | "tgz" | "zst" | "xz" | "bz2") => "a compressed file",
        Some("jpg" | "jpeg" | "png" | "webp") => "a single image",
        #[cfg(not(feature = "parquet"))]
        Some("parquet") => "Parquet (this program was built without the feature `parquet`)",
        _ => "a file of this kind",
    };
    Error::SourceKind {
        path: path.into(),
        what,
    }
}

/// The images that a glob names: those in tars, whose ids begin with the tar's name without `.tar`,
/// or image files, whose ids are their paths below the folder that the glob begins with.
fn globbed(spec: &str, tars: &mut Tars) -> Result<Vec<Listed>> {
    let paths = matches(spec)?;
    if paths.iter().all(|path| is_image(&path.to_string_lossy())) {
        let fixed = spec.find(['*', '?', '[']).unwrap_or(spec.len());
        let folder = spec[..fixed]
            .rfind(['/', '\\'])
            .map_or("", |end| &spec[..end + 1]);
        return paths
            .iter()
            .map(|path| folder::file(path, Path::new(folder)))
            .collect();
    }
    let mut listed = Vec::new();
    for path in paths {
        #[cfg(feature = "parquet")]
        if path.extension().is_some_and(|ending| ending == "parquet") {
            listed.append(&mut tars.list_parquet(&path)?);
            continue;
        }
        if path
            .extension()
            .is_none_or(|ending| !ending.eq_ignore_ascii_case("tar"))
        {
            return Err(unknown_kind(&path));
        }
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let stem = stem.ok_or_else(|| Error::format(&path, "its name is not UTF-8"))?;
        listed.append(&mut tars.list(&path, Some(stem))?);
    }
    Ok(listed)
}

/// The files that a glob names, sorted.
fn matches(spec: &str) -> Result<Vec<PathBuf>> {
    let path = Path::new(spec);
    let paths = glob::glob(spec).map_err(|error| Error::format(path, error.to_string()))?;
    let mut found: Vec<PathBuf> = paths
        .map(|found| found.map_err(|error| Error::read(path)(error.into())))
        .collect::<Result<_>>()?;
    found.sort();
    Ok(found)
}

/// Metadata in the order of `columns`, empty where there is none.
fn in_order(metadata: Vec<(String, String)>, columns: &[String]) -> Vec<String> {
    if columns.is_empty() {
        return Vec::new();
    }
    let mut values = vec![String::new(); columns.len()];
    for (column, value) in metadata {
        if let Ok(place) = columns.binary_search(&column) {
            values[place] = value;
        }
    }
    values
}

fn digest_of(entries: &[Entry]) -> String {
    let mut hasher = Sha256::new();
    for entry in entries {
        hasher.update(entry.id.as_bytes());
        hasher.update([0]);
    }
    hex(hasher)
}

/// Whether a file's name is that of an image; hidden files (`._*` of macOS among them) are not.
fn is_image(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    let known = |ending: &str| {
        ["jpg", "jpeg", "png", "webp"]
            .iter()
            .any(|known| ending.eq_ignore_ascii_case(known))
    };
    !name.starts_with('.') && ending.is_some_and(known)
}
