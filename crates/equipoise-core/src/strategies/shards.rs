//! One pool on several machines: each scans a shard of the rows, and what they found is merged.
//!
//! A shard's list holds the first rows of a class, or of all, with their exact keys, in the order of
//! picks. A list that was cut says nothing of rows after its last: a pick is certain if no
//! shard's list ended before it. Where one did, [`merge()`] says how deep to scan it.

use std::collections::HashSet;
use std::convert::Infallible;
use std::ops::Range;

use super::base::{fitting, pick};
use super::serve::{Serving, Source, serve};
use super::{Request, Selection};
use crate::definition::RowScore;
use crate::exact;
use crate::known::Entry;
use crate::lists;
use crate::pick::{class_picks_bytes, number, row_picks_bytes};
use crate::scan::Scan;
use crate::{Engine, Error, Head, Pick, Result, RowSet};

/// What a strategy's picks are the smallest of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranking {
    /// Each class ranks the rows: BASE.
    Classes,
    /// Rows have a score of their own.
    Rows(RowScore),
}

impl Ranking {
    /// How many rows each class takes, and when, for `strategy`.
    ///
    /// # Errors
    /// Those of [`Request::head_for`] and [`Request::effective_budget`]; [`Error::Quotas`].
    pub fn serving(self, strategy: &'static str, request: &Request<'_>) -> Result<Serving> {
        let head = request.head_for(strategy)?;
        match self {
            Ranking::Classes => Serving::of_classes(request, head),
            Ranking::Rows(_) => Ok(Serving::of_rows(request.effective_budget()?)),
        }
    }
}

/// The rows of shard `index` (from 0) of `shards`, of a pool of `rows` rows: contiguous, and all rows in
/// the order of the shards.
pub fn shard_rows(rows: usize, index: usize, shards: usize) -> Range<usize> {
    let first = |index: usize| (rows as u128 * index as u128 / shards as u128) as usize;
    first(index)..first(index + 1)
}

/// A row in a shard's list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Listed {
    /// Row of the pool.
    pub row: usize,
    /// What rows are ordered by, smallest first, then by row; never NaN.
    pub key: f64,
    /// The score in its own unit.
    pub score: f64,
    /// The class the head predicts.
    pub predicted: u32,
    /// The class of the nearest boundary, if there is one.
    pub runner_up: Option<u32>,
}

impl Listed {
    /// The order of picks.
    pub fn order(&self, other: &Self) -> std::cmp::Ordering {
        let keys = self.key.total_cmp(&other.key);
        keys.then(self.row.cmp(&other.row))
    }

    pub(crate) fn of(key: f64, pick: &Pick) -> Self {
        Self {
            row: pick.row,
            key,
            score: pick.score.unwrap_or(key),
            predicted: pick.predicted.unwrap_or_default(),
            runner_up: pick.runner_up,
        }
    }

    /// The pick that the row is, for `class` if it is of a class's list.
    pub fn pick(&self, class: Option<u32>) -> Pick {
        Pick {
            class,
            score: Some(self.score),
            predicted: Some(self.predicted),
            runner_up: self.runner_up,
            ..Pick::of_row(self.row)
        }
    }
}

/// The first rows of a shard for one class, or by a score of their own.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ShardList {
    /// In the order of picks.
    pub entries: Vec<Listed>,
    /// Whether every available row of the shard is there; if not, every one up to the last is.
    pub complete: bool,
}

/// What a shard's scan leaves.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ShardScan {
    /// A list for each class, or one.
    pub lists: Vec<ShardList>,
    /// What it took. There are no picks.
    pub selection: Selection,
}

