//! Arguments of `select`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use equipoise::pool::PickFormat;

use super::machine::MachineArgs;
use super::question::QuestionArgs;
use super::strategy_options::StrategyOptions;
use crate::commands::machine::Resident;
use crate::commands::select::{Batch, Job};
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
      --format label-studio --out tasks.json
  equipoise select --embeddings pool.emb --head head.safetensors --strategy base,mase,margin \\
      --budget 1000 --device gpu:0,gpu:1 --fallback cpu --memory 4GiB --out picks.csv
  equipoise select --embeddings pool.emb --head head.safetensors --strategy base --budget 1000 \\
      --out picks.csv --dry-run
  equipoise select --embeddings pool.emb --head head.safetensors --labelled labels.csv \\
      --strategy base --budget 1000 --quotas balance --class-order rarest-first \\
      --min-distance 0.5 --metadata sites.csv --group-cap site=50 --out picks.csv \\
      --explain cats/017.jpg
  equipoise select --embeddings pool.emb --head head.safetensors --strategy margin-clustering \\
      --clusters 50 --linkage average --budget 1000 --out picks.csv
  equipoise select --embeddings pool.emb --head head.safetensors --labelled labels.csv \\
      --strategy balancing --balancing-majority farthest --budget 200 --out picks.csv
  equipoise select --embeddings pool.emb --strategy balanced-random --labels all-labels.csv \\
      --budget 200 --out baseline.csv")]
pub(crate) struct SelectArgs {
    #[command(flatten)]
    question: QuestionArgs,
    /// Where to write the picks; with several strategies or heads their names go before the
    /// extension: picks.base.csv, picks.HEAD.base.csv
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
    /// Tell why this row was picked, or was not: an id or a row number. Repeatable
    #[arg(long, value_name = "ROW")]
    explain: Vec<String>,
    #[command(flatten)]
    machine: MachineArgs,
    /// Whether a GPU keeps the pool for all selections of the call: auto (where there are several,
    /// and it fits), always, never
    #[arg(long, value_enum, default_value_t = ResidentArg::Auto)]
    resident: ResidentArg,
    // Last: its heading holds for what follows.
    #[command(flatten)]
    strategy_options: StrategyOptions,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Format {
    Csv,
    Jsonl,
    LabelStudio,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ResidentArg {
    Auto,
    Always,
    Never,
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
    pub(crate) fn meant(self) -> Result<Batch> {
        let mut jobs: Vec<Job> = Vec::new();
        let questions = self.question.meant()?;
        let strategies = questions.iter().map(|question| question.strategy);
        let options = self.strategy_options.meant(strategies)?;
        for question in questions {
            let named = |path: &PathBuf| self.question.named(path, &question);
            let job = Job {
                out: named(&self.out),
                report: self.report.as_ref().map(named),
                seed: self.seed,
                explain: self.explain.clone(),
                format: self.format.meant(),
                options: options.clone(),
                question,
            };
            if jobs.iter().any(|other| other.out == job.out) {
                let message = format!("two selections would be written to {}", job.out.display());
                return Err(Failure::usage(message)
                    .with_hint("name each strategy once, and give heads different file names"));
            }
            jobs.push(job);
        }
        let machine = self.machine.meant(match self.resident {
            ResidentArg::Auto => Resident::Auto,
            ResidentArg::Always => Resident::Always,
            ResidentArg::Never => Resident::Never,
        });
        Ok(Batch { jobs, machine })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;
    use equipoise::core::quota::ClassOrder;
    use equipoise::core::strategies::Nonfinite;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::commands::question::Quotas;

    fn meant(extra: &[&str]) -> Result<Job> {
        Ok(batch(extra)?.jobs.remove(0))
    }

    fn batch(extra: &[&str]) -> Result<Batch> {
        let base = [
            "equipoise",
            "select",
            "--embeddings",
            "p",
            "--out",
            "out/o.csv",
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
    fn each_head_and_strategy_has_a_file_of_its_own() {
        let outs = |extra: &[&str]| {
            let jobs = batch(extra).unwrap().jobs;
            jobs.into_iter().map(|job| job.out).collect::<Vec<_>>()
        };
        let one = ["--strategy", "base", "--head", "a.safetensors"];
        assert_eq!(outs(&one), [Path::new("out/o.csv")]);
        let two = ["--strategy", "base,mase", "--head", "a.safetensors"];
        assert_eq!(
            outs(&two),
            ["out/o.base.csv", "out/o.mase.csv"].map(Path::new)
        );
        let heads = [
            "--head",
            "x/b.safetensors",
            "--strategy",
            "base",
            "--head",
            "a.safetensors",
        ];
        assert_eq!(outs(&heads), ["out/o.b.csv", "out/o.a.csv"].map(Path::new));
        let twice = ["--strategy", "base,base", "--head", "a.safetensors"];
        assert_eq!(batch(&twice).err().unwrap().exit(), 2);
    }

    #[test]
    fn a_head_strategy_without_head_and_unknown_strategies_are_usage_errors() {
        for strategy in ["base", "vaal", "bse"] {
            let failure = meant(&["--strategy", strategy]).err().unwrap();
            assert_eq!(failure.exit(), 2, "{strategy}");
        }
    }
}
