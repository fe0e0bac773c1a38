//! The lists a scan keeps: rows with bounds on their keys, and what may still enter.
//!
//! A list knows `keep`, how many of the first rows (by key, then by row) it must hold, and `limit`, the
//! `keep`-th smallest upper bound it ever held. Whatever has its lower bound at or above the
//! limit when later rows are looked at, or above it among those held, has `keep` others before it and is
//! out. So the `keep` first rows of those seen are always among the entries, although few keys
//! are known exactly.

use crate::candidates::Place;
use crate::engine::{ACCEPT_ALL, ACCEPT_NONE, UNREACHABLE};
use crate::known::Known;
use crate::nth_smallest::nth_smallest;

/// A row's place in a list: bounds on its key, which is known where they are equal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Slot {
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    pub(crate) row: usize,
}

impl Slot {
    /// The place of a candidate of a block that begins with row `start`.
    pub(crate) fn of(start: usize, place: &Place) -> Self {
        Self {
            lower: reachable(place.lower),
            upper: reachable(place.upper),
            row: start + place.row as usize,
        }
    }

    /// Whether the key is known.
    pub(crate) fn is_settled(&self) -> bool {
        self.lower == self.upper
    }

    /// The order of picks, among those that are settled.
    pub(crate) fn order(&self, other: &Self) -> std::cmp::Ordering {
        let keys = self.lower.total_cmp(&other.lower);
        keys.then(self.row.cmp(&other.row))
    }
}

