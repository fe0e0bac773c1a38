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

/// See the module.
#[derive(Debug)]
pub(crate) struct Known {
    /// A table a pass over the pool, each ascending by row.
    passes: Vec<Vec<(usize, Codes)>>,
    /// Most rows of the last table before it is looked through.
    most: usize,
}

impl Known {
    pub(crate) fn new() -> Self {
        Self {
            passes: Vec::new(),
            most: LEAST,
        }
    }

    /// Bytes that it takes at most, in one pass over `rows` rows, where lists hold `slots`.
    pub(crate) fn bytes(slots: u64, rows: usize) -> u64 {
        let most = slots.saturating_mul(2).saturating_add(LEAST as u64);
        most.min(rows as u64)
            .saturating_mul(size_of::<(usize, Codes)>() as u64)
    }

    /// Begins another pass.
    pub(crate) fn begin(&mut self) {
        self.passes.retain(|pass| !pass.is_empty());
        self.passes.push(Vec::new());
        self.most = LEAST;
    }

    /// Adds what is known of some rows, ascending, after those of this pass.
    pub(crate) fn extend(&mut self, rows: impl IntoIterator<Item = (usize, Codes)>) {
        if let Some(pass) = self.passes.last_mut() {
            pass.extend(rows);
        }
    }

    /// Forgets rows of this pass that are in none of `lists`, where that is worth it.
    pub(crate) fn prune(&mut self, lists: &[List]) {
        let Some(pass) = self.passes.last_mut() else {
            return;
        };
        if pass.len() <= self.most {
            return;
        }
        let slots = lists.iter().flat_map(|list| &list.entries);
        let mut listed: Vec<usize> = slots.map(|slot| slot.row).collect();
        listed.sort_unstable();
        let mut listed = listed.into_iter().peekable();
        pass.retain(|(row, _)| {
            while listed.next_if(|next| next < row).is_some() {}
            listed.peek() == Some(row)
        });
        self.most = LEAST.max(2 * pass.len());
    }

    /// What is known of `slot`'s row, with its bounds.
    pub(crate) fn entry(&self, slot: &Slot) -> Entry {
        let of_pass = |pass: &Vec<(usize, Codes)>| {
            // Often it is where it would be if all rows from the first to the last were known.
            let (first, last) = (pass.first()?.0, pass.last()?.0);
            let near = slot.row.checked_sub(first)? as u128 * (pass.len() - 1) as u128;
            let near = near.checked_div((last - first) as u128).unwrap_or(0) as usize;
            match pass.get(near) {
                Some((row, codes)) if *row == slot.row => return Some(*codes),
                _ => {}
            }
            let at = pass.binary_search_by_key(&slot.row, |(row, _)| *row);
            at.ok().map(|at| pass[at].1)
        };
        let codes = self.passes.iter().rev().find_map(of_pass);
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_the_last_pass_says_counts() {
        let mut known = Known::new();
        known.begin();
        known.extend([(1, codes(1)), (4, codes(2))]);
        known.extend([(7, codes(3))]);
        known.begin();
        known.begin();
        known.extend([(4, codes(9))]);
        let of = |row| known.entry(&slot(row)).predicted;
        assert_eq!([1, 4, 7, 8].map(of), [1, 9, 3, NO_CLASS]);
        assert_eq!(known.passes.len(), 2);
    }

    #[test]
    fn rows_in_no_list_are_forgotten() {
        let mut known = Known::new();
        known.begin();
        known.extend((0..LEAST + 10).map(|row| (row, codes(row as u32))));
        let mut list = List::new(9);
        for row in [3, 700, 700, LEAST + 1] {
            list.push(slot(row));
        }
        known.prune(&[List::new(1), list]);
        let of = |row| known.entry(&slot(row)).predicted;
        assert_eq!([3, 700].map(of), [3, 700]);
        assert_eq!(of(LEAST + 1), LEAST as u32 + 1);
        assert_eq!((of(4), known.passes[0].len()), (NO_CLASS, 3));
    }
}
