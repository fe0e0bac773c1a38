//! Balanced Selection (BASE): each class takes the rows nearest to its boundaries.

use rayon::prelude::*;

use super::{Request, Selection, Strategy};
use crate::engine::NO_CLASS;
use crate::lists::{Entry, List};
use crate::quota::{ClassOrder, class_counts, uniform};
use crate::scan::{Exact, Scan};
use crate::settle::Settler;
use crate::{Engine, Error, Head, Pick, Result, RowSet};

/// Emam et al., *Active Learning at the ImageNet Scale*, arXiv 2111.12880, algorithm 1.
pub struct Base;

/// A class keeps this many candidates for each row of its quota, and [`SPARE`] more: classes served
/// before it may take some. Running out of them costs another scan, never a wrong pick.
const CANDIDATES_PER_QUOTA: usize = 4;
const SPARE: usize = 448;

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

    fn memory(&self, request: &Request<'_>) -> Result<u64> {
        let head = request.head_for(self.name())?;
        let Serving {
            quotas,
            order,
            budget: _,
        } = Serving::of(request, head)?;
        let keep = keep(&quotas, &order, request.available.len(), 0);
        let lists: u64 = keep.into_iter().map(List::bytes).sum();
        Ok(lists + Settler::bytes(head))
    }

    fn select(&self, engine: &dyn Engine, request: &Request<'_>) -> Result<Selection> {
        let head = request.head_for(self.name())?;
        let serving = Serving::of(request, head)?;
        let mut scan = Scan::new(engine, request, head)?;
        let taken = serve(&mut scan, request.available, &serving)?;
        let exact = &scan.exact;
        let picks = taken
            .par_iter()
            .with_min_len(64)
            .map(|(class, entry)| describe(exact, *class, entry))
            .collect::<Result<Vec<_>>>()?;
        Ok(Selection {
            picks,
            ..scan.exact.selection
        })
    }
}

/// Who may claim how much, and when.
struct Serving {
    /// Rows that each class may claim.
    quotas: Vec<usize>,
    /// The classes, in the order they are served.
    order: Vec<usize>,
    /// Rows that all of them may claim.
    budget: usize,
}

impl Serving {
    fn of(request: &Request<'_>, head: &Head) -> Result<Self> {
        let budget = request.effective_budget()?;
        let classes = head.classes();
        let quotas = match request.quotas {
            Some(quotas) if quotas.len() == classes => quotas.to_vec(),
            Some(quotas) => {
                let (given, expected) = (quotas.len(), classes);
                return Err(Error::Quotas(format!(
                    "{given} given, the head has {expected} classes"
                )));
            }
            None => uniform(budget, classes),
        };
        let order = match request.class_order {
            ClassOrder::Id => (0..classes).collect(),
            order => order.order(&class_counts(request.labelled, classes)?),
        };
        Ok(Self {
            quotas,
            order,
            budget,
        })
    }
}

/// Serves the classes; returns (class, entry) in pick order.
fn serve(
    scan: &mut Scan<'_>,
    available: &RowSet,
    serving: &Serving,
) -> Result<Vec<(usize, Entry)>> {
    let Serving {
        quotas,
        order,
        budget,
    } = serving;
    let mut left = available.clone();
    let mut lists = scan.class_lists(&left, &keep(quotas, order, left.len(), 0))?;
    let mut taken = Vec::with_capacity(*budget);
    for (position, class) in order.iter().enumerate() {
        let mut missing = quotas[*class].min(*budget - taken.len());
        while missing > 0 && !left.is_empty() {
            let first = take(scan, *class, &mut lists[*class], missing, &left)?;
            missing -= first.len();
            for entry in first {
                left.remove(entry.row);
                taken.push((*class, entry));
            }
            if missing == 0 || !lists[*class].is_full() {
                break;
            }
            refill(scan, &mut lists, &left, quotas, &order[position..], missing)?;
        }
    }
    Ok(taken)
}

/// The first `count` rows of `left` that the list vouches for, settled, in pick order.
fn take(
    scan: &mut Scan<'_>,
    class: usize,
    list: &mut List,
    count: usize,
    left: &RowSet,
) -> Result<Vec<Entry>> {
    let open = list.first(count, |row| left.contains(row));
    let mut first = scan.exact.settle(class, &open)?;
    first.sort_unstable_by(Entry::order);
    first.truncate(count);
    let complete = match (list.limit(), first.last()) {
        (None, _) => true,
        (Some(limit), Some(last)) => first.len() == count && last.lower < limit,
        (Some(_), None) => false,
    };
    if complete {
        return Ok(first);
    }
    // At its limit, the list vouches for its first `keep` entries, which must be told from others.
    scan.exact.settle_list(class, list)?;
    let entries = list.entries.iter().filter(|entry| left.contains(entry.row));
    Ok(entries.take(count).copied().collect())
}

/// How many candidates each class keeps after so many refills: never more than the quotas served up
/// to it, which is enough whatever the classes before it take.
fn keep(quotas: &[usize], order: &[usize], available: usize, refills: u64) -> Vec<usize> {
    let mut keep = vec![0; quotas.len()];
    let mut served = 0usize;
    for class in order {
        let quota = quotas[*class];
        served = served.saturating_add(quota);
        if quota > 0 {
            let enough = quota
                .saturating_mul(CANDIDATES_PER_QUOTA)
                .saturating_add(SPARE)
                .saturating_mul(1 << refills.min(30));
            keep[*class] = enough.min(served).min(available);
        }
    }
    keep
}

/// Scans the rows `left` again for the classes of `order`, the first of which misses `missing` rows: all whose
/// lists may not hold every row, each deeper than before. What made one class run out soon makes others.
fn refill(
    scan: &mut Scan<'_>,
    lists: &mut [List],
    left: &RowSet,
    quotas: &[usize],
    order: &[usize],
    missing: usize,
) -> Result<()> {
    scan.exact.selection.refills += 1;
    let mut wanted = quotas.to_vec();
    wanted[order[0]] = missing;
    let mut keep = keep(&wanted, order, left.len(), scan.exact.selection.refills);
    for (keep, list) in keep.iter_mut().zip(&*lists) {
        if !list.is_full() {
            *keep = 0;
        }
    }
    let fresh = scan.class_lists(left, &keep)?;
    for ((list, fresh), keep) in lists.iter_mut().zip(fresh).zip(keep) {
        if keep > 0 {
            *list = fresh;
        }
    }
    Ok(())
}

fn describe(exact: &Exact<'_>, class: usize, entry: &Entry) -> Result<Pick> {
    let entry = exact.describe(class, entry)?;
    Ok(Pick {
        row: entry.row,
        class: Some(class as u32),
        score: Some(entry.lower),
        predicted: Some(entry.predicted),
        runner_up: (entry.runner_up != NO_CLASS).then_some(entry.runner_up),
    })
}
