//! BASE under constraints: classes walk their lists row by row, in exact order.

use std::collections::{BTreeSet, HashMap};

use super::base::{Depths, Scanned, pick};
use super::serve::Serving;
use super::{Request, Selection};
use crate::centres::Centres;
use crate::constraints::{Constraints, Shortfall};
use crate::known::Entry;
use crate::scan::Scan;
use crate::{Engine, Head, Pick, Result};

/// Rows that a class asks for at a time, beyond those that it misses.
const AHEAD: usize = 16;

/// A class's list holds this many rows for each of its quota, and [`SPARE`] more.
const PER_QUOTA: usize = 4;
const SPARE: usize = 128;

/// How many times as deep a list is made that ran out.
const DEEPER: usize = 4;

/// Picks that are compared one by one, until the engine is asked.
const MOST_WAITING: usize = 256;

/// The picks of BASE under `request`'s constraints, and what fell short.
pub(super) fn select(engine: &dyn Engine, request: &Request<'_>, head: &Head) -> Result<Selection> {
    request.constraints.check(request.pool.rows())?;
    let serving = Serving::of_classes(request, head)?;
    let allowed = Allowed::new(engine, request)?;
    let mut scan = Scan::new(engine, request, head)?;
    let depths = Depths::new(request, &serving);
    let mut walk = Walk {
        budget: serving.budget as f64,
        least_cost: request.constraints.least_cost(request.available),
        scanned: Scanned::new(&mut scan, &serving, depths)?,
        allowed,
        picks: Vec::with_capacity(most_picks(request, &serving)),
        shortfalls: Vec::new(),
    };
    for class in &serving.order {
        walk.class(*class, serving.quotas[*class])?;
        walk.scanned.close(*class);
    }
    let Walk {
        picks,
        shortfalls,
        allowed,
        ..
    } = walk;
    let entries = picks.iter().map(|(class, entry, ..)| (*class, *entry));
    let described = scan.exact.described(entries.collect())?;
    let places = picks.iter().map(|(.., rank, beat)| (*rank, *beat));
    let with_place = |((class, entry), (rank, beat)): ((usize, Entry), _)| Pick {
        class_rank: Some(rank),
        beat: Some(beat),
        ..pick(class, &entry)
    };
    let picks = described.into_iter().zip(places).map(with_place).collect();
    let mut selection = scan.exact.selection;
    selection.settled += allowed.settled();
    Ok(Selection {
        picks,
        shortfalls,
        ..selection
    })
}

/// How many rows each class's list keeps at first.
pub(super) fn depths(serving: &Serving, rows: usize) -> Vec<usize> {
    let depths = serving.quotas.iter().map(|quota| depth(*quota, 0, rows));
    depths.collect()
}

/// How many picks there may be.
pub(super) fn most_picks(request: &Request<'_>, serving: &Serving) -> usize {
    match request.constraints.costs {
        // Then the budget is no number of rows.
        Some(_) => serving.budget.min(request.available.len()),
        None => serving.budget,
    }
}

/// What `request`'s constraints take of host memory beside the lists, in bytes, for so many picks.
pub(super) fn bytes(request: &Request<'_>, picks: usize) -> u64 {
    let constraints = request.constraints;
    let spacing = match constraints.min_distance {
        Some(_) => Centres::bytes(request.pool.rows(), request.pool.dim()),
        None => 0,
    };
    // Rows that a class cannot pay for, in memory that grows by doubling.
    let costly = match constraints.costs {
        Some(_) => 3 * request.available.len() * size_of::<usize>(),
        None => 0,
    };
    spacing + (costly + picks * size_of::<Placed>()) as u64
}

/// Class, entry, rank within the class, and rows that came after it.
type Placed = (usize, Entry, u32, u64);

/// How many rows a class's list keeps, after so many refills.
fn depth(quota: usize, refills: u32, rows: usize) -> usize {
    match quota {
        0 => 0,
        _ => quota
            .saturating_mul(PER_QUOTA)
            .saturating_add(SPARE)
            .saturating_mul(DEEPER.saturating_pow(refills))
            .min(rows),
    }
}

struct Walk<'s, 'a> {
    scanned: Scanned<'s, 'a>,
    allowed: Allowed<'a>,
    /// What is left of it.
    budget: f64,
    /// No row costs less.
    least_cost: f64,
    picks: Vec<Placed>,
    shortfalls: Vec<Shortfall>,
}

