//! What an experiment is: a TOML file, on top of a preset, with what the command line says on top of both.

mod check;
mod merge;
mod presets;
mod variant;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use equipoise_burn::{Schedule, Sgd, VaalOptions};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

pub use merge::{Overrides, differing, resolve};
pub use presets::{PRESETS, preset};
pub use variant::{BadgeStart, LinkageName, MajorityName, OrderName, QuotasName, Variant};

/// A documented file with every field at its default.
pub const TEMPLATE: &str = include_str!("template.toml");

/// An experiment. `template.toml` beside this file tells what every field means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// The preset that this file builds on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// Factor of the numbers of labels: `initial` and `budget`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Files.
    pub data: Data,
    /// Rounds, strategies, seeds.
    pub experiment: Experiment,
    /// How a head, or a network, is trained.
    pub training: Training,
    /// Sizes of the strategy vaal.
    pub vaal: Vaal,
    /// Strategies with options, under names of their own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub variants: BTreeMap<String, Variant>,
}

/// Files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Data {
    /// A store with labels, or any pool with a file of `labels`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<PathBuf>,
    /// Labels of the pool, where the store has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<PathBuf>,
    /// The pool to test on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<PathBuf>,
    /// Its labels, where the store has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_labels: Option<PathBuf>,
    /// Images of the pool, embedded into the run folder where `pool` is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<String>,
    /// Images to test on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_images: Option<String>,
    /// The backbone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// A preset of preprocessing: `imagenet`, `cifar` or `clip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preprocess: Option<String>,
}

impl Data {
    /// Relative paths become those seen from `folder`.
    pub(crate) fn seen_from(&mut self, folder: &Path) {
        for path in [
            &mut self.pool,
            &mut self.labels,
            &mut self.test,
            &mut self.test_labels,
            &mut self.weights,
        ] {
            *path = path.as_ref().map(|path| folder.join(path));
        }
        for images in [&mut self.images, &mut self.test_images] {
            let seen = |images: &String| folder.join(images).to_string_lossy().into_owned();
            *images = images.as_ref().map(seen);
        }
    }
}

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// A head on stored embeddings: linear evaluation.
    Frozen,
    /// The whole network, from the checkpoint in every round.
    Finetune,
}

/// Which rows are labelled at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InitialType {
    /// Any.
    Random,
    /// As many of each class.
    RandomBalanced,
}

/// How a pool is made uneven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImbalanceType {
    /// It is left as it is.
    None,
    /// Class c of C keeps factor^(c/(C−1)) of its rows.
    Exp,
    /// The second half of the classes keeps `factor` of its rows.
    Step,
}

/// Rounds, strategies, seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Experiment {
    /// What is trained.
    pub mode: Mode,
    /// Names of strategies or of `variants`.
    pub strategies: Vec<String>,
    /// Seeds 0, 1, … of so many repetitions.
    pub seeds: u64,
    /// Rounds after the first labels.
    pub rounds: u32,
    /// Rows picked a round.
    pub budget: usize,
    /// Rows labelled at first.
    pub initial: usize,
    /// Which.
    pub initial_type: InitialType,
    /// Share of the pool, as many rows of each class, that is held out to choose the best epoch.
    pub evaluation: f64,
    /// How the pool is made uneven.
    pub imbalance: ImbalanceType,
    /// What the rarest class keeps.
    pub imbalance_factor: f64,
    /// Seed of which rows stay; the run's where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imbalance_seed: Option<u64>,
    /// Parts of partitioned strategies.
    pub partitions: usize,
}

impl Default for Experiment {
    fn default() -> Self {
        Self {
            mode: Mode::Frozen,
            strategies: ["random", "margin", "coreset", "badge", "mase", "base"]
                .map(Into::into)
                .into(),
            seeds: 5,
            rounds: 8,
            budget: 1000,
            initial: 1000,
            initial_type: InitialType::Random,
            evaluation: 0.1,
            imbalance: ImbalanceType::None,
            imbalance_factor: 0.1,
            imbalance_seed: None,
            partitions: 10,
        }
    }
}

/// The name of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleName {
    /// See [`Schedule::Constant`].
    Constant,
    /// See [`Schedule::Cosine`].
    Cosine,
    /// See [`Schedule::Step`].
    Step,
}

/// How a head is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Training {
    /// Epochs, at most.
    pub epochs: usize,
    /// Rows per step.
    pub batch: usize,
    /// Learning rate of the first epoch.
    pub learning_rate: f64,
    /// Momentum.
    pub momentum: f64,
    /// Weight of the L2 penalty.
    pub weight_decay: f64,
    /// How the rate changes.
    pub schedule: ScheduleName,
    /// `step`: after so many epochs …
    pub step: usize,
    /// … the rate is multiplied by this.
    pub gamma: f64,
    /// Epochs without a better evaluation after which training ends; 0 for never.
    pub patience: usize,
    /// Whether rare classes count more.
    pub class_weights: bool,
    /// Whether the columns of embeddings are standardised.
    pub standardise: bool,
}

