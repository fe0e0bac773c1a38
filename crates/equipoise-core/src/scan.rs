//! One pass over the pool: an engine's bounds, kept in lists, and settled in float64 where a pick
//! depends on it.
//!
//! Blocks are read in ascending order of rows, several in flight. Lists hold bounds; a row is out once its
//! lower bound reaches the limit of what it might enter, because later rows lose ties. A list that the
//! bounds leave crowded is settled, so that no list outgrows twice what it must hold.

use std::collections::VecDeque;

use rayon::prelude::*;

use crate::definition::{self, RowScore};
use crate::engine::{
    ALL_CLASSES, Answer, Candidate, NO_CLASS, Question, Scorer, UNDECIDABLE, UNREACHABLE,
};
use crate::interval::key_interval;
use crate::lists::{Entry, List};
use crate::settle::{Settler, pool_embedding, runner_up_of};
use crate::strategies::{Nonfinite, Request, Selection};
use crate::{Engine, Error, Head, Pick, Result, RowSet};

/// Rows of the first block: lists are empty, and nearly every row is a candidate of every class.
const FIRST_ROWS: std::ops::RangeInclusive<usize> = 16..=512;

/// Candidates of the first block, within [`FIRST_ROWS`].
const FIRST_CANDIDATES: usize = 1 << 18;

/// Unavailable rows in a row that are worth ending a block for, so that they are not read.
const GAP_ROWS: usize = 4096;

/// Rows about which the bounds say nothing that are settled together.
const WHOLE_ROWS: usize = 16;

/// Passes over one pool with one head: an engine's scorer, and what settles its bounds.
pub(crate) struct Scan<'a> {
    engine: &'a dyn Engine,
    scorer: Box<dyn Scorer + 'a>,
    pub(crate) exact: Exact<'a>,
}

