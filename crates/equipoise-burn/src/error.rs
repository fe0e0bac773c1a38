//! What can go wrong with models, checkpoints and training.

use std::path::PathBuf;

use crate::models::models;

/// A failure of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model's name is not one of [`crate::models`].
    #[error("model {name:?} is not known; hint: one of {}", models().join(", "))]
    UnknownModel {
        /// What was asked for.
        name: String,
    },
    /// An image could not be read or made ready.
    #[error("image {row}: {reason}")]
    Image {
        /// Its row.
        row: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The model is none that can be trained.
    #[error("model {name:?} is not trained here; hint: {hint}")]
    NotTrainable {
        /// What was asked for.
        name: String,
        /// Which ones are.
        hint: String,
    },
    /// A file could not be read or written.
    #[error("cannot read or write {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A weights file is neither a PyTorch checkpoint nor safetensors.
    #[error(
        "{path}: not a readable PyTorch checkpoint or safetensors file: {reason}; hint: is the file whole?"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What its reader said.
        reason: String,
    },
    /// Tensors that the model needs are missing from the file, misshapen or unusable.
    #[error(
        "{path}: not weights of {model}: {}; hint: `inspect` tells which model it is",
        listed(problems)
    )]
    Weights {
        /// The file.
        path: PathBuf,
        /// The model they were loaded for.
        model: String,
        /// One line per tensor.
        problems: Vec<String>,
    },
    /// Images, embeddings or labels of the wrong number.
    #[error("{what}: {expected} expected, {found} found")]
    Shape {
        /// What they are.
        what: &'static str,
        /// What would have been right.
        expected: String,
        /// What was given.
        found: String,
    },
    /// An option is out of its range.
    #[error("{option} is {value}; hint: {hint}")]
    Option {
        /// Its name.
        option: &'static str,
        /// The value given.
        value: String,
        /// Which values are possible.
        hint: &'static str,
    },
    /// The model has no classifier to make logits with.
    #[error("{path}: the weights hold no classifier (`linear` or `fc`), so there are no logits")]
    NoClassifier {
        /// The weights file.
        path: PathBuf,
    },
    /// There is nothing to learn from.
    #[error("no labelled rows; hint: a head needs labels of at least two classes")]
    NoLabels,
    /// All labels are of one class.
    #[error("all {rows} labels are of class {class}; hint: label rows of a second class")]
    SingleClass {
        /// Number of labels.
        rows: usize,
        /// The class.
        class: u32,
    },
    /// A label is not below the number of classes.
    #[error("label {label} of labelled row {row} is not below the {classes} classes")]
    LabelRange {
        /// Place among the labelled rows.
        row: usize,
        /// The label.
        label: u32,
        /// Number of classes.
        classes: usize,
    },
    /// An embedding is NaN or infinite.
    #[error("the embedding of labelled row {row} is not finite (column {column})")]
    NonFinite {
        /// Place among the labelled rows.
        row: usize,
        /// Number within the row.
        column: usize,
    },
    /// Training ran away.
    #[error("the loss is not finite at epoch {epoch}, step {step}; hint: lower the learning rate")]
    Diverged {
        /// Epoch, from 0.
        epoch: usize,
        /// Step in the epoch, from 0.
        step: usize,
    },
    /// A tensor is not on the device that it has to be on.
    #[error(
        "the {what} are on {found}, the selector is on {expected}; hint: `Tensor::to_device` moves them"
    )]
    OtherDevice {
        /// What they are.
        what: &'static str,
        /// The selector's device.
        expected: String,
        /// The tensor's.
        found: String,
    },
    /// The wgpu handles of a burn device are not to be had.
    #[error(
        "the wgpu handles of {device} are not known: {reason}; hint: make the selector before the first tensor, or give \
         it the handles of `init_with_setup` by `Selector::with_handles`"
    )]
    Handles {
        /// The device.
        device: String,
        /// What burn said.
        reason: String,
    },
    /// burn or the device under it failed.
    #[error("{device}: {reason}")]
    Device {
        /// Name of the device.
        device: String,
        /// What it said.
        reason: String,
    },
    /// No adapter fits the choice.
    #[error(transparent)]
    Gpu(#[from] equipoise_gpu::GpuError),
    /// A head could not be made.
    #[error(transparent)]
    Core(#[from] equipoise_core::Error),
}

/// The first few problems, and how many more there are.
fn listed(problems: &[String]) -> String {
    const SHOWN: usize = 6;
    let shown = problems[..problems.len().min(SHOWN)].join("; ");
    match problems.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}
