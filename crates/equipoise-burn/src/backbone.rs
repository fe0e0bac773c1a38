//! Loading a backbone's weights and computing embeddings with it.

use std::path::{Path, PathBuf};

use burn::tensor::{Tensor, TensorData};
use equipoise_core::Head;
use rayon::prelude::*;

use crate::checkpoint::Checkpoint;
use crate::resnet::{
    Architecture, COLOURS, Folded, LayerShape, LayerValues, PUBLISHED_WIDTH, embed,
};
use crate::{Error, ModelDevice};

/// Names under which a checkpoint keeps its classifier.
const CLASSIFIERS: [&str; 2] = ["linear", "fc"];

/// Images that one thread takes through the network at once on the CPU: their activations stay
/// in its cache, and threads don't wait for one another between layers.
const CPU_BATCH: usize = 16;

/// Images that go through the network at once on a GPU: enough to fill it at 32×32, at 34 MB for
/// the activations of the first stage.
const GPU_BATCH: usize = 512;

/// A network that makes embeddings, on a device, for inference.
#[derive(Debug)]
pub struct Backbone {
    layers: Vec<Folded>,
    head: Option<Head>,
    architecture: Architecture,
    path: PathBuf,
    digest: String,
    device: ModelDevice,
}

/// What was found in a weights file.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LoadReport {
    /// What stood before the names of the network's tensors: `state_dict.module.`, say, or nothing.
    pub prefix: String,
    /// How many tensors were used.
    pub used: usize,
    /// The tensors that were not, sorted.
    pub unused: Vec<String>,
    /// Channels of the network's first stage.
    pub width: usize,
    /// Classes of the classifier, if there is one.
    pub classes: Option<usize>,
}

impl Backbone {
    /// Reads the weights of `model` (one of [`crate::MODELS`]) from a PyTorch checkpoint, of any
    /// age, or a safetensors file. The width is the file's.
    ///
    /// # Errors
    /// [`Error::UnknownModel`]; [`Error::Io`], [`Error::Unreadable`] where the file can't be read;
    /// [`Error::Weights`], listing them, where tensors are missing, misshapen or not finite, or
    /// where the file holds a deeper network.
    pub fn load(
        model: &str,
        weights: &Path,
        device: &ModelDevice,
    ) -> Result<(Self, LoadReport), Error> {
        Architecture::named(model, PUBLISHED_WIDTH)?;
        let checkpoint = Checkpoint::open(weights)?;
        let failed = |problems| Error::Weights {
            path: weights.to_owned(),
            model: model.into(),
            problems,
        };
        let prefix = find_prefix(&checkpoint).ok_or_else(|| {
            failed(vec![
                "no tensor is called conv1.weight, after any prefix".into(),
            ])
        })?;
        let stem = checkpoint.shape(&format!("{prefix}conv1.weight"));
        let width = stem.and_then(|shape| shape.first().copied());
        let width = width.filter(|width| *width > 0).unwrap_or(PUBLISHED_WIDTH);
        let architecture = Architecture::named(model, width)?;
        let shapes = architecture.layers();
        let values = read_layers(&checkpoint, &prefix, &shapes).map_err(failed)?;
        let found = find_classifier(&checkpoint, &prefix, architecture.dim()).map_err(failed)?;
        let report = report(&checkpoint, prefix, &shapes, &found, width).map_err(failed)?;
        let place = device.burn();
        let layers = std::iter::zip(&shapes, &values)
            .map(|(shape, values)| Folded::new(shape, values, place))
            .collect();
        let backbone = Self {
            layers,
            head: found.map(|(_, head)| head),
            architecture,
            path: weights.to_owned(),
            digest: checkpoint.digest().to_owned(),
            device: device.clone(),
        };
        Ok((backbone, report))
    }

    /// Numbers per embedding, M.
    pub fn dim(&self) -> usize {
        self.architecture.dim()
    }

    /// The checkpoint's own classifier, if it has one.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// SHA-256 of the weights file, in hexadecimal.
    pub fn weights_digest(&self) -> &str {
        &self.digest
    }

    /// The device it runs on.
    pub fn device(&self) -> &ModelDevice {
        &self.device
    }

    /// How many images at a time make good use of the device.
    pub fn batch(&self) -> usize {
        match self.device.is_gpu() {
            true => GPU_BATCH,
            false => CPU_BATCH * rayon::current_num_threads() * 4,
        }
    }

    /// Embeddings, (n, M) row-major, of `images`: n of them, normalised, (n, 3, height, width).
    ///
    /// An image's embedding doesn't depend on the others of its batch on the CPU.
    ///
    /// # Errors
    /// [`Error::Shape`] where there are not n·3·height·width numbers or a side is 0;
    /// [`Error::Device`] where the device fails.
    pub fn embed(
        &self,
        images: &[f32],
        n: usize,
        height: usize,
        width: usize,
    ) -> Result<Vec<f32>, Error> {
        let pixels = COLOURS.saturating_mul(height).saturating_mul(width);
        if pixels == 0 || n.checked_mul(pixels) != Some(images.len()) {
            return Err(Error::Shape {
                what: "images",
                expected: format!("{n} of 3×{height}×{width}, no side 0"),
                found: format!("{} numbers", images.len()),
            });
        }
        let some = |images: &[f32]| {
            let shape = [images.len() / pixels, COLOURS, height, width];
            let data = TensorData::new(images.to_vec(), shape);
            let images = Tensor::from_data(data, self.device.burn());
            embed(&self.layers, images)
                .try_into_vec_as::<f32>()
                .map_err(|error| self.device.failed(error))
        };
        let parts: Result<Vec<_>, _> = match self.device.is_gpu() {
            true => images.chunks(GPU_BATCH * pixels).map(some).collect(),
            false => images.par_chunks(CPU_BATCH * pixels).map(some).collect(),
        };
        Ok(parts?.concat())
    }

