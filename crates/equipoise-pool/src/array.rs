//! Matrices in files, memory-mapped where the bytes can be used as they are.

use std::fs::File;
use std::path::Path;

use equipoise_core::Values;
use half::f16;
use memmap2::Mmap;
use safetensors::Dtype as Type;

use crate::{Dtype, Error, Result, npy, tensors};

/// A file that lies in memory as far as it is looked at.
#[expect(
    unsafe_code,
    reason = "a mapped file is what lets a pool be larger than memory"
)]
pub(crate) fn map(path: &Path) -> Result<Mmap> {
    let file = File::open(path).map_err(Error::read(path))?;
    if file.metadata().map_err(Error::read(path))?.is_dir() {
        return Err(Error::format(path, "a folder, where a file was expected"));
    }
    // SAFETY: the mapping is read only. Should another process shorten or rewrite the file under
    // it, reading faults or sees changed numbers, as with every mapped file; this program never
    // does that, it writes aside and renames. All bit patterns are valid for the types read.
    unsafe { Mmap::map(&file) }.map_err(Error::read(path))
}

/// A matrix of f32 or f16, row-major.
#[derive(Debug)]
pub(crate) struct Array {
    pub(crate) rows: usize,
    pub(crate) dim: usize,
    data: Data,
}

#[derive(Debug)]
enum Data {
    Mapped {
        file: Mmap,
        start: usize,
        dtype: Dtype,
    },
    F32(Vec<f32>),
    F16(Vec<f16>),
}

/// Where in a file a matrix is.
pub(crate) struct Layout {
    pub(crate) shape: Vec<usize>,
    pub(crate) dtype: Type,
    pub(crate) start: usize,
}

impl Array {
    /// The tensor `embeddings` of a safetensors file, and what the user should know of it. A copy of its numbers, where one is
    /// needed, takes `room` at most.
    pub(crate) fn open_safetensors(
        path: &Path,
        tensor: &str,
        room: Option<u64>,
    ) -> Result<(Self, Option<String>)> {
        let file = map(path)?;
        let (metadata, start) = tensors::read_header(path, &file)?;
        let info = metadata.info(tensor).ok_or_else(|| {
            let names = metadata.offset_keys();
            let names = match names.len() {
                0 => "none".into(),
                1..=8 => names.join(", "),
                more => format!("{}, … ({more} in all)", names[..8].join(", ")),
            };
            Error::format(path, format!("no tensor `{tensor}`; it has {names}"))
        })?;
        let layout = Layout {
            shape: info.shape.clone(),
            dtype: info.dtype,
            start: start + info.data_offsets.0,
        };
        Self::new(path, file, &layout, room)
    }

    /// The array of an `.npy` file; as [`Array::open_safetensors`].
    pub(crate) fn open_npy(path: &Path, room: Option<u64>) -> Result<(Self, Option<String>)> {
        let file = map(path)?;
        let layout = npy::layout(path, &file)?;
        Self::new(path, file, &layout, room)
    }

    fn new(
        path: &Path,
        file: Mmap,
        layout: &Layout,
        room: Option<u64>,
    ) -> Result<(Self, Option<String>)> {
        let &[rows, dim] = layout.shape.as_slice() else {
            let message = format!(
                "the embeddings have shape {:?}, not (rows, numbers)",
                layout.shape
            );
            return Err(Error::format(path, message));
        };
        if dim == 0 {
            return Err(Error::format(path, "its rows have no numbers"));
        }
        let size = layout.dtype.bitsize() / 8;
        let length = rows
            .checked_mul(dim)
            .and_then(|count| count.checked_mul(size));
        let end = length.and_then(|length| length.checked_add(layout.start));
        let Some(bytes) = end.and_then(|end| file.get(layout.start..end)) else {
            let message = format!("truncated: no room for {rows} rows of {dim} numbers");
            return Err(Error::format(path, message));
        };
        let refused = |why| {
            move |needed| Error::NoRoom {
                path: path.into(),
                why,
                needed,
            }
        };
        let (data, notice) = match layout.dtype {
            Type::F32 if is_usable::<f32>(bytes) => (None, None),
            Type::F16 if is_usable::<f16>(bytes) => (None, None),
            Type::F32 => {
                let numbers = copy(bytes, f32::from_le_bytes, room).map_err(refused(COPIED))?;
                (Some(Data::F32(numbers)), Some(COPIED))
            }
            Type::F16 => {
                let numbers = copy(bytes, f16::from_le_bytes, room).map_err(refused(COPIED))?;
                (Some(Data::F16(numbers)), Some(COPIED))
            }
            Type::F64 => {
                let rounded = |eight| f64::from_le_bytes(eight) as f32;
                let numbers = copy(bytes, rounded, room).map_err(refused(ROUNDED))?;
                (Some(Data::F32(numbers)), Some(ROUNDED))
            }
            other => {
                let message =
                    format!("embeddings of type {other} are not read; f32, f16 and f64 are");
                return Err(Error::format(path, message));
            }
        };
        let dtype = match layout.dtype {
            Type::F16 => Dtype::F16,
            _ => Dtype::F32,
        };
        let data = data.unwrap_or(Data::Mapped {
            file,
            start: layout.start,
            dtype,
        });
        let notice = notice.map(|notice| format!("{}: {notice}", path.display()));
        Ok((Self { rows, dim, data }, notice))
    }

