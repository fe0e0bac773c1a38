//! Arguments of `select`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use equipoise::core::quota::ClassOrder;
use equipoise::core::strategies::{self, Nonfinite};
use equipoise::pool::PickFormat;

use crate::commands::machine::{Machine, Resident, parse_bytes};
use crate::commands::select::{Batch, Job, Quotas};
use crate::device::DeviceWish;
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
      --out picks.csv --dry-run")]
pub(crate) struct SelectArgs {
    /// The pool: an embedding store, a .safetensors with a tensor `embeddings`, or a .npy
    #[arg(long, value_name = "POOL")]
    embeddings: PathBuf,
    /// The head (safetensors with `weight` and `bias`); needed by every strategy but random.
    /// Repeatable: one selection for each head
    #[arg(long, value_name = "HEAD")]
    head: Vec<PathBuf>,
    /// Which strategy picks: see `equipoise strategies`. Several with commas: one selection for each
    #[arg(long, value_name = "NAME", value_delimiter = ',', required = true)]
    strategy: Vec<String>,
    /// How many rows to pick; more than there are available means all of them
    #[arg(long, value_name = "B")]
    budget: usize,
    /// Where to write the picks; with several strategies or heads their names go before the
    /// extension: picks.base.csv, picks.HEAD.base.csv
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
    /// Take at most so much of the host's memory (beside the pool, which is mapped) and of each
    /// device's: 512MiB, 2GiB. Picks do not depend on it
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    memory: Option<u64>,
    /// Print what memory the scan would take, and stop
    #[arg(long)]
    dry_run: bool,
    /// Go on with this device where the other one fails
    #[arg(long, value_name = "DEVICE")]
    fallback: Option<DeviceWish>,
    /// Whether a GPU keeps the pool for all selections of the call: auto (where there are several,
    /// and it fits), always, never
    #[arg(long, value_enum, default_value_t = ResidentArg::Auto)]
    resident: ResidentArg,
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
enum ResidentArg {
    Auto,
    Always,
    Never,
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
    pub(crate) fn meant(self) -> Result<Batch> {
        let machine = Machine {
            memory: self.memory,
            dry_run: self.dry_run,
            fallback: self.fallback.clone(),
            resident: match self.resident {
                ResidentArg::Auto => Resident::Auto,
                ResidentArg::Always => Resident::Always,
                ResidentArg::Never => Resident::Never,
            },
        };
        let mut jobs: Vec<Job> = Vec::new();
        for head in self.heads() {
            for name in &self.strategy {
                let job = self.job(head, name)?;
                if jobs.iter().any(|other| other.out == job.out) {
                    let message =
                        format!("two selections would be written to {}", job.out.display());
                    return Err(Failure::usage(message).with_hint(
                        "name each strategy once, and give heads different file names",
                    ));
                }
                jobs.push(job);
            }
        }
        Ok(Batch { jobs, machine })
    }

    /// The heads, or one `None`.
    fn heads(&self) -> Vec<Option<&PathBuf>> {
        match self.head.is_empty() {
            true => vec![None],
            false => self.head.iter().map(Some).collect(),
        }
    }

    fn job(&self, head: Option<&PathBuf>, name: &str) -> Result<Job> {
        let strategy = find_strategy(name)?;
        if strategy.needs_head() && head.is_none() {
            return Err(Failure::usage(format!("strategy {name} needs --head"))
                .with_hint("make one with `equipoise fit`"));
        }
        let quotas = match self.quotas.as_str() {
            "uniform" => Quotas::Uniform,
            "balance" => Quotas::Balance,
            file => Quotas::File(file.into()),
        };
        Ok(Job {
            embeddings: self.embeddings.clone(),
            head: head.cloned(),
            strategy,
            budget: self.budget,
            out: self.named(&self.out, head, name),
            labelled: self.labelled.clone(),
            exclude: self.exclude.clone(),
            quotas,
            class_order: match self.class_order {
                Order::Id => ClassOrder::Id,
                Order::RarestFirst => ClassOrder::RarestFirst,
            },
            seed: self.seed,
            report: self
                .report
                .as_ref()
                .map(|page| self.named(page, head, name)),
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

    /// `path`, with head and strategy in its name where there are several.
    fn named(&self, path: &Path, head: Option<&PathBuf>, strategy: &str) -> PathBuf {
        let stem = |path: &Path| path.file_stem().unwrap_or_default().to_owned();
        let mut name = stem(path);
        if let (Some(head), true) = (head, self.head.len() > 1) {
            name.push(".");
            name.push(stem(head));
        }
        if self.strategy.len() > 1 {
            name.push(format!(".{strategy}"));
        }
        if name == stem(path) {
            return path.into();
        }
        if let Some(extension) = path.extension() {
            name.push(".");
            name.push(extension);
        }
        path.with_file_name(name)
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
