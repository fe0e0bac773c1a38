//! Arguments of `select`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use equipoise::core::quota::ClassOrder;
use equipoise::core::strategies::{self, Nonfinite};
use equipoise::pool::PickFormat;

use crate::commands::select::{Job, Quotas};
use crate::failure::{Failure, Result};

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
    /// The pool: an embedding store, a .safetensors with a tensor `embeddings`, or a .npy
    #[arg(long, value_name = "POOL")]
    embeddings: PathBuf,
    /// The head (safetensors with `weight` and `bias`); needed by every strategy but random
    #[arg(long, value_name = "HEAD")]
    head: Option<PathBuf>,
    /// Which strategy picks: see `equipoise strategies`
    #[arg(long, value_name = "NAME")]
    strategy: String,
    /// How many rows to pick; more than there are available means all of them
    #[arg(long, value_name = "B")]
    budget: usize,
    /// Where to write the picks
    #[arg(long, value_name = "PICKS")]
    out: PathBuf,
    /// Rows that have a label already, never picked: a row or id a line, or CSV with a column
    /// `row` or `id`, and `label` where class counts are needed
    #[arg(long, value_name = "FILE")]
    labelled: Option<PathBuf>,
    /// More rows never to pick, in the same forms; an earlier PICKS.csv will do. Repeatable
    #[arg(long, value_name = "FILE")]
    exclude: Vec<PathBuf>,
    /// How many rows each class may claim (base): uniform, balance (evens out the labelled set),
    /// or a CSV with columns `class` and `quota`
    #[arg(long, value_name = "uniform|balance|FILE", default_value = "uniform")]
    quotas: String,
    /// In which order classes take their quota (base)
    #[arg(long, value_enum, default_value_t = Order::Id)]
    class_order: Order,
    /// Makes every random choice reproducible
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Form of the picks
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Also write an HTML page that shows what was picked, with the images in it
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// What to do about embeddings with a NaN or an infinity: fail, or leave them out and count them
    #[arg(long, value_enum, default_value_t = NonfiniteArg::Refuse)]
    nonfinite: NonfiniteArg,
    /// Overwrite the output, and take a head that was made with other weights or preprocessing
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Order {
    Id,
    RarestFirst,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Csv,
    Jsonl,
    LabelStudio,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum NonfiniteArg {
    Refuse,
    Skip,
}

impl SelectArgs {
    /// What was meant.
    ///
    /// # Errors
    /// Wrong usage: a strategy that is not there, a head that is missing.
    pub(crate) fn meant(self) -> Result<Job> {
        let strategy = find_strategy(&self.strategy)?;
        if strategy.needs_head() && self.head.is_none() {
            return Err(
                Failure::usage(format!("strategy {} needs --head", self.strategy))
                    .with_hint("make one with `equipoise fit`"),
            );
        }
        let quotas = match self.quotas.as_str() {
            "uniform" => Quotas::Uniform,
            "balance" => Quotas::Balance,
            file => Quotas::File(file.into()),
        };
        Ok(Job {
            embeddings: self.embeddings,
            head: self.head,
            strategy,
            budget: self.budget,
            out: self.out,
            labelled: self.labelled,
            exclude: self.exclude,
            quotas,
            class_order: match self.class_order {
                Order::Id => ClassOrder::Id,
                Order::RarestFirst => ClassOrder::RarestFirst,
            },
            seed: self.seed,
            report: self.report,
            format: match self.format {
                Format::Csv => PickFormat::Csv,
                Format::Jsonl => PickFormat::Jsonl,
                Format::LabelStudio => PickFormat::LabelStudio,
            },
            nonfinite: match self.nonfinite {
                NonfiniteArg::Refuse => Nonfinite::Refuse,
                NonfiniteArg::Skip => Nonfinite::Skip,
            },
            force: self.force,
        })
    }
}

fn find_strategy(name: &str) -> Result<&'static dyn strategies::Strategy> {
    if name == "vaal" {
        return Err(Failure::usage(
            "strategy vaal trains a network on the images: it is no part of `select`",
        )
        .with_hint("it belongs to `equipoise simulate`, which this version does not have yet"));
    }
    strategies::by_name(name).ok_or_else(|| {
        let names: Vec<_> = strategies::all()
            .iter()
            .map(|strategy| strategy.name())
            .collect();
        Failure::usage(format!("there is no strategy `{name}`"))
            .with_hint(format!("one of {}", names.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

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
        assert!(matches!(job.quotas, Quotas::Uniform));
        assert_eq!(job.class_order, ClassOrder::Id);
        assert_eq!(
            (job.seed, job.nonfinite, job.force),
            (0, Nonfinite::Refuse, false)
        );
    }

    #[test]
    fn quotas_may_be_a_file() {
        let job = meant(&["--strategy", "base", "--head", "h", "--quotas", "q.csv"]).unwrap();
        assert!(matches!(job.quotas, Quotas::File(path) if path.ends_with("q.csv")));
    }

    #[test]
    fn a_head_strategy_without_head_and_unknown_strategies_are_usage_errors() {
        for strategy in ["base", "vaal", "bse"] {
            let failure = meant(&["--strategy", strategy]).err().unwrap();
            assert_eq!(failure.exit(), 2, "{strategy}");
        }
    }
}
