//! The exact side of a scan: an answer's bounds go into lists, and float64 settles those on which a
//! pick depends.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::candidates::Codes;
use crate::custom_score::ordered;
use crate::definition::{self, RowScore};
use crate::engine::{Answer, CustomScore, NO_CLASS, Scorer, UNDECIDABLE};
use crate::exact_sums::{ExactRow, ExactSums, TOGETHER};
use crate::interval::key_interval;
use crate::known::{Entry, Known};
use crate::lists::{First, List, Slot};
use crate::pool::FETCHED;
use crate::settle::{Settler, Wanted, pick, runner_up_of};
use crate::strategies::{Nonfinite, Request, Selection};
use crate::{Error, Head, Pick, Result, RowSet};

/// Entries that one thread settles before others are awake.
const FEW: usize = 4 * TOGETHER;

/// Classes whose lists a thread fills at a time.
const LISTS_TOGETHER: usize = 16;

/// Rows whose statistics are turned into entries at a time.
const LOOKED_AT: usize = 4096;

/// A place for what completes it.
type Open<'e> = &'e mut (usize, Entry);

/// Rows that are fetched at a time to be settled, with `memory` as [`Request::memory`] has it: from a device, many come in one go.
fn fetched(dim: usize, memory: u64) -> usize {
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
fn whole(fetched: usize, head: &Head) -> usize {
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
    ExactSums::bytes(head) + (rows as u64 * row).max(scores) + looked_at as u64
}

/// The exact side of a scan, and what it counts.
pub(crate) struct Exact<'a> {
    pub(crate) request: &'a Request<'a>,
    pub(crate) head: &'a Head,
    settler: Settler<'a>,
    /// What is known of the rows in lists.
    pub(crate) known: Known,
    /// Rows that are fetched at a time.
    fetched: usize,
    /// Rows left out, settled scores, retries and refills; the picks come last.
    pub(crate) selection: Selection,
}

impl<'a> Exact<'a> {
    pub(crate) fn new(request: &'a Request<'a>, head: &'a Head, selection: Selection) -> Self {
        Self {
            request,
            head,
            settler: Settler::new(head),
            known: Known::default(),
            fetched: fetched(head.dim(), request.memory),
            selection,
        }
    }

    /// The rows that may be picked.
    pub(crate) fn available(&self) -> &RowSet {
        self.request.available
    }

    /// Adds a block's rows, each to the list of its group.
    pub(crate) fn add_statistics(
        &mut self,
        score: RowScore,
        scorer: &dyn Scorer,
        answer: &Answer,
        lists: &mut [List],
        group: impl Fn(usize) -> usize + Sync,
    ) -> Result<()> {
        let (precision, classes) = (scorer.precision(), self.head.classes());
        let pieces = answer.statistics.chunks(LOOKED_AT);
        for (start, statistics) in (answer.start..).step_by(LOOKED_AT).zip(pieces) {
            let limits = limits(lists);
            let entries = (statistics.par_iter().enumerate()).filter_map(|(index, known)| {
                // Not those that are unavailable, or not finite.
                let (lower, upper) = match known.tolerance >= 0.0 {
                    true => key_interval(score, known, precision, classes),
                    false => return None,
                };
                let codes = match known.tolerance >= UNDECIDABLE {
                    true => Codes::NONE,
                    false => Codes {
                        predicted: known.predicted,
                        runner_up: known.runner_up,
                        rival: known.rival,
                    },
                };
                let row = start + index;
                let limit = limits[group(row)];
                let slot = Slot { lower, upper, row };
                limit
                    .is_none_or(|limit| lower < limit)
                    .then_some((slot, codes))
            });
            let entries: Vec<(Slot, Codes)> = entries.collect();
            let known = entries.iter().map(|(slot, codes)| (slot.row, *codes));
            self.known.extend(known);
            lists.iter_mut().for_each(List::begin_block);
            for (slot, _) in &entries {
                let list = &mut lists[group(slot.row)];
                if !list.push(*slot) {
                    self.settle_rows(score, list)?;
                    list.push(*slot);
                }
            }
            lists.iter_mut().for_each(List::narrow);
        }
        for list in &mut *lists {
            if list.is_crowded() {
                self.settle_rows(score, list)?;
            }
        }
        self.known.prune(lists);
        Ok(())
    }

