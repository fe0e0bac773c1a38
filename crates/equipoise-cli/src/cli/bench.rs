//! Arguments of `bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::commands::bench::{Axis, Dump, Job, MakePool, Measure, OwnKernel, Peers, Shape};
use crate::failure::{Failure, Result};

/// Arguments of `bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  equipoise bench
  equipoise bench --device gpu --json before.json
  equipoise bench --device gpu --compare before.json
  equipoise bench --compare before.json after.json
  equipoise bench --device all --check --full --out everything.json
  equipoise bench --shape 100000,384,50 --shape 100000,384,50,500,f16
  equipoise bench --list --device gpu
  equipoise bench --device gpu --only logits --only row_norms
  equipoise bench --device gpu --sweep dim --sweep constants --shape 16384,512,100
  equipoise bench --dump shaders                         # WGSL, SPIR-V, MSL and HLSL
  equipoise bench --device gpu --kernel row_norms-mine.wgsl --watch
  equipoise bench --device gpu --roofline card.svg
  equipoise bench --make-pool big.safetensors --shape 1280000,2048,1000,f16

Every kernel is checked against its CPU twin before it is timed; one that is not right is not timed, and the exit code is 1.
A kernel is timed on one block of rows, by the device's clock where it has one. A selection is
timed as a whole, from a pool in memory: streamed to the device, or resident on it. Shares are of
what the device reached in the same run: by multiply-adds (by matrix cores, where those did the
work), by copies, or by uploads where a pool is streamed. --device all is the CPU and every GPU.")]
pub(crate) struct BenchArgs {
    /// With --json: write the JSON to this file, and the table to stdout
    #[arg(value_name = "FILE", requires = "json", conflicts_with_all = ["out", "list", "dump"])]
    file: Option<PathBuf>,
    /// Write the JSON to this file, whatever goes to stdout
    #[arg(long, value_name = "FILE", conflicts_with_all = ["list", "dump"])]
    out: Option<PathBuf>,
    /// Say how many times as long each measurement took as in this JSON of an earlier run, and whether that is more than
    /// chance; or compare two such files and measure nothing. Two runs with one GPU each are compared whatever its name
    #[arg(long, value_name = "OLD.json", num_args = 1..=2)]
    compare: Vec<PathBuf>,
    /// Rows, numbers per embedding, classes, and how many rows to pick, instead of the usual
    /// shapes; f32 unless it ends in f16. Repeatable
    #[arg(long, value_name = "N,M,C[,B][,f16]")]
    shape: Vec<Shape>,
    /// Measure shapes of ImageNet's size too, as far as memory holds them, and on GPUs BASE with every
    /// variant of logits
    #[arg(long)]
    full: bool,
    /// About how long to repeat each measurement, in seconds
    #[arg(long, value_name = "S", default_value = "0.5", value_parser = seconds)]
    seconds: Duration,
    /// First check that the devices compute what the definition says: every variant of logits,
    /// and the picks of awkward pools; exit 1 if one does not
    #[arg(long)]
    check: bool,
    /// Instead of measuring, write a pool of --shape made of random clusters to this safetensors
    /// file, and a head to FILE's name with `.head.safetensors`
    #[arg(
        long,
        value_name = "FILE",
        requires = "shape",
        conflicts_with_all = ["file", "out", "compare", "full", "check"]
    )]
    make_pool: Option<PathBuf>,
    /// List kernels and selections, and whether the device runs them, and measure nothing
    #[arg(long, conflicts_with_all = ["make_pool", "dump", "kernel", "sweep", "only", "full", "check", "shape"])]
    list: bool,
    /// Measure only what has PART in its name, or in /NAME/VARIANT where PART has a slash. Repeatable; commas separate
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    only: Vec<String>,
    /// Check and time a version of a kernel from a file, beside ours. KERNEL=FILE, or a file whose name begins with the
    /// kernel's (--dump writes ours, to start from). It has the kernel's bindings, and any workgroup size. Repeatable
    #[arg(long, value_name = "FILE.wgsl", conflicts_with = "make_pool")]
    kernel: Vec<OwnKernel>,
    /// Check and time those files again whenever they change, until ctrl-C. They need not compile yet
    #[arg(long, requires = "kernel", conflicts_with = "dump")]
    watch: bool,
    /// Give up a kernel of --kernel that takes longer than this, in seconds: its loops may not end
    #[arg(long, value_name = "S", default_value = "300", value_parser = seconds)]
    patience: Duration,
    /// Vary one thing of --shape: rows, dim or classes around powers of two; types (f32 and f16); constants of our
    /// shaders (tiles, workgroup sizes, lengths of sums, widths of loads). Kernels alone. Repeatable; commas separate
    #[arg(long, value_name = "WHAT", value_delimiter = ',', conflicts_with_all = ["full", "make_pool"])]
    sweep: Vec<Axis>,
    /// Measure the same by burn's own tensor operations: auto (not on software adapters), always, never
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    peers: Peers,
    /// Draw the device's roofline to this SVG (that of a second device to FILE-2.svg), and in characters below the table
    #[arg(long, value_name = "FILE.svg", conflicts_with_all = ["make_pool", "dump", "list"])]
    roofline: Option<PathBuf>,
    /// Write the WGSL of every shader (those of --kernel, too) to this folder, and the SPIR-V, MSL and HLSL that naga makes
    /// of it with the checks that it runs with, and measure nothing
    #[arg(long, value_name = "DIR", conflicts_with_all = ["make_pool", "sweep", "only", "full", "check", "shape"])]
    dump: Option<PathBuf>,
    /// Overwrite the output
    #[arg(long)]
    force: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match (0.0..=3600.0).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err("from 0 to 3600".into()),
    }
}

