//! Arguments of `embed`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use equipoise::pool::{Dtype, Preprocess};

use super::reading::{ReadingArgs, check_model};
use crate::commands::embed::Job;
use crate::failure::{Failure, Result};

/// Arguments of `embed`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  equipoise embed --images photos/ --model resnet20 --weights net.th --out pool.emb
  equipoise embed --images 'shards/*.tar' --model resnet56 --weights net.safetensors --dtype f16 \\
      --preprocess cifar --batch 512 --out pool.emb
  equipoise embed --images train.tar --model resnet20 --weights net.th --head-out head.safetensors \\
      --out pool.emb

A run that was stopped goes on where it stopped: give the same command again.")]
pub(crate) struct EmbedArgs {
    /// The images: a folder (class folders or flat), a .tar, or a glob of them
    #[arg(long, value_name = "SRC")]
    images: String,
    /// The backbone: resnet18, resnet34, resnet50, resnet101, wide_resnet50_2; resnet20, 32, 44, 56
    /// of CIFAR; vit_small_, vit_base_, vit_large_patch8, 14, 16. `inspect` tells which fits
    #[arg(long, value_name = "NAME")]
    model: String,
    /// Its weights: a PyTorch checkpoint, a safetensors file, or the index of several
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    #[command(flatten)]
    reading: ReadingArgs,
    /// Where to write the embedding store
    #[arg(long, value_name = "POOL.emb")]
    out: PathBuf,
    /// Images the model takes at once; by default what suits the device
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch: Option<u32>,
    /// How embeddings are stored
    #[arg(long, value_enum, default_value_t = DtypeArg::F32)]
    dtype: DtypeArg,
    /// Mean and standard deviation that the colours are normalised with
    #[arg(long, value_name = "imagenet|cifar", default_value = "imagenet")]
    preprocess: String,
    /// Another mean, of colours in 0..1
    #[arg(long, value_name = "R,G,B", value_parser = rgb, requires = "std")]
    mean: Option<Rgb>,
    /// Another standard deviation
    #[arg(long, value_name = "R,G,B", value_parser = rgb, requires = "mean")]
    std: Option<Rgb>,
    /// Make every image N×N pixels: the shorter side becomes N, then the middle is cut out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    resize: Option<u32>,
    /// Share of images that may be corrupt; beyond it the run fails
    #[arg(long, value_name = "SHARE", default_value_t = 0.01)]
    max_bad_fraction: f64,
    /// Write the classifier that the weights hold as a head
    #[arg(long, value_name = "HEAD")]
    head_out: Option<PathBuf>,
    /// Rows of a shard of the store
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    shard_rows: Option<u32>,
    /// Overwrite the output
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DtypeArg {
    F16,
    F32,
}

/// Three numbers, one a colour.
type Rgb = [f32; 3];

fn rgb(text: &str) -> Result<Rgb, String> {
    let numbers: Option<Vec<f32>> = text
        .split(',')
        .map(|part| part.trim().parse().ok())
        .collect();
    numbers
        .and_then(|numbers| Rgb::try_from(numbers).ok())
        .filter(|rgb| rgb.iter().all(|value| value.is_finite()))
        .ok_or_else(|| "three numbers with commas between them, as in 0.5,0.5,0.5".into())
}

impl EmbedArgs {
    /// What was meant.
    ///
    /// # Errors
    /// Wrong usage: an unknown model or preset, numbers out of their range.
    pub(crate) fn meant(self) -> Result<Job> {
        check_model(&self.model)?;
        if !(0.0..=1.0).contains(&self.max_bad_fraction) {
            return Err(Failure::usage(format!(
                "--max-bad-fraction {}: from 0 to 1",
                self.max_bad_fraction
            )));
        }
        Ok(Job {
            preprocess: self.preprocess()?,
            images: self.images,
            model: self.model,
            weights: self.weights,
            reading: self.reading.meant(),
            out: self.out,
            batch: self.batch.map(|batch| batch as usize),
            dtype: match self.dtype {
                DtypeArg::F16 => Dtype::F16,
                DtypeArg::F32 => Dtype::F32,
            },
            max_bad_fraction: self.max_bad_fraction,
            shard_rows: self.shard_rows.map(|rows| rows as usize),
            head_out: self.head_out,
            force: self.force,
        })
    }

    fn preprocess(&self) -> Result<Preprocess> {
        let mut preprocess = Preprocess::by_name(&self.preprocess).ok_or_else(|| {
            Failure::usage(format!("there is no preprocessing `{}`", self.preprocess))
                .with_hint("imagenet or cifar, or --mean and --std")
        })?;
        if let (Some(mean), Some(std)) = (self.mean, self.std) {
            if std.iter().any(|std| *std <= 0.0) {
                return Err(Failure::usage("--std: every number must be above 0"));
            }
            (preprocess.mean, preprocess.std) = (mean, std);
        }
        preprocess.resize = self.resize;
        Ok(preprocess)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn meant(extra: &[&str]) -> Result<Job> {
        let base = [
            "equipoise",
            "embed",
            "--images",
            "i",
            "--weights",
            "w",
            "--out",
            "o",
        ];
        match Cli::try_parse_from(base.iter().chain(extra)).map(|cli| cli.command) {
            Ok(Command::Embed(arguments)) => arguments.meant(),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(Failure::usage(error.to_string())),
        }
    }

    #[test]
    fn presets_give_mean_and_std_and_no_resize() {
        let job = meant(&["--model", "resnet20"]).unwrap();
        assert_eq!(job.preprocess.mean, [0.485, 0.456, 0.406]);
        assert_eq!(job.preprocess.resize, None);
        assert_eq!(job.max_bad_fraction, 0.01);
    }

    #[test]
    fn mean_and_std_may_be_given() {
        let job = meant(&[
            "--model",
            "resnet20",
            "--mean",
            "0.5, 0.4,0.3",
            "--std",
            "1,1,1",
        ])
        .unwrap();
        assert_eq!(
            (job.preprocess.mean, job.preprocess.std),
            ([0.5, 0.4, 0.3], [1.0; 3])
        );
    }

    #[test]
    fn nonsense_is_wrong_usage() {
        for extra in [
            &["--model", "resnet21"][..],
            &["--model", "resnet20", "--preprocess", "mnist"],
            &["--model", "resnet20", "--mean", "0.5,0.4,0.3"],
            &["--model", "resnet20", "--mean", "0.5,0.4", "--std", "1,1,1"],
            &["--model", "resnet20", "--mean", "0,0,0", "--std", "1,0,1"],
            &["--model", "resnet20", "--max-bad-fraction", "1.5"],
            &["--model", "resnet20", "--batch", "0"],
        ] {
            assert_eq!(
                meant(extra).err().map(|failure| failure.exit()),
                Some(2),
                "{extra:?}"
            );
        }
    }
}