impl Walk<'_, '_> {
    /// Serves one class.
    fn class(&mut self, class: usize, quota: usize) -> Result<()> {
        // What is left of the quota, and rows that only this class cannot pay for.
        let (mut left, mut costly) = ((quota as f64).min(self.budget), Vec::new());
        let (mut rank, mut refills) = (0, 0);
        let mut skipped = Shortfall::none(class as u32);
        let mut full = BTreeSet::new();
        while left > 0.0 && left >= self.least_cost {
            let ahead = (left / self.least_cost.max(1.0)) as usize + AHEAD;
            let next = self.scanned.in_order(class, ahead)?;
            if next.is_empty() {
                if self.scanned.holds_all(class) {
                    break;
                }
                refills += 1;
                let rows = self.scanned.left.len();
                let [deeper, least] = [refills, 0].map(|refills| depth(quota, refills, rows));
                self.scanned.refill_class(class, deeper, least)?;
                continue;
            }
            for entry in next {
                if left <= 0.0 || left < self.least_cost {
                    break;
                }
                let cost = self.allowed.constraints.cost(entry.row);
                self.scanned.left.remove(entry.row);
                if cost > left {
                    skipped.too_costly += 1;
                    costly.push(entry.row);
                } else if let Some(group) = self.allowed.full_group(entry.row) {
                    skipped.group_full += 1;
                    full.insert(group);
                } else if self.allowed.is_too_near(entry.row)? {
                    skipped.too_near += 1;
                } else {
                    self.allowed.take(entry.row)?;
                    rank += 1;
                    left -= cost;
                    self.budget -= cost;
                    let after = self.scanned.candidates_left();
                    self.picks.push((class, entry, rank, after as u64));
                }
            }
        }
        for row in costly {
            self.scanned.left.insert(row);
        }
        // Of costs, whatever no row fits into is not missing.
        if left > 0.0 && left >= self.least_cost {
            skipped.missing = left;
            skipped.groups = full.into_iter().collect();
            self.shortfalls.push(skipped);
        }
        Ok(())
    }
}

/// Which rows the constraints allow, given the picks so far.
struct Allowed<'a> {
    constraints: Constraints<'a>,
    /// Per column, how many rows of each group are picked.
    taken: Vec<HashMap<u32, usize>>,
    spacing: Option<Spacing<'a>>,
}

impl<'a> Allowed<'a> {
    fn new(engine: &'a dyn Engine, request: &Request<'a>) -> Result<Self> {
        let constraints = request.constraints;
        let spacing = match constraints.min_distance {
            Some(distance) => Some(Spacing::new(engine, request, distance)?),
            None => None,
        };
        Ok(Self {
            taken: vec![HashMap::new(); constraints.groups.len()],
            constraints,
            spacing,
        })
    }

    /// A group of the row that is full, as `column=value`.
    fn full_group(&self, row: usize) -> Option<String> {
        let mut columns = self.constraints.groups.iter().zip(&self.taken);
        columns.find_map(|(groups, taken)| {
            let group = groups.of_rows[row]?;
            let is_full = taken.get(&group).copied().unwrap_or(0) >= groups.cap;
            let name = groups
                .names
                .get(group as usize)
                .cloned()
                .unwrap_or_default();
            is_full.then(|| format!("{}={name}", groups.column))
        })
    }

    fn is_too_near(&self, row: usize) -> Result<bool> {
        self.spacing
            .as_ref()
            .map_or(Ok(false), |spacing| spacing.is_too_near(row))
    }

    fn take(&mut self, row: usize) -> Result<()> {
        for (groups, taken) in self.constraints.groups.iter().zip(&mut self.taken) {
            if let Some(group) = groups.of_rows[row] {
                *taken.entry(group).or_default() += 1;
            }
        }
        self.spacing
            .as_mut()
            .map_or(Ok(()), |spacing| spacing.add(row))
    }

    fn settled(&self) -> u64 {
        self.spacing
            .as_ref()
            .map_or(0, |spacing| spacing.centres.selection.settled)
    }
}

/// A least distance from labelled and picked rows.
struct Spacing<'a> {
    /// Squared.
    least: f64,
    centres: Centres<'a>,
    /// Picks that the engine has not seen.
    waiting: Vec<usize>,
}

impl<'a> Spacing<'a> {
    fn new(engine: &'a dyn Engine, request: &Request<'a>, distance: f64) -> Result<Self> {
        let mut centres = Centres::new(engine, request)?;
        let labelled: Vec<usize> = request.labelled.iter().map(|row| row.row).collect();
        centres.add(&labelled)?;
        Ok(Self {
            least: distance * distance,
            centres,
            waiting: Vec::new(),
        })
    }

    fn is_too_near(&self, row: usize) -> Result<bool> {
        if !self.centres.is_empty() {
            let (lower, upper) = self.centres.bounds(row);
            let near = match (lower < self.least, upper < self.least) {
                (false, _) => false,
                (true, true) => true,
                (true, false) => self.centres.settle(row)? < self.least,
            };
            if near {
                return Ok(true);
            }
        }
        for pick in &self.waiting {
            if self.centres.distance(row, *pick)? < self.least {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn add(&mut self, row: usize) -> Result<()> {
        self.waiting.push(row);
        if self.waiting.len() == MOST_WAITING {
            self.centres.add(&std::mem::take(&mut self.waiting))?;
        }
        Ok(())
    }
}
