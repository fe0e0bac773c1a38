//! The exact side of a scan: an answer's bounds go into lists, and float64 settles those on which a
//! pick depends.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::candidates::Codes;
use crate::custom_score::ordered;
use crate::definition::{self, RowScore};
use crate::engine::{Answer, CustomScore, NO_CLASS, Scorer, UNDECIDABLE};
use crate::exact_sums::{ExactRow, TOGETHER};
use crate::interval::key_interval;
use crate::known::{Entry, Known};
use crate::lists::{List, Slot};
use crate::pool::FETCHED;
use crate::settle::{Settler, Wanted, pick, runner_up_of};
use crate::strategies::{Nonfinite, Request, Selection};
use crate::{Error, Head, Pick, Result, RowSet};

/// Entries that one thread settles before others are awake.
const FEW: usize = 4 * TOGETHER;

/// Classes whose lists a thread fills at a time.
const LISTS_TOGETHER: usize = 16;

/// A place for what completes it.
type Open<'e> = &'e mut (usize, Entry);

/// The exact side of a scan, and what it counts.
pub(crate) struct Exact<'a> {
    pub(crate) request: &'a Request<'a>,
    pub(crate) head: &'a Head,
    settler: Settler<'a>,
    /// What is known of the rows in lists.
    pub(crate) known: Known,
    /// Rows left out, settled scores, retries and refills; the picks come last.
    pub(crate) selection: Selection,
}

