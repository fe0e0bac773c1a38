//! What a strategy returns.

use crate::known::Entry;
use crate::lists::Slot;

/// One selected row, with why. Fields a strategy does not define are `None`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pick {
    /// Row of the pool.
    pub row: usize,
    /// The class whose quota the row fills.
    pub class: Option<u32>,
    /// The strategy's score, in its own unit.
    pub score: Option<f64>,
    /// The class the head predicts.
    pub predicted: Option<u32>,
    /// The class of the nearest decision boundary.
    pub runner_up: Option<u32>,
    /// From 1, its place among the rows that its class took.
    pub class_rank: Option<u32>,
    /// How many rows that could have been picked in its stead come after it, by the same score.
    pub beat: Option<u64>,
}

impl Pick {
    /// A pick of which nothing but the row is known.
    pub fn of_row(row: usize) -> Self {
        Self {
            row,
            class: None,
            score: None,
            predicted: None,
            runner_up: None,
            class_rank: None,
            beat: None,
        }
    }
}

/// Bytes that so many picks by a score of their own take while they are made: as they are chosen, settled, and answered.
pub(crate) fn row_picks_bytes(count: usize) -> u64 {
    let each = size_of::<Slot>() + size_of::<(Entry, Pick)>() + size_of::<Pick>();
    (count * each) as u64
}

/// The same of picks of classes, each with a place for what settles it.
pub(crate) fn class_picks_bytes(count: usize) -> u64 {
    let each = size_of::<(usize, Entry)>() + size_of::<&mut Entry>() + size_of::<Pick>();
    (count * each) as u64
}

/// Says of picks in pick order, of `candidates` rows, their places and how many rows each beat: whatever is not
/// picked before a row comes after it.
pub(crate) fn number(picks: &mut [Pick], candidates: usize) {
    let (mut class, mut class_rank) = (None, 0);
    for (rank, pick) in (1..).zip(picks) {
        class_rank = if pick.class == class {
            class_rank + 1
        } else {
            1
        };
        class = pick.class;
        pick.class_rank = pick.class.map(|_| class_rank);
        pick.beat = Some(candidates.saturating_sub(rank) as u64);
    }
}

/// A row that has a label already; the class where the file says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelledRow {
    /// Row of the pool.
    pub row: usize,
    /// Its class.
    pub class: Option<u32>,
}
