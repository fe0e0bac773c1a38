//! Stores of the parts of one source as one pool: a small file that names them, nothing copied.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{MANIFEST, Manifest, parse};
use crate::digest::sha256_of_file;
use crate::{Error, OutputFile, Result};

const FORMAT: &str = "equipoise-joined-store";
const WHAT: &str = "a list of stores that belong together";

/// Version of the format that is written, and the newest that is read.
const VERSION: u64 = 1;

/// What the file holds.
#[derive(Serialize, Deserialize)]
struct Joined {
    format: String,
    version: u64,
    parts: Vec<JoinedPart>,
}

#[derive(Serialize, Deserialize)]
struct JoinedPart {
    /// The store, relative to the file's folder.
    path: PathBuf,
    /// SHA-256 of its manifest, which holds that of each of its files.
    manifest_sha256: String,
}

/// A store that is part of a pool.
pub(crate) struct Member {
    pub(crate) folder: PathBuf,
    pub(crate) manifest: Manifest,
}

/// Writes `out`, which opens as one pool of the rows of `stores`: the parts 1/n to n/n of one source,
/// made with the same settings, in any order. Returns the number of rows.
///
/// # Errors
/// [`Error::OtherParts`] where two were made with different settings; [`Error::PartsMissing`],
/// [`Error::PartTwice`]; those of reading stores and writing files.
pub fn join_stores(stores: &[PathBuf], out: &Path, force: bool) -> Result<usize> {
    let members = stores.iter().map(|folder| {
        let manifest = Manifest::read(folder)?;
        let folder = folder.clone();
        Ok(Member { folder, manifest })
    });
    let members = in_order(members.collect::<Result<Vec<_>>>()?, out)?;
    let home = std::path::absolute(out).map_err(Error::write(out))?;
    let home = home.parent().unwrap_or(Path::new("")).to_owned();
    let parts = members.iter().map(|member| {
        let folder = std::path::absolute(&member.folder).map_err(Error::read(&member.folder))?;
        let path = match folder.strip_prefix(&home) {
            Ok(inside) => inside.to_owned(),
            Err(_) => folder,
        };
        Ok(JoinedPart {
            path,
            manifest_sha256: sha256_of_file(&member.folder.join(MANIFEST))?,
        })
    });
    let joined = Joined {
        format: FORMAT.into(),
        version: VERSION,
        parts: parts.collect::<Result<_>>()?,
    };
    let text = serde_json::to_vec_pretty(&joined)
        .map_err(|error| Error::format(out, error.to_string()))?;
    OutputFile::write_all_to(out, force, &text)?;
    Ok(members.iter().map(|member| member.manifest.rows).sum())
}

/// Whether the file at `path` is one that [`join_stores`] writes.
pub(crate) fn is_joined(path: &Path) -> Result<bool> {
    use std::io::Read;
    let file = std::fs::File::open(path).map_err(Error::read(path))?;
    let mut start = Vec::new();
    let read = file.take(64).read_to_end(&mut start);
    read.map_err(Error::read(path))?;
    let start = String::from_utf8_lossy(&start);
    Ok(start.starts_with('{') && start.contains(FORMAT))
}

/// The stores that the file at `path` names, in the order of their rows.
pub(crate) fn read_joined(path: &Path) -> Result<Vec<Member>> {
    let text = std::fs::read(path).map_err(Error::read(path))?;
    let joined: Joined = parse(path, &text, WHAT, FORMAT, VERSION)?;
    let home = path.parent().unwrap_or(Path::new(""));
    let members = joined.parts.into_iter().map(|part| {
        let folder = home.join(part.path);
        let manifest = folder.join(MANIFEST);
        if sha256_of_file(&manifest)? != part.manifest_sha256 {
            return Err(Error::damaged(
                &manifest,
                "it is not that of the store that was joined",
            ));
        }
        let manifest = Manifest::read(&folder)?;
        Ok(Member { folder, manifest })
    });
    in_order(members.collect::<Result<_>>()?, path)
}

/// The parts in order, all of them, each once, of one source and made with the same settings.
fn in_order(mut members: Vec<Member>, out: &Path) -> Result<Vec<Member>> {
    let number = |member: &Member| {
        let part = member.manifest.info.source.part;
        part.map_or((1, 1), |part| (part.index, part.count))
    };
    members.sort_by_key(|member| number(member).0);
    let Some(first) = members.first() else {
        return Err(Error::format(out, "no store to join"));
    };
    for other in &members[1..] {
        if let Some(what) = difference(&first.manifest, &other.manifest) {
            return Err(Error::OtherParts {
                first: first.folder.clone(),
                second: other.folder.clone(),
                what,
            });
        }
    }
    if let Some(pair) = members
        .windows(2)
        .find(|pair| number(&pair[0]) == number(&pair[1]))
    {
        return Err(Error::PartTwice {
            first: pair[0].folder.clone(),
            second: pair[1].folder.clone(),
            part: number(&pair[0]).0,
        });
    }
    let count = number(first).1;
    let missing =
        (1..=count).filter(|index| !members.iter().any(|member| number(member).0 == *index));
    let missing: Vec<usize> = missing.collect();
    match missing.is_empty() {
        true => Ok(members),
        false => Err(Error::PartsMissing { missing, count }),
    }
}

/// In what two stores differ that could not be parts of one pool.
fn difference(one: &Manifest, other: &Manifest) -> Option<&'static str> {
    let (one, other) = (&one.info, &other.info);
    let count = |part: Option<crate::Part>| part.map(|part| part.count);
    let same = [
        (one.model == other.model, "model"),
        (one.weights_digest == other.weights_digest, "weights"),
        (one.preprocess == other.preprocess, "preprocessing"),
        (one.dtype == other.dtype, "dtype"),
        (one.dim == other.dim, "dim"),
        (one.source.digest == other.source.digest, "source"),
        (
            count(one.source.part) == count(other.source.part),
            "number of parts",
        ),
        (one.classes == other.classes, "classes"),
        (one.columns == other.columns, "columns of metadata"),
    ];
    same.into_iter()
        .find(|(same, _)| !same)
        .map(|(_, what)| what)
}
