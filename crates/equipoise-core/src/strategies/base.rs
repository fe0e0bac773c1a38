//! Balanced Selection (BASE): each class takes the rows nearest to its boundaries.

use rayon::prelude::*;

use super::{Request, Selection, Strategy};
use crate::lists::List;
use crate::quota::{ClassOrder, class_counts, uniform};
use crate::scan::Scan;
use crate::settle::{Settler, pool_embedding};
use crate::{Engine, Error, Pick, Pool, Result, RowSet, definition};

/// Emam et al., *Active Learning at the ImageNet Scale*, arXiv 2111.12880, algorithm 1.
pub struct Base;

/// A class keeps this many candidates for each row of its quota, and [`SPARE`] more: classes served
/// before it may take some. Running out of them costs another scan, never a wrong pick.
const CANDIDATES_PER_QUOTA: usize = 4;
const SPARE: usize = 64;

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

    fn select(&self, engine: &dyn Engine, request: &Request<'_>) -> Result<Selection> {
        let head = request.head_for(self.name())?;
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
        let mut scan = Scan::new(engine, request, head)?;
        let taken = serve(&mut scan, request.available, &quotas, &order, budget)?;
        let settler = &scan.exact.settler;
        let picks = taken
            .par_iter()
            .map(|(class, row)| describe(settler, request.pool, *class, *row))
            .collect::<Result<Vec<_>>>()?;
        Ok(Selection {
            picks,
            ..scan.exact.selection
        })
    }
}

/// Serves the classes in `order`; returns (class, row) in pick order.
fn serve(
    scan: &mut Scan<'_>,
    available: &RowSet,
    quotas: &[usize],
    order: &[usize],
    budget: usize,
) -> Result<Vec<(usize, usize)>> {
    let mut left = available.clone();
    let mut lists = scan.class_lists(&left, &keep(quotas, order, left.len()))?;
    let mut taken = Vec::with_capacity(budget);
    for (position, class) in order.iter().enumerate() {
        let mut missing = quotas[*class].min(budget - taken.len());
        loop {
            let rows = lists[*class].entries.iter().map(|entry| entry.row);
            let rows: Vec<usize> = rows
                .filter(|row| left.contains(*row))
                .take(missing)
                .collect();
            for row in &rows {
                left.remove(*row);
                taken.push((*class, *row));
            }
            missing -= rows.len();
            if missing == 0 || left.is_empty() || !lists[*class].is_full() {
                break;
            }
            refill(scan, &mut lists, &left, quotas, &order[position..], missing)?;
        }
    }
    Ok(taken)
}

/// How many candidates each class keeps: never more than the quotas served up to it, which is
/// enough whatever the classes before it take.
fn keep(quotas: &[usize], order: &[usize], available: usize) -> Vec<usize> {
    let mut keep = vec![0; quotas.len()];
    let mut served = 0usize;
    for class in order {
        let quota = quotas[*class];
        served = served.saturating_add(quota);
        if quota > 0 {
            let enough = quota
                .saturating_mul(CANDIDATES_PER_QUOTA)
                .saturating_add(SPARE);
            keep[*class] = enough.min(served).min(available);
        }
    }
    keep
}

/// Scans the rows `left` again for the first class of `order`, which misses `missing` rows, and for
/// those after it that would run out too.
fn refill(
    scan: &mut Scan<'_>,
    lists: &mut [List],
    left: &RowSet,
    quotas: &[usize],
    order: &[usize],
    missing: usize,
) -> Result<()> {
    let mut wanted = vec![0; quotas.len()];
    for class in order {
        let entries = lists[*class].entries.iter();
        let ready = entries.filter(|entry| left.contains(entry.row)).count();
        if ready < quotas[*class] && lists[*class].is_full() {
            wanted[*class] = quotas[*class];
        }
    }
    wanted[order[0]] = missing;
    let keep = keep(&wanted, order, left.len());
    let fresh = scan.class_lists(left, &keep)?;
    for (class, list) in fresh.into_iter().enumerate() {
        if wanted[class] > 0 {
            lists[class] = list;
        }
    }
    scan.exact.selection.refills += 1;
    Ok(())
}

fn describe(settler: &Settler<'_>, pool: &dyn Pool, class: usize, row: usize) -> Result<Pick> {
    let (p, distances) = settler.distances(&pool_embedding(pool, row)?);
    Ok(Pick {
        row,
        class: Some(class as u32),
        score: Some(definition::base(&distances, p)[class]),
        predicted: Some(p as u32),
        runner_up: definition::runner_up(&distances, p).map(|c| c as u32),
    })
}
