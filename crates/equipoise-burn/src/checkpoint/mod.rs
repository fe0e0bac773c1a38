//! Weight files: PyTorch checkpoints (legacy pickle, zip, tar) and safetensors, parsed and never
//! executed.

mod safe;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use burn_store::pytorch_reader::{self, PytorchReader};
use half::{bf16, f16};
use sha2::{Digest, Sha256};

use crate::Error;

/// A weights file, opened: its tensors by their dotted names, read on demand.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    kind: &'static str,
    digest: String,
    tensors: BTreeMap<String, Stored>,
}

/// A tensor as it is stored.
enum Stored {
    Pytorch(pytorch_reader::Tensor),
    Safe(safe::Mapped),
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.shape())
    }
}

impl Stored {
    fn shape(&self) -> &[usize] {
        match self {
            Stored::Pytorch(tensor) => tensor.shape(),
            Stored::Safe(tensor) => &tensor.shape,
        }
    }

    fn dtype(&self) -> String {
        match self {
            Stored::Pytorch(tensor) => format!("{:?}", tensor.dtype()),
            Stored::Safe(tensor) => tensor.dtype(),
        }
    }

    /// The values as f32, or why they cannot be had.
    fn values(&self) -> Result<Vec<f32>, String> {
        use pytorch_reader::DType as Torch;
        match self {
            Stored::Pytorch(tensor) => {
                let bytes = tensor.read().map_err(|error| error.to_string())?;
                match tensor.dtype() {
                    Torch::F32 => Ok(convert(&bytes, f32::from_ne_bytes)),
                    Torch::F64 => Ok(convert(&bytes, |b| f64::from_ne_bytes(b) as f32)),
                    Torch::F16 => Ok(convert(&bytes, |b| f16::from_ne_bytes(b).to_f32())),
                    Torch::BF16 => Ok(convert(&bytes, |b| bf16::from_ne_bytes(b).to_f32())),
                    other => Err(format!("its type is {other:?}, not a float")),
                }
            }
            Stored::Safe(tensor) => tensor.values(),
        }
    }
}

/// Every `N` bytes through `value`.
fn convert<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|chunk| value(*chunk))
        .collect()
}

impl Checkpoint {
    /// Opens the file at `path`, whose kind its first bytes tell, or the safetensors files that an
    /// index (`*.json`) names.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let is_index = path.extension().is_some_and(|ending| ending == "json");
        if is_index {
            return Self::open_indexed(path);
        }
        let digest = file_digest(path).map_err(io(path))?;
        if safe::is_safetensors(path).map_err(io(path))? {
            let tensors = safe::open(path).map_err(unreadable(path))?;
            return Ok(Self {
                kind: "safetensors",
                digest,
                tensors: stored(tensors).collect(),
            });
        }
        let reader = PytorchReader::new(path);
        let reader = reader.map_err(|error| unreadable(path)(error.to_string()))?;
        let kind = match reader.metadata().format_type {
            pytorch_reader::FileFormat::Zip => "PyTorch, zip",
            pytorch_reader::FileFormat::Tar => "PyTorch, tar",
            _ => "PyTorch, pickle",
        };
        let tensors = reader.into_tensors().into_iter();
        Ok(Self {
            kind,
            digest,
            tensors: tensors
                .map(|(name, tensor)| (name, Stored::Pytorch(tensor)))
                .collect(),
        })
    }

    fn open_indexed(path: &Path) -> Result<Self, Error> {
        let mut hasher = Sha256::new();
        let mut tensors = BTreeMap::new();
        std::fs::metadata(path).map_err(io(path))?;
        for file in safe::indexed(path).map_err(unreadable(path))? {
            hasher.update(file_digest(&file).map_err(io(&file))?);
            tensors.extend(stored(safe::open(&file).map_err(unreadable(&file))?));
        }
        Ok(Self {
            kind: "safetensors, several under an index",
            digest: hex(hasher),
            tensors,
        })
    }

    /// What kind of file it is, in words.
    pub(crate) fn kind(&self) -> &'static str {
        self.kind
    }

    /// SHA-256 of the file, in hexadecimal; of the files' digests where there are several.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    /// All names, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Shape of the tensor `name`, if there is one.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(Stored::shape)
    }

    /// How the tensor `name` is stored: `F16`, say.
    pub(crate) fn dtype(&self, name: &str) -> Option<String> {
        self.tensors.get(name).map(Stored::dtype)
    }

    /// The finite values of the tensor `name`, or what is wrong with it.
    pub(crate) fn values(&self, name: &str) -> Result<Vec<f32>, String> {
        let stored = self.tensors.get(name).ok_or("missing")?;
        let values = stored.values()?;
        match values.iter().position(|value| !value.is_finite()) {
            Some(place) => Err(format!("value {place} is not finite")),
            None => Ok(values),
        }
    }
}

/// SHA-256 of a file, in hexadecimal.
pub(crate) fn file_digest(path: &Path) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    std::io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hex(hasher))
}

/// A digest in hexadecimal.
pub(crate) fn hex(hasher: Sha256) -> String {
    let digest = hasher.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn stored(tensors: BTreeMap<String, safe::Mapped>) -> impl Iterator<Item = (String, Stored)> {
    tensors
        .into_iter()
        .map(|(name, tensor)| (name, Stored::Safe(tensor)))
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> Error {
    let path: PathBuf = path.into();
    move |source| Error::Io {
        path: path.clone(),
        source,
    }
}

fn unreadable(path: &Path) -> impl Fn(String) -> Error {
    let path: PathBuf = path.into();
    move |reason| Error::Unreadable {
        path: path.clone(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_neither_kind_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for content in [
            &b""[..],
            b"short",
            b"not a checkpoint, but long enough to look at",
        ] {
            let path = folder.path().join("weights.th");
            std::fs::write(&path, content).unwrap();
            let error = Checkpoint::open(&path).unwrap_err();
            assert!(matches!(error, Error::Unreadable { .. }), "{error}");
            assert!(error.to_string().contains("weights.th"), "{error}");
        }
        let missing = Checkpoint::open(&folder.path().join("none.th")).unwrap_err();
        assert!(matches!(missing, Error::Io { .. }), "{missing}");
    }

    #[test]
    fn half_precision_is_widened_and_infinities_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("halves.safetensors");
        let halves: Vec<u8> = [f16::from_f32(1.5), f16::INFINITY]
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let view = |range| {
            safetensors::tensor::TensorView::new(safetensors::Dtype::F16, vec![1], range).unwrap()
        };
        let tensors = [("fine", view(&halves[..2])), ("not", view(&halves[2..]))];
        safetensors::serialize_to_file(tensors, None, &path).unwrap();
        let checkpoint = Checkpoint::open(&path).unwrap();
        assert_eq!(checkpoint.values("fine").unwrap(), [1.5]);
        assert!(checkpoint.values("not").unwrap_err().contains("not finite"));
        assert_eq!(checkpoint.values("none").unwrap_err(), "missing");
        assert_eq!(checkpoint.digest().len(), 64);
    }
}
