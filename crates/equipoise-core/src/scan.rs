//! One pass over the pool: blocks of rows are submitted to an engine, several in flight, and their
//! answers handed on in ascending order of rows.
//!
//! Lists hold bounds; a row is out once its lower bound reaches the limit of what it might enter,
//! because later rows lose ties.

use std::collections::VecDeque;

use crate::candidates::Candidates;
use crate::definition::RowScore;
use crate::engine::{Answer, CustomScore, GradientCentres, Question, Scorer, Task};
use crate::exact::Exact;
use crate::known::{Entry, Known};
use crate::lists::{List, Slot};
use crate::memory::{gives, rounded_up};
use crate::strategies::{Request, Selection};
use crate::{Engine, Error, Head, Pick, Result, RowSet};

/// Rows of the first block: lists are empty, and nearly every row is a candidate of every class.
const FIRST_ROWS: std::ops::RangeInclusive<usize> = 16..=512;

/// Candidates that a block should not exceed by much: few enough for the cache, and for memory that is touched for
/// the first time to cost little.
const CANDIDATES: usize = 1 << 18;

/// Unavailable rows in a row that are worth ending a block for, so that they are not read.
const GAP_ROWS: usize = 4096;

/// The first rows, in order, each with its key; and whether there may be more.
pub(crate) type Best = (Vec<(Entry, Pick)>, bool);

