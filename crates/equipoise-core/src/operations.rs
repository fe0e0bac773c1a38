//! What a strategy asks of an engine, exactly: for strategies of a crate of somebody's own.

use crate::definition::RowScore;
use crate::engine::CustomScore;
use crate::known::Entry;
use crate::lists::List;
use crate::pick::number;
use crate::scan::Scan;
use crate::strategies::{Listed, Request, Selection, class_pick};
use crate::{Engine, Pick, Result, RowSet};

/// What rows are ranked by, smallest first.
#[derive(Debug, Clone, Copy)]
pub enum RowOrder<'s> {
    /// A score of the definitions.
    Score(RowScore),
    /// A score of somebody's own.
    Custom(&'s dyn CustomScore),
}

/// Passes over the pool of one request, each answered exactly: the rows, and their order, are those of the float64
/// definitions on any engine. `docs/adding-a-strategy.md` has a complete example.
pub struct Operations<'a> {
    scan: Scan<'a>,
    request: &'a Request<'a>,
}

impl<'a> Operations<'a> {
    /// Operations of `engine` on the request's pool and head, for the strategy of that name.
    ///
    /// # Errors
    /// Those of [`Request::head_for`], and of the engine.
    pub fn new(
        engine: &'a dyn Engine,
        request: &'a Request<'a>,
        strategy: &'static str,
    ) -> Result<Self> {
        let head = request.head_for(strategy)?;
        Ok(Self {
            scan: Scan::new(engine, request, head)?,
            request,
        })
    }

    /// The `keep` rows of `available` that come first, in order.
    ///
    /// # Errors
    /// Those of the pool and the engine, and [`crate::Error::NonFiniteRow`].
    pub fn best_rows(
        &mut self,
        order: RowOrder<'_>,
        available: &RowSet,
        keep: usize,
    ) -> Result<Vec<Listed>> {
        let mut best = self.best_of_groups(order, available, &[keep], |_| 0)?;
        Ok(best.swap_remove(0))
    }

    /// Per group, the `keep[group]` rows of `available` that come first, in order, in one pass. `group` says which
    /// group a row is of: a number below that of the groups.
    ///
    /// # Errors
    /// As [`Operations::best_rows`].
    pub fn best_of_groups(
        &mut self,
        order: RowOrder<'_>,
        available: &RowSet,
        keep: &[usize],
        group: impl Fn(usize) -> usize + Sync,
    ) -> Result<Vec<Vec<Listed>>> {
        let rows = available.len();
        let mut lists: Vec<List> = keep.iter().map(|keep| List::new(rows.min(*keep))).collect();
        let group = |row: usize| group(row).min(keep.len().saturating_sub(1));
        if lists.is_empty() {
            return Ok(Vec::new());
        }
        match order {
            RowOrder::Score(score) => self.scan.add_rows(score, available, &mut lists, group)?,
            RowOrder::Custom(score) => self.scan.add_keys(score, available, &mut lists, group)?,
        }
        let mut best = Vec::with_capacity(lists.len());
        for list in lists {
            let exact = &mut self.scan.exact;
            let entries = exact.entries(&list.entries);
            let picks = match order {
                RowOrder::Score(score) => exact.row_picks(score, &entries)?,
                RowOrder::Custom(score) => exact.key_picks(score, &entries)?,
            };
            let listed = |(entry, pick): &(Entry, Pick)| Listed::of(entry.lower, pick);
            let mut listed: Vec<Listed> = picks.iter().map(listed).collect();
            listed.sort_unstable_by(Listed::order);
            listed.truncate(list.keep);
            best.push(listed);
        }
        Ok(best)
    }

    /// Per class, the `keep[class]` rows of `available` with the smallest BASE scores, in order, in one pass.
    ///
    /// # Errors
    /// As [`Operations::best_rows`], and [`crate::Error::Shape`] where there is not one number a class.
    pub fn best_of_classes(
        &mut self,
        available: &RowSet,
        keep: &[usize],
    ) -> Result<Vec<Vec<Listed>>> {
        let classes = self.scan.exact.head.classes();
        if keep.len() != classes {
            return Err(crate::Error::Shape {
                what: "rows to keep of each class".into(),
                expected: classes.to_string(),
                found: keep.len().to_string(),
            });
        }
        let rows = available.len();
        let keep: Vec<usize> = keep.iter().map(|keep| rows.min(*keep)).collect();
        let lists = self.scan.class_lists(available, &keep)?;
        let mut best = Vec::with_capacity(classes);
        for (class, mut list) in lists.into_iter().enumerate() {
            let entries = self.scan.exact.settle_list(class, &mut list)?;
            let entries = entries.into_iter().map(|entry| (class, entry));
            let described = self.scan.exact.described(entries.collect())?;
            let listed = |(class, entry): &(usize, Entry)| {
                Listed::of(entry.lower, &class_pick(*class, entry))
            };
            best.push(described.iter().map(listed).collect());
        }
        Ok(best)
    }

    /// The selection of `picks`, in pick order, with what the passes took: numbers the picks.
    pub fn finish(self, mut picks: Vec<Pick>) -> Selection {
        let selection = self.scan.exact.selection;
        let candidates = self.request.available.len();
        number(
            &mut picks,
            candidates.saturating_sub(selection.nonfinite.len()),
        );
        Selection { picks, ..selection }
    }
}
