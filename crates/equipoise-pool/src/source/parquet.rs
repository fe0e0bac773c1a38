//! Hugging Face's Parquet files: a row per image, its encoded bytes in a column, and what else there
//! is to say of it in others.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::Type as Physical;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::ByteArrayType;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::schema::types::Type;

use super::Listed;
use super::place::Place;
use crate::{Error, Result};

/// Names of a column with encoded images, where they are not in a group with `bytes`.
const IMAGES: [&str; 6] = ["image", "img", "jpg", "jpeg", "png", "webp"];

/// Names of the column with the label, the first that is there.
const LABELS: [&str; 3] = ["label", "labels", "fine_label"];

/// The images of the Parquet file `number`, at `path`: ids are the file's name without `.parquet` and
/// the row's number.
pub(super) fn list(path: &Path, number: usize) -> Result<Vec<Listed>> {
    let reader = open(path)?;
    image_column(path, &reader)?;
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    let stem = stem.ok_or_else(|| Error::format(path, "its name is not UTF-8"))?;
    let absolute = std::path::absolute(path).map_err(Error::read(path))?;
    let names = label_names(&reader);
    let said = scalars(&reader).map_err(malformed(path))?;
    let label = LABELS
        .iter()
        .find(|name| said.iter().any(|field| field.name() == **name));
    let schema = Type::group_type_builder("schema").with_fields(said).build();
    let schema = schema.map_err(malformed(path))?;
    let mut listed = Vec::new();
    for group in 0..reader.num_row_groups() {
        let rows = reader.get_row_group(group).map_err(malformed(path))?;
        let count = rows.metadata().num_rows().max(0) as usize;
        // Without a column to read there are no rows to iterate over.
        let mut values = match schema.get_fields().is_empty() {
            true => None,
            false => Some(
                rows.get_row_iter(Some(schema.clone()))
                    .map_err(malformed(path))?,
            ),
        };
        for row in 0..count {
            let place = listed.len();
            let id = format!("{stem}/{place:08}");
            let uri = format!("{}#{place}", absolute.display());
            let mut image = Listed::new(String::new(), id, uri, Place::Row { number, group, row });
            let fields = values.as_mut().and_then(Iterator::next).transpose();
            for (name, field) in fields
                .map_err(malformed(path))?
                .iter()
                .flat_map(|row| row.get_column_iter())
            {
                let Some(text) = text_of(field) else { continue };
                match label {
                    Some(label) if *label == name => {
                        let place = text.parse::<usize>().ok();
                        let named = place.and_then(|place| names.get(place).cloned());
                        image.entry.label = Some(named.unwrap_or(text));
                    }
                    _ => image.metadata.push((name.clone(), text)),
                }
            }
            listed.push(image);
        }
    }
    Ok(listed)
}

/// Row group, and row within it, of the row `row` of the file at `path`; `None` where there is none.
pub(super) fn locate(path: &Path, mut row: usize) -> Result<Option<(usize, usize)>> {
    let reader = open(path)?;
    for (number, group) in reader.metadata().row_groups().iter().enumerate() {
        let rows = group.num_rows().max(0) as usize;
        if row < rows {
            return Ok(Some((number, row)));
        }
        row -= rows;
    }
    Ok(None)
}

fn open(path: &Path) -> Result<SerializedFileReader<File>> {
    let file = File::open(path).map_err(Error::read(path))?;
    SerializedFileReader::new(file).map_err(malformed(path))
}

fn malformed(path: &Path) -> impl Fn(ParquetError) -> Error {
    let path: PathBuf = path.into();
    move |error| Error::format(&path, format!("no whole Parquet file: {error}"))
}

/// The column with the encoded images.
fn image_column(path: &Path, reader: &SerializedFileReader<File>) -> Result<usize> {
    let schema = reader.metadata().file_metadata().schema_descr();
    let is_image = |column: &usize| {
        let column = schema.column(*column);
        let parts = column.path().parts();
        let named = match parts {
            [_, last] => last == "bytes",
            [only] => IMAGES.contains(&only.as_str()),
            _ => false,
        };
        named && column.physical_type() == Physical::BYTE_ARRAY && column.max_rep_level() == 0
    };
    (0..schema.num_columns())
        .find(is_image)
        .ok_or_else(|| Error::format(path, "no column of images: `image` with `bytes`, or bytes"))
}

