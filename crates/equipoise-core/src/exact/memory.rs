//! How many rows are settled at a time, and what memory that takes.

use std::borrow::Cow;

use super::fill::LOOKED_AT;
use crate::candidates::Codes;
use crate::exact_sums::{ExactSums, TOGETHER};
use crate::known::Entry;
use crate::lists::Slot;
use crate::pool::FETCHED;
use crate::strategies::{Nonfinite, Request};
use crate::{Head, RowSet};

/// Rows that are fetched at a time to be settled, with `memory` as [`Request::memory`] has it: from a device, many come in one go.
pub(super) fn fetched(dim: usize, memory: u64) -> usize {
    let least = rayon::current_num_threads() * TOGETHER;
    let rows = memory / 4 / row_bytes(dim);
    usize::try_from(rows)
        .map_or(FETCHED, |rows| rows.min(FETCHED))
        .max(least)
}

/// Bytes of a row that is fetched: widened, beside what is known of it before and after.
fn row_bytes(dim: usize) -> u64 {
    (4 * dim + size_of::<Cow<'_, [f32]>>() + 4 * size_of::<(usize, Entry)>()) as u64
}

/// Bytes of the scores of a row for every class.
fn scores_bytes(classes: usize) -> u64 {
    (size_of::<(Codes, Vec<f64>)>() + classes * size_of::<f64>()) as u64
}

/// Rows whose scores for every class are made at a time, where so many are fetched otherwise: they take about as much memory, but for
/// what keeps threads busy.
pub(super) fn whole(fetched: usize, head: &Head) -> usize {
    let (row, scores) = (row_bytes(head.dim()), scores_bytes(head.classes()));
    let least = rayon::current_num_threads() * TOGETHER;
    (fetched * row as usize / (row + scores) as usize).max(least)
}

/// Bytes that settling takes at most for a head, beside the lists.
pub(crate) fn bytes(request: &Request<'_>, head: &Head) -> u64 {
    let row = row_bytes(head.dim());
    let rows = fetched(head.dim(), request.memory);
    let scores = whole(rows, head) as u64 * (row + scores_bytes(head.classes()));
    let looked_at = 2 * LOOKED_AT * size_of::<(Slot, Codes)>();
    let left_out = match request.nonfinite {
        Nonfinite::Refuse => 0,
        Nonfinite::Skip => RowSet::bytes(request.pool.rows()),
    };
    ExactSums::bytes(head) + (rows as u64 * row).max(scores) + looked_at as u64 + left_out
}
