//! The exact side of a scan: an answer's bounds go into lists ([`fill`]), and float64 settles those on which a
//! pick depends.

mod fill;
mod memory;

use std::borrow::Cow;

pub(crate) use memory::bytes;
use memory::fetched;
use rayon::prelude::*;

use crate::custom_score::ordered;
use crate::definition::RowScore;
use crate::engine::CustomScore;
use crate::exact_sums::{ExactRow, TOGETHER};
use crate::known::{Entry, Known};
use crate::lists::{First, List, Slot};
use crate::settle::{Settler, Wanted, pick, runner_up_of};
use crate::strategies::{Nonfinite, Request, Selection};
use crate::{Error, Head, Pick, Result, RowSet};

/// Entries that one thread settles before others are awake.
const FEW: usize = 4 * TOGETHER;

/// A place for what completes it.
type Open<'e> = &'e mut (usize, Entry);

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
                if known.bound() <= *row {
                    *known = RowSet::none(self.request.pool.rows());
                }
                for row in rows {
                    known.insert(*row);
                }
                Ok(())
            }
        }
    }
}
