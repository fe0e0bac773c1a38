//! Computing embeddings with a backbone.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use burn::tensor::{Tensor, TensorData};
use equipoise_core::Head;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::checkpoint::hex;
use crate::loading::{LoadOptions, LoadReport, Loaded};
use crate::models::{Architecture, COLOURS, Network, Pooling, Values};
use crate::{Error, ModelDevice, parts};

/// Pixels that one thread takes through the network at once on the CPU: their activations stay
/// near it, and threads don't wait for one another between layers. Sixteen images of 32×32.
const CPU_PIXELS: usize = 16 * 32 * 32;

/// Pixels that go through the network at once on a GPU: enough to fill it. 64 images of 224×224, at
/// 200 MB for the activations of ResNet-50's first stage.
const GPU_PIXELS: usize = 64 * 224 * 224;

/// Parts of a batch on a GPU, so that one is uploaded while another is computed.
const GPU_PARTS: usize = 4;

/// A network that makes embeddings, on a device, for inference.
#[derive(Debug)]
pub struct Backbone {
    network: Network,
    head: Option<Head>,
    dim: usize,
    side_unit: usize,
    takes_small_images: bool,
    path: PathBuf,
    digest: String,
    device: ModelDevice,
    /// Images that the device's memory holds at once, as far as it is known.
    most_together: AtomicUsize,
    /// Nanoseconds spent handing images to a GPU.
    uploading: AtomicU64,
}

impl Backbone {
    /// Reads the weights of `model` (one of [`crate::models`]) from a PyTorch checkpoint of any
    /// age, a safetensors file or an index of several. Widths, stems and tokens are the file's.
    ///
    /// # Errors
    /// [`Error::UnknownModel`]; [`Error::Io`], [`Error::Unreadable`] where the file can't be read;
    /// [`Error::Weights`], listing them, where tensors are missing, misshapen or not finite, or
    /// where the file holds parts that the model doesn't have.
    pub fn load(
        model: &str,
        weights: &Path,
        options: &LoadOptions,
        device: &ModelDevice,
    ) -> Result<(Self, LoadReport), Error> {
        let (loaded, file_digest) = Loaded::read(model, weights, options)?;
        let Loaded {
            architecture,
            values,
            head,
            report,
        } = loaded;
        let backbone = Self {
            path: weights.to_owned(),
            digest: digest(&file_digest, options),
            ..Self::of_values(&architecture, &values, head, device)
        };
        Ok((backbone, report))
    }

    /// A network whose weights are in memory.
    pub(crate) fn of_values(
        architecture: &Architecture,
        values: &Values,
        head: Option<Head>,
        device: &ModelDevice,
    ) -> Self {
        Self {
            network: architecture.network(values, device.burn()),
            head,
            dim: architecture.dim(),
            side_unit: architecture.side_unit(),
            takes_small_images: architecture.takes_small_images(),
            path: PathBuf::new(),
            digest: String::new(),
            device: device.clone(),
            most_together: AtomicUsize::new(usize::MAX),
            uploading: AtomicU64::new(0),
        }
    }

    /// Numbers per embedding, M.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// What the sides of an image must be multiples of: a vision transformer's patches, else 1.
    pub fn side_unit(&self) -> usize {
        self.side_unit
    }

    /// Whether it was made for images of 32×32 pixels or so, not of 224×224.
    pub fn takes_small_images(&self) -> bool {
        self.takes_small_images
    }

    /// The checkpoint's own classifier, if it has one.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// SHA-256 of the weights file, in hexadecimal, empty where there was none; of that and the options it was read with, where
    /// there are any.
    pub fn weights_digest(&self) -> &str {
        &self.digest
    }

    /// The device it runs on.
    pub fn device(&self) -> &ModelDevice {
        &self.device
    }

    /// How many images of `height`×`width` at a time make good use of the device.
    pub fn batch(&self, height: usize, width: usize) -> usize {
        match self.device.is_gpu() {
            true => fitting(GPU_PIXELS, height * width) * GPU_PARTS,
            false => fitting(CPU_PIXELS, height * width) * rayon::current_num_threads() * 4,
        }
    }

