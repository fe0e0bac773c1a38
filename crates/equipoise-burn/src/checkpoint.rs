//! Weight files: PyTorch checkpoints (legacy pickle, zip, tar) and safetensors, parsed and never
//! executed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use burn_store::pytorch_reader::{self, PytorchReader};
use half::{bf16, f16};
use safetensors::SafeTensors;
use sha2::{Digest, Sha256};

use crate::Error;

/// A weights file, opened: its tensors by their dotted names, read on demand.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    digest: String,
    tensors: BTreeMap<String, Stored>,
}

/// A tensor as it is stored.
enum Stored {
    Pytorch(pytorch_reader::Tensor),
    Bytes {
        dtype: safetensors::Dtype,
        shape: Vec<usize>,
        bytes: Vec<u8>,
    },
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
            Stored::Bytes { shape, .. } => shape,
        }
    }

    /// The values as f32, or why they cannot be had.
    fn values(&self) -> Result<Vec<f32>, String> {
        use pytorch_reader::DType as Torch;
        use safetensors::Dtype as Safe;
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
            Stored::Bytes { dtype, bytes, .. } => match dtype {
                Safe::F32 => Ok(convert(bytes, f32::from_le_bytes)),
                Safe::F64 => Ok(convert(bytes, |b| f64::from_le_bytes(b) as f32)),
                Safe::F16 => Ok(convert(bytes, |b| f16::from_le_bytes(b).to_f32())),
                Safe::BF16 => Ok(convert(bytes, |b| bf16::from_le_bytes(b).to_f32())),
                other => Err(format!("its type is {other:?}, not a float")),
            },
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
    /// Opens the file at `path`, whose kind its first bytes tell.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let unreadable = |reason: String| Error::Unreadable {
            path: path.to_owned(),
            reason,
        };
        let digest = file_digest(path).map_err(io)?;
        let tensors = if looks_like_safetensors(path).map_err(io)? {
            let bytes = std::fs::read(path).map_err(io)?;
            from_safetensors(&bytes).map_err(unreadable)?
        } else {
            PytorchReader::new(path)
                .map_err(|error| unreadable(error.to_string()))?
                .into_tensors()
                .into_iter()
                .map(|(name, tensor)| (name, Stored::Pytorch(tensor)))
                .collect()
        };
        Ok(Self { digest, tensors })
    }

    /// SHA-256 of the file, in hexadecimal.
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
    let digest = hasher.finalize();
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// safetensors begin with the length of a JSON object, and the object.
fn looks_like_safetensors(path: &Path) -> std::io::Result<bool> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut start = [0; 9];
    if length < start.len() as u64 {
        return Ok(false);
    }
    file.read_exact(&mut start)?;
    let [header @ .., first] = start;
    Ok(first == b'{' && u64::from_le_bytes(header) <= length - 8)
}

fn from_safetensors(bytes: &[u8]) -> Result<BTreeMap<String, Stored>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let tensors = file.iter().map(|(name, view)| {
        let stored = Stored::Bytes {
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            bytes: view.data().to_vec(),
        };
        (name.to_owned(), stored)
    });
    Ok(tensors.collect())
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
