//! Arguments of `select`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use equipoise::pool::PickFormat;

use super::question::QuestionArgs;
use crate::commands::select::Job;
use crate::failure::Result;

/// Arguments of `select`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  equipoise select --embeddings pool.emb --head head.safetensors --labelled labels.csv \\
      --strategy base --budget 1000 --out picks.csv --report picks.html
  equipoise select --embeddings pool.emb --strategy random --budget 100 --exclude picks.csv \\
      --seed 7 --out more.csv
  equipoise select --embeddings pool.npy --head head.safetensors --strategy margin --budget 50 \\
      --format label-studio --out tasks.json")]
pub(crate) struct SelectArgs {
    #[command(flatten)]
    question: QuestionArgs,
    /// Where to write the picks
    #[arg(long, value_name = "PICKS")]
    out: PathBuf,
    /// Makes every random choice reproducible
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Form of the picks
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Also write an HTML page that shows what was picked, with the images in it
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Format {
    Csv,
    Jsonl,
    LabelStudio,
}

impl Format {
    pub(super) fn meant(self) -> PickFormat {
        match self {
            Format::Csv => PickFormat::Csv,
            Format::Jsonl => PickFormat::Jsonl,
            Format::LabelStudio => PickFormat::LabelStudio,
        }
    }
}

impl SelectArgs {
    /// What was meant.
    ///
    /// # Errors
    /// Wrong usage: a strategy that is not there, a head that is missing.
    pub(crate) fn meant(self) -> Result<Job> {
        Ok(Job {
            question: self.question.meant()?,
            out: self.out,
            seed: self.seed,
            report: self.report,
            format: self.format.meant(),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use equipoise::core::quota::ClassOrder;
    use equipoise::core::strategies::Nonfinite;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::commands::question::Quotas;

    fn meant(extra: &[&str]) -> Result<Job> {
        let base = [
            "equipoise",
            "select",
            "--embeddings",
            "p",
            "--out",
            "o",
            "--budget",
            "5",
        ];
        match Cli::try_parse_from(base.iter().chain(extra))
            .unwrap()
            .command
        {
            Command::Select(arguments) => arguments.meant(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn defaults_are_uniform_quotas_in_class_order() {
        let job = meant(&["--strategy", "random"]).unwrap();
        assert!(matches!(job.question.quotas, Quotas::Uniform));
        assert_eq!(job.question.class_order, ClassOrder::Id);
        assert_eq!(
            (job.seed, job.question.nonfinite, job.question.force),
            (0, Nonfinite::Refuse, false)
        );
    }

    #[test]
    fn quotas_may_be_a_file() {
        let job = meant(&["--strategy", "base", "--head", "h", "--quotas", "q.csv"]).unwrap();
        assert!(matches!(job.question.quotas, Quotas::File(path) if path.ends_with("q.csv")));
    }

    #[test]
    fn a_head_strategy_without_head_and_unknown_strategies_are_usage_errors() {
        for strategy in ["base", "vaal", "bse"] {
            let failure = meant(&["--strategy", strategy]).err().unwrap();
            assert_eq!(failure.exit(), 2, "{strategy}");
        }
    }
}