/// Passes over one pool with one head: an engine's scorer, and what settles its bounds.
pub(crate) struct Scan<'a> {
    engine: &'a dyn Engine,
    /// None after a failure that nothing falls back on.
    scorer: Option<Box<dyn Scorer + 'a>>,
    work: Work<'a>,
    pub(crate) exact: Exact<'a>,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(
        engine: &'a dyn Engine,
        request: &'a Request<'a>,
        head: &'a Head,
    ) -> Result<Self> {
        Self::open(engine, request, head, Work::Head(Task::Boundaries))
    }

    /// Passes that look for the nearest of `centres`, as [`crate::engine::Nearest`] says.
    pub(crate) fn of_centres(
        engine: &'a dyn Engine,
        request: &'a Request<'a>,
        centres: &'a Head,
    ) -> Result<Self> {
        Self::open(engine, request, centres, Work::Head(Task::Nearest))
    }

    /// Passes that look for the nearest of `centres` among gradient embeddings, which `head` makes.
    pub(crate) fn of_gradients(
        engine: &'a dyn Engine,
        request: &'a Request<'a>,
        head: &'a Head,
        centres: &'a GradientCentres,
    ) -> Result<Self> {
        Self::open(engine, request, head, Work::Gradients(centres))
    }

    fn open(
        engine: &'a dyn Engine,
        request: &'a Request<'a>,
        head: &'a Head,
        work: Work<'a>,
    ) -> Result<Self> {
        let mut selection = Selection::default();
        let (engine, scorer) = open(engine, request, head, work, &mut selection)?;
        Ok(Self {
            engine,
            scorer: Some(scorer),
            work,
            exact: Exact::new(request, head, selection),
        })
    }

    /// Has `visit` look at every block's nearest centres.
    pub(crate) fn nearest(
        &mut self,
        available: &RowSet,
        mut visit: impl FnMut(&Answer),
    ) -> Result<()> {
        let work = self.work;
        self.blocks(available, (0, 0), |_, _, answer| {
            answer.into_iter().for_each(&mut visit);
            Ok(match work {
                Work::Gradients(_) => Asked::NearestGradient,
                Work::Head(_) => Asked::Nearest,
            })
        })
    }

    /// The `keep` rows of `available` with the smallest keys, in order, each with its key; and whether
    /// there may be more rows.
    pub(crate) fn best_rows(
        &mut self,
        score: RowScore,
        available: &RowSet,
        keep: usize,
    ) -> Result<Best> {
        let mut best = self.best_of_groups(score, available, &[keep], |_| 0)?;
        Ok(best.pop().unwrap_or_default())
    }

    /// Per group, the same of its `keep[group]` rows; `group` says which group a row is of.
    pub(crate) fn best_of_groups(
        &mut self,
        score: RowScore,
        available: &RowSet,
        keep: &[usize],
        group: impl Fn(usize) -> usize + Sync,
    ) -> Result<Vec<Best>> {
        let mut lists: Vec<List> = keep.iter().map(|keep| List::new(*keep)).collect();
        self.add_rows(score, available, &mut lists, group)?;
        let best = lists.into_iter().map(|list| {
            let full = list.is_full();
            Ok((self.exact.best_rows(score, list)?, full))
        });
        best.collect()
    }

    /// Adds the rows of `available`, each to the list of its group. They come after those that are there.
    pub(crate) fn add_rows(
        &mut self,
        score: RowScore,
        available: &RowSet,
        lists: &mut [List],
        group: impl Fn(usize) -> usize + Sync,
    ) -> Result<()> {
        let exponentials = score != RowScore::Mase;
        let room = room(lists, available.len());
        self.blocks(available, room, |exact, scorer, answer| {
            if let Some(answer) = answer {
                exact.add_statistics(score, scorer, answer, lists, &group)?;
            }
            Ok(Asked::RowStatistics { exponentials })
        })
    }

    /// Adds the rows of `available`, each to the list of its group, by a score of somebody's own.
    pub(crate) fn add_keys(
        &mut self,
        score: &dyn CustomScore,
        available: &RowSet,
        lists: &mut [List],
        group: impl Fn(usize) -> usize + Sync,
    ) -> Result<()> {
        let room = room(lists, available.len());
        self.blocks(available, room, |exact, _, answer| {
            if let Some(answer) = answer {
                exact.add_keys(score, answer, lists, &group)?;
            }
            Ok(Asked::RowKeys { score })
        })
    }

    /// Per class, a list of the `keep[class]` rows of `available` with the smallest BASE scores.
    pub(crate) fn class_lists(&mut self, available: &RowSet, keep: &[usize]) -> Result<Vec<List>> {
        let mut lists: Vec<List> = keep.iter().map(|keep| List::new(*keep)).collect();
        self.add_to_classes(available, &mut lists)?;
        Ok(lists)
    }

    /// Adds the rows of `available` to the classes' lists. They come after those that are there.
    pub(crate) fn add_to_classes(&mut self, available: &RowSet, lists: &mut [List]) -> Result<()> {
        let room = room(lists, available.len());
        self.blocks(available, room, |exact, _, answer| {
            if let Some(answer) = answer {
                exact.add_candidates(answer, lists)?;
            }
            let thresholds = lists.iter().map(List::threshold).collect();
            Ok(Asked::ClassCandidates { thresholds })
        })
    }

    /// Scores the available rows in ascending blocks, leaving out long stretches without any, for lists that may come to hold
    /// `slots` entries, `more` than now. `visit` is shown each block's answer and says what to ask of the next block.
    fn blocks<'q>(
        &mut self,
        available: &RowSet,
        (slots, more): (u64, u64),
        mut visit: impl FnMut(&mut Exact<'a>, &dyn Scorer, Option<&Answer>) -> Result<Asked<'q>>,
    ) -> Result<()> {
        let rows = self.exact.request.pool.rows();
        let scorer = self.scorer.as_deref().ok_or(Error::Broken)?;
        let known = &mut self.exact.known;
        let of_lists = more.saturating_mul(size_of::<Slot>() as u64);
        if !known.begin(slots, available.len(), scorer.max_rows()) || !gives(of_lists) {
            let of_all = of_lists.saturating_add(Known::bytes(slots, available.len()));
            return Err(Error::OutOfMemory {
                device: self.engine.name().into(),
                message: format!("the system refuses {} for lists", rounded_up(of_all)),
            });
        }
        let mut blocks = Blocks {
            next: available.first_from(0),
            flying: VecDeque::new(),
            size: self.first_rows(),
            most: usize::MAX,
            tried: 0,
            fruitful: usize::MAX,
        };
        let mut answer = Answer::default();
        let mut asked = visit(&mut self.exact, scorer, None)?;
        while blocks.next < rows || !blocks.flying.is_empty() {
            let done = self.step(&mut blocks, available, &asked, &mut answer);
            match done {
                Ok(false) => {}
                Ok(true) => {
                    blocks.expect_as_many(&answer);
                    self.exact.note_nonfinite(&answer.nonfinite)?;
                    let scorer = self.scorer.as_deref().ok_or(Error::Broken)?;
                    asked = visit(&mut self.exact, scorer, Some(&answer))?;
                    (self.exact.request.progress)(answer.rows as u64);
                }
                Err(error) => self.recover(error, &mut blocks)?,
            }
            blocks.next = available.first_from(blocks.next);
        }
        Ok(())
    }

    fn first_rows(&self) -> usize {
        if !matches!(self.work, Work::Head(Task::Boundaries)) {
            // No candidates come of it.
            return usize::MAX;
        }
        let (least, most) = FIRST_ROWS.into_inner();
        (CANDIDATES / self.exact.head.classes()).clamp(least, most)
    }

    /// Submits a block if there is room for one, or collects the oldest: true where `answer` holds it.
    fn step(
        &mut self,
        blocks: &mut Blocks,
        available: &RowSet,
        asked: &Asked<'_>,
        answer: &mut Answer,
    ) -> Result<bool> {
        let pool = self.exact.request.pool;
        let scorer = self.scorer.as_deref_mut().ok_or(Error::Broken)?;
        let room = blocks.flying.len() < scorer.depth();
        if room && blocks.next < pool.rows() {
            let most = scorer.max_rows().min(blocks.most);
            let most = most.min(blocks.fruitful).max(1);
            let size = available.stretch(blocks.next, blocks.size.min(most), GAP_ROWS);
            blocks.tried = size;
            let question = asked.question();
            let taken = scorer.submit(blocks.next, size, available, question)?;
            if taken == 0 {
                return Err(Error::Read {
                    row: blocks.next,
                    message: "the pool gave no row".into(),
                });
            }
            blocks.flying.push_back((blocks.next, taken));
            blocks.next += taken;
            blocks.size = blocks.size.saturating_mul(2).min(most);
            return Ok(false);
        }
        let flying = blocks.flying.iter().map(|(_, taken)| *taken);
        blocks.tried = flying.max().unwrap_or(0);
        scorer.collect(answer)?;
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
        scorer.discard();
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
        if let Some(scorer) = &mut self.scorer {
            scorer.discard();
        }
        blocks.again(start);
        if smaller > 0 {
            (blocks.most, blocks.size) = (smaller, smaller);
            self.exact.selection.retries += 1;
            return Ok(());
        }
        let Some(next) = self.engine.fallback() else {
            return Err(error);
        };
        // Its memory is free before the next one takes any.
        self.scorer = None;
        let (request, head) = (self.exact.request, self.exact.head);
        self.exact.selection.fallbacks.push(error.to_string());
        let selection = &mut self.exact.selection;
        let (engine, scorer) = open(next, request, head, self.work, selection)?;
        (self.engine, self.scorer) = (engine, Some(scorer));
        (blocks.most, blocks.size) = (usize::MAX, self.first_rows());
        Ok(())
    }
}

