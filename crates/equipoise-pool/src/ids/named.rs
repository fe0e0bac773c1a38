//! What the files of ids say of a store's rows.

use std::sync::OnceLock;

use super::hashed::{HashedRows, hash};
use super::rows_file::{Field, RowsFile};

/// The files of a store's shards, and what was made to look texts up in them.
#[derive(Debug)]
pub(super) struct Named {
    files: Vec<RowsFile>,
    /// First row of each file.
    starts: Vec<usize>,
    rows: usize,
    /// Names of the columns of metadata.
    pub(super) columns: Vec<String>,
    by_id: OnceLock<HashedRows>,
    by_uri: OnceLock<HashedRows>,
}

impl Named {
    pub(super) fn new(files: Vec<RowsFile>, columns: Vec<String>) -> Self {
        let mut rows = 0;
        let start = |file: &RowsFile| {
            let start = rows;
            rows += file.rows();
            start
        };
        Self {
            starts: files.iter().map(start).collect(),
            files,
            rows,
            columns,
            by_id: OnceLock::new(),
            by_uri: OnceLock::new(),
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// What the row's file says of it; `None` where it says nothing, or cannot be read any more.
    pub(super) fn text(&self, row: usize, field: Field) -> Option<String> {
        // The last file that begins at or before the row: an empty one never holds it.
        let number = self.starts.partition_point(|start| *start <= row);
        let number = number.checked_sub(1)?;
        let (file, start) = (&self.files[number], self.starts[number]);
        let inside = (row - start < file.rows()).then_some(row - start)?;
        file.text(inside, field)
    }

    /// Tells `see` of each row from `begin` on what [`Named::text`] would, each parsed once, until it answers.
    pub(super) fn visit<T, const N: usize>(
        &self,
        begin: usize,
        fields: [Field; N],
        mut see: impl FnMut(usize, [Option<&str>; N]) -> Option<T>,
    ) -> Option<T> {
        for (file, start) in self.files.iter().zip(&self.starts) {
            let mut rows = begin.max(*start)..start + file.rows();
            if rows.is_empty() {
                continue;
            }
            let places = fields.map(|field| file.place(field));
            let answer = file.read(rows.start - start, |records| {
                rows.find_map(|row| {
                    records.advance();
                    see(row, places.map(|place| records.field(place?)))
                })
            });
            if answer.is_some() {
                return answer;
            }
        }
        None
    }

    /// The first row with that id.
    pub(super) fn row_of_id(&self, id: &str) -> Option<usize> {
        self.rows_of(&self.by_id, Field::Id, id).next()
    }

    /// The row with that URI, where it is but one.
    pub(super) fn row_of_uri(&self, uri: &str) -> Option<usize> {
        let mut rows = self.rows_of(&self.by_uri, Field::Uri, uri);
        let first = rows.next();
        first.filter(|_| rows.next().is_none())
    }

    /// The rows, ascending, of which that text is said. What they are looked up in is made for the first.
    fn rows_of(
        &self,
        made: &OnceLock<HashedRows>,
        field: Field,
        text: &str,
    ) -> impl Iterator<Item = usize> {
        let hashed = made.get_or_init(|| self.hashed(field));
        let same = move |row: &usize| self.text(*row, field).as_deref() == Some(text);
        hashed.rows(hash(text)).filter(same)
    }

    fn hashed(&self, field: Field) -> HashedRows {
        let mut hashed = HashedRows::with_capacity(self.rows, self.rows);
        self.visit(0, [field], |row, [text]| {
            hashed.push(hash(text?), row);
            None::<()>
        });
        hashed.sort();
        hashed
    }

    /// Whether each id is greater than that of the row before.
    pub(super) fn is_ascending(&self) -> bool {
        let mut last: Option<String> = None;
        let files = self.files.iter().zip(&self.starts);
        files
            .filter(|(file, _)| file.rows() > 0)
            .all(|(file, start)| {
                let id = |row| self.text(row, Field::Id);
                let follows = last.is_none() || last < id(*start);
                last = id(start + file.rows() - 1);
                follows && file.is_ascending() && last.is_some()
            })
    }

    /// Bytes of memory, beside the mapped files.
    pub(super) fn bytes(&self) -> usize {
        let files: usize = self.files.iter().map(RowsFile::bytes).sum();
        let made = [&self.by_id, &self.by_uri]
            .into_iter()
            .filter_map(OnceLock::get);
        files + made.map(HashedRows::bytes).sum::<usize>()
    }
}
