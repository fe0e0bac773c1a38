//! Arguments of `round`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::question::{Order, find_strategy, quotas};
use super::select::Format;
use crate::commands::round::{Job, Label, Next};
use crate::failure::{Failure, Result};

/// Arguments of `round`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  equipoise round next --campaign wild/ --embeddings pool.emb --classes names.txt \\
      --strategy random --budget 200
  equipoise round label --campaign wild/ answers.csv
  equipoise round next --campaign wild/ --strategy base --budget 200 --quotas balance
  equipoise round status --campaign wild/

The folder keeps a ledger of what was asked and answered; heads are fitted when labels come in.")]
pub(crate) struct RoundArgs {
    #[command(subcommand)]
    step: Step,
}

#[derive(Debug, Subcommand)]
enum Step {
    /// Pick the rows to be labelled next; the first call begins the campaign
    #[command(after_help = "\
Example:
  equipoise round next --campaign wild/ --strategy base --budget 200")]
    Next(NextArgs),
    /// Take labels in, check them and fit the head again
    #[command(after_help = "\
Example:
  equipoise round label --campaign wild/ answers.csv")]
    Label(LabelArgs),
    /// Tell where the campaign stands
    #[command(after_help = "Example:\n  equipoise round status --campaign wild/ --json")]
    Status(StatusArgs),
}

#[derive(Debug, Args)]
struct NextArgs {
    /// The campaign's folder
    #[arg(long, value_name = "DIR")]
    campaign: PathBuf,
    /// The pool, when the campaign begins
    #[arg(long, value_name = "POOL")]
    embeddings: Option<PathBuf>,
    /// Class names in order, one a line, when the campaign begins; by default the store's class folders.
    /// Without any, every label that comes in is a class
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    /// Labels that are there already, when the campaign begins: CSV with `id` (or `row`) and `label`
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Makes every random choice reproducible, when the campaign begins
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Which strategy picks: see `equipoise strategies`. While nothing is labelled: random or coreset
    #[arg(long, value_name = "NAME")]
    strategy: String,
    /// How many rows to pick
    #[arg(long, value_name = "B")]
    budget: usize,
    /// How many rows each class may claim (base): uniform, balance, or a file as for `select`
    #[arg(long, value_name = "uniform|balance|FILE", default_value = "uniform")]
    quotas: String,
    /// In which order classes take their quota (base)
    #[arg(long, value_enum, default_value_t = Order::Id)]
    class_order: Order,
    /// Rows never to pick, in the forms of `select`. Repeatable
    #[arg(long, value_name = "FILE")]
    exclude: Vec<PathBuf>,
    /// Form of the picks
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Go on though rows of the last round have no label; they may be asked for again
    #[arg(long)]
    partial: bool,
}

#[derive(Debug, Args)]
struct LabelArgs {
    /// The campaign's folder
    #[arg(long, value_name = "DIR")]
    campaign: PathBuf,
    /// The labels: CSV with columns `id` (or `row`) and `label`, or a Label Studio export
    #[arg(value_name = "FILE")]
    labels: PathBuf,
}

#[derive(Debug, Args)]
struct StatusArgs {
    /// The campaign's folder
    #[arg(long, value_name = "DIR")]
    campaign: PathBuf,
}

impl RoundArgs {
    /// What was meant.
    ///
    /// # Errors
    /// Wrong usage: a strategy that is not there, or that no one can run without all labels.
    pub(crate) fn meant(self) -> Result<Job> {
        Ok(match self.step {
            Step::Next(arguments) => Job::Next(Box::new(arguments.meant()?)),
            Step::Label(LabelArgs { campaign, labels }) => Job::Label(Label { campaign, labels }),
            Step::Status(StatusArgs { campaign }) => Job::Status(campaign),
        })
    }
}

impl NextArgs {
    fn meant(self) -> Result<Next> {
        let strategy = find_strategy(&self.strategy)?;
        if strategy.is_oracle() {
            return Err(Failure::usage(format!(
                "strategy {} reads labels of rows that nobody has labelled yet",
                strategy.name()
            ))
            .with_hint("`equipoise simulate` runs it on data whose labels are known"));
        }
        Ok(Next {
            campaign: self.campaign,
            embeddings: self.embeddings,
            classes: self.classes,
            labels: self.labels,
            seed: self.seed,
            strategy,
            budget: self.budget,
            quotas: quotas(&self.quotas),
            class_order: self.class_order.meant(),
            exclude: self.exclude,
            format: self.format.meant(),
            partial: self.partial,
        })
    }
}
