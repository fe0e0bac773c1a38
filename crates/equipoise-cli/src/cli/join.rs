//! Arguments of `join`.

use std::path::PathBuf;

use clap::Args;

use crate::commands::join::Job;

/// Arguments of `join`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example, after `equipoise embed --shard 1/2 …` and `--shard 2/2 …` on two machines:
  equipoise join first.emb second.emb --out pool.emb
  equipoise select --embeddings pool.emb --strategy random --budget 100 --out picks.csv")]
pub(crate) struct JoinArgs {
    /// The stores of all parts of one source, in any order
    #[arg(required = true, value_name = "PART.emb")]
    stores: Vec<PathBuf>,
    /// Where to write the file that names them: a pool for every command. The stores stay where they
    /// are
    #[arg(long, value_name = "POOL.emb")]
    out: PathBuf,
    /// Overwrite the output
    #[arg(long)]
    force: bool,
}

impl JoinArgs {
    /// What was meant.
    pub(crate) fn meant(self) -> Job {
        Job {
            stores: self.stores,
            out: self.out,
            force: self.force,
        }
    }
}
