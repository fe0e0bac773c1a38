//! The candidates of all shards, from their files.

use std::path::PathBuf;

use equipoise_core::Pick;
use equipoise_core::strategies::{Deeper, Listed, ShardList, merge};

use super::file::Names;
use super::{Candidates, SharedQuestion};
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
    /// [`Error::ShardsMissing`] where there is no file of a shard.
    pub fn new(files: Vec<(PathBuf, Candidates)>) -> Result<Self> {
        let mut files = files.into_iter();
        let Some((first, candidates)) = files.next() else {
            return Err(Error::ShardsMissing {
                missing: Vec::new(),
                shards: 0,
            });
        };
        let question = candidates.question.clone();
        let mut nonfinite = Vec::new();
        let mut names = Names::new();
        // Per shard, its lists and which file they come from first.
        let mut shards: Vec<Option<(PathBuf, Vec<ShardList>)>> = vec![None; question.shards];
        for (path, candidates) in std::iter::once((first.clone(), candidates)).chain(files) {
            let mismatch = |first: &PathBuf, what: String| Error::Mismatch {
                first: first.clone(),
                second: path.clone(),
                what,
            };
            if let Some(what) = question.difference(&candidates.question) {
                return Err(mismatch(&first, what.into()));
            }
            nonfinite.extend(candidates.nonfinite);
            names.extend(candidates.names);
            match &mut shards[candidates.shard] {
                Some((earlier, lists)) => {
                    for (list, (known, deeper)) in
                        lists.iter_mut().zip(candidates.lists).enumerate()
                    {
                        if !replace(known, deeper) {
                            let shard = candidates.shard + 1;
                            let what = format!("first rows of class {list} in shard {shard}");
                            return Err(mismatch(earlier, what));
                        }
                    }
                }
                none => *none = Some((path, candidates.lists)),
            }
        }
        let missing = shards.iter().enumerate();
        let missing = missing.filter_map(|(shard, lists)| lists.is_none().then_some(shard + 1));
        let missing: Vec<usize> = missing.collect();
        if !missing.is_empty() {
            let shards = question.shards;
            return Err(Error::ShardsMissing { missing, shards });
        }
        nonfinite.sort_unstable();
        nonfinite.dedup();
        Ok(Self {
            question,
            nonfinite,
            lists: shards
                .into_iter()
                .flatten()
                .map(|(_, lists)| lists)
                .collect(),
            names,
        })
    }

    /// The picks, or the lists that are too short to tell.
    pub fn picks(&self) -> Result<Vec<Pick>, Vec<Deeper>> {
        match self.question.ranking() {
            Some(ranking) => {
                let candidates = self.question.available - self.nonfinite.len();
                merge(&self.lists, ranking, &self.question.serving(), candidates)
            }
            // Files of such strategies are not read.
            None => Ok(Vec::new()),
        }
    }

    /// What the listed rows are called.
    pub fn names(&self) -> &dyn RowNames {
        &self.names
    }
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
