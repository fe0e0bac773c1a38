//! Safetensors files: headers written by hand, so that the same contents give the same bytes.

use std::collections::BTreeMap;
use std::path::Path;

use half::f16;
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorInfo};
use serde_json::{Map, Value, json};

use crate::{Error, Result};

impl From<crate::Dtype> for Dtype {
    fn from(dtype: crate::Dtype) -> Self {
        match dtype {
            crate::Dtype::F32 => Dtype::F32,
            crate::Dtype::F16 => Dtype::F16,
        }
    }
}

/// The header of a file whose tensors (name, type, shape) follow it in that order, padded so that
/// the data is aligned to 8 bytes.
pub(crate) fn header(tensors: &[(&str, Dtype, &[usize])], metadata: &[(&str, &str)]) -> Vec<u8> {
    let mut entries = Map::new();
    let metadata: BTreeMap<&str, &str> = metadata.iter().copied().collect();
    entries.insert("__metadata__".into(), json!(metadata));
    let mut start = 0;
    for (name, dtype, shape) in tensors {
        let end = start + shape.iter().product::<usize>() * dtype.bitsize() / 8;
        let entry =
            json!({ "dtype": dtype.to_string(), "shape": shape, "data_offsets": [start, end] });
        entries.insert((*name).into(), entry);
        start = end;
    }
    let mut text = Value::Object(entries).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let length = text.len() as u64;
    [&length.to_le_bytes(), text.as_slice()].concat()
}

/// What the header of `file` says, and where the data begins.
pub(crate) fn read_header(path: &Path, file: &[u8]) -> Result<(Metadata, usize)> {
    let (length, metadata) = SafeTensors::read_metadata(file).map_err(|error| {
        use safetensors::SafeTensorError as E;
        let message = match error {
            E::MetadataIncompleteBuffer => {
                "truncated, or with bytes at its end: its length is not what its header says".into()
            }
            E::HeaderTooSmall | E::HeaderTooLarge | E::InvalidHeaderLength => {
                "no safetensors file, or a truncated one".into()
            }
            error => format!("no safetensors file: {error}"),
        };
        Error::format(path, message)
    })?;
    Ok((metadata, length + 8))
}

/// The bytes of a tensor in `data`, what follows the header.
pub(crate) fn bytes<'a>(data: &'a [u8], info: &TensorInfo) -> &'a [u8] {
    &data[info.data_offsets.0..info.data_offsets.1]
}

/// Floats of any width as f32, and whether they were rounded; `None` for other types.
pub(crate) fn to_f32(dtype: Dtype, bytes: &[u8]) -> Option<(Vec<f32>, bool)> {
    Some(match dtype {
        Dtype::F32 => (numbers(bytes, f32::from_le_bytes), false),
        Dtype::F16 => (
            numbers(bytes, |two| f16::from_le_bytes(two).to_f32()),
            false,
        ),
        Dtype::F64 => (
            numbers(bytes, |eight| f64::from_le_bytes(eight) as f32),
            true,
        ),
        _ => return None,
    })
}

/// The little-endian numbers that `bytes` are.
pub(crate) fn numbers<const N: usize, T>(bytes: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
    each(bytes, number).collect()
}

/// [`numbers`], one after the other.
pub(crate) fn each<const N: usize, T>(
    bytes: &[u8],
    number: impl Fn([u8; N]) -> T,
) -> impl Iterator<Item = T> {
    bytes.as_chunks().0.iter().map(move |bytes| number(*bytes))
}
