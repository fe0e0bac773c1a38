//! Arguments that single strategies take.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use equipoise::core::strategies::{BalancingOptions, Majority, PickLabels, Strategy};
use equipoise::core::{ClusterOptions, Linkage, Start};

use crate::commands::strategy_options::Options;
use crate::failure::{Failure, Result};

/// What single strategies are told.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of single strategies")]
pub(crate) struct StrategyOptions {
    /// True labels of available rows, for oracles alone (balanced-random, and balancing with
    /// `--balancing-labels oracle`): CSV with columns `id` (or `row`) and `label`, or a Label Studio
    /// export; by default those the store took from its class folders
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Which row coreset begins with, where nothing is labelled: central (its farthest row is
    /// nearest), mean (nearest to the mean), a row number, or auto (central up to 50,000 rows)
    #[arg(long, value_name = "auto|central|mean|ROW", default_value = "auto")]
    start: FirstRow,
    /// Into how many parts partitioned-coreset and partitioned-badge divide the rows
    #[arg(long, value_name = "P", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    partitions: u32,
    /// What badge begins with: the labelled rows' gradient embeddings, as the published code, or none, as
    /// its authors' original
    #[arg(long, value_enum, default_value_t = BadgeStart::Labelled)]
    badge_start: BadgeStart,
    /// How many clusters margin-clustering makes; by default 20, or as many as there are rows
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    clusters: Option<u32>,
    /// Which clusters margin-clustering makes one: those whose union spreads least, or whose rows
    /// lie nearest on average
    #[arg(long, value_enum, default_value_t = LinkageArg::Ward)]
    linkage: LinkageArg,
    /// Which frequent class's mean balancing keeps away from; the published code takes the farthest
    #[arg(long, value_enum, default_value_t = MajorityArg::Nearest)]
    balancing_majority: MajorityArg,
    /// As what balancing counts a pick until it is labelled; the published code reads its true
    /// label at once, which only an oracle can (`--labels`)
    #[arg(long, value_enum, default_value_t = LabelsArg::Predicted)]
    balancing_labels: LabelsArg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FirstRow(Start);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BadgeStart {
    Labelled,
    None,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LinkageArg {
    Ward,
    Average,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum MajorityArg {
    Nearest,
    Farthest,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LabelsArg {
    Predicted,
    Oracle,
}

impl FromStr for FirstRow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let start = match text {
            "auto" => Start::Auto,
            "central" => Start::Central,
            "mean" => Start::Mean,
            row => {
                let row = row.parse();
                Start::Row(row.map_err(|_| "auto, central, mean or a row number".to_owned())?)
            }
        };
        Ok(Self(start))
    }
}

impl StrategyOptions {
    /// What was meant, for selections by `strategies`.
    ///
    /// # Errors
    /// Wrong usage: labels where no strategy may read them.
    pub(super) fn meant<'a>(
        &self,
        mut strategies: impl Iterator<Item = &'a dyn Strategy>,
    ) -> Result<Options> {
        let options = self.options();
        if self.labels.is_some() && !strategies.any(|strategy| options.reads_labels(strategy)) {
            let message = "--labels: no strategy named here may read true labels of available rows";
            return Err(Failure::usage(message).with_hint(
                "rows that are labelled already go to --labelled; oracles are balanced-random, and \
                 balancing with `--balancing-labels oracle`",
            ));
        }
        Ok(options)
    }

    /// What was meant, for whoever may read labels.
    pub(super) fn options(&self) -> Options {
        Options {
            labels: self.labels.clone(),
            start: self.start.0,
            partitions: self.partitions as usize,
            fresh_start: self.badge_start == BadgeStart::None,
            clustering: ClusterOptions {
                clusters: self.clusters.map(|clusters| clusters as usize),
                linkage: match self.linkage {
                    LinkageArg::Ward => Linkage::Ward,
                    LinkageArg::Average => Linkage::Average,
                },
            },
            balancing: BalancingOptions {
                majority: match self.balancing_majority {
                    MajorityArg::Nearest => Majority::Nearest,
                    MajorityArg::Farthest => Majority::Farthest,
                },
                labels: match self.balancing_labels {
                    LabelsArg::Predicted => PickLabels::Predicted,
                    LabelsArg::Oracle => PickLabels::Oracle,
                },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coreset_begins_as_it_is_told() {
        let meant = |text: &str| text.parse().map(|FirstRow(start)| start);
        assert_eq!(meant("auto"), Ok(Start::Auto));
        assert_eq!(meant("central"), Ok(Start::Central));
        assert_eq!(meant("mean"), Ok(Start::Mean));
        assert_eq!(meant("17"), Ok(Start::Row(17)));
        assert!(meant("-1").is_err() && meant("first").is_err());
    }
}
