//! Arguments of `embed`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use equipoise::pool::{Dtype, Part};

use super::preprocess::PreprocessArgs;
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
  equipoise embed --images manifest.csv --model vit_base_patch16 --weights dino.pth --shard 2/8 \\
      --out part2.emb

A run that was stopped goes on where it stopped: give the same command again.")]
pub(crate) struct EmbedArgs {
    /// The images: a folder (class folders or flat), a .tar (class folders or WebDataset), a manifest
    /// (.csv or .jsonl with `path`), a .txt list of paths and labels, or a glob of tars or images
    #[arg(long, value_name = "SRC")]
    images: String,
    /// The folder that paths in a manifest or list are relative to; by default the file's own
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Embed only part i of n, from 1, of the images: several machines share a source, and
    /// `equipoise join` makes one pool of their stores
    #[arg(long, value_name = "i/n", value_parser = part)]
    shard: Option<Part>,
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
    #[command(flatten)]
    preprocess: PreprocessArgs,
    /// Share of images that may be corrupt; beyond it the run fails
    #[arg(long, value_name = "SHARE", default_value_t = 0.01)]
    max_bad_fraction: f64,
    /// Write the classifier that the weights hold as a head
    #[arg(long, value_name = "HEAD")]
    head_out: Option<PathBuf>,
    /// Rows of a shard of the store
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    shard_rows: Option<u32>,
    /// Embed only images that the store lacks, and append their rows: the source has grown. Those
    /// that were left out are tried again
    #[arg(long, conflicts_with_all = ["force", "shard"])]
    append: bool,
    /// Overwrite the output
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DtypeArg {
    F16,
    F32,
}

fn part(text: &str) -> Result<Part, String> {
    let parts = text.split_once('/');
    let parts = parts.and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    match parts {
        Some((index, count)) if (1..=count).contains(&index) => Ok(Part { index, count }),
        _ => Err("i/n, such as 1/3: i from 1 to n".into()),
    }
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
        let (preprocess, sized) = self.preprocess.meant()?;
        Ok(Job {
            preprocess,
            sized,
            images: self.images,
            root: self.root,
            part: self.shard,
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
            append: self.append,
            force: self.force,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use equipoise::pool::{Exif, Interpolation, Preprocess};

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
    fn presets_give_everything_and_flags_override_them() {
        let job = meant(&["--model", "resnet50"]).unwrap();
        assert_eq!((job.preprocess, job.sized), (Preprocess::IMAGENET, false));
        assert_eq!(job.max_bad_fraction, 0.01);
        let sides = |extra: &[&str]| {
            let job = meant(&[&["--model", "resnet50"], extra].concat()).unwrap();
            assert!(job.sized, "{extra:?}");
            (job.preprocess.resize, job.preprocess.crop)
        };
        assert_eq!(sides(&["--preprocess", "clip"]), (Some(224), Some(224)));
        assert_eq!(sides(&["--preprocess", "cifar"]), (None, None));
        assert_eq!(sides(&["--resize", "32"]), (Some(32), Some(32)));
        assert_eq!(
            sides(&["--resize", "300", "--crop", "288"]),
            (Some(300), Some(288))
        );
        assert_eq!(
            sides(&["--resize", "300", "--crop", "none"]),
            (Some(300), None)
        );
        assert_eq!(sides(&["--resize", "none"]), (None, None));
        let job = meant(&[
            "--model",
            "resnet50",
            "--exif",
            "apply",
            "--reduced-jpeg",
            "--interpolation",
            "bicubic",
        ])
        .unwrap();
        assert_eq!(job.preprocess.exif, Exif::Apply);
        assert_eq!(job.preprocess.interpolation, Interpolation::Bicubic);
        assert!(job.preprocess.reduced_jpeg && !job.sized);
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
            &["--model", "resnet20", "--resize", "0"],
            &["--model", "resnet20", "--crop", "all"],
        ] {
            assert_eq!(
                meant(extra).err().map(|failure| failure.exit()),
                Some(2),
                "{extra:?}"
            );
        }
    }
}
