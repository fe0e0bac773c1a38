//! Balanced Selection (BASE): each class takes the rows nearest to its boundaries.

use super::constrained;
use super::serve::{Serving, Source, depths, serve};
use super::shards::Ranking;
use super::{Request, Selection, Strategy};
use crate::engine::NO_CLASS;
use crate::exact;
use crate::known::Entry;
use crate::lists::{self, First, List, Slot};
use crate::pick::{class_picks_bytes, number};
use crate::scan::Scan;
use crate::{Engine, Error, Pick, Result, RowSet};

/// Emam et al., *Active Learning at the ImageNet Scale*, arXiv 2111.12880, algorithm 1.
pub struct Base;

impl Strategy for Base {
    fn name(&self) -> &'static str {
        "base"
    }

    fn summary(&self) -> &'static str {
        "per class, rows nearest to its decision boundaries, in equal shares"
    }

    fn source(&self) -> &'static str {
        "arXiv 2111.12880"
    }

    fn needs_head(&self) -> bool {
        true
    }

    fn heeds_constraints(&self) -> bool {
        true
    }

    fn memory(&self, request: &Request<'_>) -> Result<u64> {
        let head = request.head_for(self.name())?;
        let serving = Serving::of_classes(request, head)?;
        let picked = constrained::most_picks(request, &serving);
        let others = match request.constraints.any() {
            true => constrained::bytes(request, picked),
            false => 0,
        };
        let lists = Depths::new(request, &serving).bytes;
        let left = RowSet::bytes(request.pool.rows());
        Ok(lists + others + left + class_picks_bytes(picked) + exact::bytes(request, head))
    }

    fn ranking(&self) -> Option<Ranking> {
        Some(Ranking::Classes)
    }

    fn select(&self, engine: &dyn Engine, request: &Request<'_>) -> Result<Selection> {
        let head = request.head_for(self.name())?;
        if request.constraints.any() {
            return constrained::select(engine, request, head);
        }
        let serving = Serving::of_classes(request, head)?;
        let mut scan = Scan::new(engine, request, head)?;
        let depths = Depths::new(request, &serving);
        let taken = serve(&mut Scanned::new(&mut scan, &serving, depths)?, &serving)?;
        let mut taken = scan.exact.settle(taken)?;
        for class in taken.chunk_by_mut(|(a, _), (b, _)| a == b) {
            class.sort_unstable_by(|(_, a), (_, b)| a.order(b));
        }
        let taken = scan.exact.described(taken)?;
        let mut picks: Vec<Pick> = taken
            .iter()
            .map(|(class, entry)| pick(*class, entry))
            .collect();
        let selection = scan.exact.selection;
        number(
            &mut picks,
            request.available.len() - selection.nonfinite.len(),
        );
        let shortfalls = serving.shortfalls(&picks);
        Ok(Selection {
            picks,
            shortfalls,
            ..selection
        })
    }
}

/// How many candidates each class keeps of the first pass, and what the lists of later ones may take.
pub(super) struct Depths {
    keep: Vec<usize>,
    /// Bytes of lists, at any time.
    bytes: u64,
}

impl Depths {
    pub(super) fn new(request: &Request<'_>, serving: &Serving) -> Self {
        let rows = request.available.len();
        let (keep, deepest) = match request.constraints.any() {
            true => {
                let keep = constrained::depths(serving, rows);
                // Whatever a class looks at may be out of the question.
                let some = |keep: &usize| if *keep > 0 { rows } else { 0 };
                let deepest = keep.iter().map(some).collect();
                (keep, deepest)
            }
            false => {
                let keep = fitting(serving.depths(rows), rows);
                (keep, fitting(serving.most(), rows))
            }
        };
        let least = bytes(&keep, rows);
        let more = bytes(&deepest, rows).saturating_sub(least);
        Self {
            bytes: least + more.min(request.memory / 4),
            keep,
        }
    }
}

/// Bytes of lists of which some may be held while others are made anew.
fn bytes(keep: &[usize], rows: usize) -> u64 {
    lists::bytes(keep.iter().copied(), rows) + lists::held_bytes(keep, rows)
}

/// Candidates of one pass over the pool, and of more where classes run out of them.
pub(super) struct Scanned<'s, 'a> {
    scan: &'s mut Scan<'a>,
    quotas: &'s [usize],
    lists: Vec<List>,
    /// Bytes that they may take.
    bytes: u64,
    /// Available rows not taken.
    pub(super) left: RowSet,
}

impl<'s, 'a> Scanned<'s, 'a> {
    pub(super) fn new(
        scan: &'s mut Scan<'a>,
        serving: &'s Serving,
        depths: Depths,
    ) -> Result<Self> {
        let left = scan.exact.available().clone();
        let lists = scan.class_lists(&left, &depths.keep)?;
        Ok(Self {
            scan,
            quotas: &serving.quotas,
            lists,
            bytes: depths.bytes,
            left,
        })
    }

    /// Forgets the list of a class that takes no more.
    pub(super) fn close(&mut self, class: usize) {
        self.lists[class] = List::new(0);
    }

    /// The first rows left for a class, at most `count`, in order; none where its list has run out.
    pub(super) fn in_order(&mut self, class: usize, count: usize) -> Result<Vec<Entry>> {
        let first = self.first(class, count)?;
        let first = first.into_iter().map(|entry| (class, entry)).collect();
        let mut settled = self.scan.exact.settle(first)?;
        settled.sort_unstable_by(|(_, a), (_, b)| a.order(b));
        Ok(settled.into_iter().map(|(_, entry)| entry).collect())
    }

