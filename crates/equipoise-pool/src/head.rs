//! Linear heads in safetensors files.

use std::collections::HashSet;
use std::path::Path;

use equipoise_core::Head;
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use crate::array::map;
use crate::{EmbeddingPool, Error, OutputFile, Preprocess, Result, tensors};

/// Version of the head's metadata that is written, and the newest that is read.
const VERSION: u64 = 1;

/// What stands before `weight` and `bias` in the files of others.
const PREFIXES: [&str; 4] = ["", "fc.", "linear.", "head."];

/// A head, and what its file says of it.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadFile {
    /// Weight (C, M) and bias (C).
    pub head: Head,
    /// Class names, C of them.
    pub classes: Option<Vec<String>>,
    /// Name of the backbone it belongs to.
    pub model: Option<String>,
    /// SHA-256 of the backbone's weights file.
    pub weights_digest: Option<String>,
    /// [`Preprocess::digest`] of the images it was fitted on.
    pub preprocess_digest: Option<String>,
    /// What the user should know: float64 rounded.
    pub notices: Vec<String>,
}

impl HeadFile {
    /// A head of which nothing else is known.
    pub fn of(head: Head) -> Self {
        Self {
            head,
            classes: None,
            model: None,
            weights_digest: None,
            preprocess_digest: None,
            notices: Vec::new(),
        }
    }

    /// A head fitted on `pool`.
    pub fn for_pool(head: Head, classes: Vec<String>, pool: &EmbeddingPool) -> Self {
        let manifest = pool.manifest();
        Self {
            classes: Some(classes),
            model: manifest.map(|manifest| manifest.info.model.clone()),
            weights_digest: manifest.map(|manifest| manifest.info.weights_digest.clone()),
            preprocess_digest: manifest.map(|manifest| manifest.preprocess_digest.clone()),
            ..Self::of(head)
        }
    }

    /// A backbone's own classifier.
    pub fn of_backbone(
        head: Head,
        classes: Option<Vec<String>>,
        weights_digest: impl Into<String>,
        preprocess: &Preprocess,
    ) -> Self {
        Self {
            classes,
            weights_digest: Some(weights_digest.into()),
            preprocess_digest: Some(preprocess.digest()),
            ..Self::of(head)
        }
    }

    /// Reads a head: `weight` and `bias`, also under `fc.`, `linear.` and `head.`; no bias means
    /// zeros.
    ///
    /// # Errors
    /// Where the file is no such head, holds NaN or infinities, or is of a newer format.
    pub fn read(path: &Path) -> Result<Self> {
        let file = map(path)?;
        let (metadata, start) = tensors::read_header(path, &file)?;
        let data = &file[start..];
        let prefix = prefix(path, &metadata)?;
        let mut rounded = false;
        let mut tensor = |name: &str| -> Result<Option<(Vec<f32>, Vec<usize>)>> {
            let name = format!("{prefix}{name}");
            let Some(info) = metadata.info(&name) else {
                return Ok(None);
            };
            let read = tensors::to_f32(info.dtype, tensors::bytes(data, info));
            let (values, was_rounded) = read.ok_or_else(|| {
                let message = format!(
                    "`{name}` is of type {}; f32, f16 and f64 are read",
                    info.dtype
                );
                Error::format(path, message)
            })?;
            rounded |= was_rounded;
            Ok(Some((values, info.shape.clone())))
        };
        let (weight, shape) = tensor("weight")?.unwrap_or_default();
        let &[classes, dim] = shape.as_slice() else {
            let message = format!("`{prefix}weight` has shape {shape:?}, not (classes, numbers)");
            return Err(Error::format(path, message));
        };
        let bias = match tensor("bias")? {
            Some((bias, shape)) if shape == [classes] => bias,
            Some((_, shape)) => {
                let message = format!(
                    "`{prefix}bias` has shape {shape:?} where `{prefix}weight` has {classes} classes"
                );
                return Err(Error::format(path, message));
            }
            None => vec![0.0; classes],
        };
        let head = Head::new(weight, bias, dim).map_err(|source| Error::Head {
            path: path.into(),
            source,
        })?;
        let notice = || {
            format!(
                "{}: its float64 numbers were rounded to float32",
                path.display()
            )
        };
        let mut read = Self {
            notices: rounded.then(notice).into_iter().collect(),
            ..Self::of(head)
        };
        read.take_metadata(path, &metadata)?;
        Ok(read)
    }