/// The exact side of a scan, and what it counts.
pub(crate) struct Exact<'a> {
    request: &'a Request<'a>,
    head: &'a Head,
    settler: Settler<'a>,
    /// Rows left out, settled scores, retries and refills; the picks come last.
    pub(crate) selection: Selection,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(
        engine: &'a dyn Engine,
        request: &'a Request<'a>,
        head: &'a Head,
    ) -> Result<Self> {
        let mut selection = Selection::default();
        let (engine, scorer) = open(engine, request, head, &mut selection)?;
        Ok(Self {
            engine,
            scorer,
            exact: Exact {
                request,
                head,
                settler: Settler::new(head),
                selection,
            },
        })
    }

    /// The `keep` rows of `available` with the smallest keys, in order, each with its key; and whether
    /// there may be more rows.
    pub(crate) fn best_rows(
        &mut self,
        score: RowScore,
        available: &RowSet,
        keep: usize,
    ) -> Result<(Vec<(Entry, Pick)>, bool)> {
        let mut list = List::new(keep);
        self.blocks(available, |exact, scorer, answer| match answer {
            None => Ok(Asked::RowStatistics),
            Some(answer) => {
                exact.add_statistics(score, scorer, answer, &mut list)?;
                Ok(Asked::RowStatistics)
            }
        })?;
        let mut picks = self.exact.row_picks(score, &list.entries)?;
        picks.sort_unstable_by(|(a, _), (b, _)| a.order(b));
        picks.truncate(keep);
        Ok((picks, list.is_full()))
    }

    /// Per class, a list of the `keep[class]` rows of `available` with the smallest BASE scores.
    pub(crate) fn class_lists(&mut self, available: &RowSet, keep: &[usize]) -> Result<Vec<List>> {
        let mut lists: Vec<List> = keep.iter().map(|keep| List::new(*keep)).collect();
        self.blocks(available, |exact, _, answer| {
            if let Some(answer) = answer {
                exact.add_candidates(answer, &mut lists)?;
            }
            let thresholds = lists.iter().map(List::threshold).collect();
            Ok(Asked::ClassCandidates { thresholds })
        })?;
        Ok(lists)
    }

    /// Scores the available rows in ascending blocks, leaving out long stretches without any. `visit` is shown each block's answer and says
    /// what to ask of the next block.
    fn blocks(
        &mut self,
        available: &RowSet,
        mut visit: impl FnMut(&mut Exact<'a>, &dyn Scorer, Option<&Answer>) -> Result<Asked>,
    ) -> Result<()> {
        let rows = self.exact.request.pool.rows();
        let mut blocks = Blocks {
            next: available.first_from(0),
            flying: VecDeque::new(),
            size: self.exact.first_rows(),
            most: usize::MAX,
            tried: 0,
        };
        let mut answer = Answer::default();
        let mut asked = visit(&mut self.exact, self.scorer.as_ref(), None)?;
        while blocks.next < rows || !blocks.flying.is_empty() {
            let done = self.step(&mut blocks, available, &asked, &mut answer);
            match done {
                Ok(false) => {}
                Ok(true) => {
                    self.exact.note_nonfinite(&answer.nonfinite)?;
                    asked = visit(&mut self.exact, self.scorer.as_ref(), Some(&answer))?;
                    (self.exact.request.progress)(answer.rows as u64);
                }
                Err(error) => self.recover(error, &mut blocks)?,
            }
            blocks.next = available.first_from(blocks.next);
        }
        Ok(())
    }

    /// Submits a block if there is room for one, or collects the oldest: true where `answer` holds it.
    fn step(
        &mut self,
        blocks: &mut Blocks,
        available: &RowSet,
        asked: &Asked,
        answer: &mut Answer,
    ) -> Result<bool> {
        let pool = self.exact.request.pool;
        let room = blocks.flying.len() < self.scorer.depth();
        if room && blocks.next < pool.rows() {
            let most = self.scorer.max_rows().min(blocks.most).max(1);
            let size = available.stretch(blocks.next, blocks.size.min(most), GAP_ROWS);
            blocks.tried = size;
            let question = asked.question();
            let taken = self.scorer.submit(blocks.next, size, available, question)?;
            if taken == 0 {
                return Err(Error::Read {
                    row: blocks.next,
                    message: "the pool gave no row".into(),
                });
            }
            blocks.flying.push_back((blocks.next, taken));
            blocks.next += taken;
            blocks.size = (blocks.size * 2).min(most);
            return Ok(false);
        }
        self.scorer.collect(answer)?;
        let (start, taken) = blocks.flying.pop_front().unwrap_or_default();
        if !answer.overflow {
            return Ok(true);
        }
        if taken == 1 {
            return Err(Error::Device {
                device: self.engine.name().into(),
                message: "its list does not hold one row's candidates".into(),
            });
        }
        self.exact.selection.retries += 1;
        self.scorer.discard();
        blocks.again(start);
        blocks.size = taken / 2;
        Ok(false)
    }

    /// Goes on after a failure, with smaller blocks or another engine, from the oldest block that was
    /// not collected; nothing of those in flight was used.
    fn recover(&mut self, error: Error, blocks: &mut Blocks) -> Result<()> {
        let flying = blocks.flying.front();
        let start = flying.map_or(blocks.next, |(start, _)| *start);
        let smaller = match error {
            Error::OutOfMemory { .. } => blocks.tried / 2,
            Error::Device { .. } => 0,
            error => return Err(error),
        };
        self.scorer.discard();
        blocks.again(start);
        if smaller > 0 {
            (blocks.most, blocks.size) = (smaller, smaller);
            self.exact.selection.retries += 1;
            return Ok(());
        }
        let Some(next) = self.engine.fallback() else {
            return Err(error);
        };
        let (request, head) = (self.exact.request, self.exact.head);
        self.exact.selection.fallbacks.push(error.to_string());
        (self.engine, self.scorer) = open(next, request, head, &mut self.exact.selection)?;
        (blocks.most, blocks.size) = (usize::MAX, self.exact.first_rows());
        Ok(())
    }
}

