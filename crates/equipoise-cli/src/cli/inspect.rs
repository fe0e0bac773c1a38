//! Arguments of `inspect`.

use std::path::PathBuf;

use clap::Args;

use super::reading::{ReadingArgs, check_model};
use crate::commands::inspect::Job;
use crate::failure::Result;

/// Arguments of `inspect`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  equipoise inspect moco_v2_800ep_pretrain.pth.tar
  equipoise inspect model.safetensors.index.json --model vit_base_patch14 --json
  equipoise inspect mine.pt --model resnet50 --key-map '^net\\.trunk\\.='")]
pub(crate) struct InspectArgs {
    /// A PyTorch checkpoint, a safetensors file, or the index of several
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Say what is missing for this model; by default, which models the tensors fit
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    #[command(flatten)]
    reading: ReadingArgs,
}

impl InspectArgs {
    /// What was meant.
    ///
    /// # Errors
    /// Wrong usage: an unknown model.
    pub(crate) fn meant(self) -> Result<Job> {
        self.model.as_deref().map(check_model).transpose()?;
        Ok(Job {
            file: self.file,
            model: self.model,
            reading: self.reading.meant(),
        })
    }
}
