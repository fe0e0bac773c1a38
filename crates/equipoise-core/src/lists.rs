//! The lists a scan keeps: settled keys, in the order of picks, and what may still enter them.

use crate::engine::{ACCEPT_ALL, ACCEPT_NONE, UNREACHABLE};

/// A settled key and its row: the order of picks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: f64,
    pub(crate) row: usize,
}

impl Entry {
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        let keys = self.key.total_cmp(&other.key);
        keys.then(self.row.cmp(&other.row))
    }
}

/// The `keep` first entries of those pushed.
#[derive(Debug, Clone, Default)]
pub(crate) struct List {
    /// In order.
    pub(crate) entries: Vec<Entry>,
    pub(crate) keep: usize,
}

impl List {
    pub(crate) fn new(keep: usize) -> Self {
        Self {
            entries: Vec::new(),
            keep,
        }
    }

    /// Whether there may be entries that are not in the list.
    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() == self.keep
    }

    /// The key that later rows must lie below; `None` while every row is welcome.
    pub(crate) fn limit(&self) -> Option<f64> {
        match self.entries.last() {
            Some(last) if self.is_full() => Some(last.key),
            _ => None,
        }
    }

    /// [`Self::limit`] as an engine's threshold: rounded up, +∞ as [`UNREACHABLE`].
    pub(crate) fn threshold(&self) -> f32 {
        match self.limit() {
            _ if self.keep == 0 => ACCEPT_NONE,
            None => ACCEPT_ALL,
            Some(key) if key >= f64::from(UNREACHABLE) => UNREACHABLE,
            Some(key) => {
                let near = key as f32;
                match f64::from(near) < key {
                    true => near.next_up(),
                    false => near,
                }
            }
        }
    }

    pub(crate) fn add(&mut self, entries: impl IntoIterator<Item = Entry>) {
        self.entries.extend(entries);
        // Stable, because it merges the sorted run it finds instead of starting anew.
        self.entries.sort_by(Entry::order);
        self.entries.truncate(self.keep);
    }
}

/// Something with bounds on its key.
#[derive(Clone, Copy)]
pub(crate) struct Bounded<T> {
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    pub(crate) what: T,
}

/// Drops what cannot be among the `keep` first of the list and these: as many upper bounds lie at
/// or below some key, so whatever has its lower bound above that key is out.
pub(crate) fn narrow<T: Copy>(bounded: Vec<Bounded<T>>, list: &List) -> Vec<T> {
    let keys = list.entries.iter().map(|entry| entry.key);
    let mut uppers: Vec<f64> = keys.chain(bounded.iter().map(|b| b.upper)).collect();
    let limit = match uppers.len() > list.keep && list.keep > 0 {
        true => {
            *uppers
                .select_nth_unstable_by(list.keep - 1, f64::total_cmp)
                .1
        }
        false => f64::INFINITY,
    };
    let kept = bounded.into_iter().filter(|b| b.lower <= limit);
    kept.map(|b| b.what).collect()
}