/// A device's distance, with its sentinel turned back into +∞.
pub(crate) fn reachable(distance: f32) -> f64 {
    match distance >= UNREACHABLE {
        true => f64::INFINITY,
        false => f64::from(distance),
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct List {
    pub(crate) entries: Vec<Slot>,
    pub(crate) keep: usize,
    limit: Option<f64>,
    /// The limit that rows before this block's made.
    before: Option<f64>,
    /// Whether entries came since it was narrowed.
    grown: bool,
}

/// Entries beyond twice those to keep before a list is worth settling; and so many more while a block's candidates come.
const SLACK: usize = 64;

/// Most entries that memory is reserved for at once.
const MOST_RESERVED: usize = 1 << 20;

/// Most entries of a list that keeps `keep`, between blocks.
fn crowd(keep: usize) -> usize {
    keep.saturating_mul(2).saturating_add(SLACK)
}

/// Most entries of a list that keeps `keep`, at any time.
fn most(keep: usize) -> usize {
    match keep {
        0 => 0,
        _ => crowd(keep).saturating_add(SLACK),
    }
}

impl List {
    pub(crate) fn new(keep: usize) -> Self {
        Self {
            entries: Vec::new(),
            keep,
            limit: None,
            before: None,
            grown: false,
        }
    }

    /// Entries that it may come to hold.
    pub(crate) fn most(&self) -> usize {
        most(self.keep)
    }

    /// Whether there may be rows that are not in the list.
    pub(crate) fn is_full(&self) -> bool {
        self.limit.is_some() || self.keep == 0
    }

    /// The key that later rows must lie below; `None` while every row is welcome. All rows seen
    /// with keys below it are in the list.
    pub(crate) fn limit(&self) -> Option<f64> {
        self.limit
    }

    /// [`Self::limit`] as an engine's threshold: rounded up, +∞ as [`UNREACHABLE`], and no denormal, which a GPU may take for the
    /// 0 below which no row lies.
    pub(crate) fn threshold(&self) -> f32 {
        match self.limit {
            _ if self.keep == 0 => ACCEPT_NONE,
            None => ACCEPT_ALL,
            Some(key) if key >= f64::from(UNREACHABLE) => UNREACHABLE,
            Some(key) => {
                let near = key as f32;
                let above = match f64::from(near) < key {
                    true => near.next_up(),
                    false => near,
                };
                match above > 0.0 {
                    true => above.max(f32::MIN_POSITIVE),
                    false => above,
                }
            }
        }
    }

    /// Says that later entries are of rows after those seen so far, in any order.
    pub(crate) fn begin_block(&mut self) {
        self.before = self.limit;
    }

    /// Adds an entry if it may be among the first: returns false, and does nothing, where the list has to be settled before.
    pub(crate) fn push(&mut self, entry: Slot) -> bool {
        if !self.admits()(&entry) {
            return true;
        }
        if !self.has_room() {
            return false;
        }
        self.entries.push(entry);
        self.grown = true;
        true
    }

    /// [`List::push`] of a block's candidates; returns how many it looked at before it has to be settled.
    pub(crate) fn extend(&mut self, start: usize, places: &[Place]) -> usize {
        if self.keep == 0 {
            return places.len();
        }
        let mut left = places;
        while !left.is_empty() && self.has_room() {
            let (next, rest) = left.split_at(left.len().min(self.most() - self.entries.len()));
            let admits = self.admits();
            let slots = next.iter().map(|place| Slot::of(start, place));
            self.entries.extend(slots.filter(admits));
            self.grown = true;
            left = rest;
        }
        places.len() - left.len()
    }

    /// What a block's entries have to meet. Those of earlier rows win ties; among those of the block that is not known yet.
    fn admits(&self) -> impl Fn(&Slot) -> bool + use<> {
        let keeps = self.keep > 0;
        let before = self.before.unwrap_or(f64::INFINITY);
        let (any, limit) = (self.before.is_none(), self.limit.unwrap_or(f64::INFINITY));
        move |slot| keeps && (any || slot.lower < before) && slot.lower <= limit
    }

    /// Whether an entry finds room, with memory for it, once the list is narrowed.
    fn has_room(&mut self) -> bool {
        let most = self.most();
        if self.entries.len() == most {
            self.narrow();
            if self.is_crowded() {
                return false;
            }
        }
        if self.entries.len() == self.entries.capacity() {
            // As much as it may come to hold, if that is not very much: growing would touch as much memory again.
            let wanted = most.min(MOST_RESERVED.max(self.entries.len().saturating_mul(2)));
            self.entries.reserve_exact(wanted - self.entries.len());
        }
        true
    }

    /// Lowers the limit to what the entries allow and drops those beyond it, where that is worth
    /// looking through them.
    pub(crate) fn narrow(&mut self) {
        let worth_it = match self.limit {
            None => self.keep,
            Some(_) => self.keep + self.keep / 4,
        };
        if !self.grown || self.entries.len() < worth_it {
            return;
        }
        self.grown = false;
        let uppers = self.entries.iter().map(|entry| entry.upper);
        let limit = self.tightened(nth_smallest(uppers, self.keep));
        // Whether one stays is anybody's guess: no branch.
        let mut kept = 0;
        for at in 0..self.entries.len() {
            let entry = self.entries[at];
            self.entries[kept] = entry;
            kept += usize::from(entry.lower <= limit);
        }
        self.entries.truncate(kept);
    }

    /// Whether it holds so many more than it must that their keys had better be settled.
    pub(crate) fn is_crowded(&self) -> bool {
        self.entries.len() > crowd(self.keep)
    }

    /// Keeps the first of its entries, which are settled, in order.
    pub(crate) fn sort(&mut self) {
        self.entries.sort_unstable_by(Slot::order);
        self.entries.truncate(self.keep);
        if let (true, Some(last)) = (self.entries.len() == self.keep, self.entries.last()) {
            self.tightened(last.upper);
        }
    }

    /// Lowers the limit to `limit` if it is above it; returns it.
    fn tightened(&mut self, limit: f64) -> f64 {
        *self
            .limit
            .insert(self.limit.map_or(limit, |old| old.min(limit)))
    }

    /// Of the rows that `is_left` keeps, those that may be among the `count` ≥ 1 first.
    pub(crate) fn first(&self, count: usize, is_left: impl Fn(usize) -> bool) -> First {
        let left = || self.entries.iter().filter(|entry| is_left(entry.row));
        let limit = nth_smallest(left().map(|entry| entry.upper), count);
        let open: Vec<Slot> = left().filter(|e| e.lower <= limit).copied().collect();
        if open.len() <= count {
            return First {
                certain: open,
                doubtful: Vec::new(),
            };
        }
        let mut lowers: Vec<f64> = open.iter().map(|entry| entry.lower).collect();
        lowers.sort_unstable_by(f64::total_cmp);
        // However the others turn out, fewer than `count` of them come before it.
        let is_certain =
            |entry: &Slot| lowers.partition_point(|lower| *lower <= entry.upper) <= count;
        let (certain, doubtful) = open.into_iter().partition(is_certain);
        First { certain, doubtful }
    }
}

/// Bytes that lists of `keep` rows each take at most, with what is known of their rows, in a pool of `rows`; and what it takes to look
/// through them.
pub(crate) fn bytes(keep: impl IntoIterator<Item = usize>, rows: usize) -> u64 {
    let (mut slots, mut longest, mut lists) = (0u64, 0, 0);
    for keep in keep {
        slots = slots.saturating_add(most(keep) as u64);
        longest = longest.max(most(keep));
        lists += 1;
    }
    // Each thread narrows one; then one is divided at a time, into entries that are certain and others.
    let numbers = rayon::current_num_threads().min(lists) * size_of::<i64>();
    let divided = 2 * size_of::<Slot>() + 2 * size_of::<f64>();
    // While it grows, a very long one is there twice, the first time half as long.
    let grown = if longest > MOST_RESERVED {
        size_of::<Slot>() / 2
    } else {
        0
    };
    let of_longest = longest as u64 * (numbers + divided + grown) as u64;
    // Fresh ones beside those that they take the place of.
    let empty = (2 * lists * (size_of::<List>() + size_of::<f32>())) as u64;
    (slots.saturating_mul(size_of::<Slot>() as u64))
        .saturating_add(Known::bytes(slots, rows))
        .saturating_add(of_longest)
        .saturating_add(empty)
}

/// Bytes of what is known of rows in such a list, which [`bytes()`] counts, too.
pub(crate) fn known_bytes(keep: usize, rows: usize) -> u64 {
    Known::bytes(most(keep) as u64, rows)
}

/// Bytes of what is known of rows in such lists, beside those of a pass that is made meanwhile.
pub(crate) fn held_bytes(keep: &[usize], rows: usize) -> u64 {
    let slots = keep.iter().map(|keep| most(*keep) as u64);
    Known::held_bytes(slots.fold(0, u64::saturating_add), rows)
}

/// Rows that are among the first of a list, and those that may be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct First {
    pub(crate) certain: Vec<Slot>,
    pub(crate) doubtful: Vec<Slot>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(lower: f64, upper: f64, row: usize) -> Slot {
        Slot { lower, upper, row }
    }

    fn rows(list: &List) -> Vec<usize> {
        list.entries.iter().map(|entry| entry.row).collect()
    }

    #[test]
    fn thresholds_are_no_denormals() {
        let threshold = |limit| {
            let mut list = List::new(1);
            list.limit = Some(limit);
            list.threshold()
        };
        for tiny in [f64::MIN_POSITIVE, 1e-60, 1e-45, 1e-40, 1.1e-38] {
            assert_eq!(threshold(tiny), f32::MIN_POSITIVE, "{tiny}");
        }
        assert_eq!(threshold(0.0), 0.0);
        assert_eq!(threshold(0.5), 0.5);
        assert!(f64::from(threshold(0.1)) >= 0.1);
    }

    #[test]
    fn nothing_that_may_be_first_is_dropped() {
        let mut list = List::new(2);
        assert_eq!(list.threshold(), ACCEPT_ALL);
        for (row, (lower, upper)) in [(0.0, 3.0), (2.0, 4.0), (1.0, 5.0)].into_iter().enumerate() {
            list.push(entry(lower, upper, row));
        }
        list.narrow();
        assert_eq!((rows(&list), list.limit()), (vec![0, 1, 2], Some(4.0)));
        list.begin_block();
        list.push(entry(4.0, 4.0, 3));
        list.push(entry(0.5, 1.0, 4));
        list.narrow();
        assert_eq!((rows(&list), list.limit()), (vec![0, 1, 2, 4], Some(3.0)));
        list.push(entry(1.5, 1.5, 5));
        list.narrow();
        assert_eq!((rows(&list), list.limit()), (vec![0, 2, 4, 5], Some(1.5)));
    }

    #[test]
    fn the_first_are_certain_where_bounds_do_not_overlap() {
        let bounds = [(2.0, 3.0), (0.0, 1.0), (2.5, 4.0), (9.0, 9.0), (0.5, 0.5)];
        let mut list = List::new(9);
        for (row, (lower, upper)) in bounds.into_iter().enumerate() {
            list.push(entry(lower, upper, row));
        }
        let first = |count| {
            let First { certain, doubtful } = list.first(count, |row| row != 4);
            let rows = |entries: Vec<Slot>| entries.iter().map(|e| e.row).collect::<Vec<_>>();
            (rows(certain), rows(doubtful))
        };
        assert_eq!(first(1), (vec![1], vec![]));
        assert_eq!(first(2), (vec![1], vec![0, 2]));
        assert_eq!(first(3), (vec![0, 1, 2], vec![]));
        assert_eq!(first(9), (vec![0, 1, 2, 3], vec![]));
    }

    #[test]
    fn a_tie_with_an_earlier_row_is_lost() {
        let mut list = List::new(1);
        list.push(entry(f64::INFINITY, f64::INFINITY, 0));
        list.narrow();
        // Unless it is of the same block, whose rows come in any order.
        list.push(entry(f64::INFINITY, f64::INFINITY, 3));
        list.begin_block();
        list.push(entry(f64::INFINITY, f64::INFINITY, 4));
        assert_eq!(rows(&list), [0, 3]);
        assert_eq!(list.threshold(), UNREACHABLE);
    }

    /// What is pushed beyond its room is neither lost nor held, and rows of a block come in any order.
    #[test]
    fn a_list_has_room_for_what_it_is_said_to_hold() {
        let keep = 3;
        let numbers = crate::random::Philox::new(1, crate::random::Purpose::Drawing, 0, 0);
        let (mut list, mut all) = (List::new(keep), Vec::new());
        let settle = |list: &mut List| {
            for slot in list.entries.iter_mut().filter(|slot| !slot.is_settled()) {
                *slot = entry(slot.lower + 0.5, slot.lower + 0.5, slot.row);
            }
            list.sort();
        };
        for block in 0..20 {
            list.begin_block();
            let rows = numbers
                .permutation(500)
                .into_iter()
                .map(|row| block * 500 + row);
            for row in rows.rev() {
                // Few keys, many ties; the bounds of a block overlap all along.
                let key = 20.0 - (numbers.uniform(row as u64) * 10.0).floor() - block as f64 / 8.0;
                all.push(entry(key, key, row));
                let open = entry(key - 0.5, key + 30.0, row);
                if !list.push(open) {
                    settle(&mut list);
                    assert!(list.push(open));
                }
                assert!(list.entries.len() <= list.most());
                assert!(list.entries.capacity() <= list.most());
            }
            list.narrow();
        }
        settle(&mut list);
        all.sort_by(Slot::order);
        assert_eq!(list.entries, all[..keep]);
    }

    #[test]
    fn settled_entries_are_kept_in_order() {
        let mut list = List::new(2);
        for (key, row) in [(2.0, 1), (1.0, 9), (2.0, 0)] {
            list.push(entry(key, key, row));
        }
        list.sort();
        assert_eq!((rows(&list), list.limit()), (vec![9, 0], Some(2.0)));
        let mut none = List::new(0);
        none.push(entry(0.0, 0.0, 0));
        none.narrow();
        assert_eq!((rows(&none), none.threshold()), (vec![], ACCEPT_NONE));
    }
}