impl BenchArgs {
    /// What was meant.
    ///
    /// # Errors
    /// Wrong usage: --compare of two files with an output, --make-pool with several shapes, a budget, or a name that says another format.
    pub(crate) fn meant(self) -> Result<Job> {
        if self.list {
            return Ok(Job::List);
        }
        if let Some(folder) = self.dump {
            return Ok(Job::Dump(Dump {
                folder,
                own: self.kernel,
                force: self.force,
            }));
        }
        let mut compare = self.compare.into_iter();
        let (old, new) = (compare.next(), compare.next());
        if let (Some(old), Some(new)) = (&old, new) {
            if self.file.is_some() || self.out.is_some() {
                let failure = Failure::usage("--compare of two files writes none");
                return Err(failure.with_hint("--json prints the comparison as JSON: redirect it"));
            }
            return Ok(Job::Compare(old.clone(), new));
        }
        let Some(out) = self.make_pool else {
            // Theirs beside ours of the same kernel, where nothing else is asked for.
            let mut only = self.only;
            if only.is_empty() {
                only.extend(self.kernel.iter().map(|own| format!("/{}/", own.kernel)));
            }
            return Ok(Job::Measure(Box::new(Measure {
                shapes: self.shape,
                full: self.full,
                budget: self.seconds,
                check: self.check,
                table: self.file.is_some(),
                out: self.out.or(self.file),
                compare: old,
                only,
                own: self.kernel,
                watch: self.watch,
                patience: self.patience,
                sweep: self.sweep,
                peers: self.peers,
                roofline: self.roofline,
                force: self.force,
            })));
        };
        let [shape] = self.shape.as_slice() else {
            return Err(Failure::usage("--make-pool takes one --shape"));
        };
        if shape.budget.is_some() {
            return Err(Failure::usage(
                "--make-pool takes a --shape N,M,C[,f16]: a pool has no budget",
            ));
        }
        if out.extension().is_some_and(|ending| ending == "npy") {
            return Err(Failure::usage("--make-pool writes safetensors, not .npy")
                .with_hint("name it .safetensors"));
        }
        Ok(Job::MakePool(MakePool {
            out,
            shape: *shape,
            force: self.force,
        }))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parsed(arguments: &str) -> Result<(bool, Job), i32> {
        let words = ["equipoise", "bench"].into_iter();
        let cli = Cli::try_parse_from(words.chain(arguments.split_whitespace()))
            .map_err(|error| error.exit_code())?;
        let json = cli.global.json;
        match cli.command {
            Command::Bench(arguments) => match arguments.meant() {
                Ok(job) => Ok((json, job)),
                Err(failure) => Err(failure.exit().into()),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn json_takes_a_file_or_none() {
        let (json, job) = parsed("--json a.json --full").unwrap();
        match job {
            Job::Measure(job) => {
                assert!(json && job.table && job.full);
                assert_eq!(job.out, Some("a.json".into()));
            }
            _ => panic!("a measurement"),
        }
        let (json, job) = parsed("--json --out a.json").unwrap();
        assert!(matches!(job, Job::Measure(job) if json && !job.table && job.out.is_some()));
        let (json, job) = parsed("--json").unwrap();
        assert!(matches!(job, Job::Measure(job) if json && job.out.is_none()));
    }

    #[test]
    fn a_pool_is_made_of_one_shape_without_a_budget() {
        assert!(matches!(
            parsed("--make-pool p.safetensors --shape 9,8,7,f16"),
            Ok((false, Job::MakePool(_)))
        ));
        for wrong in [
            "--make-pool p.safetensors",
            "--make-pool p.npy --shape 9,8,7",
            "--make-pool p.safetensors --shape 9,8,7,6",
            "--make-pool p.safetensors --shape 9,8,7 --shape 9,8,7",
            "--make-pool p.safetensors --shape 9,8,7 --full",
        ] {
            assert_eq!(parsed(wrong).err(), Some(2), "{wrong}");
        }
    }

    #[test]
    fn a_file_without_json_and_odd_numbers_are_usage_errors() {
        for wrong in [
            "a.json",
            "--seconds -1",
            "--seconds x",
            "--shape 1,2",
            "--list --json a.json",
            "--list --out a.json",
            "--dump shaders --out a.json",
            "--compare a.json b.json --out c.json",
            "--json c.json --compare a.json b.json",
        ] {
            assert_eq!(parsed(wrong).err(), Some(2), "{wrong}");
        }
    }
}
