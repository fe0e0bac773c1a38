//! safetensors files, one or several under an index, mapped and read on demand.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::convert;

/// An index of more bytes is none.
const LARGEST_INDEX: u64 = 64 << 20;

/// A tensor in a mapped file.
pub(super) struct Mapped {
    file: Arc<Mmap>,
    dtype: Dtype,
    pub(super) shape: Vec<usize>,
    bytes: Range<usize>,
}

impl Mapped {
    pub(super) fn dtype(&self) -> String {
        format!("{:?}", self.dtype)
    }

    /// The values as f32, or why they cannot be had.
    pub(super) fn values(&self) -> Result<Vec<f32>, String> {
        let bytes = &self.file[self.bytes.clone()];
        match self.dtype {
            Dtype::F32 => Ok(convert(bytes, f32::from_le_bytes)),
            Dtype::F64 => Ok(convert(bytes, |b| f64::from_le_bytes(b) as f32)),
            Dtype::F16 => Ok(convert(bytes, |b| f16::from_le_bytes(b).to_f32())),
            Dtype::BF16 => Ok(convert(bytes, |b| bf16::from_le_bytes(b).to_f32())),
            other => Err(format!("its type is {other:?}, not a float")),
        }
    }
}

/// safetensors begin with the length of a JSON object, and the object.
pub(super) fn is_safetensors(path: &Path) -> std::io::Result<bool> {
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

/// The tensors of the file at `path`, or what is wrong with it.
pub(super) fn open(path: &Path) -> Result<BTreeMap<String, Mapped>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    // SAFETY: the map is read only, through a slice of bytes: if another process changed the file
    // meanwhile, values would change with it, no memory of ours.
    let file = unsafe { Mmap::map(&file) }.map_err(|error| error.to_string())?;
    let file = Arc::new(file);
    let (header, metadata) =
        SafeTensors::read_metadata(&file).map_err(|error| error.to_string())?;
    let begin = header + size_of::<u64>();
    let tensors = metadata.tensors();
    let mapped = tensors.into_iter().map(|(name, info)| {
        let (from, to) = info.data_offsets;
        let mapped = Mapped {
            file: Arc::clone(&file),
            dtype: info.dtype,
            shape: info.shape.clone(),
            bytes: begin + from..begin + to,
        };
        (name, mapped)
    });
    Ok(mapped.collect())
}

/// The part of an index that is used.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The files that the index at `path` (`model.safetensors.index.json`) names, sorted, beside it.
pub(super) fn indexed(path: &Path) -> Result<Vec<PathBuf>, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    let read = file.take(LARGEST_INDEX).read_to_string(&mut text);
    read.map_err(|error| error.to_string())?;
    let index: Index = serde_json::from_str(&text)
        .map_err(|error| format!("no index of safetensors files: {error}"))?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    if names.is_empty() {
        return Err("the index names no file".into());
    }
    let beside = |name: String| {
        let mut parts = Path::new(&name).components();
        match (parts.next(), parts.next()) {
            (Some(Component::Normal(_)), None) => Ok(path.with_file_name(name)),
            _ => Err(format!("the index names {name:?}, which is not beside it")),
        }
    };
    names.into_iter().map(beside).collect()
}