/// The first engine, of `engine` and those it falls back on, that makes a scorer.
fn open<'a>(
    mut engine: &'a dyn Engine,
    request: &'a Request<'a>,
    head: &'a Head,
    selection: &mut Selection,
) -> Result<(&'a dyn Engine, Box<dyn Scorer + 'a>)> {
    loop {
        match (engine.scorer(head, request.pool), engine.fallback()) {
            (Ok(scorer), _) => return Ok((engine, scorer)),
            (Err(error @ (Error::Device { .. } | Error::OutOfMemory { .. })), Some(next)) => {
                selection.fallbacks.push(error.to_string());
                engine = next;
            }
            (Err(error), _) => return Err(error),
        }
    }
}

/// What to ask of the next block.
enum Asked {
    RowStatistics,
    ClassCandidates { thresholds: Vec<f32> },
}

impl Asked {
    fn question(&self) -> Question<'_> {
        match self {
            Asked::RowStatistics => Question::RowStatistics,
            Asked::ClassCandidates { thresholds } => Question::ClassCandidates { thresholds },
        }
    }
}

/// Where a pass is.
struct Blocks {
    /// The first available row not submitted.
    next: usize,
    /// First rows and sizes of the blocks in flight, oldest first.
    flying: VecDeque<(usize, usize)>,
    /// Rows of the next block; doubles up to the most.
    size: usize,
    /// Most rows, since memory ran out with more.
    most: usize,
    /// Rows last asked for.
    tried: usize,
}

impl Blocks {
    /// Forgets what is in flight and goes back to `start`.
    fn again(&mut self, start: usize) {
        self.flying.clear();
        self.next = start;
    }
}

