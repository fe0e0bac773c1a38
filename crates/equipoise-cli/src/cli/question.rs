//! Arguments that `select` and `scan` share.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use equipoise::core::quota::ClassOrder;
use equipoise::core::strategies::{self, Nonfinite};

use super::constraints::ConstraintArgs;
use crate::commands::question::{Question, Quotas};
use crate::failure::{Failure, Result};

/// Which rows to pick, and of what.
#[derive(Debug, Args)]
pub(crate) struct QuestionArgs {
    /// The pool: an embedding store, a .safetensors with a tensor `embeddings`, or a .npy
    #[arg(long, value_name = "POOL")]
    embeddings: PathBuf,
    /// The head (safetensors with `weight` and `bias`); needed by every strategy but coreset,
    /// random and balanced-random.
    /// Repeatable in `select`: one selection for each head
    #[arg(long, value_name = "HEAD")]
    head: Vec<PathBuf>,
    /// Which strategy picks: see `equipoise strategies`. Several with commas in `select`: one
    /// selection for each
    #[arg(long, value_name = "NAME", value_delimiter = ',', required = true)]
    strategy: Vec<String>,
    /// How many rows to pick; more than there are available means all of them
    #[arg(long, value_name = "B")]
    budget: usize,
    /// Rows that have a label already, never picked: a row or id a line, or CSV with a column
    /// `row` or `id`, and `label` where class counts are needed
    #[arg(long, value_name = "FILE")]
    labelled: Option<PathBuf>,
    /// More rows never to pick, in the same forms; an earlier PICKS.csv will do. Repeatable
    #[arg(long, value_name = "FILE")]
    exclude: Vec<PathBuf>,
    /// How many rows each class may claim (base): uniform, balance (evens out the labelled set),
    /// or a CSV with columns `class` and `quota` (whole numbers that sum to the budget) or `weight`
    /// (shares of it)
    #[arg(long, value_name = "uniform|balance|FILE", default_value = "uniform")]
    quotas: String,
    /// In which order classes take their quota (base)
    #[arg(long, value_enum, default_value_t = Order::Id)]
    class_order: Order,
    #[command(flatten)]
    constraints: ConstraintArgs,
    /// What to do about embeddings with a NaN or an infinity: fail, or leave them out and count them
    #[arg(long, value_enum, default_value_t = NonfiniteArg::Refuse)]
    nonfinite: NonfiniteArg,
    /// Overwrite the output, and take a head that was made with other weights or preprocessing
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Order {
    Id,
    RarestFirst,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum NonfiniteArg {
    Refuse,
    Skip,
}

impl QuestionArgs {
    /// What was meant: a question for each head and strategy.
    ///
    /// # Errors
    /// Wrong usage: a strategy that is not there, a head that is missing.
    pub(super) fn meant(&self) -> Result<Vec<Question>> {
        let heads = match self.head.is_empty() {
            true => vec![None],
            false => self.head.iter().map(Some).collect(),
        };
        let all = heads.into_iter().flat_map(|head| {
            let names = self.strategy.iter();
            names.map(move |name| self.question(head, name))
        });
        all.collect()
    }

    /// The one question that was meant.
    ///
    /// # Errors
    /// As [`QuestionArgs::meant`], and where there are several.
    pub(super) fn meant_one(&self) -> Result<Question> {
        let mut all = self.meant()?;
        match (all.pop(), all.is_empty()) {
            (Some(question), true) => Ok(question),
            _ => Err(Failure::usage("a scan takes one strategy and one head")),
        }
        .and_then(|question| match question.constraints.any() {
            true => Err(Failure::usage("shards cannot be merged under constraints")
                .with_hint("`equipoise select` takes them, on one machine")),
            false => Ok(question),
        })
    }

    fn question(&self, head: Option<&PathBuf>, name: &str) -> Result<Question> {
        let strategy = find_strategy(name)?;
        if strategy.needs_head() && head.is_none() {
            return Err(Failure::usage(format!("strategy {name} needs --head"))
                .with_hint("make one with `equipoise fit`"));
        }
        let constraints = self.constraints.meant();
        if constraints.any() && !strategy.heeds_constraints() {
            let message = format!("strategy {name} knows no constraints");
            return Err(Failure::usage(message).with_hint(
                "--min-distance, --group-cap, --metadata and --cost are for strategy base",
            ));
        }
        if constraints.costs.is_some() && self.quotas == "balance" {
            let message = "--quotas balance counts rows, with --cost quotas count cost";
            return Err(
                Failure::usage(message).with_hint("use uniform quotas or a file of weights")
            );
        }
        Ok(Question {
            constraints,
            embeddings: self.embeddings.clone(),
            head: head.cloned(),
            strategy,
            budget: self.budget,
            labelled: self.labelled.clone(),
            exclude: self.exclude.clone(),
            quotas: quotas(&self.quotas),
            class_order: self.class_order.meant(),
            nonfinite: match self.nonfinite {
                NonfiniteArg::Refuse => Nonfinite::Refuse,
                NonfiniteArg::Skip => Nonfinite::Skip,
            },
            force: self.force,
        })
    }

    /// `path`, with the head and strategy of one of several questions in its name.
    pub(super) fn named(&self, path: &Path, question: &Question) -> PathBuf {
        let stem = |path: &Path| path.file_stem().unwrap_or_default().to_owned();
        let mut name = stem(path);
        if let (Some(head), true) = (&question.head, self.head.len() > 1) {
            name.push(".");
            name.push(stem(head));
        }
        if self.strategy.len() > 1 {
            name.push(format!(".{}", question.strategy.name()));
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

impl Order {
    pub(super) fn meant(self) -> ClassOrder {
        match self {
            Order::Id => ClassOrder::Id,
            Order::RarestFirst => ClassOrder::RarestFirst,
        }
    }
}

/// What `--quotas` means.
pub(super) fn quotas(text: &str) -> Quotas {
    match text {
        "uniform" => Quotas::Uniform,
        "balance" => Quotas::Balance,
        file => Quotas::File(file.into()),
    }
}

pub(super) fn find_strategy(name: &str) -> Result<&'static dyn strategies::Strategy> {
    if name == "vaal" {
        return Err(Failure::usage(
            "strategy vaal trains networks on the images: it picks in simulations alone",
        )
        .with_hint(
            "`equipoise simulate --strategies vaal` has it; `equipoise strategies` lists those that pick here",
        ));
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
