//! What single strategies are told, and the true labels that oracles read.

use std::path::PathBuf;

use equipoise::core::strategies::{Balancing, BalancingOptions, PickLabels, Strategy};
use equipoise::core::{ClusterOptions, Pool, Request, Start};
use equipoise::pool;

use super::question::{Files, Question};
use crate::failure::Result;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// True labels; `None` for those that the pool has of its own.
    pub labels: Option<PathBuf>,
    pub start: Start,
    pub partitions: usize,
    pub fresh_start: bool,
    pub clustering: ClusterOptions,
    pub balancing: BalancingOptions,
}

/// True classes.
pub(crate) struct Truth {
    /// Of each row of the pool, where it is known.
    pub rows: Vec<Option<u32>>,
    /// Class names: the head's where there is one.
    pub classes: Vec<String>,
}

impl Options {
    /// Whether a selection by `strategy` is an oracle's.
    pub(crate) fn reads_labels(&self, strategy: &dyn Strategy) -> bool {
        let balancing_reads = self.balancing.labels == PickLabels::Oracle;
        strategy.is_oracle() || (strategy.name() == Balancing.name() && balancing_reads)
    }

    /// The true labels, for oracles; `None` for others, and where there are none.
    ///
    /// # Errors
    /// Where the file cannot be read, or a label is none of the head's classes.
    pub(crate) fn read_truth(
        &self,
        question: &Question,
        files: &Files<'_>,
    ) -> Result<Option<Truth>> {
        if !self.reads_labels(question.strategy) {
            return Ok(None);
        }
        let names = files.class_names();
        let known = (!names.is_empty()).then_some(&names[..]);
        let labels = match &self.labels {
            Some(path) => Some(pool::read_labels(path, files.pool.ids(), known)?),
            None => files.pool.labels(known)?,
        };
        Ok(labels.map(|labels| {
            let mut rows = vec![None; files.pool.rows()];
            for (row, class) in labels.rows {
                rows[row] = Some(class);
            }
            Truth {
                rows,
                classes: labels.classes,
            }
        }))
    }

    /// `request` with what the strategy is told.
    pub(crate) fn applied<'a>(
        &self,
        request: Request<'a>,
        truth: Option<&'a Truth>,
    ) -> Request<'a> {
        Request {
            truth: truth.map(|truth| &truth.rows[..]),
            start: self.start,
            partitions: self.partitions,
            fresh_start: self.fresh_start,
            clustering: self.clustering,
            balancing: self.balancing,
            ..request
        }
    }
}
