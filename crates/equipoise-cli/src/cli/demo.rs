//! Arguments of `demo`.

use std::path::PathBuf;

use clap::Args;

use crate::commands::demo::{Job, Tour};
use crate::demo::backbone::Recipe;
use crate::failure::Result;

/// Arguments of `demo`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  equipoise demo
  equipoise demo --out /tmp/try --seed 3
  equipoise demo --make-backbone backbone.safetensors   (remakes the network the demo brings along)")]
pub(crate) struct DemoArgs {
    /// Folder for images, store, heads, picks and contact sheets
    #[arg(long, value_name = "DIR", default_value = "equipoise-demo")]
    out: PathBuf,
    /// Which images are drawn, and which of them are labelled at first
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Replace an earlier demo in the folder
    #[arg(long)]
    force: bool,
    /// Train the demo's backbone on other drawn classes and write it here, instead of the demo
    #[arg(long, value_name = "FILE")]
    make_backbone: Option<PathBuf>,
    /// Rounds over the training images of --make-backbone
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10,
        requires = "make_backbone"
    )]
    epochs: usize,
    /// Training images a class of --make-backbone
    #[arg(
        long,
        value_name = "N",
        default_value_t = 300,
        requires = "make_backbone"
    )]
    images_per_class: usize,
}

impl DemoArgs {
    /// What was meant.
    ///
    /// # Errors
    /// None today; every command has the same form.
    pub(crate) fn meant(self) -> Result<Job> {
        Ok(match self.make_backbone {
            Some(out) => Job::MakeBackbone(Recipe {
                out,
                seed: self.seed,
                epochs: self.epochs,
                images_per_class: self.images_per_class,
                force: self.force,
            }),
            None => Job::Tour(Tour {
                out: self.out,
                seed: self.seed,
                force: self.force,
            }),
        })
    }
}