    fn take_metadata(&mut self, path: &Path, metadata: &Metadata) -> Result<()> {
        let Some(metadata) = metadata.metadata() else {
            return Ok(());
        };
        let Some(version) = metadata.get("equipoise_head") else {
            // Another program's: what may be class names is taken for them, what else is in its metadata is not ours.
            let names = metadata.get("classes");
            let names = names.and_then(|text| serde_json::from_str::<Vec<String>>(text).ok());
            self.classes = names.filter(|names| are_names(names, self.head.classes()));
            return Ok(());
        };
        let version = version.parse().map_err(|_| {
            Error::format(
                path,
                format!("its format version is `{version}`, not a number"),
            )
        })?;
        if version > VERSION {
            return Err(Error::Newer {
                path: path.into(),
                what: "a head",
                found: version,
                known: VERSION,
            });
        }
        let classes = metadata.get("classes").map(|text| {
            let names: Vec<String> = serde_json::from_str(text)
                .map_err(|error| Error::format(path, format!("its class names: {error}")))?;
            match names.len() == self.head.classes() {
                true => Ok(names),
                false => {
                    let message = format!(
                        "{} class names for {} classes",
                        names.len(),
                        self.head.classes()
                    );
                    Err(Error::format(path, message))
                }
            }
        });
        self.classes = classes.transpose()?;
        let text = |key: &str| metadata.get(key).cloned();
        self.model = text("model");
        self.weights_digest = text("weights_digest");
        self.preprocess_digest = text("preprocess_digest");
        Ok(())
    }

    /// Writes the head, whole or not at all; `force` replaces a file.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Write`].
    pub fn write(&self, path: &Path, force: bool) -> Result<()> {
        let classes = self
            .classes
            .as_ref()
            .map(|names| serde_json::json!(names).to_string());
        let version = VERSION.to_string();
        let optional = [
            ("classes", &classes),
            ("model", &self.model),
            ("weights_digest", &self.weights_digest),
            ("preprocess_digest", &self.preprocess_digest),
        ];
        let mut metadata = vec![("equipoise_head", version.as_str())];
        metadata.extend(
            optional
                .iter()
                .filter_map(|(key, value)| Some((*key, value.as_deref()?))),
        );
        let shape = [self.head.classes(), self.head.dim()];
        let tensors = [
            ("weight", Dtype::F32, &shape[..]),
            ("bias", Dtype::F32, &shape[..1]),
        ];
        let mut bytes = tensors::header(&tensors, &metadata);
        let values = self.head.weight().iter().chain(self.head.bias());
        bytes.extend(values.flat_map(|value| value.to_le_bytes()));
        OutputFile::write_all_to(path, force, &bytes)
    }
}

/// Whether these can name so many classes: different ones, none of them empty.
fn are_names(names: &[String], classes: usize) -> bool {
    let different: HashSet<&String> = names.iter().filter(|name| !name.is_empty()).collect();
    names.len() == classes && different.len() == classes
}

/// The prefix under which the file has a weight.
fn prefix(path: &Path, metadata: &Metadata) -> Result<&'static str> {
    let has_weight = |prefix: &&&str| metadata.info(&format!("{prefix}weight")).is_some();
    PREFIXES.iter().find(has_weight).copied().ok_or_else(|| {
        let message =
            "no tensor `weight`, `fc.weight`, `linear.weight` or `head.weight`: not a head";
        Error::format(path, message)
    })
}