impl<'a> Exact<'a> {
    pub(crate) fn new(request: &'a Request<'a>, head: &'a Head, selection: Selection) -> Self {
        Self {
            request,
            head,
            settler: Settler::new(head),
            known: Known::new(),
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
        let limits = limits(lists);
        let entries = (answer.statistics.par_iter().enumerate()).filter_map(|(index, known)| {
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
            let row = answer.start + index;
            let limit = limits[group(row)];
            let slot = Slot { lower, upper, row };
            limit
                .is_none_or(|limit| lower < limit)
                .then_some((slot, codes))
        });
        let entries: Vec<(Slot, Codes)> = entries.collect();
        for (slot, _) in &entries {
            lists[group(slot.row)].push(*slot);
        }
        let known = entries.iter().map(|(slot, codes)| (slot.row, *codes));
        self.known.extend(known);
        for list in &mut *lists {
            list.narrow();
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
        let limits = limits(lists);
        for (index, found) in answer.keys.iter().enumerate() {
            let (lower, upper) = match found.tolerance {
                // Not those that are unavailable, or not finite.
                tolerance if tolerance < 0.0 => continue,
                UNDECIDABLE.. => (f64::NEG_INFINITY, f64::INFINITY),
                tolerance => rounding.interval(found.key, steepness * f64::from(tolerance)),
            };
            let row = answer.start + index;
            let limit = limits[group(row)];
            if limit.is_none_or(|limit| lower < limit) {
                lists[group(row)].push(Slot { lower, upper, row });
            }
        }
        for list in lists {
            list.narrow();
            if list.is_crowded() {
                let picks = self.key_picks(score, &self.entries(&list.entries))?;
                list.replace(picks.iter().map(|(entry, _)| entry.slot()).collect());
            }
        }
        Ok(())
    }

    /// The picks that `entries` would be by a score of somebody's own, each with its entry settled.
    ///
    /// # Errors
    /// [`Error::ScoreBounds`] where a key is not within its bounds.
    pub(crate) fn key_picks(
        &mut self,
        score: &dyn CustomScore,
        entries: &[Entry],
    ) -> Result<Vec<(Entry, Pick)>> {
        let open = entries.iter().filter(|entry| !entry.is_settled());
        self.selection.settled += open.count() as u64;
        let sums = &self.settler.sums;
        let mut picks = Vec::with_capacity(entries.len());
        for entries in entries.chunks(FETCHED) {
            let rows = self.embeddings(entries.iter().map(|entry| entry.row))?;
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
        let (mut settled, open): (Vec<Slot>, Vec<Slot>) =
            list.entries.iter().partition(|slot| slot.is_settled());
        let picks = self.row_picks(score, &self.entries(&open))?;
        settled.extend(picks.iter().map(|(entry, _)| entry.slot()));
        list.replace(settled);
        Ok(())
    }

    /// The picks that `entries` would be, each with its entry settled.
    pub(crate) fn row_picks(
        &mut self,
        score: RowScore,
        entries: &[Entry],
    ) -> Result<Vec<(Entry, Pick)>> {
        let open = entries.iter().filter(|entry| !entry.is_settled());
        self.selection.settled += open.count() as u64;
        let mut picks = Vec::with_capacity(entries.len());
        for entries in entries.chunks(FETCHED) {
            let rows = self.embeddings(entries.iter().map(|entry| entry.row))?;
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

    /// The embeddings of some rows, no more than [`FETCHED`].
    fn embeddings(&self, rows: impl Iterator<Item = usize>) -> Result<Vec<Cow<'a, [f32]>>> {
        let rows: Vec<usize> = rows.collect();
        self.request.pool.embeddings(&rows)
    }

    /// Adds a block's candidates to their classes' lists.
    pub(crate) fn add_candidates(&mut self, answer: &Answer, lists: &mut [List]) -> Result<()> {
        let in_pool = |row: u32| answer.start + row as usize;
        let parts = answer.candidates.iter();
        let known = parts.flat_map(|part| part.rows());
        let mut known: Vec<(usize, Codes)> =
            known.map(|(row, codes)| (in_pool(*row), *codes)).collect();
        let parts = answer.candidates.iter();
        let mut whole: Vec<usize> = parts
            .flat_map(|part| part.whole())
            .map(|row| in_pool(*row))
            .collect();
        if !whole.is_empty() {
            known.extend(self.add_whole(&mut whole, lists)?);
            known.sort_unstable_by_key(|(row, _)| *row);
        }
        self.known.extend(known);
        let add = |(chunk, lists): (usize, &mut [List])| {
            for part in &answer.candidates {
                // Neighbours' places are beside each other.
                for (class, list) in (chunk * LISTS_TOGETHER..).zip(&mut *lists) {
                    list.extend(answer.start, part.of_class(class));
                }
            }
            lists.iter_mut().for_each(List::narrow);
        };
        let chunks = lists.par_chunks_mut(LISTS_TOGETHER).enumerate();
        chunks.for_each(add);
        for (class, list) in lists.iter_mut().enumerate() {
            if list.is_crowded() {
                self.settle_list(class, list)?;
            }
        }
        self.known.prune(lists);
        Ok(())
    }

    /// Settles the rows about which the bounds say nothing, for every class; returns what is known of them then,
    /// ascending by row.
    fn add_whole(&mut self, rows: &mut [usize], lists: &mut [List]) -> Result<Vec<(usize, Codes)>> {
        rows.sort_unstable();
        self.selection.settled += rows.len() as u64;
        let settler = &self.settler;
        let limits = limits(lists);
        let settle = |(rows, embeddings): (&[usize], &[Cow<'_, [f32]>])| {
            let exact = settler.sums.exact_rows(embeddings.iter().map(|x| &x[..]));
            let (mut found, mut known) = (Vec::new(), Vec::with_capacity(rows.len()));
            for (row, exact) in rows.iter().zip(&exact) {
                let distances = settler.sums.distances(exact);
                let codes = Codes {
                    predicted: exact.predicted as u32,
                    runner_up: runner_up_of(&distances, exact.predicted),
                    rival: NO_CLASS,
                };
                known.push((*row, codes));
                let scores = definition::base(&distances, exact.predicted);
                for (class, (score, limit)) in scores.into_iter().zip(&limits).enumerate() {
                    if limit.is_none_or(|limit| score < limit) {
                        let slot = Slot {
                            lower: score,
                            upper: score,
                            row: *row,
                        };
                        found.push((class, slot));
                    }
                }
            }
            (found, known)
        };
        let mut known = Vec::with_capacity(rows.len());
        for rows in rows.chunks(FETCHED) {
            let embeddings = self.embeddings(rows.iter().copied())?;
            let pieces = rows
                .par_chunks(TOGETHER)
                .zip(embeddings.par_chunks(TOGETHER));
            for (found, of_piece) in pieces.map(settle).collect::<Vec<_>>() {
                known.extend(of_piece);
                for (class, slot) in found {
                    lists[class].push(slot);
                }
            }
        }
        Ok(known)
    }

    /// Settles every entry of a class's list and puts it in order; returns those that stay.
    pub(crate) fn settle_list(&mut self, class: usize, list: &mut List) -> Result<Vec<Entry>> {
        let entries = self.entries(&list.entries);
        let settled = self.settle(entries.into_iter().map(|entry| (class, entry)).collect())?;
        let mut settled: Vec<Entry> = settled.into_iter().map(|(_, entry)| entry).collect();
        list.replace(settled.iter().map(Entry::slot).collect());
        settled.sort_unstable_by(Entry::order);
        settled.truncate(list.keep);
        Ok(settled)
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
        for open in open.chunks_mut(FETCHED) {
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
            (Nonfinite::Skip, Some(_)) => {
                // A pool may be read twice.
                self.selection.nonfinite.extend(rows);
                self.selection.nonfinite.sort_unstable();
                self.selection.nonfinite.dedup();
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
