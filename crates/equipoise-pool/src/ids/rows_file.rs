//! The file of ids of one shard: mapped, with marks to begin reading at.

use std::path::Path;

use memmap2::Mmap;

use super::records::Records;
use crate::array::map;
use crate::table::syntax_of;
use crate::{Error, Result};

/// Rows from one mark to the next: whoever looks for a row parses half of them, and a mark takes 8 bytes.
const STRIDE: usize = 8;

/// What the file says of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Id,
    Uri,
    Label,
    /// A column of metadata, by number.
    Metadata(usize),
}

/// A CSV file with a line a row.
#[derive(Debug)]
pub(crate) struct RowsFile {
    text: Mmap,
    rows: usize,
    /// Where each [`STRIDE`]th row begins.
    marks: Vec<u64>,
    columns: Columns,
    ascending: bool,
}

/// Which columns of the file hold what; it need not have all.
#[derive(Debug)]
struct Columns {
    id: usize,
    uri: Option<usize>,
    label: Option<usize>,
    metadata: Vec<Option<usize>>,
}

impl RowsFile {
    /// Opens the file of a shard of `rows` rows, with these columns of metadata, and reads it once.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Damaged`] where it is no CSV in UTF-8, has no ids or another number of rows.
    pub(crate) fn open(path: &Path, rows: usize, metadata: &[String]) -> Result<Self> {
        let damaged = |error: csv::Error| {
            let line = error.position().map_or(1, csv::Position::line);
            let message = format!("line {line}: {}", syntax_of(&error));
            match error.into_kind() {
                csv::ErrorKind::Io(error) => Error::read(path)(error),
                _ => Error::damaged(path, message),
            }
        };
        // Not through the map, whose pages would count as this process's memory.
        let mut reader = csv::Reader::from_path(path).map_err(damaged)?;
        let columns = Columns::of(reader.headers().map_err(damaged)?, metadata)
            .ok_or_else(|| Error::damaged(path, "it has no column `id`"))?;
        let mut record = csv::StringRecord::new();
        let (mut marks, mut found) = (Vec::new(), 0);
        let (mut ascending, mut before) = (true, String::new());
        while reader.read_record(&mut record).map_err(damaged)? {
            if found % STRIDE == 0 {
                marks.extend(record.position().map(csv::Position::byte));
            }
            let id = record.get(columns.id).unwrap_or_default();
            ascending &= found == 0 || before.as_str() < id;
            before.clear();
            before.push_str(id);
            found += 1;
        }
        if found != rows {
            let message = format!("{found} rows where the shard has {rows}");
            return Err(Error::damaged(path, message));
        }
        marks.shrink_to_fit();
        Ok(Self {
            text: map(path)?,
            rows,
            marks,
            columns,
            ascending,
        })
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Whether each id is greater than the one before.
    pub(super) fn is_ascending(&self) -> bool {
        self.ascending
    }

    /// Bytes of memory, beside the mapped file.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(self.marks.as_slice())
    }

    /// What the file says of a row; `None` where it lacks the column, or the row cannot be read any more.
    pub(super) fn text(&self, row: usize, field: Field) -> Option<String> {
        let place = self.place(field)?;
        self.read(row, |records| {
            records.advance();
            records.field(place).map(Into::into)
        })
    }

    /// Has `read` go over the records from `row` on; over none where they cannot be read any more.
    pub(super) fn read<T>(&self, row: usize, read: impl FnOnce(&mut Records<'_>) -> T) -> T {
        let mark = self.marks.get(row / STRIDE);
        let start = mark.and_then(|mark| usize::try_from(*mark).ok());
        let text = start.and_then(|start| self.text.get(start..));
        Records::of(text.unwrap_or_default(), |records| {
            (0..row % STRIDE).for_each(|_| {
                records.advance();
            });
            read(records)
        })
    }

    /// Which of a record's fields that is.
    pub(super) fn place(&self, field: Field) -> Option<usize> {
        match field {
            Field::Id => Some(self.columns.id),
            Field::Uri => self.columns.uri,
            Field::Label => self.columns.label,
            Field::Metadata(column) => *self.columns.metadata.get(column)?,
        }
    }
}

impl Columns {
    /// `None` without ids.
    fn of(headers: &csv::StringRecord, metadata: &[String]) -> Option<Self> {
        let place = |name: &str| headers.iter().position(|header| header == name);
        Some(Self {
            id: place("id")?,
            uri: place("uri"),
            label: place("label"),
            metadata: metadata.iter().map(|name| place(name)).collect(),
        })
    }
}