    /// Logits, (n, C) row-major, of the checkpoint's own classifier; images as for [`Self::embed`].
    ///
    /// # Errors
    /// As [`Self::embed`]; [`Error::NoClassifier`] where the checkpoint has none.
    pub fn logits(
        &self,
        images: &[f32],
        n: usize,
        height: usize,
        width: usize,
    ) -> Result<Vec<f32>, Error> {
        let head = self.head.as_ref().ok_or_else(|| Error::NoClassifier {
            path: self.path.clone(),
        })?;
        // On the host: it is little work, and the same on every device.
        let embeddings = self.embed(images, n, height, width)?;
        let logits = embeddings.par_chunks_exact(self.dim()).flat_map_iter(|x| {
            let rows = head.weight().chunks_exact(head.dim());
            rows.zip(head.bias())
                .map(move |(weight, bias)| linear(x, weight, *bias))
        });
        Ok(logits.collect())
    }
}

/// z = x · w + b in float64, rounded once.
fn linear(x: &[f32], weight: &[f32], bias: f32) -> f32 {
    let products = std::iter::zip(x, weight).map(|(x, w)| f64::from(*x) * f64::from(*w));
    (f64::from(bias) + products.sum::<f64>()) as f32
}

/// What stands before `conv1.weight`, outside any block. Of several networks in a file (a query
/// and a key encoder) it is that with most tensors, then the shortest name, then the last in
/// order (the query encoder).
fn find_prefix(checkpoint: &Checkpoint) -> Option<String> {
    checkpoint
        .names()
        .filter_map(|name| name.strip_suffix("conv1.weight"))
        .filter(|prefix| {
            let last = prefix.trim_end_matches('.').rsplit('.').next();
            (prefix.is_empty() || prefix.ends_with('.'))
                && last.is_none_or(|part| part.parse::<usize>().is_err())
        })
        .max_by_key(|prefix| {
            let tensors = checkpoint.names().filter(|n| n.starts_with(prefix)).count();
            (tensors, std::cmp::Reverse(prefix.len()), *prefix)
        })
        .map(str::to_owned)
}

/// The values of every layer's tensors, or all that is wrong with them.
fn read_layers(
    checkpoint: &Checkpoint,
    prefix: &str,
    shapes: &[LayerShape],
) -> Result<Vec<LayerValues>, Vec<String>> {
    let mut problems = Vec::new();
    let mut read = |(name, shape): (String, Vec<usize>)| {
        let name = format!("{prefix}{name}");
        let values = match checkpoint.shape(&name) {
            Some(found) if found != shape => Err(format!("shape {found:?}, not {shape:?}")),
            _ => checkpoint.values(&name),
        };
        values.unwrap_or_else(|problem| {
            problems.push(format!("{name}: {problem}"));
            Vec::new()
        })
    };
    let layers = shapes
        .iter()
        .map(|layer| layer.tensors().map(&mut read))
        .collect();
    match problems.is_empty() {
        true => Ok(layers),
        false => Err(problems),
    }
}

/// The classifier over embeddings of `dim` numbers, with its name; `None` where there is none of
/// this shape (a projection head, say).
fn find_classifier(
    checkpoint: &Checkpoint,
    prefix: &str,
    dim: usize,
) -> Result<Option<(String, Head)>, Vec<String>> {
    for name in CLASSIFIERS {
        let name = format!("{prefix}{name}");
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        let Some(&[classes, found]) = checkpoint.shape(&weight) else {
            continue;
        };
        if found != dim
            || checkpoint
                .shape(&bias)
                .is_some_and(|bias| bias != [classes])
        {
            continue;
        }
        let read = |name: &str| {
            let values = checkpoint.values(name);
            values.map_err(|problem| vec![format!("{name}: {problem}")])
        };
        let weight = read(&weight)?;
        let bias = match checkpoint.shape(&bias) {
            Some(_) => read(&bias)?,
            None => vec![0.0; classes],
        };
        let head =
            Head::new(weight, bias, dim).map_err(|error| vec![format!("{name}: {error}")])?;
        return Ok(Some((name, head)));
    }
    Ok(None)
}

/// What was used of the file and what was not; blocks beyond the model's are an error.
fn report(
    checkpoint: &Checkpoint,
    prefix: String,
    shapes: &[LayerShape],
    classifier: &Option<(String, Head)>,
    width: usize,
) -> Result<LoadReport, Vec<String>> {
    let mut used: Vec<String> = shapes
        .iter()
        .flat_map(LayerShape::tensors)
        .map(|(name, _)| format!("{prefix}{name}"))
        .collect();
    if let Some((name, _)) = classifier {
        used.extend([format!("{name}.weight"), format!("{name}.bias")]);
        used.retain(|name| checkpoint.shape(name).is_some());
    }
    used.sort_unstable();
    let unused: Vec<String> = checkpoint
        .names()
        .filter(|name| {
            used.binary_search_by(|other| other.as_str().cmp(name))
                .is_err()
        })
        .map(str::to_owned)
        .collect();
    let deeper: Vec<String> = unused
        .iter()
        .filter(|name| {
            name.strip_prefix(&prefix)
                .is_some_and(|name| name.starts_with("layer") && name.ends_with("conv1.weight"))
        })
        .map(|name| format!("{name}: the model has no such block; hint: is it a deeper model?"))
        .collect();
    if !deeper.is_empty() {
        return Err(deeper);
    }
    Ok(LoadReport {
        prefix,
        used: used.len(),
        unused,
        width,
        classes: classifier.as_ref().map(|(_, head)| head.classes()),
    })
}
