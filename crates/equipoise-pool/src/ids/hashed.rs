//! Rows by the hash of a text.

use std::hash::{DefaultHasher, Hasher};

/// The hash of a text, the same in every run.
pub(super) fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// Rows in the order of their texts' hashes, in 8 bytes each: the row, and as much of the hash as there is room
/// for above it. Texts may share that much, so that whoever looks one up compares the texts.
#[derive(Debug)]
pub(super) struct HashedRows {
    row_bits: u32,
    entries: Vec<u64>,
}

impl HashedRows {
    /// Room for `capacity` of the rows below `rows`.
    pub(super) fn with_capacity(rows: usize, capacity: usize) -> Self {
        Self {
            row_bits: usize::BITS - rows.leading_zeros(),
            entries: Vec::with_capacity(capacity),
        }
    }

    pub(super) fn push(&mut self, hash: u64, row: usize) {
        let entry = (self.part(hash) << self.row_bits) | row as u64;
        self.entries.push(entry);
    }

    /// To be called when all rows are in.
    pub(super) fn sort(&mut self) {
        self.entries.sort_unstable();
    }

    /// The rows, ascending, whose text may be one with that hash.
    pub(super) fn rows(&self, hash: u64) -> impl Iterator<Item = usize> {
        let (bits, part) = (self.row_bits, self.part(hash));
        let first = self.entries.partition_point(|entry| entry >> bits < part);
        let same = self.entries[first..]
            .iter()
            .take_while(move |entry| *entry >> bits == part);
        same.map(move |entry| (entry & ((1 << bits) - 1)) as usize)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<u64>()
    }

    /// What is kept of a hash.
    fn part(&self, hash: u64) -> u64 {
        hash >> self.row_bits
    }
}
