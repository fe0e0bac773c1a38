//! The network that the demo brings along, and how it is made.

use std::path::PathBuf;
use std::time::Instant;

use equipoise::burn::{Backbone, LabelledImages, LoadOptions, ModelDevice, TrainOptions, train};
use equipoise::pool::Preprocess;
use rayon::prelude::*;

use super::draw::{SIDE, Set, draw};
use super::figures::PRETEXT;
use crate::console::Console;
use crate::failure::Result;

/// The backbone's weights: see `assets/README.md`.
pub(crate) const WEIGHTS: &[u8] = include_bytes!("../../../../assets/demo-backbone.safetensors");

/// The backbone's architecture.
pub(crate) const MODEL: &str = "resnet20";

/// Channels of its first stage; embeddings have four times as many numbers.
const WIDTH: usize = 8;

/// Images of each class on which a new backbone is checked.
const CHECK: usize = 40;

const MEAN: f32 = 0.5;
const STD: f32 = 0.25;

/// How the backbone is trained.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub out: PathBuf,
    pub seed: u64,
    pub epochs: usize,
    pub images_per_class: usize,
    pub force: bool,
}

/// How images are normalised for the backbone.
pub(crate) fn preprocess() -> Preprocess {
    Preprocess {
        mean: [MEAN; 3],
        std: [STD; 3],
        ..Preprocess::IMAGENET.unresized()
    }
}

/// Trains the backbone and writes its weights.
///
/// # Errors
/// Where the file cannot be written or the device fails.
pub(crate) fn make(recipe: &Recipe, device: &ModelDevice, console: Console) -> Result<()> {
    equipoise::pool::check_output(&recipe.out, recipe.force)?;
    let started = Instant::now();
    let options = TrainOptions {
        model: MODEL.into(),
        width: WIDTH,
        epochs: recipe.epochs,
        seed: recipe.seed,
        shift: 2,
        ..TrainOptions::default()
    };
    let (values, labels) = pretext(recipe.seed, Set::Backbone, recipe.images_per_class);
    let bar = console.bar(
        (options.epochs * labels.len().div_ceil(options.batch)) as u64,
        "training",
    );
    let (mut loss, mut accuracy) = (0.0, 0.0);
    let trained = train(&images(&values, &labels), &options, device, |progress| {
        // Of the last steps, roughly.
        loss += 0.05 * (progress.loss - loss);
        accuracy += 0.05 * (progress.accuracy - accuracy);
        bar.set_position(progress.step as u64);
        bar.set_message(format!("loss {loss:.2}"));
    })?;
    bar.finish_and_clear();
    trained.save(&recipe.out)?;
    let checked = check(recipe, device)?;
    console.note(format!(
        "trained {MODEL} (width {WIDTH}) for {} epochs on {} drawn images of {} classes on {} in {:.0} s: \
         loss {loss:.3}, {:.1}% right in training, {:.1}% on {} others\nwrote {}",
        options.epochs,
        labels.len(),
        PRETEXT.len(),
        device.name(),
        started.elapsed().as_secs_f64(),
        100.0 * accuracy,
        100.0 * checked,
        CHECK * PRETEXT.len(),
        recipe.out.display(),
    ));
    Ok(())
}

/// Share of new images that the written network gets right.
fn check(recipe: &Recipe, device: &ModelDevice) -> Result<f64> {
    let (backbone, _) = Backbone::load(MODEL, &recipe.out, &LoadOptions::default(), device)?;
    let (values, labels) = pretext(recipe.seed, Set::BackboneCheck, CHECK);
    let side = SIDE as usize;
    let logits = backbone.logits(&values, labels.len(), side, side)?;
    let right = logits
        .chunks_exact(PRETEXT.len())
        .zip(&labels)
        .filter(|(logits, label)| {
            let own = logits[**label as usize];
            logits.iter().all(|logit| *logit <= own)
        });
    Ok(right.count() as f64 / labels.len() as f64)
}

fn images<'a>(values: &'a [f32], labels: &'a [u32]) -> LabelledImages<'a> {
    let side = SIDE as usize;
    LabelledImages {
        values,
        height: side,
        width: side,
        labels,
        classes: PRETEXT.len(),
    }
}

/// Images of the pretext classes, normalised, (N, 3, side, side), and their labels.
fn pretext(seed: u64, set: Set, per_class: usize) -> (Vec<f32>, Vec<u32>) {
    let pixels = (SIDE * SIDE) as usize;
    let mut values = vec![0.0; PRETEXT.len() * per_class * 3 * pixels];
    values
        .par_chunks_exact_mut(3 * pixels)
        .enumerate()
        .for_each(|(index, out)| {
            let (class, index) = (index / per_class, index % per_class);
            let image = draw(&PRETEXT[class], seed, set, class, index);
            for (at, pixel) in image.pixels().enumerate() {
                for (channel, value) in pixel.0.iter().enumerate() {
                    out[channel * pixels + at] = (f32::from(*value) / 255.0 - MEAN) / STD;
                }
            }
        });
    let labels = (0..PRETEXT.len() * per_class)
        .map(|index| (index / per_class) as u32)
        .collect();
    (values, labels)
}
