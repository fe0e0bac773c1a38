//! Arguments of `merge`.

use std::path::PathBuf;

use clap::Args;

use super::select::Format;
use crate::commands::merge::{Job, beside};

/// Arguments of `merge`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  equipoise merge first.cand second.cand third.cand --out picks.csv
  equipoise merge *.cand --out picks.csv --format jsonl

Exit status 1 without picks means that lists end too soon to tell: which ones is printed, and written
for `equipoise scan --deepen`.")]
pub(crate) struct MergeArgs {
    /// The candidates of every shard, in any order, and deeper ones of some
    #[arg(required = true, value_name = "CAND")]
    candidates: Vec<PathBuf>,
    /// Where to write the picks
    #[arg(long, value_name = "PICKS")]
    out: PathBuf,
    /// Form of the picks
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Where to write what to scan deeper, if need be; by default PICKS.deepen.json
    #[arg(long, value_name = "FILE.json")]
    deepen_out: Option<PathBuf>,
    /// Overwrite the outputs
    #[arg(long)]
    force: bool,
}

impl MergeArgs {
    /// What was meant.
    pub(crate) fn meant(self) -> Job {
        Job {
            candidates: self.candidates,
            format: self.format.meant(),
            deepen_out: self.deepen_out.unwrap_or_else(|| beside(&self.out)),
            out: self.out,
            force: self.force,
        }
    }
}