    /// Whether a class's list holds every row that was left when it was made.
    pub(super) fn holds_all(&self, class: usize) -> bool {
        self.left.is_empty() || !self.lists[class].is_full()
    }

    /// How many rows that could be picked are left.
    pub(super) fn candidates_left(&self) -> usize {
        // Those that are not finite are never taken.
        self.left.len() - self.scan.exact.selection.nonfinite.len()
    }

    /// Makes a class's list anew, of the rows that are left, to that depth or as deep as memory allows, but no less than `least`.
    pub(super) fn refill_class(&mut self, class: usize, depth: usize, least: usize) -> Result<()> {
        let mut keep = vec![0; self.lists.len()];
        keep[class] = depth;
        let keep = self.within(keep, &[class], least);
        self.make(&keep)
    }

    /// `keep`, so that lists take no more than they may: of the first classes of `order`, as many as that allows; others stay as they
    /// are, as those do of which nothing is to be kept. The very first needs `least`, for which there is always room.
    fn within(&self, mut keep: Vec<usize>, order: &[usize], least: usize) -> Vec<usize> {
        let fits = |keep: &[usize], classes: &[usize]| {
            let mut all: Vec<usize> = self.lists.iter().map(|list| list.keep).collect();
            let fresh = classes.iter().filter(|class| keep[**class] > 0);
            fresh.for_each(|class| all[*class] = keep[*class]);
            bytes(&all, self.left.len()) <= self.bytes
        };
        let first = order[0];
        while keep[first] > least && !fits(&keep, &order[..1]) {
            keep[first] = (keep[first] / 2).max(least);
        }
        let (mut fitting, mut beyond) = (1, order.len() + 1);
        while beyond - fitting > 1 {
            let middle = fitting.midpoint(beyond);
            match fits(&keep, &order[..middle]) {
                true => fitting = middle,
                false => beyond = middle,
            }
        }
        for class in &order[fitting..] {
            keep[*class] = 0;
        }
        keep
    }

    /// Scans the rows that are left for fresh lists of the classes of which something is to be kept.
    fn make(&mut self, keep: &[usize]) -> Result<()> {
        self.scan.exact.selection.refills += 1;
        for (list, keep) in self.lists.iter_mut().zip(keep) {
            if *keep > 0 {
                *list = List::new(0);
            }
        }
        self.scan.exact.known.hold(&self.lists);
        let fresh = self.scan.class_lists(&self.left, keep)?;
        for ((list, fresh), keep) in self.lists.iter_mut().zip(fresh).zip(keep) {
            if *keep > 0 {
                *list = fresh;
            }
        }
        Ok(())
    }

    /// The first `count` rows left that the class's list vouches for; settled where their bounds do not
    /// tell which these are.
    fn first(&mut self, class: usize, count: usize) -> Result<Vec<Entry>> {
        let (left, list) = (&self.left, &mut self.lists[class]);
        let exact = &mut self.scan.exact;
        let First {
            certain,
            mut doubtful,
        } = list.first(count, |row| left.contains(row));
        exact.settle_slots(class, &mut doubtful)?;
        doubtful.sort_unstable_by(Slot::order);
        let mut first = certain;
        doubtful.truncate(count - first.len());
        first.append(&mut doubtful);
        let limit = list.limit().unwrap_or(f64::INFINITY);
        let is_below = |slot: &Slot| slot.upper < limit;
        if !list.is_full() || (first.len() == count && first.iter().all(is_below)) {
            return Ok(exact.entries(&first));
        }
        // At its limit, the list vouches for its first `keep` entries, which must be told from others.
        exact.settle_list(class, list)?;
        let settled = list.entries.iter().filter(|slot| left.contains(slot.row));
        Ok(exact.entries(settled.take(count)))
    }
}

impl Source for Scanned<'_, '_> {
    type Entry = Entry;
    type Error = Error;

    fn take(&mut self, class: usize, count: usize) -> Result<Vec<Entry>> {
        let first = self.first(class, count)?;
        for entry in &first {
            self.left.remove(entry.row);
        }
        Ok(first)
    }

    /// Scans the rows that are left again for all classes of `order` whose lists may not hold every row, each
    /// deeper than before: what made one class run out soon makes others.
    fn refill(&mut self, order: &[usize], missing: usize) -> Result<bool> {
        if self.left.is_empty() || !self.lists[order[0]].is_full() {
            return Ok(false);
        }
        let mut waits = vec![false; self.lists.len()];
        order.iter().for_each(|class| waits[*class] = true);
        for (class, _) in waits.iter().enumerate().filter(|(_, waits)| !**waits) {
            self.close(class);
        }
        let mut wanted = self.quotas.to_vec();
        wanted[order[0]] = missing;
        let rows = self.left.len();
        let refills = self.scan.exact.selection.refills + 1;
        let mut keep = fitting(depths(&wanted, order, rows, refills), rows);
        for (keep, list) in keep.iter_mut().zip(&self.lists) {
            if !list.is_full() {
                *keep = 0;
            }
        }
        let keep = self.within(keep, order, missing);
        self.make(&keep)?;
        Ok(true)
    }
}

/// `depths`, none of them beyond the rows there are.
pub(super) fn fitting(mut depths: Vec<usize>, rows: usize) -> Vec<usize> {
    depths
        .iter_mut()
        .for_each(|depth| *depth = rows.min(*depth));
    depths
}

/// The pick that a settled and described entry of `class` is.
pub(crate) fn pick(class: usize, entry: &Entry) -> Pick {
    Pick {
        class: Some(class as u32),
        score: Some(entry.lower),
        predicted: Some(entry.predicted),
        runner_up: (entry.runner_up != NO_CLASS).then_some(entry.runner_up),
        ..Pick::of_row(entry.row)
    }
}
