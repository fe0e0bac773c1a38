//! What came of a block goes into lists, which are settled where they do not hold it otherwise.

use std::borrow::Cow;

use rayon::prelude::*;

use super::Exact;
use super::memory::whole;
use crate::Result;
use crate::candidates::Codes;
use crate::definition::{self, RowScore};
use crate::engine::{Answer, CustomScore, NO_CLASS, Scorer, UNDECIDABLE};
use crate::exact_sums::TOGETHER;
use crate::interval::key_interval;
use crate::lists::{List, Slot};
use crate::settle::runner_up_of;

/// Classes whose lists a thread fills at a time.
const LISTS_TOGETHER: usize = 16;

/// Rows whose statistics are turned into entries at a time.
pub(super) const LOOKED_AT: usize = 4096;

impl Exact<'_> {
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
}

/// Per list, the key that rows must lie below; `None` while every row is welcome.
fn limits(lists: &[List]) -> Vec<Option<f64>> {
    let limit = |list: &List| match list.keep {
        0 => Some(f64::NEG_INFINITY),
        _ => list.limit(),
    };
    lists.iter().map(limit).collect()
}
