//! Picks from rows that come by once, batch after batch: a pool that is never whole.
//!
//! What is kept of the rows are the lists of a scan, each as deep as the quotas served up to its class, which is always
//! enough. After each batch their entries are settled, so that nobody needs the batch's embeddings any more.

use std::any::Any;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::lists::{List, Slot};
use crate::quota::ClassOrder;
use crate::scan::Scan;
use crate::strategies::{
    Listed, Nonfinite, Ranking, Request, Selection, Serving, ShardList, Strategy, merge,
};
use crate::{Chunk, Engine, Error, Head, LabelledRow, Pool, Result, RowSet};

/// What a stream is asked. Build it with [`StreamOptions::new`] and set the fields that differ.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamOptions {
    /// How many rows to pick; more than are available means all of them.
    pub budget: usize,
    /// Per class, how many rows it may claim; `None` for the uniform quota.
    pub quotas: Option<Vec<usize>>,
    /// In which order classes are served.
    pub class_order: ClassOrder,
    /// Rows that have a label already: the order of classes may depend on how many each has.
    pub labelled: Vec<LabelledRow>,
    /// What to do about NaN and infinities.
    pub nonfinite: Nonfinite,
}

impl StreamOptions {
    /// The defaults: uniform quotas, classes by id, nothing labelled.
    pub fn new(budget: usize) -> Self {
        Self {
            budget,
            quotas: None,
            class_order: ClassOrder::Id,
            labelled: Vec::new(),
            nonfinite: Nonfinite::Refuse,
        }
    }
}

/// A selection whose rows come by once. Its picks are those of [`Strategy::select`] on all of them at once.
/// It takes memory for lists, at most B(C+1)/2 entries for uniform quotas, and for no embedding.
///
/// ```
/// use equipoise_core::strategies::Base;
/// use equipoise_core::{CpuEngine, Head, MemoryPool, RowSet, Stream, StreamOptions, Values};
///
/// let head = Head::new(vec![1.0, 0.0, 0.0, 1.0], vec![0.0, 0.0], 2)?;
/// let engine = CpuEngine::new();
/// let mut stream = Stream::new(&engine, &Base, &head, StreamOptions::new(2))?;
/// for batch in [[3.0, 0.0, 1.0, 0.9], [0.0, 2.0, 0.4, 0.7]] {
///     let batch = MemoryPool::new(Values::F32(&batch), 2)?;
///     stream.push(&batch, &RowSet::all(2))?;
/// }
/// let rows: Vec<usize> = stream.finish()?.picks.iter().map(|pick| pick.row).collect();
/// assert_eq!(rows, [1, 3]);
/// # Ok::<(), equipoise_core::Error>(())
/// ```
pub struct Stream<'e> {
    engine: &'e dyn Engine,
    strategy: &'static str,
    ranking: Ranking,
    head: Head,
    options: StreamOptions,
    /// None after an error.
    lists: Option<Vec<List>>,
    /// What is known of the rows in lists; of classes' lists, key and score are the slots'.
    known: HashMap<usize, Listed>,
    rows: usize,
    unavailable: usize,
    selection: Selection,
}

impl<'e> Stream<'e> {
    /// A stream without rows.
    ///
    /// # Errors
    /// [`Error::NotStreamed`] where `strategy` has no [`Strategy::ranking`]; [`Error::ZeroBudget`] and [`Error::Quotas`].
    pub fn new(
        engine: &'e dyn Engine,
        strategy: &dyn Strategy,
        head: &Head,
        options: StreamOptions,
    ) -> Result<Self> {
        let name = strategy.name();
        let ranking = strategy.ranking();
        let mut stream = Self {
            engine,
            strategy: name,
            ranking: ranking.ok_or(Error::NotStreamed { strategy: name })?,
            head: head.clone(),
            options,
            lists: None,
            known: HashMap::new(),
            rows: 0,
            unavailable: 0,
            selection: Selection::default(),
        };
        // Where fewer rows come by than the budget, quotas are smaller, and shorter lists would do.
        let most = stream.serving(stream.options.budget)?.most();
        stream.lists = Some(most.into_iter().map(List::new).collect());
        Ok(stream)
    }

    /// Rows that came by.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Takes the next rows, of which `available` may be picked. They are numbered after those that came before.
    ///
    /// # Errors
    /// Those of the head, the batch and the engine, and [`Error::Shape`] where `available` counts other rows than the
    /// batch's. After an error the stream is of no use.
    pub fn push(&mut self, batch: &dyn Pool, available: &RowSet) -> Result<()> {
        let mut lists = self.lists.take().ok_or(Error::Broken)?;
        if available.bound() != batch.rows() {
            return Err(Error::Shape {
                what: "available rows of a batch".into(),
                expected: format!("a set over {} rows", batch.rows()),
                found: format!("a set over {}", available.bound()),
            });
        }
        let first = self.rows;
        let window = Window { batch, first };
        let mut rows = RowSet::none(window.rows());
        for row in 0..batch.rows() {
            match available.contains(row) {
                true => drop(rows.insert(first + row)),
                false => self.unavailable += 1,
            }
        }
        if !rows.is_empty() {
            let (work, known) = self.scan(&window, &rows, &mut lists)?;
            self.selection.add_work(work);
            let known = known.into_iter().map(|listed| (listed.row, listed));
            self.known.extend(known);
            // A row may be in many lists: they are looked through when more rows are known than they have entries.
            if self.known.len() > lists.iter().map(|list| list.entries.len()).sum() {
                let slots = lists.iter().flat_map(|list| &list.entries);
                let kept: HashSet<usize> = slots.map(|slot| slot.row).collect();
                self.known.retain(|row, _| kept.contains(row));
            }
        }
        self.rows = window.rows();
        self.lists = Some(lists);
        Ok(())
    }

