//! The selection cases of `../shared/fixtures`.

use std::path::PathBuf;

use equipoise_core::{Head, LabelledRow, RowSet};
use safetensors::{Dtype, SafeTensors};

/// A pool, a head, and the picks of a float64 definition that was written by others.
pub struct Fixture {
    /// The file's name.
    pub name: String,
    /// Embeddings, row-major.
    pub embeddings: Vec<f32>,
    /// Numbers per embedding.
    pub dim: usize,
    /// The head.
    pub head: Head,
    /// Rows neither labelled nor held out.
    pub available: RowSet,
    /// Rows that have a label.
    pub labelled: Vec<LabelledRow>,
    /// The budget, as it was asked.
    pub budget: usize,
    /// Strategy and its picks, in order.
    pub expected: Vec<(String, Vec<usize>)>,
    /// Distances of the first available rows, C each.
    pub distances: Vec<f64>,
}

/// The folder beside the repository; it is there where `cfg(shared)` holds.
pub fn shared() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared")
}

/// Every selection case.
///
/// # Panics
/// Where a file does not look as `../shared/README.md` says: a test cannot go on then.
pub fn all() -> Vec<Fixture> {
    let folder = shared().join("fixtures");
    let files = std::fs::read_dir(&folder).expect("the fixtures can be listed");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "safetensors"));
    paths.sort();
    paths.iter().filter_map(read).collect()
}

/// One file; `None` where it is no selection case.
fn read(path: &PathBuf) -> Option<Fixture> {
    let bytes = std::fs::read(path).expect("the fixture can be read");
    let (_, header) = SafeTensors::read_metadata(&bytes).expect("a safetensors file");
    let budget = header.metadata().as_ref()?.get("budget")?;
    let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let embeddings = tensors.tensor("embeddings").ok()?;
    let (rows, dim) = (embeddings.shape()[0], embeddings.shape()[1]);
    let head = Head::new(f32s(&tensors, "weight"), f32s(&tensors, "bias"), dim);
    let mut available = RowSet::all(rows);
    for name in ["labelled", "held_out"] {
        for row in integers(&tensors, name) {
            available.remove(row);
        }
    }
    let labelled = integers(&tensors, "labelled").into_iter();
    let labelled = labelled.map(|row| LabelledRow { row, class: None });
    let mut expected: Vec<(String, Vec<usize>)> = tensors
        .names()
        .into_iter()
        .filter_map(|name| Some((name.strip_prefix("expected.")?, integers(&tensors, name))))
        .map(|(strategy, rows)| (strategy.to_string(), rows))
        .collect();
    expected.sort();
    Some(Fixture {
        name: path.file_name()?.to_string_lossy().into_owned(),
        embeddings: f32s(&tensors, "embeddings"),
        dim,
        head: head.expect("a head"),
        available,
        labelled: labelled.collect(),
        budget: budget.parse().expect("a number"),
        expected,
        distances: bytes_of(&tensors, "distances", Dtype::F64)
            .map(f64::from_le_bytes)
            .collect(),
    })
}

fn f32s(tensors: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    bytes_of(tensors, name, Dtype::F32)
        .map(f32::from_le_bytes)
        .collect()
}

fn integers(tensors: &SafeTensors<'_>, name: &str) -> Vec<usize> {
    bytes_of(tensors, name, Dtype::I64)
        .map(|bytes| usize::try_from(i64::from_le_bytes(bytes)).expect("a row"))
        .collect()
}

fn bytes_of<'a, const SIZE: usize>(
    tensors: &SafeTensors<'a>,
    name: &str,
    dtype: Dtype,
) -> impl Iterator<Item = [u8; SIZE]> + use<'a, SIZE> {
    let tensor = tensors.tensor(name).expect("the fixture's tensor");
    assert_eq!(tensor.dtype(), dtype, "{name}");
    let numbers = tensor.data().as_chunks::<SIZE>().0;
    numbers.iter().copied()
}
