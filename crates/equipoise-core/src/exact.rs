//! The exact side of a scan: an answer's bounds go into lists, and float64 settles those on which a
//! pick depends.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::custom_score::ordered;
use crate::definition::{self, RowScore};
use crate::engine::{
    ALL_CLASSES, Answer, Candidate, CustomScore, NO_CLASS, Scorer, UNDECIDABLE, UNREACHABLE,
};
use crate::exact_sums::{ExactRow, TOGETHER};
use crate::interval::key_interval;
use crate::lists::{Entry, List};
use crate::pool::FETCHED;
use crate::settle::{Settler, pick, runner_up_of};
use crate::strategies::{Nonfinite, Request, Selection};
use crate::{Error, Head, Pick, Result, RowSet};

/// Most threads that read a block's candidates, each all of them.
const MOST_READERS: usize = 16;

/// An entry to complete: its embedding, and the class it is of.
type Wanted<'x> = (&'x [f32], usize, Entry);

/// A place for what completes it.
type Open<'e> = &'e mut (usize, Entry);

/// The exact side of a scan, and what it counts.
pub(crate) struct Exact<'a> {
    pub(crate) request: &'a Request<'a>,
    pub(crate) head: &'a Head,
    settler: Settler<'a>,
    /// Rows left out, settled scores, retries and refills; the picks come last.
    pub(crate) selection: Selection,
}

