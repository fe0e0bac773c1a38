//! Where images come from: folders and tar files, listed first, then read in order.

mod classes;
mod folder;
mod lookup;
mod stream;
mod tarball;

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub use lookup::ImageLookup;
pub use stream::Stream;

use crate::digest::hex;
use crate::{Error, Result};

/// One image of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The image's stable name: its path inside the source, with `/`.
    pub id: String,
    /// Where it is: its absolute path, or `TAR#MEMBER`.
    pub uri: String,
    /// The class folder it lies in.
    pub label: Option<String>,
}

/// Where an entry's bytes are.
#[derive(Debug, Clone)]
enum Place {
    File(PathBuf),
    /// Number of the tar file, first byte, length.
    Member(usize, u64, usize),
}

/// What the kinds of source list.
struct Listed {
    /// Path inside the source, which classes are told from.
    path: String,
    entry: Entry,
    place: Place,
}

/// A folder, a `.tar` or a glob of them; its images sorted bytewise by id.
#[derive(Debug, Clone)]
pub struct Source {
    spec: String,
    entries: Vec<Entry>,
    places: Vec<Place>,
    tars: Vec<PathBuf>,
    classes: Vec<String>,
}

impl Source {
    /// Lists the images of `spec`: a folder (class folders or flat, at any depth), a `.tar` with
    /// members alike, or a glob of tars, whose ids begin with the tar's name without `.tar`.
    ///
    /// Images are files ending in .jpg, .jpeg, .png or .webp; hidden files are left alone. Their
    /// folders are classes if there are two or more and no image lies beside them; folders that
    /// enclose everything do not count.
    ///
    /// # Errors
    /// Where something cannot be read, no image is there, or two have one id.
    pub fn open(spec: &str) -> Result<Self> {
        let path = Path::new(spec);
        let mut tars = Vec::new();
        let listed = if path.is_dir() {
            folder::list(path)?
        } else if path.exists() {
            tars.push(tarball::check_name(path)?.to_owned());
            tarball::list(path, 0, None)?
        } else if spec.contains(['*', '?', '[']) {
            tars = matches(spec)?;
            let mut listed = Vec::new();
            for (number, tar) in tars.iter().enumerate() {
                let stem = tar.file_stem().and_then(|stem| stem.to_str());
                let stem = stem.ok_or_else(|| Error::format(tar, "its name is not UTF-8"))?;
                listed.append(&mut tarball::list(tar, number, Some(stem))?);
            }
            listed
        } else {
            let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(Error::read(path)(missing));
        };
        Self::of(spec, listed, tars)
    }

    fn of(spec: &str, mut listed: Vec<Listed>, tars: Vec<PathBuf>) -> Result<Self> {
        if listed.is_empty() {
            return Err(Error::NoImages { spec: spec.into() });
        }
        let classes = classes::assign(&mut listed);
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
        let (entries, places) = listed
            .into_iter()
            .map(|listed| (listed.entry, listed.place))
            .unzip();
        Ok(Self {
            spec: spec.into(),
            entries,
            places,
            tars,
            classes,
        })
    }

    /// What was opened, as it was written.
    pub fn spec(&self) -> &str {
        &self.spec
    }

    /// The images, in the order in which they are read.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Names of the class folders, sorted; empty if there are none.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// SHA-256 over the ids: the same for the same list of images.
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        for entry in &self.entries {
            hasher.update(entry.id.as_bytes());
            hasher.update([0]);
        }
        hex(hasher)
    }

    /// Reads the encoded images one after the other, beginning with entry `from`; the items carry
    /// the entry's index. After an error the stream ends.
    pub fn stream(&self, from: usize) -> Stream<'_> {
        Stream::new(self, from)
    }
}

/// The files that a glob names, sorted.
fn matches(spec: &str) -> Result<Vec<PathBuf>> {
    let path = Path::new(spec);
    let paths = glob::glob(spec).map_err(|error| Error::format(path, error.to_string()))?;
    let mut tars = Vec::new();
    for found in paths {
        let found = found.map_err(|error| Error::read(path)(error.into()))?;
        tars.push(tarball::check_name(&found)?.to_owned());
    }
    tars.sort();
    Ok(tars)
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