    /// Adds a block's rows by a score of somebody's own, each to the list of its group.
    pub(crate) fn add_keys(
        &mut self,
        score: &dyn CustomScore,
        answer: &Answer,
        lists: &mut [List],
        group: impl Fn(usize) -> usize + Sync,
    ) -> Result<()> {
        let (rounding, steepness) = (score.rounding(), score.steepness());
        lists.iter_mut().for_each(List::begin_block);
        for (index, found) in answer.keys.iter().enumerate() {
            let (lower, upper) = match found.tolerance {
                // Not those that are unavailable, or not finite.
                tolerance if tolerance < 0.0 => continue,
                UNDECIDABLE.. => (f64::NEG_INFINITY, f64::INFINITY),
                tolerance => rounding.interval(found.key, steepness * f64::from(tolerance)),
            };
            let row = answer.start + index;
            let slot = Slot { lower, upper, row };
            let list = &mut lists[group(row)];
            if !list.push(slot) {
                self.settle_keys(score, list)?;
                list.push(slot);
            }
        }
        for list in lists {
            list.narrow();
            if list.is_crowded() {
                self.settle_keys(score, list)?;
            }
        }
        Ok(())
    }

    /// Settles a list of rows by a score of somebody's own and puts it in order.
    fn settle_keys(&mut self, score: &dyn CustomScore, list: &mut List) -> Result<()> {
        let picks = self.key_picks(score, &list.entries)?;
        for (slot, (entry, _)) in list.entries.iter_mut().zip(&picks) {
            *slot = entry.slot();
        }
        list.sort();
        Ok(())
    }

    /// The picks that rows would be by a score of somebody's own, each with its entry settled.
    ///
    /// # Errors
    /// [`Error::ScoreBounds`] where a key is not within its bounds.
    pub(crate) fn key_picks(
        &mut self,
        score: &dyn CustomScore,
        slots: &[Slot],
    ) -> Result<Vec<(Entry, Pick)>> {
        let open = slots.iter().filter(|slot| !slot.is_settled());
        self.selection.settled += open.count() as u64;
        let sums = &self.settler.sums;
        let mut picks = Vec::with_capacity(slots.len());
        for slots in slots.chunks(self.fetched) {
            let entries = self.entries(slots);
            let rows = self.embeddings(slots.iter().map(|slot| slot.row))?;
            let first = picks.len();
            let pieces = entries.par_chunks(TOGETHER).zip(rows.par_chunks(TOGETHER));
            picks.par_extend(pieces.flat_map_iter(|(entries, rows)| {
                let exact = sums.exact_rows(rows.iter().map(|x| &x[..]));
                let settle = |(entry, row): (&Entry, &ExactRow)| {
                    let key = ordered(score.key(&row.logits));
                    let runner_up = runner_up_of(&sums.distances(row), row.predicted);
                    let entry = Entry {
                        lower: key,
                        upper: key,
                        predicted: row.predicted as u32,
                        runner_up,
                        ..*entry
                    };
                    (entry, pick(&entry, key))
                };
                entries.iter().zip(&exact).map(settle).collect::<Vec<_>>()
            }));
            for (bounds, (settled, _)) in entries.iter().zip(&picks[first..]) {
                let key = settled.lower;
                if !(bounds.lower..=bounds.upper).contains(&key) {
                    return Err(Error::ScoreBounds {
                        score: score.name().into(),
                        row: bounds.row,
                        key,
                        lower: bounds.lower,
                        upper: bounds.upper,
                    });
                }
            }
        }
        Ok(picks)
    }

    /// Settles a list of rows and puts it in order.
    fn settle_rows(&mut self, score: RowScore, list: &mut List) -> Result<()> {
        self.settle_row_slots(score, &mut list.entries)?;
        list.sort();
        Ok(())
    }

    /// Settles rows by a score.
    fn settle_row_slots(&mut self, score: RowScore, slots: &mut [Slot]) -> Result<()> {
        let mut open: Vec<&mut Slot> = slots.iter_mut().filter(|slot| !slot.is_settled()).collect();
        for open in open.chunks_mut(self.fetched) {
            let slots: Vec<Slot> = open.iter().map(|slot| **slot).collect();
            for (slot, (entry, _)) in open.iter_mut().zip(self.row_picks(score, &slots)?) {
                **slot = entry.slot();
                self.known.learn(entry.row, entry.codes());
            }
        }
        Ok(())
    }

    /// The first rows of a list by a score, in order, each with the pick that it is; keys that do not decide which these are, are
    /// settled for them alone.
    pub(crate) fn best_rows(&mut self, score: RowScore, list: List) -> Result<Vec<(Entry, Pick)>> {
        if list.keep == 0 {
            return Ok(Vec::new());
        }
        let keep = list.keep;
        let First { certain, doubtful } = list.first(keep, |_| true);
        drop(list);
        let (mut first, mut doubtful) = (certain, doubtful);
        self.settle_row_slots(score, &mut doubtful)?;
        doubtful.sort_unstable_by(Slot::order);
        doubtful.truncate(keep - first.len());
        first.append(&mut doubtful);
        let mut picks = self.row_picks(score, &first)?;
        picks.sort_unstable_by(|(a, _), (b, _)| a.order(b));
        Ok(picks)
    }

