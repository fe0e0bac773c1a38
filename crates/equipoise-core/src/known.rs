//! What bounds say of the rows in lists. Kept once a row: it may be in the lists of many classes.

use crate::candidates::Codes;
use crate::engine::{NO_CLASS, PAIR};
use crate::lists::{List, Slot};

/// A row in a list, with what is known of it: what settling starts from and ends in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Entry {
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    pub(crate) row: usize,
    /// As [`crate::Candidate::predicted`].
    pub(crate) predicted: u32,
    /// As [`crate::Candidate::runner_up`].
    pub(crate) runner_up: u32,
    /// As [`crate::Candidate::rival`].
    pub(crate) rival: u32,
}

impl Entry {
    /// Whether the key is known: it is `lower`.
    pub(crate) fn is_settled(&self) -> bool {
        self.slot().is_settled()
    }

    /// Whether its predicted class and runner-up are known.
    pub(crate) fn is_described(&self) -> bool {
        self.predicted & PAIR == 0 && self.runner_up != NO_CLASS && self.rival == NO_CLASS
    }

    /// What it says of its row, whatever its class.
    pub(crate) fn codes(&self) -> Codes {
        Codes {
            predicted: self.predicted,
            runner_up: self.runner_up,
            rival: self.rival,
        }
    }

    /// The order of picks, among settled entries.
    pub(crate) fn order(&self, other: &Self) -> std::cmp::Ordering {
        self.slot().order(&other.slot())
    }

    /// Its place in a list.
    pub(crate) fn slot(&self) -> Slot {
        Slot {
            lower: self.lower,
            upper: self.upper,
            row: self.row,
        }
    }
}

/// So many rows are kept at least before those in no list are forgotten.
const LEAST: usize = 1 << 15;

/// A row and what is known of it.
type Row = (usize, Codes);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Rows of earlier passes that are held, ascending.
    held: Vec<Row>,
    /// Rows of this pass, ascending.
    pass: Vec<Row>,
    /// Most rows of this pass before it is looked through.
    most: usize,
}

impl Known {
    /// Bytes that it takes at most, in one pass over `rows` rows, where lists hold `slots`; those of a block aside.
    pub(crate) fn bytes(slots: u64, rows: usize) -> u64 {
        let looked_up = slots.saturating_mul(size_of::<usize>() as u64);
        let rows = of_pass(slots).min(rows as u64);
        rows.saturating_mul(size_of::<Row>() as u64)
            .saturating_add(looked_up)
    }

    /// Bytes that [`Known::hold`] adds at most, where lists hold `slots`.
    pub(crate) fn held_bytes(slots: u64, rows: usize) -> u64 {
        slots.min(rows as u64) * size_of::<Row>() as u64
    }

    /// Bytes of a block's `rows`.
    pub(crate) fn block_bytes(rows: usize) -> u64 {
        (rows * size_of::<Row>()) as u64
    }

    /// Begins another pass over at most `rows` rows, in blocks of at most `block`, for lists that hold `slots`: rows that are
    /// not held are forgotten. False where the system refuses the memory.
    #[must_use]
    pub(crate) fn begin(&mut self, slots: u64, rows: usize, block: usize) -> bool {
        self.pass.clear();
        self.most = LEAST;
        let most = usize::try_from(of_pass(slots)).unwrap_or(usize::MAX);
        if slots == 0 {
            return true;
        }
        // What it may come to be, so that it is never there twice to grow. Pages that are not used take no memory.
        let rows = most.saturating_add(block).min(rows);
        self.pass.try_reserve_exact(rows).is_ok()
    }

    /// Holds what is known of the rows in `lists` for later passes, and forgets the others.
    pub(crate) fn hold(&mut self, lists: &[List]) {
        let listed = listed(lists);
        retain(&mut self.pass, &listed);
        retain(&mut self.held, &listed);
        self.held.reserve_exact(self.pass.len());
        self.held.append(&mut self.pass);
        // Whatever was said of a row at any time is true.
        self.held.sort_unstable_by_key(|(row, _)| *row);
        self.held.dedup_by_key(|(row, _)| *row);
    }

    /// Adds what is known of some rows, ascending, after those of this pass.
    pub(crate) fn extend(&mut self, rows: impl IntoIterator<Item = Row>) {
        self.pass.extend(rows);
    }

    /// Puts the rows from number `first` of this pass on in order.
    pub(crate) fn sort_from(&mut self, first: usize) {
        self.pass[first..].sort_unstable_by_key(|(row, _)| *row);
    }

    /// Rows of this pass.
    pub(crate) fn len(&self) -> usize {
        self.pass.len()
    }

    /// Takes over what settling found out about a row.
    pub(crate) fn learn(&mut self, row: usize, codes: Codes) {
        for rows in [&mut self.pass, &mut self.held] {
            if let Some(at) = place(rows, row) {
                rows[at].1 = codes;
            }
        }
    }