impl Exact<'_> {
    fn first_rows(&self) -> usize {
        let (least, most) = FIRST_ROWS.into_inner();
        (FIRST_CANDIDATES / self.head.classes()).clamp(least, most)
    }

    /// The rows that may be picked.
    pub(crate) fn available(&self) -> &RowSet {
        self.request.available
    }

    /// Adds a block's rows to the list.
    fn add_statistics(
        &mut self,
        score: RowScore,
        scorer: &dyn Scorer,
        answer: &Answer,
        list: &mut List,
    ) -> Result<()> {
        let (precision, classes) = (scorer.precision(), self.head.classes());
        let limit = list.limit();
        let entries = (answer.statistics.par_iter().enumerate()).filter_map(|(index, row)| {
            // Not those that are unavailable, or not finite.
            let (lower, upper) = match row.tolerance >= 0.0 {
                true => key_interval(score, row, precision, classes),
                false => return None,
            };
            let (predicted, runner_up, rival) = match row.tolerance >= UNDECIDABLE {
                true => (NO_CLASS, NO_CLASS, NO_CLASS),
                false => (row.predicted, row.runner_up, row.rival),
            };
            limit.is_none_or(|limit| lower < limit).then_some(Entry {
                lower,
                upper,
                row: answer.start + index,
                predicted,
                runner_up,
                rival,
            })
        });
        for entry in entries.collect::<Vec<_>>() {
            list.push(entry);
        }
        list.narrow();
        match list.is_crowded() {
            true => self.settle_rows(score, list),
            false => Ok(()),
        }
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
    fn row_picks(&mut self, score: RowScore, entries: &[Entry]) -> Result<Vec<(Entry, Pick)>> {
        let open = entries.iter().filter(|entry| !entry.is_settled());
        self.selection.settled += open.count() as u64;
        let (settler, pool) = (&self.settler, self.request.pool);
        let picks = |entries: &[Entry]| -> Result<Vec<(Entry, Pick)>> {
            let rows = entries.iter().map(|entry| pool_embedding(pool, entry.row));
            let rows = rows.collect::<Result<Vec<_>>>()?;
            let rows: Vec<&[f32]> = rows.iter().map(|x| &x[..]).collect();
            Ok(settler.row_picks(score, entries, &rows))
        };
        let picks = entries.par_chunks(WHOLE_ROWS).map(picks);
        let picks = picks.collect::<Result<Vec<_>>>()?;
        Ok(picks.into_iter().flatten().collect())
    }

    /// Adds a block's candidates to their classes' lists.
    fn add_candidates(&mut self, answer: &Answer, lists: &mut [List]) -> Result<()> {
        let whole = answer.candidates.iter();
        let whole = whole.filter(|candidate| candidate.class == ALL_CLASSES);
        let mut whole: Vec<usize> = whole
            .map(|candidate| answer.start + candidate.row as usize)
            .collect();
        if !whole.is_empty() {
            self.add_whole(&mut whole, lists)?;
        }
        // Sorted by class, so that threads need not share a list.
        let (order, starts) = by_class(&answer.candidates, lists.len());
        let add = |(class, list): (usize, &mut List)| {
            for index in &order[starts[class]..starts[class + 1]] {
                list.push(entry(answer.start, &answer.candidates[*index as usize]));
            }
            list.narrow();
        };
        lists
            .par_iter_mut()
            .enumerate()
            .with_min_len(8)
            .for_each(add);
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
        let (settler, pool) = (&self.settler, self.request.pool);
        let limits: Vec<Option<f64>> = lists
            .iter()
            .map(|list| match list.keep {
                0 => Some(f64::NEG_INFINITY),
                _ => list.limit(),
            })
            .collect();
        let settle = |rows: &[usize]| -> Result<Vec<(usize, Entry)>> {
            let embeddings = rows.iter().map(|row| pool_embedding(pool, *row));
            let embeddings = embeddings.collect::<Result<Vec<_>>>()?;
            let exact = settler.exact_rows(embeddings.iter().map(|x| &x[..]));
            let mut found = Vec::new();
            for (row, exact) in rows.iter().zip(&exact) {
                let distances = settler.distances(exact);
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
            Ok(found)
        };
        let found: Vec<Vec<(usize, Entry)>> = rows
            .par_chunks(WHOLE_ROWS)
            .map(settle)
            .collect::<Result<_>>()?;
        for (class, entry) in found.into_iter().flatten() {
            lists[class].push(entry);
        }
        Ok(())
    }

    /// Settles every entry of a class's list and puts it in order.
    pub(crate) fn settle_list(&mut self, class: usize, list: &mut List) -> Result<()> {
        let settled = self.settle(class, &list.entries)?;
        list.replace(settled);
        Ok(())
    }

    /// `entries` of one class with their keys known.
    pub(crate) fn settle(&mut self, class: usize, entries: &[Entry]) -> Result<Vec<Entry>> {
        let open = entries.iter().filter(|entry| !entry.is_settled()).count();
        self.selection.settled += open as u64;
        let (settler, pool) = (&self.settler, self.request.pool);
        let settle = |entry: &Entry| match entry.is_settled() {
            true => Ok(*entry),
            false => Ok(settler.settle(&pool_embedding(pool, entry.row)?, class, entry)),
        };
        entries.par_iter().with_min_len(8).map(settle).collect()
    }

    /// A settled entry with its predicted class and runner-up found where they are not certain.
    pub(crate) fn describe(&self, class: usize, entry: &Entry) -> Result<Entry> {
        match entry.is_described() {
            true => Ok(*entry),
            false => {
                let x = pool_embedding(self.request.pool, entry.row)?;
                Ok(self.settler.describe(&x, class, entry))
            }
        }
    }

    fn note_nonfinite(&mut self, rows: &[usize]) -> Result<()> {
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

/// The places of the candidates of each class, in their order, and where each class's begin.
fn by_class(candidates: &[Candidate], classes: usize) -> (Vec<u32>, Vec<usize>) {
    let mut starts = vec![0; classes + 1];
    let known = |candidate: &&Candidate| candidate.class != ALL_CLASSES;
    for candidate in candidates.iter().filter(known) {
        starts[candidate.class as usize + 1] += 1;
    }
    for class in 0..classes {
        starts[class + 1] += starts[class];
    }
    let mut next = starts.clone();
    let mut order = vec![0; starts[classes]];
    for (index, candidate) in (0..).zip(candidates).filter(|(_, c)| known(c)) {
        let place = &mut next[candidate.class as usize];
        order[*place] = index;
        *place += 1;
    }
    (order, starts)
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
