//! `embed`: turns images into an embedding store.

mod pipeline;
mod spent;

use std::path::{Path, PathBuf};
use std::time::Instant;

use equipoise::burn::{Backbone, LoadOptions, ModelDevice};
use equipoise::pool::{Dtype, HeadFile, Part, Preprocess, Source, StoreInfo, StoreWriter};
use serde::Serialize;

use super::inspect::named;
use crate::console::{Console, grouped};
use crate::device::DeviceWish;
use crate::failure::{Failure, Result};
use pipeline::Pipeline;
use spent::{Seconds, Spent};

/// One run over a source.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub images: String,
    pub root: Option<PathBuf>,
    pub part: Option<Part>,
    pub model: String,
    pub weights: PathBuf,
    pub reading: LoadOptions,
    pub out: PathBuf,
    pub batch: Option<usize>,
    pub dtype: Dtype,
    pub preprocess: Preprocess,
    /// Whether `preprocess` says how large images are to be; if not, a network for small ones takes
    /// them as they are.
    pub sized: bool,
    pub max_bad_fraction: f64,
    pub shard_rows: Option<usize>,
    pub head_out: Option<PathBuf>,
    /// Whether rows are appended to the store, if it is there.
    pub append: bool,
    pub force: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub out: PathBuf,
    pub images: usize,
    pub rows: usize,
    pub dim: usize,
    pub resumed_at: usize,
    pub quarantined: usize,
    pub quarantine: Option<PathBuf>,
    pub head: Option<PathBuf>,
    pub device: String,
    pub images_per_second: f64,
    pub seconds: f64,
    pub spent: Seconds,
    /// Images at once through the network, where the device's memory held no more.
    pub reduced_to: Option<usize>,
}

/// Runs and prints.
///
/// # Errors
/// Whatever [`run`] says.
pub(crate) fn main(job: &Job, wish: &DeviceWish, console: Console) -> Result<()> {
    let device = wish.resolve()?.model()?;
    let report = run(job, &device, console)?;
    console.note(summary(&report));
    if console.json {
        console.report(&report, |_| String::new())
    } else {
        Ok(())
    }
}

/// Embeds what the source has beyond what an interrupted run left.
///
/// # Errors
/// Where a file cannot be read or written, or too many images are corrupt.
pub(crate) fn run(job: &Job, device: &ModelDevice, console: Console) -> Result<Report> {
    let started = Instant::now();
    let source = Source::open(&job.images, job.root.as_deref())?;
    let source = match job.part {
        Some(part) => source.part(part)?,
        None => source,
    };
    let (backbone, loaded) = Backbone::load(&job.model, &job.weights, &job.reading, device)?;
    console.note(format!(
        "{}: {}, {}, layout {}, names after {:?}",
        job.weights.display(),
        job.model,
        loaded.details,
        loaded.layout,
        loaded.prefix,
    ));
    if !loaded.unused.is_empty() {
        console.note(format!(
            "{}: {} tensors not used: {}",
            job.weights.display(),
            loaded.unused.len(),
            named(&loaded.unused),
        ));
    }
    let mut job = job.clone();
    if !job.sized && backbone.takes_small_images() {
        job.preprocess = job.preprocess.unresized();
    }
    let job = &job;
    check_sides(job, &backbone)?;
    console.note(format!("images: {}", job.preprocess));
    let info = store_info(job, &source, &backbone);
    let (mut writer, source) = match job.append && job.out.exists() {
        true => StoreWriter::append(&job.out, info, source)?,
        false => (StoreWriter::open(&job.out, info, job.force)?, source),
    };
    let head = write_head(job, &backbone, source.classes())?;
    let (images, resumed_at) = (source.entries().len(), writer.resume_at());
    if resumed_at > 0 {
        console.note(format!(
            "going on at image {} of {}",
            grouped(resumed_at),
            grouped(images)
        ));
    }
    let bar = console
        .bar(images as u64, "embedding")
        .with_position(resumed_at as u64);
    bar.reset_eta();
    let computing = Instant::now();
    let spent = Spent::default();
    let pipeline = Pipeline {
        job,
        source: &source,
        backbone: &backbone,
        spent: &spent,
    };
    let outcome = pipeline.run(&mut writer, &bar);
    bar.finish_and_clear();
    outcome?;
    let images_per_second = (images - resumed_at) as f64 / computing.elapsed().as_secs_f64();
    let stored = spent.write.time(|| writer.finish())?;
    Ok(Report {
        out: job.out.clone(),
        images,
        rows: stored.rows,
        dim: backbone.dim(),
        resumed_at,
        quarantined: stored.bad,
        quarantine: stored.quarantine,
        head,
        device: device.name().to_owned(),
        images_per_second,
        seconds: started.elapsed().as_secs_f64(),
        spent: spent.seconds(backbone.upload_seconds()),
        reduced_to: backbone.reduced_to(),
    })
}

