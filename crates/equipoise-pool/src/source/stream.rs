//! Reading a source's images one after the other.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use super::{Place, Source};
use crate::{Error, Result};

/// The encoded images of a source, in order, each with its entry's index.
#[derive(Debug)]
pub struct Stream<'a> {
    source: &'a Source,
    next: usize,
    /// The tar file that is open, and its number.
    tar: Option<(usize, File)>,
}

impl<'a> Stream<'a> {
    pub(super) fn new(source: &'a Source, from: usize) -> Self {
        Self {
            source,
            next: from,
            tar: None,
        }
    }

    fn read(&mut self, index: usize) -> Result<Vec<u8>> {
        match &self.source.places[index] {
            Place::File(path) => fs::read(path).map_err(Error::read(path)),
            Place::Member(number, start, size) => {
                let read = self.read_member(*number, *start, *size);
                read.map_err(|error| {
                    let uri = PathBuf::from(&self.source.entries[index].uri);
                    Error::read(&uri)(error)
                })
            }
        }
    }

    fn read_member(&mut self, number: usize, start: u64, size: usize) -> io::Result<Vec<u8>> {
        let file = match &mut self.tar {
            Some((open, file)) if *open == number => file,
            other => {
                &mut other
                    .insert((number, File::open(&self.source.tars[number])?))
                    .1
            }
        };
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = vec![0; size];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

impl Iterator for Stream<'_> {
    type Item = Result<(usize, Vec<u8>)>;

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
        Some(read.map(|bytes| (index, bytes)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.source.entries.len().saturating_sub(self.next);
        (usize::from(left > 0), Some(left))
    }
}
