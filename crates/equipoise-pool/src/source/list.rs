//! Lists of paths with labels, in the form of ImageNet-LT: `train/n01440764/a.jpg 0` a line.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::place::Place;
use super::{Listed, is_image};
use crate::{Error, Problem, Result};

/// The images that the list at `path` names, relative to `root`: a path a line, and a label after
/// white space, or none. Empty lines and those that begin with `#` are left out.
pub(super) fn list(path: &Path, root: &Path) -> Result<Vec<Listed>> {
    let root = std::path::absolute(root).map_err(Error::read(root))?;
    let file = File::open(path).map_err(Error::read(path))?;
    let mut listed = Vec::new();
    for (number, line) in (1..).zip(BufReader::new(file).lines()) {
        let line = line.map_err(Error::read(path))?;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // A path may hold spaces; it ends as an image's does.
        let (name, label) = match line.rsplit_once(char::is_whitespace) {
            _ if is_image(line) => (line, None),
            Some((name, label)) => (name.trim_end(), Some(label.to_owned())),
            None => (line, None),
        };
        if !is_image(name) {
            let problem = Problem::Syntax(format!("`{name}` is no path of an image"));
            return Err(Error::line(path, number, problem));
        }
        let file = root.join(name);
        let uri = file.to_string_lossy().into_owned();
        let mut image = Listed::new(name.into(), name.into(), uri, Place::File(file));
        image.entry.label = label;
        listed.push(image);
    }
    Ok(listed)
}
