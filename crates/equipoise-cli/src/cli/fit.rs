//! Arguments of `fit`.

use std::path::PathBuf;

use clap::Args;

use crate::commands::fit::Job;
use crate::failure::{Failure, Result};

/// Arguments of `fit`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  equipoise fit --embeddings pool.emb --labels labels.csv --out head.safetensors
  equipoise fit --embeddings pool.emb --only picks.csv --out head.safetensors   (class folders know the labels)
  equipoise fit --embeddings pool.emb --labels tasks.json --penalty 0.001 --out head.safetensors --force")]
pub(crate) struct FitArgs {
    /// The pool: an embedding store, a .safetensors with a tensor `embeddings`, or a .npy
    #[arg(long, value_name = "POOL")]
    embeddings: PathBuf,
    /// Labels: CSV with columns `id` (or `row`) and `label`, or a Label Studio export; by default
    /// those the store took from its class folders
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Where to write the head
    #[arg(long, value_name = "HEAD")]
    out: PathBuf,
    /// Use only the labels of the rows listed here, a PICKS.csv for example: plays a data set whose
    /// labels are known. Repeatable
    #[arg(long, value_name = "FILE")]
    only: Vec<PathBuf>,
    /// Class names in order, one a line; by default the store's class folders, else the sorted labels
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    /// L2 penalty on the weights; by default the one that does best on the validation split
    #[arg(long, value_name = "X")]
    penalty: Option<f32>,
    /// Share of the labelled rows kept to choose the penalty and to report accuracy
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    validation: f32,
    /// Makes the validation split reproducible
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Overwrite the output
    #[arg(long)]
    force: bool,
}

impl FitArgs {
    /// What was meant.
    ///
    /// # Errors
    /// Wrong usage: numbers out of their range.
    pub(crate) fn meant(self) -> Result<Job> {
        if !(0.0..1.0).contains(&self.validation) {
            return Err(Failure::usage(format!(
                "--validation {}: at least 0, below 1",
                self.validation
            )));
        }
        if let Some(penalty) = self
            .penalty
            .filter(|penalty| !(penalty.is_finite() && *penalty >= 0.0))
        {
            return Err(Failure::usage(format!(
                "--penalty {penalty}: a number, 0 or more"
            )));
        }
        Ok(Job {
            embeddings: self.embeddings,
            labels: self.labels,
            out: self.out,
            only: self.only,
            classes: self.classes,
            penalty: self.penalty,
            validation: self.validation,
            seed: self.seed,
            force: self.force,
        })
    }
}
