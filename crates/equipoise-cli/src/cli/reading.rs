//! Arguments about how a checkpoint is read, which `embed` and `inspect` share.

use clap::{Args, ValueEnum};
use equipoise::burn::{LoadOptions, Pooling, Rule, models};

use crate::failure::{Failure, Result};

/// How a checkpoint is read.
#[derive(Debug, Args)]
pub(crate) struct ReadingArgs {
    /// Rename the checkpoint's tensors before a network is looked for: '^net\.=backbone.'.
    /// Repeatable, in order; $1 is the first group
    #[arg(long, value_name = "REGEX=REPLACEMENT")]
    key_map: Vec<Rule>,
    /// What becomes the embedding of a vision transformer; by default the class token if there is
    /// one
    #[arg(long, value_enum, value_name = "class|mean")]
    pool: Option<PoolArg>,
    /// Attention heads of a vision transformer, where they are not the usual: no tensor tells
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    heads: Option<u32>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PoolArg {
    /// The class token
    Class,
    /// The mean of the patches' tokens
    Mean,
}

impl ReadingArgs {
    /// What was meant.
    pub(super) fn meant(self) -> LoadOptions {
        LoadOptions {
            key_map: self.key_map.into_iter().collect(),
            pooling: self.pool.map(|pool| match pool {
                PoolArg::Class => Pooling::ClassToken,
                PoolArg::Mean => Pooling::MeanOfPatches,
            }),
            heads: self.heads.map(|heads| heads as usize),
        }
    }
}

/// Refuses a model that there is none of.
///
/// # Errors
/// Wrong usage, with the names there are.
pub(super) fn check_model(model: &str) -> Result<()> {
    match models().iter().any(|name| name == model) {
        true => Ok(()),
        false => Err(Failure::usage(format!("there is no model `{model}`"))
            .with_hint(format!("one of {}", models().join(", ")))),
    }
}
