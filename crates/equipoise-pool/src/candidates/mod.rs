//! Candidates: what the scan of one shard leaves, as files, and what is asked of further scans.

mod check;
mod deepen;
mod file;
mod gather;

use std::path::Path;

use equipoise_core::RowSet;
use equipoise_core::strategies::{Ranking, Serving, by_name};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use deepen::{ClassDepth, Deepening, ShardDepths};
pub use file::Candidates;
pub use gather::Gathered;

use crate::digest::{hex, sha256_of_file};
use crate::{EmbeddingPool, Result};

/// Version of the format that candidates and requests for deeper ones are written in, and the newest that is
/// read.
pub const CANDIDATES_VERSION: u64 = 1;

/// Most shards of a pool.
pub const MOST_SHARDS: usize = 1 << 16;

/// What all shards of one pool must have been asked, so that their candidates can be merged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedQuestion {
    /// The strategy's name.
    pub strategy: String,
    /// [`SharedQuestion::pool_digest`].
    pub pool_digest: String,
    /// Rows of the pool.
    pub pool_rows: usize,
    /// SHA-256 of the head's file.
    pub head_digest: String,
    /// SHA-256 of which rows are available: a bit a row, in little-endian words of 64.
    pub available_digest: String,
    /// How many these are.
    pub available: usize,
    /// In how many shards the pool is scanned.
    pub shards: usize,
    /// How many rows to pick, at most those available.
    pub budget: usize,
    /// Per class, how many rows it may claim; the budget, where rows have a score of their own.
    pub quotas: Vec<usize>,
    /// The classes, in the order in which they are served; 0, where rows have a score of their own.
    pub order: Vec<usize>,
    /// Names of the head's classes, or their numbers.
    pub classes: Vec<String>,
}

impl SharedQuestion {
    /// What tells the contents of pools apart: SHA-256 of a store's manifest, which holds that of each of
    /// its files, or of a single file.
    ///
    /// # Errors
    /// [`crate::Error::Read`].
    pub fn pool_digest(pool: &EmbeddingPool) -> Result<String> {
        match pool.path().is_dir() {
            true => sha256_of_file(&pool.path().join(crate::store::MANIFEST)),
            false => sha256_of_file(pool.path()),
        }
    }

    /// SHA-256 of a file.
    ///
    /// # Errors
    /// [`crate::Error::Read`].
    pub fn head_digest(head: &Path) -> Result<String> {
        sha256_of_file(head)
    }

    /// See [`Self::available_digest`].
    pub fn digest_of_available(available: &RowSet) -> String {
        let mut hasher = Sha256::new();
        for word in available.words() {
            hasher.update(word.to_le_bytes());
        }
        hex(hasher)
    }

    /// What the strategy ranks by; `None` where this program knows no such strategy.
    pub fn ranking(&self) -> Option<Ranking> {
        by_name(&self.strategy)?.ranking()
    }

    /// How many rows each class takes, and when.
    pub fn serving(&self) -> Serving {
        Serving {
            quotas: self.quotas.clone(),
            order: self.order.clone(),
            budget: self.budget,
        }
    }

    /// What `other` was asked that differs, in words.
    pub fn difference(&self, other: &Self) -> Option<&'static str> {
        let differs = [
            (self.strategy != other.strategy, "strategy"),
            (self.pool_digest != other.pool_digest, "pool"),
            (
                self.pool_rows != other.pool_rows,
                "number of rows of the pool",
            ),
            (self.head_digest != other.head_digest, "head"),
            (self.classes != other.classes, "class names"),
            (
                self.available_digest != other.available_digest,
                "labelled or excluded rows",
            ),
            (self.shards != other.shards, "number of shards"),
            (self.budget != other.budget, "budget"),
            (self.quotas != other.quotas, "quotas"),
            (self.order != other.order, "class order"),
            (
                self.available != other.available,
                "number of available rows",
            ),
        ];
        let found = differs.into_iter().find(|(differs, _)| *differs);
        found.map(|(_, what)| what)
    }

    /// What makes it no question that was ever asked.
    fn problem(&self) -> Option<String> {
        let Some(ranking) = self.ranking() else {
            return Some(format!("strategy `{}` cannot be merged", self.strategy));
        };
        let lists = match ranking {
            Ranking::Classes => self.classes.len(),
            Ranking::Rows(_) => 1,
        };
        let mut order = self.order.clone();
        order.sort_unstable();
        let sound = self.quotas.len() == lists
            && order.into_iter().eq(0..lists)
            && (1..=MOST_SHARDS).contains(&self.shards)
            && self.budget <= self.available
            && self.available <= self.pool_rows;
        (!sound).then(|| "its metadata contradict each other".into())
    }
}
