//! Single images by the URIs that a store keeps.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::Source;
use crate::{Error, Result};

/// Reads images by URI; tar files are listed once.
#[derive(Debug, Default)]
pub struct ImageLookup {
    tars: HashMap<String, Source>,
}

impl ImageLookup {
    /// A lookup that has opened nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The encoded image at `uri`: a path, or `TAR#MEMBER`.
    ///
    /// # Errors
    /// [`Error::Read`] where it is not there any more, and what [`Source::open`] says of a tar.
    pub fn read(&mut self, uri: &str) -> Result<Vec<u8>> {
        let path = Path::new(uri);
        let missing = || Error::read(path)(std::io::ErrorKind::NotFound.into());
        let member = match path.is_file() {
            true => None,
            false => uri.rsplit_once(".tar#"),
        };
        let Some((stem, member)) = member else {
            return fs::read(path).map_err(Error::read(path));
        };
        let tar = format!("{stem}.tar");
        if !self.tars.contains_key(&tar) {
            let opened = Source::open(&tar)?;
            self.tars.insert(tar.clone(), opened);
        }
        let source = self.tars.get(&tar).ok_or_else(missing)?;
        let found = source
            .entries()
            .binary_search_by(|entry| entry.id.as_str().cmp(member))
            .map_err(|_| missing())?;
        let (_, bytes) = source.stream(found).next().ok_or_else(missing)??;
        Ok(bytes)
    }
}