    /// Forgets rows of this pass that are in none of `lists`, where that is worth it.
    pub(crate) fn prune(&mut self, lists: &[List]) {
        if self.pass.len() > self.most {
            retain(&mut self.pass, &listed(lists));
            self.most = LEAST.max(2 * self.pass.len());
        }
    }

    /// What is known of `slot`'s row, with its bounds.
    pub(crate) fn entry(&self, slot: &Slot) -> Entry {
        let of = |rows: &[Row]| place(rows, slot.row).map(|at| rows[at].1);
        let codes = of(&self.pass).or_else(|| of(&self.held));
        let codes = codes.unwrap_or(Codes::NONE);
        Entry {
            lower: slot.lower,
            upper: slot.upper,
            row: slot.row,
            predicted: codes.predicted,
            runner_up: codes.runner_up,
            rival: codes.rival,
        }
    }
}

/// Most rows of a pass between blocks, where lists hold `slots`.
fn of_pass(slots: u64) -> u64 {
    slots.saturating_mul(2).max(LEAST as u64)
}

/// The rows in `lists`, ascending.
fn listed(lists: &[List]) -> Vec<usize> {
    let slots = lists.iter().map(|list| list.entries.len()).sum();
    let mut listed = Vec::with_capacity(slots);
    listed.extend(
        lists
            .iter()
            .flat_map(|list| &list.entries)
            .map(|slot| slot.row),
    );
    listed.sort_unstable();
    listed
}

/// Keeps those `rows` that are `listed`, both ascending.
fn retain(rows: &mut Vec<Row>, listed: &[usize]) {
    let mut listed = listed.iter().peekable();
    rows.retain(|(row, _)| {
        while listed.next_if(|next| *next < row).is_some() {}
        listed.peek() == Some(&row)
    });
}

/// Where a row is among `rows`, ascending.
fn place(rows: &[Row], row: usize) -> Option<usize> {
    // Often it is where it would be if all rows from the first to the last were known.
    let (first, last) = (rows.first()?.0, rows.last()?.0);
    let near = row.checked_sub(first)? as u128 * (rows.len() - 1) as u128;
    let near = near.checked_div((last - first) as u128).unwrap_or(0) as usize;
    match rows.get(near) {
        Some((there, _)) if *there == row => Some(near),
        _ => rows.binary_search_by_key(&row, |(row, _)| *row).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_refused_is_told() {
        assert!(!Known::default().begin(u64::MAX / 4, usize::MAX, 1));
    }

    fn codes(predicted: u32) -> Codes {
        Codes {
            predicted,
            ..Codes::NONE
        }
    }

    fn slot(row: usize) -> Slot {
        Slot {
            lower: 0.0,
            upper: 1.0,
            row,
        }
    }

    #[test]
    fn rows_that_are_held_are_known_in_later_passes() {
        let mut known = Known::default();
        let mut list = List::new(9);
        assert!([4, 7].map(|row| list.push(slot(row))) == [true, true]);
        assert!(known.begin(9, 100, 10));
        known.extend([(1, codes(1)), (4, codes(2))]);
        known.extend([(7, codes(3))]);
        known.hold(std::slice::from_ref(&list));
        assert!(known.begin(9, 100, 10));
        known.extend([(5, codes(4))]);
        let of = |known: &Known, row| known.entry(&slot(row)).predicted;
        assert_eq!(
            [1, 4, 5, 7, 8].map(|row| of(&known, row)),
            [NO_CLASS, 2, 4, 3, NO_CLASS]
        );
        known.learn(7, codes(6));
        // Rows of both passes; of those in no list, nothing is known any more.
        list.push(slot(9));
        known.extend([(9, codes(8))]);
        known.hold(&[List::new(1), list]);
        assert!(known.begin(9, 100, 10));
        assert_eq!([4, 5, 7, 9].map(|row| of(&known, row)), [2, NO_CLASS, 6, 8]);
        assert_eq!(known.held.len(), 3);
    }

    #[test]
    fn rows_in_no_list_are_forgotten() {
        let mut known = Known::default();
        assert!(known.begin(9, 2 * LEAST, 10));
        known.extend((0..LEAST + 10).map(|row| (row, codes(row as u32))));
        let mut list = List::new(9);
        for row in [3, 700, 700, LEAST + 1] {
            list.push(slot(row));
        }
        known.prune(&[List::new(1), list]);
        let of = |row| known.entry(&slot(row)).predicted;
        assert_eq!([3, 700].map(of), [3, 700]);
        assert_eq!(of(LEAST + 1), LEAST as u32 + 1);
        assert_eq!((of(4), known.len()), (NO_CLASS, 3));
    }
}