/// Scans `rows` of the pool, to a depth of `depths` entries a list: a list of depth 0 stays empty. No list
/// goes deeper than [`Serving::most`]. `serving` is [`Ranking::serving`] of the same request.
///
/// # Errors
/// Those of the head, the pool and the engine, and [`Error::Shape`] where there is not one depth a list.
pub fn scan_shard(
    engine: &dyn Engine,
    (strategy, ranking): (&'static str, Ranking),
    request: &Request<'_>,
    serving: &Serving,
    rows: Range<usize>,
    depths: &[usize],
) -> Result<ShardScan> {
    let head = request.head_for(strategy)?;
    if depths.len() != serving.quotas.len() {
        return Err(Error::Shape {
            what: "depths".into(),
            expected: serving.quotas.len().to_string(),
            found: depths.len().to_string(),
        });
    }
    let available = request.available.within(rows);
    let rows = available.len();
    let keep = kept(serving, depths, rows);
    let mut scan = Scan::new(engine, request, head)?;
    let mut lists = Vec::with_capacity(keep.len());
    match ranking {
        Ranking::Rows(score) => {
            let (picks, full) = scan.best_rows(score, &available, keep[0])?;
            let entry = |(entry, pick): &(Entry, Pick)| Listed::of(entry.lower, pick);
            lists.push(ShardList {
                entries: picks.iter().map(entry).collect(),
                complete: !full || keep[0] >= rows,
            });
        }
        Ranking::Classes => {
            let found = scan.class_lists(&available, &keep)?;
            for (class, mut list) in found.into_iter().enumerate() {
                scan.exact.settle_list(class, &mut list)?;
                let entries = scan.exact.entries(&list.entries);
                let complete = !list.is_full() || keep[class] >= rows;
                let entries = entries.into_iter().map(|entry| (class, entry));
                let entries = scan.exact.described(entries.collect())?;
                let listed =
                    |(_, entry): &(usize, Entry)| Listed::of(entry.lower, &pick(class, entry));
                lists.push(ShardList {
                    entries: entries.iter().map(listed).collect(),
                    complete,
                });
            }
        }
    }
    Ok(ShardScan {
        lists,
        selection: scan.exact.selection,
    })
}

/// Bytes that [`scan_shard`] takes at most beside the engine for a request, to such depths, of a shard of `rows` rows.
pub fn shard_memory(
    request: &Request<'_>,
    head: &Head,
    serving: &Serving,
    depths: &[usize],
    rows: usize,
) -> u64 {
    let keep = kept(serving, depths, rows);
    let listed = keep.iter().map(|keep| (keep * size_of::<Listed>()) as u64);
    let longest = keep.iter().copied().max().unwrap_or(0);
    listed.sum::<u64>()
        + lists::bytes(keep, rows)
        + row_picks_bytes(longest).max(class_picks_bytes(longest))
        + RowSet::bytes(request.pool.rows())
        + exact::bytes(request, head)
}

/// How many rows each list keeps, of `rows` available rows.
fn kept(serving: &Serving, depths: &[usize], rows: usize) -> Vec<usize> {
    let depths = depths.iter().zip(serving.most());
    fitting(depths.map(|(depth, most)| most.min(*depth)).collect(), rows)
}

/// A list that is too short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deeper {
    /// The shard, from 0.
    pub shard: usize,
    /// The class, or 0.
    pub list: usize,
    /// How many entries to keep; more than there are.
    pub depth: usize,
}

/// The picks of the whole pool and the classes that fell short, from the lists of all its shards, in order of their rows: those
/// of [`super::Strategy::select`]. `candidates` rows of the pool could be picked.
///
/// # Errors
/// The lists that are too short to tell. Deeper ones may show that others are, too.
pub fn merge(
    shards: &[Vec<ShardList>],
    ranking: Ranking,
    serving: &Serving,
    candidates: usize,
) -> Result<Selection, Vec<Deeper>> {
    let mut merged = Merged {
        shards,
        most: serving.most(),
        taken: HashSet::new(),
        deeper: Vec::new(),
    };
    let Ok(served) = serve(&mut merged, serving);
    if !merged.deeper.is_empty() {
        return Err(merged.deeper);
    }
    let pick = |(class, entry): (usize, Listed)| match ranking {
        Ranking::Classes => entry.pick(Some(class as u32)),
        Ranking::Rows(_) => entry.pick(None),
    };
    let mut picks: Vec<Pick> = served.into_iter().map(pick).collect();
    number(&mut picks, candidates);
    let shortfalls = match ranking {
        Ranking::Classes => serving.shortfalls(&picks),
        Ranking::Rows(_) => Vec::new(),
    };
    Ok(Selection {
        picks,
        shortfalls,
        ..Selection::default()
    })
}

/// Candidates of all shards.
struct Merged<'a> {
    shards: &'a [Vec<ShardList>],
    /// [`Serving::most`].
    most: Vec<usize>,
    taken: HashSet<usize>,
    deeper: Vec<Deeper>,
}

impl Source for Merged<'_> {
    type Entry = Listed;
    type Error = Infallible;

    /// Goes on beyond the end of lists that were cut, as if they were not, to find what else is too short.
    fn take(&mut self, class: usize, count: usize) -> Result<Vec<Listed>, Infallible> {
        let lists: Vec<&ShardList> = self.shards.iter().map(|lists| &lists[class]).collect();
        let mut left: Vec<&[Listed]> = lists.iter().map(|list| &list.entries[..]).collect();
        let mut short = vec![false; lists.len()];
        let mut first = Vec::new();
        while first.len() < count {
            for left in &mut left {
                while let [entry, rest @ ..] = *left
                    && self.taken.contains(&entry.row)
                {
                    *left = rest;
                }
            }
            let heads = left.iter().filter_map(|left| left.first());
            let next = heads.min_by(|a, b| a.order(b)).copied();
            for (shard, list) in lists.iter().enumerate() {
                let ends_before = || match (list.entries.last(), &next) {
                    (Some(last), Some(next)) => last.order(next).is_lt(),
                    _ => true,
                };
                if !list.complete && !short[shard] && left[shard].is_empty() && ends_before() {
                    short[shard] = true;
                    let (length, missing) = (list.entries.len(), count - first.len());
                    let depth = length.saturating_mul(2).max(length.saturating_add(missing));
                    self.deeper.push(Deeper {
                        shard,
                        list: class,
                        depth: depth.min(self.most[class]).max(length + 1),
                    });
                }
            }
            let Some(next) = next else {
                break;
            };
            self.taken.insert(next.row);
            first.push(next);
        }
        Ok(first)
    }

    fn refill(&mut self, _order: &[usize], _missing: usize) -> Result<bool, Infallible> {
        Ok(false)
    }
}
