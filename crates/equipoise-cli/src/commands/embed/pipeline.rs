//! Images through the model and into the store: one thread reads, all decode, and the model and the
//! store work meanwhile. Queues are short, so that memory holds a few batches.

use std::sync::mpsc::{self, Receiver, SyncSender};

use equipoise::burn::Backbone;
use equipoise::pool::{self, BadImage, Encoded, Image, Preprocess, Source, StoreWriter};
use indicatif::ProgressBar;
use rayon::prelude::*;

use super::spent::Spent;
use super::{Job, check_bad};
use crate::failure::Result;

/// Batches that wait in each queue: read for the decoders, decoded for the model.
const AHEAD: usize = 2;

/// Images that are tried before a size is guessed.
const TRIED: usize = 16;

/// The usual size of images that a backbone takes.
const USUAL: (usize, usize) = (224, 224);

/// What a batch holds, each with its entry's index.
type Indexed<T> = Vec<(usize, T)>;

/// A batch as it was read; the source may fail as a whole.
type Batch<T> = Result<Indexed<T>, pool::Error>;

/// An image, or what is wrong with it.
type Decoded = Result<Image, BadImage>;

/// Everything that a run goes through.
pub(super) struct Pipeline<'a> {
    pub(super) job: &'a Job,
    pub(super) source: &'a Source,
    pub(super) backbone: &'a Backbone,
    pub(super) spent: &'a Spent,
}

impl Pipeline<'_> {
    /// Embeds what `writer` lacks, in order.
    ///
    /// # Errors
    /// Where the source, the model or the store fails, or too many images are corrupt.
    pub(super) fn run(&self, writer: &mut StoreWriter, bar: &ProgressBar) -> Result<()> {
        let from = writer.resume_at();
        let batch = self.job.batch.unwrap_or_else(|| {
            let (height, width) = first_size(self.source, &self.job.preprocess, from);
            self.backbone.batch(height, width)
        });
        std::thread::scope(|scope| {
            let (encoded, to_decode) = mpsc::sync_channel(AHEAD);
            let (decoded, to_embed) = mpsc::sync_channel(AHEAD);
            scope.spawn(move || self.read(from, batch, &encoded));
            scope.spawn(move || self.decode(&to_decode, &decoded));
            self.embed(&to_embed, writer, bar)
        })
    }

    /// Reads the source in order and sends it batch by batch, until it ends or nobody listens any
    /// more.
    fn read(&self, from: usize, batch: usize, sender: &SyncSender<Batch<Encoded>>) {
        let mut stream = self.source.stream(from);
        loop {
            let images = stream.by_ref().take(batch);
            let read: Batch<Encoded> = self.spent.read.time(|| images.collect());
            let last = read.as_ref().map_or(0, Vec::len) < batch;
            let is_empty = read.as_ref().is_ok_and(Vec::is_empty);
            if is_empty || sender.send(read).is_err() || last {
                return;
            }
        }
    }

    /// Decodes batches on all cores.
    fn decode(&self, batches: &Receiver<Batch<Encoded>>, sender: &SyncSender<Batch<Decoded>>) {
        let image = |bytes: Vec<u8>| {
            let settings = &self.job.preprocess;
            let pixels = self.spent.decode.time(|| settings.decode(&bytes))?;
            self.spent.resize.time(|| settings.make_ready(pixels))
        };
        for batch in batches {
            let decoded = batch.map(|batch| {
                let images = batch.into_par_iter();
                let images = images.map(|(index, bytes)| (index, bytes.and_then(image)));
                images.collect()
            });
            if sender.send(decoded).is_err() {
                return;
            }
        }
    }

    /// Takes the batches through the model and into the store.
    fn embed(
        &self,
        batches: &Receiver<Batch<Decoded>>,
        writer: &mut StoreWriter,
        bar: &ProgressBar,
    ) -> Result<()> {
        let entries = self.source.entries();
        while let Ok(batch) = self.spent.wait.time(|| batches.recv()) {
            let batch = batch?;
            let size = batch.len() as u64;
            let (good, bad) = separate(batch);
            let mut bad = bad.into_iter().peekable();
            let mut reject_before = |writer: &mut StoreWriter, next: usize| -> Result<()> {
                while let Some((index, error)) = bad.next_if(|(index, _)| *index < next) {
                    writer.reject(index, &entries[index], &error.reason)?;
                }
                Ok(())
            };
            for run in equal_sizes(good) {
                let embeddings = self.spent.forward.time(|| {
                    let (height, width) = run.size;
                    let images = run.entries.len();
                    self.backbone.embed(&run.values, images, height, width)
                })?;
                self.spent.write.time(|| -> Result<()> {
                    let embeddings = embeddings.chunks_exact(self.backbone.dim());
                    for (index, embedding) in run.entries.iter().zip(embeddings) {
                        reject_before(writer, *index)?;
                        writer.push(*index, &entries[*index], embedding)?;
                    }
                    Ok(())
                })?;
            }
            reject_before(writer, usize::MAX)?;
            check_bad(self.job, writer, entries.len())?;
            bar.inc(size);
        }
        Ok(())
    }
}

/// Height and width of the first image that is none of the corrupt ones.
fn first_size(source: &Source, preprocess: &Preprocess, from: usize) -> (usize, usize) {
    let tried = source.stream(from).take(TRIED);
    let mut images = tried.filter_map(|item| preprocess.apply(&item.ok()?.1.ok()?).ok());
    let size = |image: Image| (image.height, image.width);
    images.next().map_or(USUAL, size)
}

/// The images, and those that are none.
fn separate(batch: Indexed<Decoded>) -> (Indexed<Image>, Indexed<BadImage>) {
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
fn equal_sizes(images: Indexed<Image>) -> Vec<Run> {
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