    /// How the numbers are held.
    pub(crate) fn dtype(&self) -> Dtype {
        match self.data {
            Data::Mapped { dtype, .. } => dtype,
            Data::F32(_) => Dtype::F32,
            Data::F16(_) => Dtype::F16,
        }
    }

    /// Bytes of memory that the numbers take, beside mapped files.
    pub(crate) fn bytes(&self) -> usize {
        match &self.data {
            Data::Mapped { .. } => 0,
            Data::F32(values) => size_of_val(values.as_slice()),
            Data::F16(values) => size_of_val(values.as_slice()),
        }
    }

    /// The rows `range`.
    pub(crate) fn rows(&self, range: std::ops::Range<usize>) -> Values<'_> {
        let range = range.start * self.dim..range.end * self.dim;
        match &self.data {
            Data::Mapped { file, start, dtype } => {
                let size = dtype.size();
                let bytes = &file[start + range.start * size..start + range.end * size];
                match dtype {
                    Dtype::F32 => Values::F32(bytemuck::cast_slice(bytes)),
                    Dtype::F16 => Values::F16(bytemuck::cast_slice(bytes)),
                }
            }
            Data::F32(values) => Values::F32(&values[range]),
            Data::F16(values) => Values::F16(&values[range]),
        }
    }
}

impl Array {
    /// Has the system read the rows `range` ahead, where they are in a mapped file.
    #[cfg(unix)]
    pub(crate) fn prefetch(&self, range: std::ops::Range<usize>) {
        self.advise(range, memmap2::Advice::WillNeed);
    }

    /// Has the system map the rows `range` at once, which is cheaper than a page whenever one is met.
    #[cfg(target_os = "linux")]
    pub(crate) fn touch(&self, range: std::ops::Range<usize>) {
        self.advise(range, memmap2::Advice::PopulateRead);
    }

    #[cfg(unix)]
    fn advise(&self, range: std::ops::Range<usize>, advice: memmap2::Advice) {
        if let Data::Mapped { file, start, dtype } = &self.data {
            let row = self.dim * dtype.size();
            let (first, length) = (start + range.start * row, range.len() * row);
            // Advice: without it the pages come when they are touched.
            let _ = file.advise_range(advice, first, length);
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn prefetch(&self, _: std::ops::Range<usize>) {}

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn touch(&self, _: std::ops::Range<usize>) {}
}

const COPIED: &str = "its numbers are not aligned, so they are copied to memory";
const ROUNDED: &str = "its float64 numbers are rounded to float32, in memory";

/// The numbers in `bytes`.
///
/// # Errors
/// Bytes that they take, where that is more than `room` or the system refuses it.
fn copy<const N: usize, T>(
    bytes: &[u8],
    number: impl Fn([u8; N]) -> T,
    room: Option<u64>,
) -> std::result::Result<Vec<T>, u64> {
    let count = bytes.len() / N;
    let needed = (count * size_of::<T>()) as u64;
    let mut numbers = Vec::new();
    let fits = room.is_none_or(|room| needed <= room);
    if !fits || numbers.try_reserve_exact(count).is_err() {
        return Err(needed);
    }
    numbers.extend(tensors::each(bytes, number));
    Ok(numbers)
}

/// Whether the file's bytes are numbers of this machine as they lie there.
fn is_usable<T: bytemuck::Pod>(bytes: &[u8]) -> bool {
    cfg!(target_endian = "little") && bytemuck::try_cast_slice::<u8, T>(bytes).is_ok()
}
