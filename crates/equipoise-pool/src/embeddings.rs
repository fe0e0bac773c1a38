//! Writing a pool as one safetensors file, piece by piece: for pools that have no images.

use std::io::Write;
use std::path::{Path, PathBuf};

use equipoise_core::Values;

use crate::store::TENSOR;
use crate::{Dtype, Error, OutputFile, Result, tensors};

/// Writes the tensor `embeddings`, whose size is known beforehand, in pieces: memory holds one of them.
/// The file takes its name when it is complete; dropped before, it leaves nothing.
#[derive(Debug)]
pub struct EmbeddingsWriter {
    path: PathBuf,
    file: OutputFile,
    dtype: Dtype,
    /// Numbers still to come.
    missing: usize,
}

impl EmbeddingsWriter {
    /// A file to become `path`, of `rows` embeddings of `dim` numbers.
    ///
    /// # Errors
    /// Those of [`OutputFile::create`]; [`Error::Write`] where the file cannot be written.
    pub fn create(path: &Path, force: bool, dtype: Dtype, rows: usize, dim: usize) -> Result<Self> {
        let mut file = OutputFile::create(path, force)?;
        let header = tensors::header(&[(TENSOR, dtype.into(), &[rows, dim])], &[]);
        file.write_all(&header).map_err(Error::write(path))?;
        Ok(Self {
            path: path.into(),
            file,
            dtype,
            missing: rows * dim,
        })
    }

    /// Appends embeddings, row-major, of the type announced.
    ///
    /// # Errors
    /// [`Error::Write`]; [`Error::Format`] where they are of the other type, or too many.
    pub fn write(&mut self, values: Values<'_>) -> Result<()> {
        let bytes: Vec<u8> = match (values, self.dtype) {
            (Values::F32(values), Dtype::F32) => {
                values.iter().flat_map(|x| x.to_le_bytes()).collect()
            }
            (Values::F16(values), Dtype::F16) => {
                values.iter().flat_map(|x| x.to_le_bytes()).collect()
            }
            _ => {
                let message = format!("its embeddings were announced as {}", self.dtype);
                return Err(Error::format(&self.path, message));
            }
        };
        let Some(missing) = self.missing.checked_sub(values.len()) else {
            return Err(Error::format(
                &self.path,
                "more embeddings than were announced",
            ));
        };
        self.missing = missing;
        self.file
            .write_all(&bytes)
            .map_err(Error::write(&self.path))
    }

    /// Syncs the file and gives it its name.
    ///
    /// # Errors
    /// [`Error::Format`] where embeddings are missing; those of [`OutputFile::commit`].
    pub fn commit(self) -> Result<()> {
        match self.missing {
            0 => self.file.commit(),
            missing => Err(Error::format(
                &self.path,
                format!("{missing} numbers fewer than were announced"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use equipoise_core::Pool;
    use half::f16;

    use super::*;
    use crate::EmbeddingPool;

    #[test]
    fn what_is_written_in_pieces_is_read_as_a_pool() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pool.safetensors");
        let values: Vec<f16> = (0..12u8).map(f16::from).collect();
        let mut writer = EmbeddingsWriter::create(&path, false, Dtype::F16, 4, 3).expect("a file");
        for piece in values.chunks(6) {
            writer.write(Values::F16(piece)).expect("a piece");
        }
        writer.commit().expect("the file");
        let pool = EmbeddingPool::open(&path).expect("a pool");
        assert_eq!((pool.rows(), pool.dim(), pool.dtype()), (4, 3, Dtype::F16));
        match pool.chunk(0, 4).expect("the rows").values {
            Values::F16(read) => assert_eq!(read, values),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_as_announced_leaves_no_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pool.safetensors");
        let create = || EmbeddingsWriter::create(&path, false, Dtype::F32, 2, 2).expect("a file");
        assert!(create().write(Values::F16(&[f16::ONE])).is_err());
        assert!(create().write(Values::F32(&[0.0; 5])).is_err());
        let mut short = create();
        short.write(Values::F32(&[0.0; 3])).expect("a piece");
        assert!(short.commit().is_err());
        assert_eq!(folder.path().read_dir().expect("the folder").count(), 0);
    }
}