/// Entries that lists may come to hold, and how many of them more than now, with so many rows more.
fn room(lists: &[List], rows: usize) -> (u64, u64) {
    let (mut all, mut more) = (0u64, 0u64);
    for list in lists {
        let held = list.entries.len();
        let most = list.most().min(held.saturating_add(rows)).max(held);
        all = all.saturating_add(most as u64);
        more = more.saturating_add((most - held) as u64);
    }
    (all, more)
}

/// The first engine, of `engine` and those it falls back on, that makes a scorer.
fn open<'a>(
    mut engine: &'a dyn Engine,
    request: &'a Request<'a>,
    head: &'a Head,
    work: Work<'_>,
    selection: &mut Selection,
) -> Result<(&'a dyn Engine, Box<dyn Scorer + 'a>)> {
    loop {
        let scorer = match work {
            Work::Head(task) => engine.scorer(head, request.pool, task),
            Work::Gradients(centres) => engine.gradient_scorer(head, centres, request.pool),
        };
        match (scorer, engine.fallback()) {
            (Ok(scorer), _) => return Ok((engine, scorer)),
            (Err(error @ (Error::Device { .. } | Error::OutOfMemory { .. })), Some(next)) => {
                selection.fallbacks.push(error.to_string());
                engine = next;
            }
            (Err(error), _) => return Err(error),
        }
    }
}

/// What a scorer is made for.
#[derive(Debug, Clone, Copy)]
enum Work<'a> {
    Head(Task),
    Gradients(&'a GradientCentres),
}

/// What to ask of the next block.
enum Asked<'q> {
    RowKeys { score: &'q dyn CustomScore },
    RowStatistics { exponentials: bool },
    ClassCandidates { thresholds: Vec<f32> },
    Nearest,
    NearestGradient,
}

impl Asked<'_> {
    fn question(&self) -> Question<'_> {
        match self {
            Asked::RowKeys { score } => Question::RowKeys { score: *score },
            Asked::RowStatistics { exponentials } => Question::RowStatistics {
                exponentials: *exponentials,
            },
            Asked::ClassCandidates { thresholds } => Question::ClassCandidates { thresholds },
            Asked::Nearest => Question::Nearest,
            Asked::NearestGradient => Question::NearestGradient,
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
    /// Rows of the block that was last submitted, or of the largest in flight when one was last collected: what memory was too little
    /// for, if it was.
    tried: usize,
    /// Rows among which there were [`CANDIDATES`] in the last block; later ones have fewer.
    fruitful: usize,
}

impl Blocks {
    /// Expects as many candidates a row as in `answer`.
    fn expect_as_many(&mut self, answer: &Answer) {
        let found: usize = answer.candidates.iter().map(Candidates::len).sum();
        self.fruitful = match found {
            0 => usize::MAX,
            _ => (CANDIDATES * answer.rows / found).max(1),
        };
    }

    /// Forgets what is in flight and goes back to `start`.
    fn again(&mut self, start: usize) {
        self.flying.clear();
        self.next = start;
    }
}
