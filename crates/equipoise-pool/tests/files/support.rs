//! Small data to write and read.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use equipoise_pool::{Dtype, EmbeddingPool, Entry, Preprocess, Source, StoreInfo, StoreWriter};
use image::{ImageFormat, Rgb, RgbImage};
use safetensors::tensor::{Dtype as Type, TensorView};
use tempfile::TempDir;

/// A folder that goes away with the test.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        path
    }

    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let items = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<_> = items
            .map(|item| item.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Class folders `b` and `a` in `images`, with `each` images each.
    pub(crate) fn with_images(self, each: u8) -> Self {
        for (class, level) in [("b", 200), ("a", 20)] {
            for index in 0..each {
                self.write(
                    &format!("images/{class}/{index:03}.png"),
                    png(level + index),
                );
            }
        }
        self
    }

    pub(crate) fn source(&self) -> Source {
        Source::open(self.path("images").to_str().unwrap(), None).unwrap()
    }

    pub(crate) fn tensors(&self, name: &str, tensors: &[(&str, Type, &[usize], &[u8])]) -> PathBuf {
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            (
                *name,
                TensorView::new(*dtype, shape.to_vec(), bytes).unwrap(),
            )
        });
        self.write(name, safetensors::serialize(views, None).unwrap())
    }
}

pub(crate) fn png(level: u8) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_pixel(2, 2, Rgb([level; 3]))
        .write_to(&mut bytes, ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

pub(crate) fn f32s(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

pub(crate) fn info(source: &Source, dtype: Dtype, shard_rows: usize) -> StoreInfo {
    StoreInfo {
        dtype,
        shard_rows,
        ..StoreInfo::new(source, "net", "w".repeat(64), Preprocess::IMAGENET, DIM)
    }
}

pub(crate) const DIM: usize = 3;

/// The embedding that tests give entry `index`; f16 holds it exactly.
pub(crate) fn embedding(index: usize) -> [f32; DIM] {
    [index as f32, -0.5 * index as f32, 0.25]
}

/// Entries that tests call corrupt.
pub(crate) fn is_bad(index: usize) -> bool {
    index % 5 == 3
}

pub(crate) fn step(writer: &mut StoreWriter, entries: &[Entry], index: usize) {
    match is_bad(index) {
        true => writer
            .reject(index, &entries[index], "no pixels, \"none\"")
            .unwrap(),
        false => writer
            .push(index, &entries[index], &embedding(index))
            .unwrap(),
    }
}

/// Writes what is missing of the store.
pub(crate) fn finish(mut writer: StoreWriter, source: &Source) -> equipoise_pool::Stored {
    for index in writer.resume_at()..source.entries().len() {
        step(&mut writer, source.entries(), index);
    }
    writer.finish().unwrap()
}

pub(crate) fn store(folder: &Folder, source: &Source, dtype: Dtype, shard_rows: usize) -> PathBuf {
    let path = folder.path("POOL.emb");
    finish(
        StoreWriter::open(&path, info(source, dtype, shard_rows), false).unwrap(),
        source,
    );
    path
}

pub(crate) fn open(path: &Path) -> EmbeddingPool {
    EmbeddingPool::open(path).unwrap()
}
