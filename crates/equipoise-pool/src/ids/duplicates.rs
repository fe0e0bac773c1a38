//! Ids that two rows have, found in little memory.

use super::hashed::{HashedRows, hash};
use super::named::Named;
use super::rows_file::Field;

/// Bytes that the search may take of a small pool; of a large one it may take a byte a row.
const SMALL: usize = 4 << 20;

/// An id that two rows have.
pub(super) fn find(named: &Named) -> Option<String> {
    match named.is_ascending() {
        true => None,
        false => find_within(named, named.rows().max(SMALL)),
    }
}

/// The same within so many bytes: half of them for marks of the ids met so far, half for the rows whose mark was
/// there already. Those are few, a tenth where there are four marks an id; all others have an id of their own.
/// When there is no more room for such rows they are compared with all rows, and the search goes on.
pub(super) fn find_within(named: &Named, bytes: usize) -> Option<String> {
    let mut met = Marks::new(bytes / 2);
    let room = (bytes / 2 / size_of::<u64>()).max(1);
    let mut begin = 0;
    while begin < named.rows() {
        let mut suspects = HashedRows::with_capacity(named.rows(), room);
        let full = named.visit(begin, [Field::Id], |row, [id]| {
            let hash = hash(id?);
            if met.mark(hash) {
                suspects.push(hash, row);
            }
            (suspects.len() == room).then_some(row + 1)
        });
        begin = full.unwrap_or(named.rows());
        suspects.sort();
        let twice = named.visit(0, [Field::Id], |row, [id]| {
            let id = id?;
            let mut others = suspects.rows(hash(id)).filter(|other| *other > row);
            let same = |other| named.text(other, Field::Id).as_deref() == Some(id);
            others.any(same).then(|| id.to_owned())
        });
        if twice.is_some() {
            return twice;
        }
    }
    None
}

/// A bit for each of many hashes: one that was not met may share it with one that was.
struct Marks(Vec<u64>);

impl Marks {
    fn new(bytes: usize) -> Self {
        Self(vec![0; bytes.div_ceil(size_of::<u64>()).max(1)])
    }

    /// Marks a hash; whether it was marked already.
    fn mark(&mut self, hash: u64) -> bool {
        let bits = self.0.len() as u64 * u64::from(u64::BITS);
        let place = hash % bits;
        let (word, bit) = ((place / 64) as usize, 1 << (place % 64));
        let before = self.0[word];
        self.0[word] |= bit;
        before & bit != 0
    }
}