/// Refuses a crop that is no whole number of patches, before anything is written.
fn check_sides(job: &Job, backbone: &Backbone) -> Result<()> {
    let unit = backbone.side_unit();
    let crop = job
        .preprocess
        .crop
        .filter(|crop| !(*crop as usize).is_multiple_of(unit));
    let Some(crop) = crop else { return Ok(()) };
    let fitting = (crop as usize / unit).max(1) * unit;
    Err(Failure::usage(format!(
        "images of {crop}×{crop} pixels are no whole patches of {unit}×{unit}"
    ))
    .with_hint(format!("--crop {fitting}")))
}

fn store_info(job: &Job, source: &Source, backbone: &Backbone) -> StoreInfo {
    let digest = backbone.weights_digest();
    let mut info = StoreInfo::new(
        source,
        job.model.as_str(),
        digest,
        job.preprocess,
        backbone.dim(),
    );
    info.dtype = job.dtype;
    if let Some(rows) = job.shard_rows {
        info.shard_rows = rows;
    }
    info
}

/// Writes the classifier of the weights where that was asked for.
fn write_head(job: &Job, backbone: &Backbone, classes: &[String]) -> Result<Option<PathBuf>> {
    let Some(path) = &job.head_out else {
        return Ok(None);
    };
    let head = backbone.head().ok_or_else(|| {
        Failure::new("the weights hold no classifier (`linear` or `fc`)")
            .at(&job.weights)
            .with_hint("leave --head-out away, and make a head with `equipoise fit`")
    })?;
    // Class folders name the classes only if there are as many.
    let names = (classes.len() == head.classes()).then(|| classes.to_vec());
    HeadFile::of_backbone(
        head.clone(),
        names,
        backbone.weights_digest(),
        &job.preprocess,
    )
    .write(path, job.force)?;
    Ok(Some(path.clone()))
}

/// Fails as soon as more images are corrupt than may be.
fn check_bad(job: &Job, writer: &StoreWriter, images: usize) -> Result<()> {
    let bad = writer.bad();
    if bad as f64 <= job.max_bad_fraction * images as f64 {
        return Ok(());
    }
    let percent = 100.0 * job.max_bad_fraction;
    Err(Failure::new(format!(
        "{bad} corrupt so far, more than {percent}% of {} images; they are listed in {}",
        grouped(images),
        writer.quarantine_path().display(),
    ))
    .at(Path::new(&job.images))
    .with_hint(
        "mend or remove them, or allow more with --max-bad-fraction: the run goes on from here",
    ))
}

fn summary(report: &Report) -> String {
    let mut text = format!(
        "embedded {} images as {} rows of {} numbers on {} in {:.1} s ({:.0} images/s)\n",
        grouped(report.images),
        grouped(report.rows),
        report.dim,
        report.device,
        report.seconds,
        report.images_per_second,
    );
    text += &format!("time: {}\n", report.spent);
    if let Some(images) = report.reduced_to {
        text += &format!("the device's memory held {images} images at once\n");
    }
    if let Some(quarantine) = &report.quarantine {
        text += &format!(
            "left out {} corrupt images, listed in {}\n",
            grouped(report.quarantined),
            quarantine.display()
        );
    }
    if let Some(head) = &report.head {
        text += &format!("wrote the weights' own classifier to {}\n", head.display());
    }
    text + &format!("wrote {}", report.out.display())
}