impl Default for Training {
    fn default() -> Self {
        Self {
            epochs: 100,
            batch: 128,
            learning_rate: 0.1,
            momentum: 0.9,
            weight_decay: 1e-4,
            schedule: ScheduleName::Cosine,
            step: 20,
            gamma: 0.1,
            patience: 0,
            class_weights: false,
            standardise: true,
        }
    }
}

impl Training {
    /// For one round of one seed.
    pub(crate) fn sgd(&self, seed: u64, round: u32) -> Sgd {
        Sgd {
            epochs: self.epochs,
            batch: self.batch,
            learning_rate: self.learning_rate,
            schedule: match self.schedule {
                ScheduleName::Constant => Schedule::Constant,
                ScheduleName::Cosine => Schedule::Cosine,
                ScheduleName::Step => Schedule::Step {
                    every: self.step,
                    factor: self.gamma,
                },
            },
            momentum: self.momentum,
            weight_decay: self.weight_decay,
            patience: (self.patience > 0).then_some(self.patience),
            class_weights: self.class_weights,
            seed,
            round,
        }
    }
}

/// Sizes of the networks of VAAL, and how they are trained in each round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Vaal {
    /// Sides that images are resized and cropped to, a power of 2 of at least 16.
    pub side: usize,
    /// Channels after the encoder's first stage.
    pub width: usize,
    /// Numbers of a code.
    pub latent: usize,
    /// Weight of the codes' divergence.
    pub beta: f64,
    /// Weight of deceiving the discriminator.
    pub adversary: f64,
    /// Steps of either network.
    pub steps: usize,
    /// Labelled images a step, and as many unlabelled.
    pub batch: usize,
    /// Adam's.
    pub learning_rate: f64,
}

impl Default for Vaal {
    fn default() -> Self {
        Self {
            side: 32,
            width: 128,
            latent: 32,
            beta: 1.0,
            adversary: 1.0,
            steps: 1000,
            batch: 64,
            learning_rate: 5e-4,
        }
    }
}

impl Vaal {
    /// For one round of one seed.
    pub(crate) fn options(&self, seed: u64, round: u32) -> VaalOptions {
        VaalOptions {
            side: self.side,
            width: self.width,
            latent: self.latent,
            beta: self.beta,
            adversary: self.adversary,
            steps: self.steps,
            batch: self.batch,
            learning_rate: self.learning_rate,
            seed,
            round,
        }
    }
}

impl Config {
    /// Whether a strategy is among them that looks at images.
    pub fn looks_at_images(&self) -> Result<bool> {
        Ok(self.chosen()?.iter().any(|(_, variant)| variant.is_vaal()))
    }

    /// Rows labelled at first, scaled.
    pub fn initial(&self) -> usize {
        self.scaled(self.experiment.initial)
    }

    /// Rows picked a round, scaled.
    pub fn budget(&self) -> usize {
        self.scaled(self.experiment.budget)
    }

    fn scaled(&self, labels: usize) -> usize {
        let scale = self.scale.unwrap_or(1.0);
        ((labels as f64 * scale).round() as usize).max(1)
    }

    /// The strategies with their options, each with its name.
    ///
    /// # Errors
    /// [`Error::Config`] where a name is neither a strategy's nor a variant's, or stands twice.
    pub fn chosen(&self) -> Result<Vec<(String, Variant)>> {
        let mut chosen: Vec<(String, Variant)> = Vec::new();
        for name in &self.experiment.strategies {
            let variant = match self.variants.get(name) {
                Some(variant) => variant.clone(),
                None => Variant::of(name),
            };
            variant.check(name)?;
            if chosen.iter().any(|(other, _)| other == name) {
                return Err(Error::config(
                    "experiment.strategies",
                    format!("`{name}` stands twice"),
                ));
            }
            chosen.push((name.clone(), variant));
        }
        match chosen.is_empty() {
            true => Err(Error::config("experiment.strategies", "it is empty")),
            false => Ok(chosen),
        }
    }

    /// As TOML.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string_pretty(self).map_err(|error| Error::config("config", error.to_string()))
    }

    /// Reads one that was written by [`Self::to_toml`].
    ///
    /// # Errors
    /// [`Error::ConfigFile`].
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|error| Error::config_file(path, text, &error))
    }
}

#[cfg(test)]
mod tests;
