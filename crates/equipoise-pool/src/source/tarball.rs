//! Tar files: listed by their headers, without reading what lies between.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use tar::{Archive, EntryType};

use super::is_image;
use crate::{Error, Result};

/// A file of a WebDataset that says something of an image is not larger.
const LARGEST_SIDECAR: u64 = 1 << 20;

/// A member of a tar file: an image, or what says something of one.
pub(super) struct Member {
    /// Its path in the tar, without a leading `./`.
    pub(super) name: String,
    pub(super) start: u64,
    pub(super) size: usize,
    /// What it says, if it is no image.
    pub(super) text: Option<Vec<u8>>,
}

/// The images in the tar file at `path`, and the `.cls` and `.json` files, which are read. Nothing
/// is unpacked.
pub(super) fn members(path: &Path) -> Result<Vec<Member>> {
    let file = File::open(path).map_err(Error::read(path))?;
    let length = file.metadata().map_err(Error::read(path))?.len();
    let mut archive = Archive::new(file);
    let entries = archive.entries_with_seek().map_err(Error::read(path))?;
    let whole = |error| Error::format(path, format!("no whole tar file: {error}"));
    let mut members = Vec::new();
    for entry in entries {
        let mut entry = entry.map_err(whole)?;
        let Ok(name) = String::from_utf8(entry.path_bytes().into_owned()) else {
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let message = format!("the name of member {name} is not UTF-8");
            return Err(Error::format(path, message));
        };
        let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
        let kind = entry.header().entry_type();
        let is_sidecar = is_sidecar(&name);
        if kind == EntryType::Directory || !(is_image(&name) || is_sidecar) {
            continue;
        }
        // They would make ids that name files elsewhere.
        if name.starts_with('/') || name.split('/').any(|part| part == "..") {
            let message = format!("member {name} leads out of the tar file");
            return Err(Error::format(path, message));
        }
        if !matches!(kind, EntryType::Regular | EntryType::Continuous) {
            let message = format!("member {name} is a link or a sparse file, which is not read");
            return Err(Error::format(path, message));
        }
        let (start, size) = (entry.raw_file_position(), entry.size());
        if start.checked_add(size).is_none_or(|end| end > length) {
            let message = format!("truncated: member {name} is not whole");
            return Err(Error::format(path, message));
        }
        let text = match is_sidecar {
            true if size > LARGEST_SIDECAR => {
                let message =
                    format!("member {name} has {size} bytes, more than {LARGEST_SIDECAR}");
                return Err(Error::format(path, message));
            }
            true => {
                let mut text = Vec::new();
                entry.read_to_end(&mut text).map_err(whole)?;
                Some(text)
            }
            false => None,
        };
        members.push(Member {
            name,
            start,
            size: size as usize,
            text,
        });
    }
    Ok(members)
}

/// Whether a member's name is that of a file that says something of an image.
fn is_sidecar(name: &str) -> bool {
    let name = name.rsplit('/').next().unwrap_or(name);
    !name.starts_with('.') && (name.ends_with(".cls") || name.ends_with(".json"))
}
