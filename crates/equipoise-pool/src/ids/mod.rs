//! Rows and their names.

mod duplicates;
mod hashed;
mod named;
mod records;
mod rows_file;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use named::Named;
use rows_file::Field;

pub(crate) use rows_file::RowsFile;

/// What rows are called where picks are written.
pub trait RowNames {
    /// The id of a row; its number where there is no such row.
    fn id(&self, row: usize) -> Cow<'_, str>;

    /// Where the row's image is, if that is known.
    fn uri(&self, row: usize) -> Option<Cow<'_, str>>;
}

impl RowNames for Ids {
    fn id(&self, row: usize) -> Cow<'_, str> {
        self.id(row)
    }

    fn uri(&self, row: usize) -> Option<Cow<'_, str>> {
        self.uri(row)
    }
}

/// The rows' ids, and what else the store knows of each row. A bare array's ids are its row numbers.
///
/// A store's are read from its files, which stay memory-mapped, whenever they are asked for: memory holds where
/// each eighth row begins. A file that changes under it reads as what it became, and a row that cannot be read
/// any more is called by its number, and known for nothing else.
#[derive(Debug, Clone, Default)]
pub struct Ids {
    rows: usize,
    named: Option<Arc<Named>>,
}

impl Ids {
    /// The ids of a bare array: its row numbers.
    pub fn numbers(rows: usize) -> Self {
        Self { rows, named: None }
    }

    /// What `files` say of their rows, one file after the other, all with these columns of metadata.
    pub(crate) fn of_files(files: Vec<RowsFile>, columns: Vec<String>) -> Self {
        let named = Named::new(files, columns);
        Self {
            rows: named.rows(),
            named: Some(Arc::new(named)),
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Whether the ids are nothing but row numbers.
    pub fn are_rows(&self) -> bool {
        self.named.is_none()
    }

    /// Bytes of memory that the ids take now, beside mapped files: one a row, 8 more once a row was looked
    /// up by its id, and 8 more once one was looked up by its URI. Nothing for a bare array.
    pub fn bytes(&self) -> u64 {
        self.named.as_ref().map_or(0, |named| named.bytes() as u64)
    }

    /// The id of a row; its number where there is no such row.
    pub fn id(&self, row: usize) -> Cow<'_, str> {
        let id = self.text(row, Field::Id);
        id.unwrap_or_else(|| row.to_string()).into()
    }

    /// The row of an id.
    pub fn row(&self, id: &str) -> Option<usize> {
        match &self.named {
            Some(named) => named.row_of_id(id),
            None => id.parse().ok().filter(|row| *row < self.rows),
        }
    }

    /// Where the row's image is; `None` for bare arrays.
    pub fn uri(&self, row: usize) -> Option<Cow<'_, str>> {
        let uri = self.text(row, Field::Uri)?;
        (!uri.is_empty()).then_some(uri.into())
    }

    /// The label that the source itself gives the row.
    pub fn label(&self, row: usize) -> Option<Cow<'_, str>> {
        let label = self.text(row, Field::Label)?;
        (!label.is_empty()).then_some(label.into())
    }

    fn text(&self, row: usize, field: Field) -> Option<String> {
        self.named.as_ref()?.text(row, field)
    }

    /// The rows to which the source itself gives a label, each with the number of its label among the labels, which
    /// come second, in the order in which they came.
    pub(crate) fn labels(&self) -> (Vec<(usize, u32)>, Vec<String>) {
        let (mut rows, mut labels) = (Vec::new(), Vec::new());
        let mut numbers: HashMap<String, u32> = HashMap::new();
        let Some(named) = &self.named else {
            return (rows, labels);
        };
        named.visit(0, [Field::Label], |row, [label]| {
            let label = label.filter(|label| !label.is_empty())?;
            let number = match numbers.get(label) {
                Some(number) => *number,
                None => {
                    let number = labels.len() as u32;
                    numbers.insert(label.to_owned(), number);
                    labels.push(label.to_owned());
                    number
                }
            };
            rows.push((row, number));
            None::<()>
        });
        (rows, labels)
    }

    /// Tells `see` the id and the label of each row that has one, until it fails.
    pub(crate) fn each_labelled<E>(
        &self,
        mut see: impl FnMut(&str, &str) -> Result<(), E>,
    ) -> Result<(), E> {
        let seen = self.named.as_ref().and_then(|named| {
            named.visit(0, [Field::Id, Field::Label], |_, [id, label]| {
                see(id?, label.filter(|label| !label.is_empty())?).err()
            })
        });
        seen.map_or(Ok(()), Err)
    }

    /// Names of the columns of metadata that the source had.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        let columns = self.named.iter().flat_map(|named| &named.columns);
        columns.map(String::as_str)
    }

    /// What the source says of each row in the column of that name, `None` where it says nothing;
    /// `None` if there is no such column.
    pub fn metadata(&self, column: &str) -> Option<Vec<Option<String>>> {
        let named = self.named.as_ref()?;
        let number = named.columns.iter().position(|name| name == column)?;
        let mut values = Vec::with_capacity(self.rows);
        named.visit(0, [Field::Metadata(number)], |_, [value]| {
            values.push(value.filter(|value| !value.is_empty()).map(Into::into));
            None::<()>
        });
        Some(values)
    }

    /// The row with that URI, where it is but one.
    pub(crate) fn row_of_uri(&self, uri: &str) -> Option<usize> {
        self.named.as_ref()?.row_of_uri(uri)
    }

    /// Whether an id that is no row number by nature could be taken for one.
    pub(crate) fn any_is_a_number(&self) -> bool {
        let is_number = |_, [id]: [Option<&str>; 1]| id?.parse::<u64>().ok();
        let named = self.named.as_ref();
        named.is_some_and(|named| named.visit(0, [Field::Id], is_number).is_some())
    }

    /// An id that two rows have.
    pub(crate) fn duplicate(&self) -> Option<String> {
        duplicates::find(self.named.as_ref()?)
    }
}
