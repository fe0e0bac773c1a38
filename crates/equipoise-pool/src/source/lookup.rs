//! Single images by the URIs that a store keeps.

use std::path::Path;

use super::place::{Reader, Tars, resolve};
use crate::{Error, Result};

/// Reads images by URI; tar files are listed once.
#[derive(Debug, Default)]
pub struct ImageLookup {
    tars: Tars,
    reader: Reader,
}

impl ImageLookup {
    /// A lookup that has opened nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The encoded image at `uri`: a path, or `TAR#MEMBER`.
    ///
    /// # Errors
    /// [`Error::Read`] where it is not there any more; [`Error::Format`] where the tar is none.
    pub fn read(&mut self, uri: &str) -> Result<Vec<u8>> {
        let path = Path::new(uri);
        if path.is_file() {
            return std::fs::read(path).map_err(Error::read(path));
        }
        let found = resolve(uri, Path::new(""), &mut self.tars)?;
        let missing = || Error::read(path)(std::io::ErrorKind::NotFound.into());
        let (place, _) = found.ok_or_else(missing)?;
        let read = self.reader.read(&place, self.tars.paths());
        read.map_err(Error::read(path))
    }
}