    /// Embeddings, (n, M) row-major, of `images`: n of them, normalised, (n, 3, height, width).
    ///
    /// An image's embedding doesn't depend on the others of its batch on the CPU.
    ///
    /// # Errors
    /// [`Error::Shape`] where there are not n·3·height·width numbers, a side is 0 or not a multiple
    /// of the network's patches; [`Error::Device`] where the device fails, or its memory does not
    /// hold a single image.
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
        let unit = self.side_unit;
        if !height.is_multiple_of(unit) || !width.is_multiple_of(unit) {
            return Err(Error::Shape {
                what: "images",
                expected: format!("sides that are multiples of the model's patches of {unit}"),
                found: format!("{height}×{width}"),
            });
        }
        let together = match self.device.is_gpu() {
            true => fitting(GPU_PIXELS, height * width),
            false => fitting(CPU_PIXELS, height * width),
        };
        let launch = |images: &[f32]| {
            let started = Instant::now();
            let shape = [images.len() / pixels, COLOURS, height, width];
            let data = TensorData::new(images.to_vec(), shape);
            let images = Tensor::from_data(data, self.device.burn());
            if self.device.is_gpu() {
                let nanoseconds = started.elapsed().as_nanos() as u64;
                self.uploading.fetch_add(nanoseconds, Ordering::Relaxed);
            }
            self.network.embed(images)
        };
        if !self.device.is_gpu() {
            let parts = images.par_chunks(together * pixels).map(|images| {
                let values = launch(images).try_into_vec_as::<f32>();
                values.map_err(|error| self.device.failed(error))
            });
            return Ok(parts.collect::<Result<Vec<_>, _>>()?.concat());
        }
        let most = self.most_together.load(Ordering::Relaxed);
        let (values, together) = parts::embed(
            images,
            pixels,
            together.min(most),
            |images| {
                // A device that fails may panic inside burn; it is an error of its own here.
                parts::caught(|| launch(images)).map_err(|reason| self.device.failed(reason))
            },
            |launched| {
                let read = parts::caught(|| launched.try_into_vec_as::<f32>());
                let read = read.and_then(|read| read.map_err(|error| error.to_string()));
                read.map_err(|reason| self.device.failed(reason))
            },
        )?;
        if let Some(together) = together {
            self.most_together.fetch_min(together, Ordering::Relaxed);
        }
        Ok(values)
    }

    /// Seconds spent handing images to a GPU, as far as the host takes part in it.
    pub fn upload_seconds(&self) -> f64 {
        self.uploading.load(Ordering::Relaxed) as f64 / 1e9
    }

    /// How many images the device's memory holds at once, where it proved too small for more.
    pub fn reduced_to(&self) -> Option<usize> {
        let most = self.most_together.load(Ordering::Relaxed);
        (most < usize::MAX).then_some(most)
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

/// How many images of `size` pixels are `pixels`, at least one.
fn fitting(pixels: usize, size: usize) -> usize {
    (pixels / size.max(1)).max(1)
}

/// z = x · w + b in float64, rounded once.
fn linear(x: &[f32], weight: &[f32], bias: f32) -> f32 {
    let products = std::iter::zip(x, weight).map(|(x, w)| f64::from(*x) * f64::from(*w));
    (f64::from(bias) + products.sum::<f64>()) as f32
}

/// The digest of the file, and of what else decides the network that is made of it.
fn digest(file: &str, options: &LoadOptions) -> String {
    let mut text = options.key_map.text();
    if options.pooling == Some(Pooling::MeanOfPatches) {
        text.push_str("mean of patches\n");
    }
    if let Some(heads) = options.heads {
        text.push_str(&format!("{heads} heads\n"));
    }
    match text.is_empty() {
        true => file.into(),
        false => hex(Sha256::new_with_prefix(format!("{file}\n{text}"))),
    }
}
