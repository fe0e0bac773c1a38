//! `embed`: turns images into an embedding store.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Instant;

use equipoise::burn::{Backbone, LoadOptions, ModelDevice};
use equipoise::pool::{
    self, BadImage, Dtype, Encoded, HeadFile, Image, Part, Preprocess, Source, StoreInfo,
    StoreWriter,
};
use indicatif::ProgressBar;
use rayon::prelude::*;
use serde::Serialize;

use super::inspect::named;
use crate::console::{Console, grouped};
use crate::device::DeviceWish;
use crate::failure::{Failure, Result};

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
}

/// Batches that wait, decoded, for the model.
const AHEAD: usize = 2;

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
    console.note(format!("images: {}", job.preprocess));
    let mut writer = StoreWriter::open(&job.out, store_info(job, &source, &backbone), job.force)?;
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
    let outcome = stream(job, &source, &backbone, &mut writer, &bar);
    bar.finish_and_clear();
    outcome?;
    let images_per_second = (images - resumed_at) as f64 / computing.elapsed().as_secs_f64();
    let stored = writer.finish()?;
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
    })
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

/// Reads and decodes on one side while the model and the store work on the other.
fn stream(
    job: &Job,
    source: &Source,
    backbone: &Backbone,
    writer: &mut StoreWriter,
    bar: &ProgressBar,
) -> Result<()> {
    let from = writer.resume_at();
    let batch = job.batch.unwrap_or_else(|| {
        let (height, width) = first_size(source, &job.preprocess, from);
        backbone.batch(height, width)
    });
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(AHEAD);
        scope.spawn(move || read_ahead(source, &job.preprocess, from, batch, &sender));
        consume(job, &receiver, source, backbone, writer, bar)
    })
}

/// Images that are tried before a size is guessed.
const TRIED: usize = 16;

/// The usual size of images that a backbone takes.
const USUAL: (usize, usize) = (224, 224);

/// Height and width of the first image that is none of the corrupt ones.
fn first_size(source: &Source, preprocess: &Preprocess, from: usize) -> (usize, usize) {
    let tried = source.stream(from).take(TRIED);
    let mut images = tried.filter_map(|item| preprocess.apply(&item.ok()?.1.ok()?).ok());
    images
        .next()
        .map_or(USUAL, |image| (image.height, image.width))
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

/// One batch, read and decoded: the entry's index, and its image or what is wrong with it.
type Decoded = Indexed<Result<Image, BadImage>>;

/// Reads the source in order, decodes on all cores and sends batch by batch, until the source
/// ends or nobody listens any more.
fn read_ahead(
    source: &Source,
    preprocess: &Preprocess,
    from: usize,
    batch: usize,
    sender: &SyncSender<Result<Decoded, pool::Error>>,
) {
    let mut stream = source.stream(from);
    loop {
        let encoded: Result<Vec<(usize, Encoded)>, _> = stream.by_ref().take(batch).collect();
        let decoded = encoded.map(|encoded| {
            encoded
                .into_par_iter()
                .map(|(index, bytes)| (index, bytes.and_then(|bytes| preprocess.apply(&bytes))))
                .collect::<Decoded>()
        });
        let last = match &decoded {
            Ok(decoded) if decoded.is_empty() => return,
            Ok(decoded) => decoded.len() < batch,
            Err(_) => true,
        };
        if sender.send(decoded).is_err() || last {
            return;
        }
    }
}

/// Takes the batches through the model and into the store.
fn consume(
    job: &Job,
    batches: &Receiver<Result<Decoded, pool::Error>>,
    source: &Source,
    backbone: &Backbone,
    writer: &mut StoreWriter,
    bar: &ProgressBar,
) -> Result<()> {
    for batch in batches {
        let batch = batch?;
        let size = batch.len() as u64;
        let (good, bad) = separate(batch);
        let mut bad = bad.into_iter().peekable();
        let mut reject_before = |writer: &mut StoreWriter, next: usize| -> Result<()> {
            while let Some((index, error)) = bad.next_if(|(index, _)| *index < next) {
                writer.reject(index, &source.entries()[index], &error.reason)?;
            }
            Ok(())
        };
        for run in equal_sizes(good) {
            let (height, width) = run.size;
            let embeddings = backbone.embed(&run.values, run.entries.len(), height, width)?;
            for (index, embedding) in run
                .entries
                .iter()
                .zip(embeddings.chunks_exact(backbone.dim()))
            {
                reject_before(writer, *index)?;
                writer.push(*index, &source.entries()[*index], embedding)?;
            }
        }
        reject_before(writer, usize::MAX)?;
        check_bad(job, writer, source.entries().len())?;
        bar.inc(size);
    }
    Ok(())
}

/// What a batch holds, each with its entry's index.
type Indexed<T> = Vec<(usize, T)>;

/// The images, and those that are none.
fn separate(batch: Decoded) -> (Indexed<Image>, Indexed<BadImage>) {
    let (mut good, mut bad) = (Vec::with_capacity(batch.len()), Vec::new());
    for (index, image) in batch {
        match image {
            Ok(image) => good.push((index, image)),
            Err(error) => bad.push((index, error)),
        }
    }
    (good, bad)
}

/// Images of one size, one after the other.
#[derive(Default)]
struct Run {
    size: (usize, usize),
    entries: Vec<usize>,
    values: Vec<f32>,
}

/// The batch cut where the size changes, so that each part is one tensor.
fn equal_sizes(images: Vec<(usize, Image)>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (entry, image) in images {
        let size = (image.height, image.width);
        if runs.last().is_none_or(|run| run.size != size) {
            runs.push(Run {
                size,
                ..Run::default()
            });
        }
        if let Some(run) = runs.last_mut() {
            run.entries.push(entry);
            run.values.extend_from_slice(&image.values);
        }
    }
    runs
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_cut_where_the_size_changes() {
        let image = |height, width| Image {
            values: vec![1.0; 3 * height * width],
            height,
            width,
        };
        let runs = equal_sizes(vec![
            (0, image(2, 2)),
            (1, image(2, 2)),
            (4, image(2, 3)),
            (5, image(2, 2)),
        ]);
        let cut: Vec<_> = runs
            .iter()
            .map(|run| (run.size, run.entries.clone()))
            .collect();
        assert_eq!(
            cut,
            [((2, 2), vec![0, 1]), ((2, 3), vec![4]), ((2, 2), vec![5])]
        );
        assert_eq!(runs[0].values.len(), 24);
    }
}
