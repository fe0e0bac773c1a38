//! Backbones, checkpoints and training of Equipoise, on burn; and its selection engine for burn's tensors.
//!
//! [`Selector`] picks rows of tensors that a burn project has made itself, on the device where they are.
//! [`Backbone`] turns images into embeddings, [`fit()`] turns labelled embeddings into a head, and
//! [`train()`] makes the weights of a small backbone. All run on a [`ModelDevice`]: burn's CPU
//! backend, or a GPU whose wgpu device the selection engine uses too.

mod backbone;
mod checkpoint;
mod device;
mod error;
mod fit;
mod inspect;
mod key_map;
mod labelled;
mod layout;
mod linear;
mod loading;
mod models;
mod parts;
mod selector;
mod sgd;
mod train;
mod tune;
mod vaal;

pub use backbone::Backbone;
pub use device::ModelDevice;
pub use error::Error;
pub use fit::{Fit, FitOptions, fit};
pub use inspect::{Inspection, ModelMatch, TensorInfo, inspect};
pub use key_map::{KeyMap, Rule};
pub use linear::{LabelledEmbeddings, LinearFit, logits, train_linear};
pub use loading::{LoadOptions, LoadReport};
pub use models::cifar::PUBLISHED_WIDTH;
pub use models::{Pooling, models};
pub use selector::{BatchScan, Query, Scores, Selector, TensorPool, ToHead};
pub use sgd::{Schedule, Sgd};
pub use train::{LabelledImages, TrainOptions, TrainProgress, Trained, train};
pub use tune::{Change, ImageBatch, Images, Tuned, Tuner};
pub use vaal::{VaalOptions, vaal};

/// Result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;
