//! Tar files: listed by their headers, without reading what lies between.

use std::fs::File;
use std::path::Path;

use tar::{Archive, EntryType};

use super::{Entry, Listed, Place, is_image};
use crate::{Error, Result};

/// The path, where its name is that of a tar file.
pub(super) fn check_name(path: &Path) -> Result<&Path> {
    let name = path.to_string_lossy().to_ascii_lowercase();
    let what = match name.rsplit('.').next() {
        Some("tar") => return Ok(path),
        Some("gz" | "tgz" | "zst" | "xz" | "bz2") => "a compressed file",
        Some("csv" | "jsonl" | "json") => "a manifest",
        Some("jpg" | "jpeg" | "png" | "webp") => "a single image",
        _ => "a file of this kind",
    };
    Err(Error::SourceKind {
        path: path.into(),
        what,
    })
}

/// The images in the tar file `number`; their ids begin with `prefix`, where there is one.
pub(super) fn list(path: &Path, number: usize, prefix: Option<&str>) -> Result<Vec<Listed>> {
    let absolute = std::path::absolute(path).map_err(Error::read(path))?;
    let file = File::open(path).map_err(Error::read(path))?;
    let length = file.metadata().map_err(Error::read(path))?.len();
    let mut archive = Archive::new(file);
    let members = archive.entries_with_seek().map_err(Error::read(path))?;
    let mut listed = Vec::new();
    for member in members {
        let member =
            member.map_err(|error| Error::format(path, format!("no whole tar file: {error}")))?;
        let Ok(name) = String::from_utf8(member.path_bytes().into_owned()) else {
            let name = String::from_utf8_lossy(&member.path_bytes()).into_owned();
            return Err(Error::format(
                path,
                format!("the name of member {name} is not UTF-8"),
            ));
        };
        let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
        let kind = member.header().entry_type();
        if !is_image(&name) || kind == EntryType::Directory {
            continue;
        }
        if !matches!(kind, EntryType::Regular | EntryType::Continuous) {
            let message = format!("member {name} is a link or a sparse file, which is not read");
            return Err(Error::format(path, message));
        }
        let (start, size) = (member.raw_file_position(), member.size());
        if start.checked_add(size).is_none_or(|end| end > length) {
            return Err(Error::format(
                path,
                format!("truncated: member {name} is not whole"),
            ));
        }
        let id = match prefix {
            Some(prefix) => format!("{prefix}/{name}"),
            None => name.clone(),
        };
        listed.push(Listed {
            entry: Entry {
                uri: format!("{}#{name}", absolute.display()),
                id,
                label: None,
            },
            path: name,
            place: Place::Member(number, start, size as usize),
        });
    }
    Ok(listed)
}
