//! What a checkpoint holds, before anything is made of it.

use std::path::Path;

use serde::Serialize;

use crate::Result;
use crate::checkpoint::Checkpoint;
use crate::loading::{LoadOptions, LoadReport, Matched};
use crate::models::models;

/// A checkpoint's tensors, and the model that they are.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Inspection {
    /// What kind of file it is: `PyTorch, zip`, say.
    pub kind: String,
    /// SHA-256 of the file.
    pub digest: String,
    /// All tensors by name.
    pub tensors: Vec<TensorInfo>,
    /// The models that the tensors are all there for, or the model that was asked for.
    pub models: Vec<ModelMatch>,
    /// Why no network could be looked for, in words.
    pub problem: Option<String>,
}

/// A tensor in a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TensorInfo {
    /// Its dotted name.
    pub name: String,
    /// How its numbers are stored: `F16`, say.
    pub dtype: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// What a checkpoint holds of one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ModelMatch {
    /// The model's name.
    pub model: String,
    /// What would be used.
    pub report: LoadReport,
    /// What is missing or misshapen, in words; nothing where it can be loaded.
    pub problems: Vec<String>,
}

/// Looks into the checkpoint at `path`. With `model` it tells what is missing for that one, without
/// it which of all models it is.
///
/// # Errors
/// [`crate::Error::Io`], [`crate::Error::Unreadable`] where the file can't be read;
/// [`crate::Error::UnknownModel`].
pub fn inspect(path: &Path, model: Option<&str>, options: &LoadOptions) -> Result<Inspection> {
    let checkpoint = Checkpoint::open(path)?;
    let tensors = checkpoint.names().map(|name| TensorInfo {
        name: name.into(),
        dtype: checkpoint.dtype(name).unwrap_or_default(),
        shape: checkpoint.shape(name).unwrap_or_default().to_vec(),
    });
    let tensors = tensors.collect();
    let wanted: Vec<&str> = match model {
        Some(model) => vec![model],
        None => models().iter().map(String::as_str).collect(),
    };
    let (mut found, mut problem) = (Vec::new(), None);
    for name in wanted {
        match Matched::find(name, &checkpoint, options)? {
            // Unasked, only the models are told that it is.
            Ok(matched) if model.is_none() && !matched.problems.is_empty() => {}
            Ok(matched) => found.push(ModelMatch {
                model: name.into(),
                report: matched.report(&checkpoint),
                problems: matched.problems,
            }),
            Err(why) => problem = Some(why),
        }
    }
    Ok(Inspection {
        kind: checkpoint.kind().into(),
        digest: checkpoint.digest().into(),
        tensors,
        models: found,
        problem,
    })
}