/// The columns that hold one number or text a row.
fn scalars(reader: &SerializedFileReader<File>) -> Result<Vec<Arc<Type>>, ParquetError> {
    let schema = reader.metadata().file_metadata().schema();
    let fields = schema.get_fields().iter().filter(|field| {
        let repeated = field.get_basic_info().repetition() == parquet::basic::Repetition::REPEATED;
        field.is_primitive() && !repeated && !IMAGES.contains(&field.name())
    });
    Ok(fields.cloned().collect())
}

/// The names of the classes, where the file tells them: as `datasets` writes a `ClassLabel`.
fn label_names(reader: &SerializedFileReader<File>) -> Vec<String> {
    let metadata = reader.metadata().file_metadata().key_value_metadata();
    let told = metadata
        .into_iter()
        .flatten()
        .find(|pair| pair.key == "huggingface");
    let told: Option<serde_json::Value> =
        told.and_then(|pair| serde_json::from_str(pair.value.as_deref()?).ok());
    let names = |told: &serde_json::Value| {
        let features = &told["info"]["features"];
        let label = LABELS
            .iter()
            .find_map(|name| features[name]["names"].as_array().cloned());
        let names = label.into_iter().flatten();
        names
            .map(|name| name.as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
    };
    told.as_ref().and_then(names).unwrap_or_default()
}

fn text_of(field: &Field) -> Option<String> {
    match field {
        Field::Null
        | Field::Group(_)
        | Field::ListInternal(_)
        | Field::MapInternal(_)
        | Field::Bytes(_) => None,
        Field::Str(text) => Some(text.clone()),
        Field::Double(number) => Some(number.to_string()),
        Field::Float(number) => Some(number.to_string()),
        other => Some(other.to_string()),
    }
}

/// The images of one row group, read in order.
pub(super) struct Rows {
    /// Number of the file, and of the row group.
    of: (usize, usize),
    next: usize,
    column: ColumnReaderImpl<ByteArrayType>,
    /// Definition level of an image that is there.
    defined: i16,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rows {:?} from {}", self.of, self.next)
    }
}

impl Rows {
    /// The image in `row` of row group `group` of the file `number`, at `path`; `open` are the rows
    /// that were read from last. Empty where there is none.
    pub(super) fn read(
        open: &mut Option<Self>,
        path: &Path,
        (number, group): (usize, usize),
        row: usize,
    ) -> std::io::Result<Vec<u8>> {
        let other = |error: ParquetError| std::io::Error::other(error.to_string());
        let fitting = open
            .take()
            .filter(|rows| rows.of == (number, group) && rows.next <= row);
        let mut rows = match fitting {
            Some(rows) => rows,
            None => Self::open(path, number, group)
                .map_err(|error| std::io::Error::other(error.to_string()))?,
        };
        rows.column.skip_records(row - rows.next).map_err(other)?;
        let (mut levels, mut values) = (Vec::new(), Vec::new());
        rows.column
            .read_records(1, Some(&mut levels), None, &mut values)
            .map_err(other)?;
        rows.next = row + 1;
        let is_there = rows.defined == 0 || levels.first() == Some(&rows.defined);
        *open = Some(rows);
        let image = values.pop().filter(|_| is_there);
        Ok(image.map(|bytes| bytes.data().to_vec()).unwrap_or_default())
    }

    fn open(path: &Path, number: usize, group: usize) -> Result<Self> {
        let reader = self::open(path)?;
        let column = image_column(path, &reader)?;
        let defined = reader
            .metadata()
            .file_metadata()
            .schema_descr()
            .column(column)
            .max_def_level();
        let rows = reader.get_row_group(group).map_err(malformed(path))?;
        match rows.get_column_reader(column).map_err(malformed(path))? {
            ColumnReader::ByteArrayColumnReader(column) => Ok(Self {
                of: (number, group),
                next: 0,
                column,
                defined,
            }),
            _ => Err(Error::format(path, "its images are no bytes")),
        }
    }
}
