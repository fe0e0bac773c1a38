//! Images in a tar file, and what a WebDataset says of them: members that share a key, the path up to
//! the first dot of the file's name, belong together.

use std::collections::HashMap;
use std::path::Path;

use super::place::Place;
use super::tarball::Member;
use super::{Listed, is_image};
use crate::table::text_of;
use crate::{Error, Result};

/// Keys of a JSON object that may hold the label.
const LABELS: [&str; 3] = ["label", "class", "cls"];

/// What the files beside an image say.
#[derive(Default)]
struct Said {
    label: Option<String>,
    metadata: Vec<(String, String)>,
}

/// The images among `members` of the tar file `number`, at `path`; their ids begin with `prefix`,
/// where there is one. Where any image has a `.cls` or `.json` beside it, ids are keys; else they
/// are the members' names.
pub(super) fn listed(
    path: &Path,
    number: usize,
    prefix: Option<&str>,
    members: Vec<Member>,
) -> Result<Vec<Listed>> {
    let absolute = std::path::absolute(path).map_err(Error::read(path))?;
    let images = members.iter().filter(|member| is_image(&member.name));
    let mut by_key: HashMap<&str, &str> = HashMap::new();
    let mut shared = None;
    for image in images.clone() {
        if let Some(other) = by_key.insert(key(&image.name), &image.name) {
            shared = shared.or(Some((other, image.name.as_str())));
        }
    }
    let mut said: HashMap<&str, Said> = HashMap::new();
    for member in &members {
        let key = key(&member.name);
        let Some(text) = member.text.as_ref().filter(|_| by_key.contains_key(key)) else {
            continue;
        };
        let read = read(&member.name, text, said.entry(key).or_default());
        read.map_err(|what| Error::format(path, format!("member {}: {what}", member.name)))?;
    }
    let is_webdataset = !said.is_empty();
    if let (true, Some((one, other))) = (is_webdataset, shared) {
        let message = format!("members {one} and {other} share a key");
        return Err(Error::format(path, message));
    }
    let listed = images.map(|member| {
        let name = match is_webdataset {
            true => key(&member.name),
            false => &member.name,
        };
        let id = match prefix {
            Some(prefix) => format!("{prefix}/{name}"),
            None => name.to_owned(),
        };
        let uri = format!("{}#{}", absolute.display(), member.name);
        let place = Place::Member(number, member.start, member.size);
        let mut listed = Listed::new(member.name.clone(), id, uri, place);
        if let Some(said) = said.remove(key(&member.name)) {
            (listed.entry.label, listed.metadata) = (said.label, said.metadata);
        }
        listed
    });
    Ok(listed.collect())
}

/// The path up to the first dot of the file's name.
fn key(name: &str) -> &str {
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    let end = name[file..].find('.').map_or(name.len(), |dot| file + dot);
    &name[..end]
}

/// Adds what the member `name` says, or tells in words why it can't be read.
fn read(name: &str, text: &[u8], said: &mut Said) -> std::result::Result<(), String> {
    let text = std::str::from_utf8(text).map_err(|_| "no text".to_owned())?;
    if name.ends_with(".cls") {
        said.label = Some(text.trim().to_owned());
        return Ok(());
    }
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|error| format!("no JSON object: {error}"))?;
    for (column, value) in object {
        let Some(value) = text_of(&value) else {
            continue;
        };
        match LABELS.contains(&column.as_str()) {
            // What a `.cls` says counts, wherever it stands.
            true => said.label = said.label.take().or(Some(value)),
            false => said.metadata.push((column, value)),
        }
    }
    Ok(())
}
