//! Sets of pool rows.

/// A set of rows below a fixed bound, one bit a row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowSet {
    words: Vec<u64>,
    rows: usize,
}

impl RowSet {
    /// Bytes of a set over `rows` rows.
    pub(crate) fn bytes(rows: usize) -> u64 {
        (rows.div_ceil(64) * size_of::<u64>()) as u64
    }

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

    /// The first row of the set that is not before `row`; the bound where there is none.
    pub fn first_from(&self, row: usize) -> usize {
        let Some(word) = self.words.get(row / 64) else {
            return self.rows;
        };
        let rest = word >> (row % 64);
        if rest != 0 {
            return row + rest.trailing_zeros() as usize;
        }
        let after = row / 64 + 1;
        let words = self.words[after..].iter().position(|word| *word != 0);
        words.map_or(self.rows, |index| {
            let word = after + index;
            word * 64 + self.words[word].trailing_zeros() as usize
        })
    }

    /// How many rows to read from `start` on, a row of the set: at most `most` ≥ 1, the last of them in the
    /// set, and without `gap` or more rows in between, give or take 64, that are not.
    pub fn stretch(&self, start: usize, most: usize, gap: usize) -> usize {
        let limit = start.saturating_add(most).min(self.rows);
        let mut end = start + 1;
        while end < limit {
            let next = self.first_from(end);
            if next - end >= gap || next >= limit {
                break;
            }
            // The rest of the word is looked at as a whole.
            end = (next / 64 + 1) * 64;
        }
        end = end.min(limit);
        while !self.contains(end - 1) && end > start + 1 {
            end -= 1;
        }
        end - start
    }

    /// Adds the rows of `other`, which may have a higher bound: it is the set's then.
    pub fn extend(&mut self, other: &RowSet) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        self.rows = self.rows.max(other.rows);
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
    }

    /// The rows of the set within `range`, over the same bound.
    pub fn within(&self, range: std::ops::Range<usize>) -> Self {
        let mut set = Self::none(self.rows);
        for (index, (word, of_all)) in set.words.iter_mut().zip(&self.words).enumerate() {
            let first = index * 64;
            let below = |end: usize| match end.saturating_sub(first) {
                bits @ 0..64 => (1u64 << bits) - 1,
                _ => u64::MAX,
            };
            *word = of_all & below(range.end) & !below(range.start);
        }
        set
    }

    /// A bit a row, row r the bit r mod 64 of word r / 64; zeros beyond the bound.
    pub fn words(&self) -> &[u64] {
        &self.words
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_extended_by_one_of_more_rows() {
        let of = |rows, some: &[usize]| {
            let mut set = RowSet::none(rows);
            some.iter().for_each(|row| assert!(set.insert(*row)));
            set
        };
        let mut all = RowSet::default();
        for (rows, some) in [(70, &[1, 64][..]), (200, &[64, 199]), (3, &[2])] {
            all.extend(&of(rows, some));
        }
        assert_eq!(all, of(200, &[1, 2, 64, 199]));
    }

    proptest::proptest! {
        #[test]
        fn parts_of_a_set_are_found(
            (bound, rows) in (1usize..400).prop_flat_map(|bound| (
                proptest::prelude::Just(bound), proptest::collection::btree_set(0..bound, 0..60))),
            (a, b, most, gap) in (0usize..450, 0usize..450, 1usize..200, 1usize..150),
        ) {
            let mut set = RowSet::none(bound);
            rows.iter().for_each(|row| { set.insert(*row); });
            let first = rows.range(a..).next().copied().unwrap_or(bound);
            proptest::prop_assert_eq!(set.first_from(a), first);
            let inside: Vec<usize> = rows.iter().copied().filter(|row| (a..b).contains(row)).collect();
            proptest::prop_assert_eq!(set.within(a..b).iter().collect::<Vec<_>>(), inside);
            // Whatever is left out between stretches is not in the set.
            let (mut read, mut next) = (RowSet::none(bound), set.first_from(0));
            while next < bound {
                let length = set.stretch(next, most, gap);
                proptest::prop_assert!(length >= 1 && length <= most && set.contains(next + length - 1));
                let stretch: Vec<usize> = rows.range(next..next + length).copied().collect();
                for pair in stretch.windows(2) {
                    proptest::prop_assert!(pair[1] - pair[0] < gap + 64);
                }
                stretch.into_iter().for_each(|row| { read.insert(row); });
                next = set.first_from(next + length);
            }
            proptest::prop_assert_eq!(read, set);
        }
    }

    use proptest::strategy::Strategy;
}