    /// The picks that rows would be, each with its entry settled.
    pub(crate) fn row_picks(
        &mut self,
        score: RowScore,
        slots: &[Slot],
    ) -> Result<Vec<(Entry, Pick)>> {
        let open = slots.iter().filter(|slot| !slot.is_settled());
        self.selection.settled += open.count() as u64;
        let mut picks = Vec::with_capacity(slots.len());
        for slots in slots.chunks(self.fetched) {
            let entries = self.entries(slots);
            let rows = self.embeddings(slots.iter().map(|slot| slot.row))?;
            let pieces = entries.par_chunks(TOGETHER).zip(rows.par_chunks(TOGETHER));
            picks.par_extend(pieces.flat_map_iter(|(entries, rows)| {
                let rows: Vec<&[f32]> = rows.iter().map(|x| &x[..]).collect();
                self.settler.row_picks(score, entries, &rows)
            }));
        }
        Ok(picks)
    }

    /// What is known of rows in lists.
    pub(crate) fn entries<'s>(&self, slots: impl IntoIterator<Item = &'s Slot>) -> Vec<Entry> {
        let slots = slots.into_iter();
        slots.map(|slot| self.known.entry(slot)).collect()
    }

    /// The embeddings of some rows, no more than are fetched at a time.
    fn embeddings(&self, rows: impl Iterator<Item = usize>) -> Result<Vec<Cow<'a, [f32]>>> {
        let rows: Vec<usize> = rows.collect();
        self.request.pool.embeddings(&rows)
    }

    /// Adds a block's candidates to their classes' lists.
    pub(crate) fn add_candidates(&mut self, answer: &Answer, lists: &mut [List]) -> Result<()> {
        let (start, parts) = (answer.start, &answer.candidates);
        lists.iter_mut().for_each(List::begin_block);
        let before = self.known.len();
        for part in parts {
            let rows = part.rows().iter();
            self.known
                .extend(rows.map(|(row, codes)| (start + *row as usize, *codes)));
        }
        let whole = parts.iter().flat_map(|part| part.whole());
        let mut whole: Vec<usize> = whole.map(|row| start + *row as usize).collect();
        if !whole.is_empty() {
            whole.sort_unstable();
            self.known
                .extend(whole.iter().map(|row| (*row, Codes::NONE)));
            self.known.sort_from(before);
            self.add_whole(&whole, lists)?;
        }
        let add = |(chunk, lists): (usize, &mut [List])| {
            let mut stopped = [None; LISTS_TOGETHER];
            for (number, part) in parts.iter().enumerate() {
                // Neighbours' places are beside each other.
                let classes = chunk * LISTS_TOGETHER..;
                for ((class, list), stopped) in classes.zip(&mut *lists).zip(&mut stopped) {
                    let places = part.of_class(class);
                    if stopped.is_none() && !places.is_empty() {
                        let added = list.extend(start, places);
                        *stopped = (added < places.len()).then_some((class, number, added));
                    }
                }
            }
            lists.iter_mut().for_each(List::narrow);
            stopped.into_iter().flatten()
        };
        let chunks = lists.par_chunks_mut(LISTS_TOGETHER).enumerate();
        // Class, part and place where a list has to be settled before it can go on.
        let stopped: Vec<(usize, usize, usize)> = chunks.flat_map_iter(add).collect();
        for (class, number, added) in stopped {
            let list = &mut lists[class];
            let mut skipped = added;
            for part in &parts[number..] {
                let mut places = &part.of_class(class)[skipped..];
                while !places.is_empty() {
                    match list.extend(start, places) {
                        0 => self.settle_list(class, list)?,
                        added => places = &places[added..],
                    }
                }
                skipped = 0;
            }
            list.narrow();
        }
        for (class, list) in lists.iter_mut().enumerate() {
            if list.is_crowded() {
                self.settle_list(class, list)?;
            }
        }
        self.known.prune(lists);
        Ok(())
    }

    /// Settles the rows about which the bounds say nothing, ascending, for every class.
    fn add_whole(&mut self, rows: &[usize], lists: &mut [List]) -> Result<()> {
        self.selection.settled += rows.len() as u64;
        for rows in rows.chunks(whole(self.fetched, self.head)) {
            let embeddings = self.embeddings(rows.iter().copied())?;
            let settler = &self.settler;
            let settle = |embeddings: &[Cow<'_, [f32]>]| {
                let exact = settler.sums.exact_rows(embeddings.iter().map(|x| &x[..]));
                let scores = exact.into_iter().map(|row| {
                    let distances = settler.sums.distances(&row);
                    let codes = Codes {
                        predicted: row.predicted as u32,
                        runner_up: runner_up_of(&distances, row.predicted),
                        rival: NO_CLASS,
                    };
                    (codes, definition::base(&distances, row.predicted))
                });
                scores.collect::<Vec<_>>()
            };
            let together = rows
                .len()
                .div_ceil(rayon::current_num_threads())
                .min(TOGETHER);
            let settled = embeddings.par_chunks(together).flat_map_iter(settle);
            let settled: Vec<(Codes, Vec<f64>)> = settled.collect();
            for (row, (codes, scores)) in rows.iter().zip(settled) {
                self.known.learn(*row, codes);
                for (class, score) in scores.into_iter().enumerate() {
                    let slot = Slot {
                        lower: score,
                        upper: score,
                        row: *row,
                    };
                    if !lists[class].push(slot) {
                        self.settle_list(class, &mut lists[class])?;
                        lists[class].push(slot);
                    }
                }
            }
        }
        Ok(())
    }

    /// Settles every entry of a class's list and puts those that stay in order.
    pub(crate) fn settle_list(&mut self, class: usize, list: &mut List) -> Result<()> {
        self.settle_slots(class, &mut list.entries)?;
        list.sort();
        Ok(())
    }

    /// Settles rows of a class's list.
    pub(crate) fn settle_slots(&mut self, class: usize, slots: &mut [Slot]) -> Result<()> {
        let mut open: Vec<&mut Slot> = slots.iter_mut().filter(|slot| !slot.is_settled()).collect();
        for open in open.chunks_mut(self.fetched) {
            let entries = open.iter().map(|slot| (class, self.known.entry(slot)));
            let entries = self.settle(entries.collect())?;
            for (slot, (_, entry)) in open.iter_mut().zip(&entries) {
                **slot = entry.slot();
                self.known.learn(entry.row, entry.codes());
            }
        }
        Ok(())
    }

    /// Entries of some classes with their keys known, in their order.
    pub(crate) fn settle(&mut self, entries: Vec<(usize, Entry)>) -> Result<Vec<(usize, Entry)>> {
        let mut entries = entries;
        let open = self.complete(&mut entries, Entry::is_settled, Wanted::Score)?;
        self.selection.settled += open;
        Ok(entries)
    }

    /// Settled entries of some classes with predicted class and runner-up known.
    pub(crate) fn described(
        &self,
        mut entries: Vec<(usize, Entry)>,
    ) -> Result<Vec<(usize, Entry)>> {
        self.complete(&mut entries, Entry::is_described, Wanted::Description)?;
        Ok(entries)
    }

    /// Settles what is `wanted` of a class's entries, where they are not `done`; returns how many there were.
    fn complete(
        &self,
        entries: &mut [(usize, Entry)],
        done: impl Fn(&Entry) -> bool,
        wanted: impl Fn(usize) -> Wanted + Sync,
    ) -> Result<u64> {
        let open = entries.iter_mut().filter(|(_, entry)| !done(entry));
        let mut open: Vec<Open<'_>> = open.collect();
        let complete = |(open, rows): (&mut [Open<'_>], &[Cow<'_, [f32]>])| {
            let of_open = open.iter().zip(rows);
            let of_open = of_open.map(|(open, x)| (&x[..], wanted(open.0), open.1));
            let settled = self.settler.settle(of_open);
            for (open, settled) in open.iter_mut().zip(settled) {
                open.1 = settled;
            }
        };
        for open in open.chunks_mut(self.fetched) {
            let rows = self.embeddings(open.iter().map(|(_, entry)| entry.row))?;
            match open.len() <= FEW {
                true => complete((open, &rows)),
                false => {
                    let rows = rows.par_chunks(TOGETHER);
                    open.par_chunks_mut(TOGETHER).zip(rows).for_each(complete);
                }
            }
        }
        Ok(open.len() as u64)
    }

    pub(crate) fn note_nonfinite(&mut self, rows: &[usize]) -> Result<()> {
        match (self.request.nonfinite, rows.first()) {
            (_, None) => Ok(()),
            (Nonfinite::Refuse, Some(row)) => Err(Error::NonFiniteRow { row: *row }),
            (Nonfinite::Skip, Some(row)) => {
                let known = &mut self.selection.nonfinite;
                let is_first = known.last() < Some(row);
                known.extend(rows);
                if !is_first {
                    // The pool is read again.
                    known.sort_unstable();
                    known.dedup();
                }
                Ok(())
            }
        }
    }
}

/// Per list, the key that rows must lie below; `None` while every row is welcome.
fn limits(lists: &[List]) -> Vec<Option<f64>> {
    let limit = |list: &List| match list.keep {
        0 => Some(f64::NEG_INFINITY),
        _ => list.limit(),
    };
    lists.iter().map(limit).collect()
}