    /// The picks.
    ///
    /// # Errors
    /// [`Error::NothingAvailable`]; [`Error::Broken`] after an error.
    pub fn finish(mut self) -> Result<Selection> {
        let lists = self.lists.take().ok_or(Error::Broken)?;
        let available = self.rows - self.unavailable;
        if available == 0 {
            return Err(Error::NothingAvailable { rows: self.rows });
        }
        let serving = self.serving(self.options.budget.min(available))?;
        let lists = lists.into_iter().map(|list| ShardList {
            complete: !list.is_full(),
            entries: list
                .entries
                .iter()
                .filter_map(|slot| self.listed(slot))
                .collect(),
        });
        let candidates = available - self.selection.nonfinite.len();
        let merged = merge(&[lists.collect()], self.ranking, &serving, candidates);
        // Lists are as deep as merging can ask for.
        let merged = merged.map_err(|_| Error::Broken)?;
        Ok(Selection {
            picks: merged.picks,
            shortfalls: merged.shortfalls,
            ..self.selection
        })
    }

    /// What classes may take.
    fn serving(&self, budget: usize) -> Result<Serving> {
        let options = &self.options;
        if budget == 0 {
            return Err(Error::ZeroBudget);
        }
        match self.ranking {
            Ranking::Classes => {
                let order = (options.class_order, &options.labelled[..]);
                let quotas = options.quotas.as_deref();
                Serving::of_quotas(budget, quotas, order, self.head.classes())
            }
            Ranking::Rows(_) => Ok(Serving::of_rows(budget)),
        }
    }

    /// Adds the available rows of a batch to the lists and settles what is new there. Returns what it took, and what is
    /// known of new rows in the list of a score of their own.
    fn scan(
        &self,
        window: &Window<'_>,
        rows: &RowSet,
        lists: &mut [List],
    ) -> Result<(Selection, Vec<Listed>)> {
        let request = Request {
            head: Some(&self.head),
            nonfinite: self.options.nonfinite,
            ..Request::new(window, rows, self.options.budget)
        };
        let head = request.head_for(self.strategy)?;
        let mut scan = Scan::new(self.engine, &request, head)?;
        let mut known = Vec::new();
        let is_new = |slot: &Slot| slot.row >= window.first;
        match self.ranking {
            Ranking::Rows(score) => {
                scan.add_rows(score, rows, lists, |_| 0)?;
                let slots = lists[0].entries.iter();
                let (new, mut slots): (Vec<Slot>, Vec<Slot>) = slots.partition(|slot| is_new(slot));
                for (entry, pick) in scan.exact.row_picks(score, &new)? {
                    slots.push(entry.slot());
                    known.push(Listed::of(entry.lower, &pick));
                }
                lists[0].entries = slots;
                lists[0].sort();
            }
            Ranking::Classes => {
                scan.add_to_classes(rows, lists)?;
                for (class, list) in lists.iter_mut().enumerate() {
                    if list.entries.iter().any(is_new) {
                        scan.exact.settle_list(class, list)?;
                        let settled = scan.exact.entries(&list.entries).into_iter();
                        // The others were described when they were new.
                        let new = settled.filter(|entry| is_new(&entry.slot()));
                        let new = new.map(|entry| (class, entry)).collect();
                        let described = scan.exact.described(new)?;
                        let listed = described.iter().map(|(class, entry)| {
                            Listed::of(entry.lower, &crate::strategies::class_pick(*class, entry))
                        });
                        known.extend(listed);
                    }
                }
            }
        }
        Ok((scan.exact.selection, known))
    }

    /// A row of a list; none of those is unknown.
    fn listed(&self, slot: &Slot) -> Option<Listed> {
        let known = self.known.get(&slot.row)?;
        Some(match self.ranking {
            Ranking::Rows(_) => *known,
            Ranking::Classes => Listed {
                key: slot.lower,
                score: slot.lower,
                ..*known
            },
        })
    }
}

/// A batch whose first row is a later one of the pool.
struct Window<'b> {
    batch: &'b dyn Pool,
    first: usize,
}

impl Pool for Window<'_> {
    fn rows(&self) -> usize {
        self.first + self.batch.rows()
    }

    fn dim(&self) -> usize {
        self.batch.dim()
    }

    fn chunk(&self, start: usize, max_rows: usize) -> Result<Chunk<'_>> {
        let before = Error::Read {
            row: start,
            message: "its batch is gone".into(),
        };
        let row = start.checked_sub(self.first).ok_or(before)?;
        let Chunk { values, .. } = self.batch.chunk(row, max_rows)?;
        Ok(Chunk { start, values })
    }

    fn width(&self) -> Result<usize> {
        self.batch.width()
    }

    fn embeddings(&self, rows: &[usize]) -> Result<Vec<Cow<'_, [f32]>>> {
        let gone = |row: &usize| Error::Read {
            row: *row,
            message: "its batch is gone".into(),
        };
        let within = rows
            .iter()
            .map(|row| row.checked_sub(self.first).ok_or_else(|| gone(row)));
        let within: Vec<usize> = within.collect::<Result<_>>()?;
        self.batch.embeddings(&within)
    }

    fn storage(&self) -> Option<(&dyn Any, usize)> {
        let (storage, first) = self.batch.storage()?;
        Some((storage, self.first + first))
    }

    fn prefetch(&self, start: usize, rows: usize) {
        self.batch.prefetch(start.saturating_sub(self.first), rows);
    }

    fn touch(&self, start: usize, rows: usize) {
        self.batch.touch(start.saturating_sub(self.first), rows);
    }
}
