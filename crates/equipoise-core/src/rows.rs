//! Sets of pool rows.

/// A set of rows below a fixed bound, one bit a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowSet {
    words: Vec<u64>,
    rows: usize,
}

impl RowSet {
    /// The set of none of `rows` rows.
    pub fn none(rows: usize) -> Self {
        Self {
            words: vec![0; rows.div_ceil(64)],
            rows,
        }
    }

    /// The set of all `rows` rows.
    pub fn all(rows: usize) -> Self {
        let mut set = Self {
            words: vec![u64::MAX; rows.div_ceil(64)],
            rows,
        };
        if let Some(last) = set.words.last_mut()
            && !rows.is_multiple_of(64)
        {
            *last = (1 << (rows % 64)) - 1;
        }
        set
    }

    /// The bound: rows are below it.
    pub fn bound(&self) -> usize {
        self.rows
    }

    /// Whether `row` is in the set; false beyond the bound.
    pub fn contains(&self, row: usize) -> bool {
        row < self.rows && self.words[row / 64] >> (row % 64) & 1 == 1
    }

    /// Adds `row`; says whether it was new. Rows beyond the bound are not added.
    pub fn insert(&mut self, row: usize) -> bool {
        let new = row < self.rows && !self.contains(row);
        if new {
            self.words[row / 64] |= 1 << (row % 64);
        }
        new
    }

    /// Removes `row`; says whether it was there.
    pub fn remove(&mut self, row: usize) -> bool {
        let there = self.contains(row);
        if there {
            self.words[row / 64] &= !(1 << (row % 64));
        }
        there
    }

    /// Number of rows in the set.
    pub fn len(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// Whether no row is in the set.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// The rows, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(index, word)| {
            std::iter::successors((*word != 0).then_some(*word), |word| {
                let rest = word & (word - 1);
                (rest != 0).then_some(rest)
            })
            .map(move |word| index * 64 + word.trailing_zeros() as usize)
        })
    }
}
