//! The candidates of all shards, from their files.

use std::path::PathBuf;

use equipoise_core::Selection;
use equipoise_core::strategies::{Deeper, Listed, ShardList, merge};

use super::file::Names;
use super::{Candidates, SharedQuestion, check};
use crate::{Error, Result, RowNames};

/// Candidates of all shards, asked the same question.
#[derive(Debug)]
pub struct Gathered {
    /// What was asked.
    pub question: SharedQuestion,
    /// Rows left out for a NaN or an infinity, ascending.
    pub nonfinite: Vec<usize>,
    lists: Vec<Vec<ShardList>>,
    names: Names,
}

impl Gathered {
    /// Puts files together. A shard may have several; of each list the longest counts.
    ///
    /// # Errors
    /// [`Error::Mismatch`] names the first two files that do not belong together;
    /// [`Error::ShardsMissing`] where there is no file of a shard; [`Error::TooManyRows`] where they are of more
    /// rows than can be picked.
    pub fn new(files: Vec<(PathBuf, Candidates)>) -> Result<Self> {
        let mut files = files.into_iter();
        let Some((first, candidates)) = files.next() else {
            return Err(Error::ShardsMissing {
                missing: Vec::new(),
                shards: 0,
            });
        };
        let question = candidates.question.clone();
        // Per shard, its candidates and which file they come from first.
        let mut shards: Vec<Option<(PathBuf, Candidates)>> = vec![None; question.shards];
        for (path, candidates) in std::iter::once((first.clone(), candidates)).chain(files) {
            let mismatch = |first: &PathBuf, what: String| Error::Mismatch {
                first: first.clone(),
                second: path.clone(),
                what,
            };
            if let Some(what) = question.difference(&candidates.question) {
                return Err(mismatch(&first, what.into()));
            }
            match &mut shards[candidates.shard] {
                Some((earlier, known)) => {
                    if let Some(what) = join(known, candidates) {
                        return Err(mismatch(earlier, what));
                    }
                }
                none => *none = Some((path, candidates)),
            }
        }
        let missing = shards.iter().enumerate();
        let missing = missing.filter_map(|(shard, found)| found.is_none().then_some(shard + 1));
        let missing: Vec<usize> = missing.collect();
        if !missing.is_empty() {
            let shards = question.shards;
            return Err(Error::ShardsMissing { missing, shards });
        }
        let mut gathered = Self {
            nonfinite: Vec::new(),
            lists: Vec::new(),
            names: Names::new(),
            question,
        };
        let mut listed = 0;
        for (_, candidates) in shards.into_iter().flatten() {
            listed += check::listed(&candidates.lists).len();
            gathered.nonfinite.extend(candidates.nonfinite);
            gathered.lists.push(candidates.lists);
            gathered.names.extend(candidates.names);
        }
        let (found, available) = (
            listed + gathered.nonfinite.len(),
            gathered.question.available,
        );
        match found > available {
            true => Err(Error::TooManyRows { found, available }),
            false => Ok(gathered),
        }
    }

    /// The picks and the classes that fell short, or the lists that are too short to tell.
    ///
    /// # Errors
    /// Those lists.
    pub fn selection(&self) -> Result<Selection, Vec<Deeper>> {
        let Some(ranking) = self.question.ranking() else {
            // Files of such strategies are not read.
            return Ok(Selection::default());
        };
        let (available, left_out) = (self.question.available, self.nonfinite.len());
        let candidates = available.saturating_sub(left_out);
        merge(&self.lists, ranking, &self.question.serving(), candidates)
    }

    /// What the listed rows are called.
    pub fn names(&self) -> &dyn RowNames {
        &self.names
    }
}

/// Joins what another file says of the same shard; what they differ in, if they do.
fn join(known: &mut Candidates, other: Candidates) -> Option<String> {
    let shard = known.shard + 1;
    if known.nonfinite != other.nonfinite {
        return Some(format!("rows that are not finite in shard {shard}"));
    }
    known.names.extend(other.names);
    let lists = known.lists.iter_mut().zip(other.lists);
    let agree = lists.map(|(known, deeper)| replace(known, deeper));
    let wrong = agree.enumerate().find(|(_, agree)| !agree);
    wrong.map(|(list, _)| format!("first rows of class {list} in shard {shard}"))
}

/// Takes the longer of two lists of one class and shard; says whether they agree as far as both go.
fn replace(known: &mut ShardList, other: ShardList) -> bool {
    let same = |(a, b): (&Listed, &Listed)| a == b;
    let agree = known.entries.iter().zip(&other.entries).all(same);
    let (shorter, longer) = match known.entries.len() < other.entries.len() {
        true => (&*known, &other),
        false => (&other, &*known),
    };
    let agree = agree && (!shorter.complete || shorter.entries.len() == longer.entries.len());
    if other.entries.len() > known.entries.len() {
        *known = other;
    } else if other.entries.len() == known.entries.len() {
        known.complete |= other.complete;
    }
    agree
}
