//! Arguments of `simulate`.

use std::path::PathBuf;

use clap::Args;
use equipoise::rounds::{Overrides, PRESETS};

use crate::commands::machine::parse_bytes;
use crate::commands::simulate::{Job, Wanted};
use crate::failure::{Failure, Result};

/// Arguments of `simulate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  equipoise simulate --template > experiment.toml
  equipoise simulate --config experiment.toml --out run/
  equipoise simulate --pool train.emb --test test.emb --strategies random,margin,base --rounds 8 \\
      --budget 200 --set experiment.initial=200 --out run/
  equipoise simulate --preset imbalanced-cifar10 --pool train.emb --test test.emb --scale 0.2 --out run/

A run that was stopped goes on where it stopped: give the same command again. Strategies, seeds and
rounds named later are added to those that the folder has. Its report.html shows all of them.")]
pub(crate) struct SimulateArgs {
    /// The experiment, a TOML file; flags go before it
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// The settings of a paper, on top of which file and flags change single ones
    #[arg(long, value_name = "NAME", value_parser = PRESETS.map(|(name, _)| name))]
    preset: Option<String>,
    /// Folder of the run: ledgers, results.csv, report.html
    #[arg(long, value_name = "DIR", required_unless_present_any = ["template", "print_config"])]
    out: Option<PathBuf>,
    /// The pool: a store embedded from class folders, or any with `--set data.labels=FILE`
    #[arg(long, value_name = "POOL")]
    pool: Option<PathBuf>,
    /// The pool to test on
    #[arg(long, value_name = "POOL")]
    test: Option<PathBuf>,
    /// Strategies, or variants of the file, with commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    strategies: Vec<String>,
    /// Repetitions, with seeds 0, 1, …
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// Rounds after the first labels
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// Rows picked a round
    #[arg(long, value_name = "B")]
    budget: Option<usize>,
    /// Multiplies the numbers of labels, first ones and budget: a large experiment on a small machine
    #[arg(long, value_name = "X")]
    scale: Option<f64>,
    /// Any field of the file, `section.field=value`. Repeatable
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Vec<String>,
    /// Runs side by side; by default one a core, on a GPU one, and no more than the memory holds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    jobs: Option<u32>,
    /// Memory that runs side by side may take: 512MiB, 2G, …; by default what is free (Linux)
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    memory: Option<u64>,
    /// Print a file with every field, its meaning and its default
    #[arg(long, exclusive = true)]
    template: bool,
    /// Print the experiment as preset, file and flags make it, and run nothing
    #[arg(long)]
    print_config: bool,
}

impl SimulateArgs {
    /// What was meant.
    ///
    /// # Errors
    /// Wrong usage: a field without a value.
    pub(crate) fn meant(self) -> Result<Job> {
        let mut fields = Vec::new();
        let mut set = |field: &str, value: Option<String>| {
            fields.extend(value.map(|value| (field.to_owned(), value)));
        };
        let path = |path: &Option<PathBuf>| {
            let quoted = |path: &PathBuf| format!("{:?}", path.to_string_lossy());
            path.as_ref().map(quoted)
        };
        set("data.pool", path(&self.pool));
        set("data.test", path(&self.test));
        set("scale", self.scale.map(|scale| format!("{scale:?}")));
        set(
            "experiment.seeds",
            self.seeds.map(|number| number.to_string()),
        );
        set(
            "experiment.rounds",
            self.rounds.map(|number| number.to_string()),
        );
        set(
            "experiment.budget",
            self.budget.map(|number| number.to_string()),
        );
        let strategies = (!self.strategies.is_empty()).then(|| format!("{:?}", self.strategies));
        set("experiment.strategies", strategies);
        for text in &self.set {
            let (field, value) = text.split_once('=').ok_or_else(|| {
                Failure::usage(format!(
                    "--set {text}: a field and a value with `=` between them"
                ))
                .with_hint("--set training.epochs=50, for example")
            })?;
            set(field.trim(), Some(value.trim().to_owned()));
        }
        Ok(Job {
            wanted: match (self.template, self.print_config, self.out) {
                (true, ..) => Wanted::Template,
                (_, true, _) | (.., None) => Wanted::Config,
                (.., Some(out)) => Wanted::Run(out),
            },
            config: self.config,
            overrides: Overrides {
                preset: self.preset,
                fields,
            },
            jobs: self.jobs.map(|jobs| jobs as usize),
            memory: self.memory,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn meant(arguments: &[&str]) -> Result<Job> {
        let all = ["equipoise", "simulate"].iter().chain(arguments);
        match Cli::try_parse_from(all).unwrap().command {
            Command::Simulate(arguments) => arguments.meant(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_are_fields_of_the_file() {
        let flags = "--out r --pool a.emb --strategies base,random --budget 7 --scale 1 --set x.y=z --memory 2G";
        let job = meant(&flags.split(' ').collect::<Vec<_>>()).unwrap();
        let fields: Vec<(&str, &str)> = job
            .overrides
            .fields
            .iter()
            .map(|(field, value)| (field.as_str(), value.as_str()))
            .collect();
        let expected = [
            ("data.pool", "\"a.emb\""),
            ("scale", "1.0"),
            ("experiment.budget", "7"),
            ("experiment.strategies", "[\"base\", \"random\"]"),
            ("x.y", "z"),
        ];
        assert_eq!(fields, expected);
        assert_eq!(job.memory, Some(2 << 30));
        assert_eq!(
            meant(&["--out", "r", "--set", "x"]).err().unwrap().exit(),
            2
        );
    }
}
