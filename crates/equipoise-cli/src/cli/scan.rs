//! Arguments of `scan`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use equipoise::pool::MOST_SHARDS;

use super::machine::MachineArgs;
use super::question::QuestionArgs;
use crate::commands::machine::Resident;
use crate::commands::scan::{Depth, Job};
use crate::failure::{Failure, Result};

/// Arguments of `scan`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples, on three machines that each can open the pool:
  equipoise scan --shard 1/3 --embeddings pool.emb --head head.safetensors \\
      --strategy base --budget 1000 --labelled labels.csv --out first.cand
  (the same with 2/3 and 3/3)
  equipoise merge first.cand second.cand third.cand --out picks.csv

Where `merge` asks for more of a shard, the same command with `--deepen` and another `--out`:
  equipoise scan --shard 2/3 --deepen picks.csv.deepen.json --embeddings pool.emb \\
      --head head.safetensors --strategy base --budget 1000 --labelled labels.csv --out more.cand")]
pub(crate) struct ScanArgs {
    #[command(flatten)]
    question: QuestionArgs,
    /// Which of n equal parts of the pool's rows to scan, i from 1
    #[arg(long, value_name = "i/n")]
    shard: Shard,
    /// Where to write the candidates
    #[arg(long, value_name = "CAND")]
    out: PathBuf,
    /// How many rows each class lists; by default what will do in most cases
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "deepen")]
    depth: Option<u32>,
    /// Scan just the classes that `merge` asked for in this file, as deep as it says
    #[arg(long, value_name = "FILE.json")]
    deepen: Option<PathBuf>,
    #[command(flatten)]
    machine: MachineArgs,
}

/// As it was written: i from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shard {
    number: usize,
    of: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/');
        let parts = parts.and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match parts {
            Some((number, of)) if (1..=of).contains(&number) && of <= MOST_SHARDS => {
                Ok(Self { number, of })
            }
            _ => Err(format!(
                "i/n, such as 1/3: i from 1 to n, n at most {MOST_SHARDS}"
            )),
        }
    }
}

impl ScanArgs {
    /// What was meant.
    ///
    /// # Errors
    /// Wrong usage, a strategy without scores too.
    pub(crate) fn meant(self) -> Result<Job> {
        let question = self.question.meant_one()?;
        let ranking = question.strategy.ranking().ok_or_else(|| {
            let name = question.strategy.name();
            Failure::usage(format!("strategy {name} cannot be scanned in shards")).with_hint(
                "one of base, mase, margin, confidence, entropy; or use `equipoise select`",
            )
        })?;
        Ok(Job {
            question,
            ranking,
            shard: self.shard.number - 1,
            shards: self.shard.of,
            depth: match (self.depth, self.deepen) {
                (_, Some(path)) => Depth::Asked(path),
                (Some(depth), None) => Depth::Of(depth as usize),
                (None, None) => Depth::Usual,
            },
            out: self.out,
            // A shard is scanned once.
            machine: self.machine.meant(Resident::Never),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_count_from_1() {
        assert_eq!("2/3".parse(), Ok(Shard { number: 2, of: 3 }));
        for text in [
            "",
            "1",
            "0/3",
            "4/3",
            "1/0",
            "-1/3",
            "1/3/5",
            "a/b",
            "1/99999999",
        ] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
