//! Folders of image files.

use std::fs;
use std::path::{Path, PathBuf};

use super::place::Place;
use super::{Listed, is_image};
use crate::{Error, Result};

/// The images under `root`, in any order.
pub(super) fn list(root: &Path) -> Result<Vec<Listed>> {
    let absolute = std::path::absolute(root).map_err(Error::read(root))?;
    let mut listed = Vec::new();
    let mut above = Vec::new();
    visit(&absolute, "", &mut above, &mut listed)?;
    Ok(listed)
}

/// Lists one folder whose path inside the source is `inside` (empty, or with a final `/`). Links
/// are followed, but not into a folder that is being listed (`above`).
fn visit(
    folder: &Path,
    inside: &str,
    above: &mut Vec<PathBuf>,
    listed: &mut Vec<Listed>,
) -> Result<()> {
    let real = fs::canonicalize(folder).map_err(Error::read(folder))?;
    if above.contains(&real) {
        return Err(Error::format(
            folder,
            "the link leads back to a folder that holds it",
        ));
    }
    above.push(real);
    for item in fs::read_dir(folder).map_err(Error::read(folder))? {
        let path = item.map_err(Error::read(folder))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(Error::format(&path, "its name is not UTF-8"));
        };
        if name.starts_with('.') {
            continue;
        }
        let inside = format!("{inside}{name}");
        if path.is_dir() {
            visit(&path, &format!("{inside}/"), above, listed)?;
        } else if is_image(&inside) {
            listed.push(image(&path, inside)?);
        }
    }
    above.pop();
    Ok(())
}

/// The image file at `path`, which a glob named; its path inside the source is that below `folder`.
pub(super) fn file(path: &Path, folder: &Path) -> Result<Listed> {
    let inside = path.strip_prefix(folder).unwrap_or(path);
    let parts: Option<Vec<&str>> = inside.iter().map(|part| part.to_str()).collect();
    let inside = parts.ok_or_else(|| Error::format(path, "its name is not UTF-8"))?;
    let absolute = std::path::absolute(path).map_err(Error::read(path))?;
    image(&absolute, inside.join("/"))
}

fn image(path: &Path, inside: String) -> Result<Listed> {
    let uri = path.to_str();
    let uri = uri.ok_or_else(|| Error::format(path, "its path is not UTF-8"))?;
    let place = Place::File(path.into());
    Ok(Listed::new(inside.clone(), inside, uri.into(), place))
}
