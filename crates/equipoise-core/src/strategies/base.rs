//! Balanced Selection (BASE): each class takes the rows nearest to its boundaries.

use super::constrained;
use super::serve::{Serving, Source, depths, serve};
use super::shards::Ranking;
use super::{Request, Selection, Strategy};
use crate::engine::NO_CLASS;
use crate::exact_sums::ExactSums;
use crate::known::Entry;
use crate::lists::{self, First, List};
use crate::pick::number;
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
        let rows = request.available.len();
        let (keep, others) = match request.constraints.any() {
            true => (
                constrained::depths(&serving, rows),
                constrained::bytes(request),
            ),
            false => (fitting(serving.depths(rows), rows), 0),
        };
        Ok(lists::bytes(keep, rows) + others + ExactSums::bytes(head))
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
        let taken = serve(&mut Scanned::new(&mut scan, &serving)?, &serving)?;
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

/// Candidates of one pass over the pool, and of more where classes run out of them.
pub(super) struct Scanned<'s, 'a> {
    scan: &'s mut Scan<'a>,
    quotas: &'s [usize],
    lists: Vec<List>,
    /// Available rows not taken.
    pub(super) left: RowSet,
}

impl<'s, 'a> Scanned<'s, 'a> {
    fn new(scan: &'s mut Scan<'a>, serving: &'s Serving) -> Result<Self> {
        let rows = scan.exact.available().len();
        Self::with_lists(scan, serving, &fitting(serving.depths(rows), rows))
    }

    /// With lists that keep so many rows.
    pub(super) fn with_lists(
        scan: &'s mut Scan<'a>,
        serving: &'s Serving,
        keep: &[usize],
    ) -> Result<Self> {
        let left = scan.exact.available().clone();
        let lists = scan.class_lists(&left, keep)?;
        Ok(Self {
            scan,
            quotas: &serving.quotas,
            lists,
            left,
        })
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

    /// Makes a class's list anew, of the rows that are left.
    pub(super) fn refill_class(&mut self, class: usize, depth: usize) -> Result<()> {
        self.scan.exact.selection.refills += 1;
        let mut keep = vec![0; self.lists.len()];
        keep[class] = depth;
        let mut fresh = self.scan.class_lists(&self.left, &keep)?;
        self.lists[class] = fresh.swap_remove(class);
        Ok(())
    }

    /// The first `count` rows left that the class's list vouches for; settled where their bounds do not
    /// tell which these are.
    fn first(&mut self, class: usize, count: usize) -> Result<Vec<Entry>> {
        let (left, list) = (&self.left, &mut self.lists[class]);
        let First { certain, doubtful } = list.first(count, |row| left.contains(row));
        let mut first = self.scan.exact.entries(&certain);
        let doubtful = self.scan.exact.entries(&doubtful).into_iter();
        let doubtful = doubtful.map(|entry| (class, entry)).collect();
        let mut doubtful = self.scan.exact.settle(doubtful)?;
        doubtful.sort_unstable_by(|(_, a), (_, b)| a.order(b));
        let missing = count - first.len();
        first.extend(doubtful.into_iter().take(missing).map(|(_, entry)| entry));
        let limit = list.limit().unwrap_or(f64::INFINITY);
        let is_below = |entry: &Entry| entry.upper < limit;
        if !list.is_full() || (first.len() == count && first.iter().all(is_below)) {
            return Ok(first);
        }
        // At its limit, the list vouches for its first `keep` entries, which must be told from others.
        let settled = self.scan.exact.settle_list(class, list)?.into_iter();
        let settled = settled.filter(|entry| left.contains(entry.row));
        Ok(settled.take(count).collect())
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
        let refills = &mut self.scan.exact.selection.refills;
        *refills += 1;
        let mut wanted = self.quotas.to_vec();
        wanted[order[0]] = missing;
        let rows = self.left.len();
        let mut keep = fitting(depths(&wanted, order, rows, *refills), rows);
        for (keep, list) in keep.iter_mut().zip(&self.lists) {
            if !list.is_full() {
                *keep = 0;
            }
        }
        let fresh = self.scan.class_lists(&self.left, &keep)?;
        for ((list, fresh), keep) in self.lists.iter_mut().zip(fresh).zip(keep) {
            if keep > 0 {
                *list = fresh;
            }
        }
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
