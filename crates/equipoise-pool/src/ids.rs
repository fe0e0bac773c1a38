//! Rows and their names.

use std::borrow::Cow;
use std::sync::OnceLock;

/// Many short texts in one allocation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Column {
    text: String,
    ends: Vec<usize>,
}

impl Column {
    pub(crate) fn push(&mut self, value: &str) {
        self.text.push_str(value);
        self.ends.push(self.text.len());
    }

    fn extend(&mut self, more: &Self) {
        let start = self.text.len();
        self.text.push_str(&more.text);
        self.ends.extend(more.ends.iter().map(|end| start + end));
    }

    pub(crate) fn get(&self, row: usize) -> Option<&str> {
        let end = *self.ends.get(row)?;
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.text[start..end])
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|row| self.get(row))
    }

    /// Rows in the order of their texts.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_unstable_by_key(|row| (self.get(*row), *row));
        order
    }
}

/// What rows are called where picks are written.
pub trait RowNames {
    /// The id of a row; its number where there is no such row.
    fn id(&self, row: usize) -> Cow<'_, str>;

    /// Where the row's image is, if that is known.
    fn uri(&self, row: usize) -> Option<&str>;
}

impl RowNames for Ids {
    fn id(&self, row: usize) -> Cow<'_, str> {
        self.id(row)
    }

    fn uri(&self, row: usize) -> Option<&str> {
        self.uri(row)
    }
}

/// The rows' ids, and what else the store knows of each row. A bare array's ids are its row numbers.
#[derive(Debug, Clone, Default)]
pub struct Ids {
    rows: usize,
    named: Option<Named>,
}

#[derive(Debug, Clone, Default)]
struct Named {
    ids: Column,
    uris: Column,
    labels: Column,
    /// What else the source says of each row, by column.
    metadata: Vec<(String, Column)>,
    /// Rows in the order of their ids, made when an id is looked up first.
    order: OnceLock<Vec<usize>>,
    /// The same for URIs.
    uri_order: OnceLock<Vec<usize>>,
}

impl Ids {
    /// The ids of a bare array: its row numbers.
    pub fn numbers(rows: usize) -> Self {
        Self { rows, named: None }
    }

    /// Ids with, per row, URI, label and columns of metadata; an empty text stands for none.
    pub(crate) fn named(
        ids: Column,
        uris: Column,
        labels: Column,
        metadata: Vec<(String, Column)>,
    ) -> Self {
        Self {
            rows: ids.len(),
            named: Some(Named {
                ids,
                uris,
                labels,
                metadata,
                order: OnceLock::new(),
                uri_order: OnceLock::new(),
            }),
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

    /// The id of a row; its number where there is no such row.
    pub fn id(&self, row: usize) -> Cow<'_, str> {
        match self.named.as_ref().and_then(|named| named.ids.get(row)) {
            Some(id) => id.into(),
            None => row.to_string().into(),
        }
    }

    /// The row of an id.
    pub fn row(&self, id: &str) -> Option<usize> {
        let Some(named) = &self.named else {
            return id.parse().ok().filter(|row| *row < self.rows);
        };
        let order = named.order();
        let found = order.binary_search_by(|row| named.ids.get(*row).cmp(&Some(id)));
        found.ok().map(|place| order[place])
    }

    /// Where the row's image is; `None` for bare arrays.
    pub fn uri(&self, row: usize) -> Option<&str> {
        let uri = self.named.as_ref()?.uris.get(row)?;
        (!uri.is_empty()).then_some(uri)
    }

    /// The label that the source itself gives the row.
    pub fn label(&self, row: usize) -> Option<&str> {
        let label = self.named.as_ref()?.labels.get(row)?;
        (!label.is_empty()).then_some(label)
    }

    /// Names of the columns of metadata that the source had.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        let metadata = self.named.iter().flat_map(|named| &named.metadata);
        metadata.map(|(name, _)| name.as_str())
    }

    /// What the source says of each row in the column of that name, `None` where it says nothing;
    /// `None` if there is no such column.
    pub fn metadata(&self, column: &str) -> Option<Vec<Option<String>>> {
        let metadata = &self.named.as_ref()?.metadata;
        let (_, column) = metadata.iter().find(|(name, _)| name == column)?;
        let values = column.iter().map(|value| Some(value.to_owned()));
        Some(
            values
                .map(|value| value.filter(|value| !value.is_empty()))
                .collect(),
        )
    }

    /// The ids of several pools, one after the other; columns are those of the first.
    pub(crate) fn joined(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut parts = parts.into_iter();
        let mut joined = parts.next().unwrap_or_default();
        for part in parts {
            joined.rows += part.rows;
            let (Some(joined), Some(part)) = (&mut joined.named, part.named) else {
                continue;
            };
            joined.ids.extend(&part.ids);
            joined.uris.extend(&part.uris);
            joined.labels.extend(&part.labels);
            let columns = joined.metadata.iter_mut().zip(&part.metadata);
            columns.for_each(|((_, column), (_, more))| column.extend(more));
            (joined.order, joined.uri_order) = (OnceLock::new(), OnceLock::new());
        }
        joined
    }

    /// The row with that URI, where it is but one.
    pub(crate) fn row_of_uri(&self, uri: &str) -> Option<usize> {
        let named = self.named.as_ref()?;
        let order = named.uri_order.get_or_init(|| named.uris.order());
        let first = order.partition_point(|row| named.uris.get(*row) < Some(uri));
        let has_it = |row: &usize| named.uris.get(*row) == Some(uri);
        let second = order.get(first + 1).is_some_and(has_it);
        order
            .get(first)
            .copied()
            .filter(|row| has_it(row) && !second)
    }

    /// Whether an id that is no row number by nature could be taken for one.
    pub(crate) fn any_is_a_number(&self) -> bool {
        let named = self.named.as_ref();
        named.is_some_and(|named| named.ids.iter().any(|id| id.parse::<u64>().is_ok()))
    }

    /// An id that two rows have.
    pub(crate) fn duplicate(&self) -> Option<&str> {
        let named = self.named.as_ref()?;
        let pair = named
            .order()
            .windows(2)
            .find(|pair| named.ids.get(pair[0]) == named.ids.get(pair[1]))?;
        named.ids.get(pair[0])
    }
}

impl Named {
    fn order(&self) -> &[usize] {
        self.order.get_or_init(|| self.ids.order())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn named(names: &[&str]) -> Ids {
        let (mut ids, mut rest) = (Column::default(), Column::default());
        names.iter().for_each(|name| {
            ids.push(name);
            rest.push("");
        });
        Ids::named(ids, rest.clone(), rest, Vec::new())
    }

    #[test]
    fn a_bare_array_has_its_row_numbers() {
        let ids = Ids::numbers(3);
        assert_eq!(
            (ids.id(2).as_ref(), ids.row("2"), ids.row("3")),
            ("2", Some(2), None)
        );
        assert!(ids.are_rows() && ids.uri(0).is_none() && ids.duplicate().is_none());
    }

    #[test]
    fn duplicates_are_found() {
        assert_eq!(named(&["b", "a", "", "b"]).duplicate(), Some("b"));
        assert_eq!(named(&["b", "a", ""]).duplicate(), None);
    }

    proptest! {
        #[test]
        fn every_id_leads_back_to_its_row(names in proptest::collection::hash_set(".{0,6}", 0..40)) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let ids = named(&names);
            for (row, name) in names.iter().enumerate() {
                prop_assert_eq!(ids.id(row), *name);
                prop_assert_eq!(ids.row(name), Some(row));
            }
            prop_assert_eq!(ids.row("longer than any"), None);
        }
    }
}
