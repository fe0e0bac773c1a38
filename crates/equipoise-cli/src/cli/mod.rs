//! What was typed: the command line as clap reads it, each flag once and with its help.
//!
//! Every command's arguments turn into what was meant, a plain `Job` in [`crate::commands`].

mod bench;
mod compare;
mod constraints;
mod demo;
mod embed;
mod fit;
mod inspect;
mod join;
mod machine;
mod merge;
mod preprocess;
mod question;
mod reading;
mod round;
mod scan;
mod select;
mod simulate;
mod strategy_options;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::device::DeviceWish;

pub(crate) use bench::BenchArgs;
pub(crate) use compare::CompareArgs;
pub(crate) use demo::DemoArgs;
pub(crate) use embed::EmbedArgs;
pub(crate) use fit::FitArgs;
pub(crate) use inspect::InspectArgs;
pub(crate) use join::JoinArgs;
pub(crate) use merge::MergeArgs;
pub(crate) use round::RoundArgs;
pub(crate) use scan::ScanArgs;
pub(crate) use select::SelectArgs;
pub(crate) use simulate::SimulateArgs;

/// Choose which images are worth a label.
#[derive(Debug, Parser)]
#[command(
    name = "equipoise",
    version,
    propagate_version = true,
    max_term_width = 100
)]
#[command(
    about = "Choose which images are worth a label: balanced active learning on any GPU, or none"
)]
#[command(after_help = "\
Examples:
  equipoise demo
  equipoise embed --images photos/ --model resnet20 --weights net.safetensors --out pool.emb
  equipoise fit --embeddings pool.emb --labels labels.csv --out head.safetensors
  equipoise select --embeddings pool.emb --head head.safetensors --labelled labels.csv \\
      --strategy base --budget 1000 --out picks.csv

Exit status: 0 done, 1 failed, 2 wrong usage.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Args)]
pub(crate) struct GlobalArgs {
    /// Where to compute: auto (a real GPU if there is one, else the CPU), cpu, gpu, gpu:N (numbers
    /// as in `equipoise devices`), vulkan, metal or dx12; for scans also several with commas, or all (real GPUs; in `bench`
    /// the CPU and every adapter)
    #[arg(long, global = true, value_name = "DEVICE", default_value = "auto")]
    pub(crate) device: DeviceWish,
    /// CPU threads to use; by default one a core
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) threads: Option<u32>,
    /// Print JSON on stdout instead of text: one object, of several selections an object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print neither progress nor summary
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the adapters with their limits and features, and say which one would be used
    #[command(
        after_help = "Examples:\n  equipoise devices\n  equipoise devices --device gpu --json"
    )]
    Devices,
    /// Do the whole job on a small image set that the program draws: no download, nothing to install
    Demo(DemoArgs),
    /// Look into a checkpoint: its tensors, whose layout it is, which model
    Inspect(InspectArgs),
    /// Turn images into an embedding store
    Embed(EmbedArgs),
    /// Make one pool of the stores that several machines embedded, without copying
    Join(JoinArgs),
    /// Fit a linear head on the rows that have a label
    Fit(FitArgs),
    /// Pick the rows that are worth a label
    Select(SelectArgs),
    /// Show side by side what several strategies would pick
    Compare(CompareArgs),
    /// Play rounds of select, label, train and test on data whose labels are known: which strategy
    /// buys the most?
    Simulate(SimulateArgs),
    /// Run a campaign with people who label: pick rows, take labels in, see where it stands
    Round(RoundArgs),
    /// Time every kernel and whole selections on this device, next to what it can do at most
    Bench(BenchArgs),
    /// List one shard's candidates, where several machines share a pool
    Scan(ScanArgs),
    /// Pick from the candidates of all shards: the picks of `select`, or what to scan deeper
    Merge(MergeArgs),
    /// List the strategies, what they pick and where they were published
    #[command(after_help = "Example:\n  equipoise strategies")]
    Strategies,
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  equipoise completions bash > ~/.local/share/bash-completion/completions/equipoise"
    )]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Write the manual pages
    #[command(after_help = "Examples:\n  equipoise man | man -l -\n  equipoise man --out man1/")]
    Man {
        /// Folder for one page a command; without it, the main page goes to stdout
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn failure(arguments: &[&str]) -> clap::error::ErrorKind {
        Cli::try_parse_from(std::iter::once(&"equipoise").chain(arguments))
            .unwrap_err()
            .kind()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_help_and_every_command_an_example() {
        for command in Cli::command().get_subcommands() {
            let after = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                after.contains("equipoise "),
                "{} has no example",
                command.get_name()
            );
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{} {}",
                    command.get_name(),
                    argument.get_id()
                );
            }
        }
    }

    #[test]
    fn global_flags_go_before_or_after_the_command() {
        let before =
            Cli::try_parse_from(["equipoise", "--device", "cpu", "-q", "devices"]).unwrap();
        let after = Cli::try_parse_from(["equipoise", "devices", "--device", "cpu", "-q"]).unwrap();
        for cli in [before, after] {
            assert_eq!(cli.global.device, DeviceWish::Cpu);
            assert!(cli.global.quiet);
        }
    }

    #[test]
    fn unknown_devices_and_zero_threads_are_usage_errors() {
        use clap::error::ErrorKind::ValueValidation;
        assert_eq!(failure(&["devices", "--device", "tpu"]), ValueValidation);
        assert_eq!(failure(&["devices", "--threads", "0"]), ValueValidation);
    }
}
