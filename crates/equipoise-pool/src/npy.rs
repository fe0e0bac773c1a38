//! NumPy's `.npy` files: where the array lies.

use std::path::Path;

use npyz::{DType, NpyHeader, Order};
use safetensors::Dtype as Type;

use crate::array::Layout;
use crate::{Error, Result};

/// Type, shape and first byte of the array.
pub(crate) fn layout(path: &Path, file: &[u8]) -> Result<Layout> {
    let mut rest = file;
    let header = NpyHeader::from_reader(&mut rest).map_err(|error| {
        Error::format(path, format!("no .npy file, or a truncated one: {error}"))
    })?;
    let DType::Plain(name) = header.dtype() else {
        return Err(Error::format(
            path,
            "an array of records; embeddings are plain numbers",
        ));
    };
    let name = name.to_string();
    let dtype = match name.as_str() {
        "<f4" => Type::F32,
        "<f2" => Type::F16,
        "<f8" => Type::F64,
        _ => {
            let message = format!("numbers of type {name} are not read; <f4, <f2 and <f8 are");
            return Err(Error::format(path, message));
        }
    };
    // Row-major and column-major are the same where one side is 1.
    let is_vector = header.shape().contains(&1);
    if header.order() != Order::C && !is_vector {
        let message = "its columns lie one after the other (Fortran order); save it with numpy.ascontiguousarray";
        return Err(Error::format(path, message));
    }
    Ok(Layout {
        shape: header
            .shape()
            .iter()
            .map(|length| *length as usize)
            .collect(),
        dtype,
        start: file.len() - rest.len(),
    })
}
