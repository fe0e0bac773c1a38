//! Arguments of `compare`.

use std::path::PathBuf;

use clap::Args;

use super::machine::MachineArgs;
use super::question::QuestionArgs;
use super::strategy_options::StrategyOptions;
use crate::commands::compare::Job;
use crate::commands::machine::Resident;
use crate::failure::{Failure, Result};

/// Arguments of `compare`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  equipoise compare --embeddings pool.emb --head head.safetensors --labelled labels.csv \\
      --strategy base,margin,coreset,badge,random --budget 1000 --figure compare.svg
  equipoise compare --embeddings pool.emb --head head.safetensors --strategy base,random \\
      --budget 1000 --labels all.csv --json

Nothing is picked for good: no picks are written. With --labels the picks' balance over true classes is
shown, too; only oracles read them to pick.")]
pub(crate) struct CompareArgs {
    #[command(flatten)]
    question: QuestionArgs,
    #[command(flatten)]
    options: StrategyOptions,
    /// Also draw the numbers, as an SVG picture
    #[arg(long, value_name = "FILE.svg")]
    figure: Option<PathBuf>,
    /// Makes every random choice reproducible
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    machine: MachineArgs,
}

impl CompareArgs {
    /// What was meant.
    ///
    /// # Errors
    /// Wrong usage: a strategy that is not there or named twice, a head that is missing.
    pub(crate) fn meant(self) -> Result<Job> {
        let questions = self.question.meant()?;
        for (index, question) in questions.iter().enumerate() {
            let name = question.strategy.name();
            let same = |other: &&crate::commands::question::Question| other.strategy.name() == name;
            if questions[..index].iter().any(|other| same(&other)) {
                return Err(Failure::usage(format!(
                    "strategy {name} would be compared with itself"
                ))
                .with_hint("name each strategy once, and one head"));
            }
        }
        Ok(Job {
            questions,
            options: self.options.options(),
            figure: self.figure,
            seed: self.seed,
            machine: self.machine.meant(Resident::Auto),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cli::{Cli, Command};

    #[test]
    fn a_strategy_is_not_compared_with_itself() {
        let meant = |extra: &[&str]| {
            let base = ["equipoise", "compare", "--embeddings", "p", "--budget", "5"];
            match Cli::try_parse_from(base.iter().chain(extra))
                .unwrap()
                .command
            {
                Command::Compare(arguments) => arguments.meant(),
                other => panic!("{other:?}"),
            }
        };
        let job = meant(&["--strategy", "random,coreset"]).unwrap();
        let names: Vec<_> = job.questions.iter().map(|q| q.strategy.name()).collect();
        assert_eq!(names, ["random", "coreset"]);
        let twice = meant(&["--strategy", "random,coreset,random"]);
        assert_eq!(twice.err().unwrap().exit(), 2);
        let heads = meant(&["--strategy", "base", "--head", "a", "--head", "b"]);
        assert_eq!(heads.err().unwrap().exit(), 2);
    }
}