impl<'a> Exact<'a> {
    pub(crate) fn new(request: &'a Request<'a>, head: &'a Head, selection: Selection) -> Self {
        Self {
            request,
            head,
            settler: Settler::new(head),
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
            let (predicted, runner_up, rival) = match known.tolerance >= UNDECIDABLE {
                true => (NO_CLASS, NO_CLASS, NO_CLASS),
                false => (known.predicted, known.runner_up, known.rival),
            };
            let row = answer.start + index;
            let limit = limits[group(row)];
            limit.is_none_or(|limit| lower < limit).then_some(Entry {
                lower,
                upper,
                row,
                predicted,
                runner_up,
                rival,
            })
        });
        for entry in entries.collect::<Vec<_>>() {
            lists[group(entry.row)].push(entry);
        }
        for list in lists {
            list.narrow();
            if list.is_crowded() {
                self.settle_rows(score, list)?;
            }
        }
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
                lists[group(row)].push(Entry {
                    lower,
                    upper,
                    row,
                    predicted: NO_CLASS,
                    runner_up: NO_CLASS,
                    rival: NO_CLASS,
                });
            }
        }
        for list in lists {
            list.narrow();
            if list.is_crowded() {
                let picks = self.key_picks(score, &list.entries)?;
                list.replace(picks.into_iter().map(|(entry, _)| entry).collect());
            }
        }
        Ok(())
    }

    /// The picks that `entries` would be by a score of somebody's own, each with its entry settled.
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
        }
        Ok(picks)
    }

    /// Settles a list of rows and puts it in order.
    fn settle_rows(&mut self, score: RowScore, list: &mut List) -> Result<()> {
        let (mut settled, open): (Vec<Entry>, Vec<Entry>) =
            list.entries.iter().partition(|entry| entry.is_settled());
        let picks = self.row_picks(score, &open)?;
        settled.extend(picks.into_iter().map(|(entry, _)| entry));
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

    /// The embeddings of some rows, no more than [`FETCHED`].
    fn embeddings(&self, rows: impl Iterator<Item = usize>) -> Result<Vec<Cow<'a, [f32]>>> {
        let rows: Vec<usize> = rows.collect();
        self.request.pool.embeddings(&rows)
    }

    /// Adds a block's candidates to their classes' lists.
    pub(crate) fn add_candidates(&mut self, answer: &Answer, lists: &mut [List]) -> Result<()> {
        let whole = answer.candidates.par_iter().flat_map_iter(|list| {
            let whole = list.iter().filter(|c| c.class == ALL_CLASSES);
            whole.map(|c| answer.start + c.row as usize)
        });
        let mut whole: Vec<usize> = whole.collect();
        if !whole.is_empty() {
            self.add_whole(&mut whole, lists)?;
        }
        // Every thread reads all candidates and takes those of its own classes.
        let threads = rayon::current_num_threads().min(MOST_READERS);
        let width = lists.len().div_ceil(threads).max(1);
        let add = |(index, lists): (usize, &mut [List])| {
            for candidate in answer.candidates.iter().flatten() {
                let class = (candidate.class as usize).wrapping_sub(index * width);
                if let Some(list) = lists.get_mut(class) {
                    list.push(entry(answer.start, candidate));
                }
            }
            lists.iter_mut().for_each(List::narrow);
        };
        lists.par_chunks_mut(width).enumerate().for_each(add);
        for (class, list) in lists.iter_mut().enumerate() {
            if list.is_crowded() {
                self.settle_list(class, list)?;
            }
        }
        Ok(())
    }

    /// Settles the rows about which the bounds say nothing, for every class.
    fn add_whole(&mut self, rows: &mut [usize], lists: &mut [List]) -> Result<()> {
        rows.sort_unstable();
        self.selection.settled += rows.len() as u64;
        let settler = &self.settler;
        let limits = limits(lists);
        let settle = |(rows, embeddings): (&[usize], &[Cow<'_, [f32]>])| {
            let exact = settler.sums.exact_rows(embeddings.iter().map(|x| &x[..]));
            let mut found = Vec::new();
            for (row, exact) in rows.iter().zip(&exact) {
                let distances = settler.sums.distances(exact);
                let runner_up = runner_up_of(&distances, exact.predicted);
                let scores = definition::base(&distances, exact.predicted);
                for (class, (score, limit)) in scores.into_iter().zip(&limits).enumerate() {
                    if limit.is_none_or(|limit| score < limit) {
                        let entry = Entry {
                            lower: score,
                            upper: score,
                            row: *row,
                            predicted: exact.predicted as u32,
                            runner_up,
                            rival: NO_CLASS,
                        };
                        found.push((class, entry));
                    }
                }
            }
            found
        };
        for rows in rows.chunks(FETCHED) {
            let embeddings = self.embeddings(rows.iter().copied())?;
            let pieces = rows
                .par_chunks(TOGETHER)
                .zip(embeddings.par_chunks(TOGETHER));
            let found: Vec<(usize, Entry)> = pieces.flat_map_iter(settle).collect();
            for (class, entry) in found {
                lists[class].push(entry);
            }
        }
        Ok(())
    }

    /// Settles every entry of a class's list and puts it in order.
    pub(crate) fn settle_list(&mut self, class: usize, list: &mut List) -> Result<()> {
        let entries = list.entries.iter().map(|entry| (class, *entry));
        let settled = self.settle(entries.collect())?;
        list.replace(settled.into_iter().map(|(_, entry)| entry).collect());
        Ok(())
    }

    /// Entries of some classes with their keys known, in their order.
    pub(crate) fn settle(&mut self, entries: Vec<(usize, Entry)>) -> Result<Vec<(usize, Entry)>> {
        let mut entries = entries;
        let settle = |wanted: &[Wanted<'_>]| self.settler.settle_several(wanted);
        let open = self.complete(&mut entries, Entry::is_settled, settle)?;
        self.selection.settled += open;
        Ok(entries)
    }

    /// Settled entries of some classes with predicted class and runner-up known.
    pub(crate) fn described(
        &self,
        mut entries: Vec<(usize, Entry)>,
    ) -> Result<Vec<(usize, Entry)>> {
        let describe = |wanted: &[Wanted<'_>]| {
            let described = wanted.iter();
            described
                .map(|(x, class, entry)| self.settler.describe(x, *class, entry))
                .collect()
        };
        self.complete(&mut entries, Entry::is_described, describe)?;
        Ok(entries)
    }

    /// Has `complete` look at the rows of the entries that are not `done`; returns how many there were.
    fn complete(
        &self,
        entries: &mut [(usize, Entry)],
        done: impl Fn(&Entry) -> bool,
        complete: impl Fn(&[Wanted<'_>]) -> Vec<Entry> + Sync,
    ) -> Result<u64> {
        let open = entries.iter_mut().filter(|(_, entry)| !done(entry));
        let mut open: Vec<Open<'_>> = open.collect();
        let complete = |(open, rows): (&mut [Open<'_>], &[Cow<'_, [f32]>])| {
            let wanted = open.iter().zip(rows);
            let wanted: Vec<Wanted<'_>> =
                wanted.map(|(open, x)| (&x[..], open.0, open.1)).collect();
            for (open, completed) in open.iter_mut().zip(complete(&wanted)) {
                open.1 = completed;
            }
        };
        for open in open.chunks_mut(FETCHED) {
            let rows = self.embeddings(open.iter().map(|(_, entry)| entry.row))?;
            // Waking other threads takes longer than a few entries.
            match open.len() <= TOGETHER {
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

fn entry(start: usize, candidate: &Candidate) -> Entry {
    Entry {
        lower: reachable(candidate.lower),
        upper: reachable(candidate.upper),
        row: start + candidate.row as usize,
        predicted: candidate.predicted,
        runner_up: candidate.runner_up,
        rival: candidate.rival,
    }
}

/// A device's distance, with its sentinel turned back into +∞.
pub(crate) fn reachable(distance: f32) -> f64 {
    match distance >= UNREACHABLE {
        true => f64::INFINITY,
        false => f64::from(distance),
    }
}
