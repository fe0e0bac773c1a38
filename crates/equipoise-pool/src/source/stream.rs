//! Reading a source's images one after the other.

use std::path::Path;

use super::Source;
use super::place::{Place, Reader};
use crate::{BadImage, Error, Result};

/// An encoded image, or why its file could not be read.
pub type Encoded = std::result::Result<Vec<u8>, BadImage>;

/// The encoded images of a source, in order, each with its entry's index. A file that cannot be
/// read is a bad image; a tar file that cannot be read is an error, after which the stream ends.
#[derive(Debug)]
pub struct Stream<'a> {
    source: &'a Source,
    next: usize,
    reader: Reader,
}

impl<'a> Stream<'a> {
    pub(super) fn new(source: &'a Source, from: usize) -> Self {
        Self {
            source,
            next: from,
            reader: Reader::default(),
        }
    }

    fn read(&mut self, index: usize) -> Result<Encoded> {
        let place = &self.source.places[index];
        match (self.reader.read(place, &self.source.tars), place) {
            (Ok(bytes), _) => Ok(Ok(bytes)),
            (Err(error), Place::File(_)) => Ok(Err(BadImage::new(format!("cannot read: {error}")))),
            (Err(error), _) => {
                let uri = Path::new(&self.source.entries[index].uri);
                Err(Error::read(uri)(error))
            }
        }
    }
}

impl Iterator for Stream<'_> {
    type Item = Result<(usize, Encoded)>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.next;
        if index >= self.source.entries.len() {
            return None;
        }
        let read = self.read(index);
        self.next = match read {
            Ok(_) => index + 1,
            Err(_) => self.source.entries.len(),
        };
        Some(read.map(|encoded| (index, encoded)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.source.entries.len().saturating_sub(self.next);
        (usize::from(left > 0), Some(left))
    }
}
