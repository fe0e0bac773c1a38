//! How even class counts are.

/// Class counts and what they say about balance.
#[derive(Debug, Clone, PartialEq)]
pub struct Balance {
    counts: Vec<usize>,
}

impl Balance {
    /// The balance of `counts`, one number a class.
    pub fn of_counts(counts: Vec<usize>) -> Self {
        Self { counts }
    }

    /// The balance of rows of these classes; a class of `classes` or beyond is not counted.
    pub fn of_rows(rows: impl IntoIterator<Item = u32>, classes: usize) -> Self {
        let mut counts = vec![0; classes];
        for class in rows {
            if let Some(count) = counts.get_mut(class as usize) {
                *count += 1;
            }
        }
        Self { counts }
    }

    /// Rows of each class.
    pub fn counts(&self) -> &[usize] {
        &self.counts
    }

    /// Rows of all classes together.
    pub fn total(&self) -> usize {
        self.counts.iter().sum()
    }

    /// Rows of the class that has fewest; 0 where there is no class.
    pub fn smallest(&self) -> usize {
        self.counts.iter().copied().min().unwrap_or(0)
    }

    /// Rows of the class that has most; 0 where there is no class.
    pub fn largest(&self) -> usize {
        self.counts.iter().copied().max().unwrap_or(0)
    }

    /// Largest count over smallest, at least 1; `None` where a class has no row.
    pub fn imbalance(&self) -> Option<f64> {
        match self.smallest() {
            0 => None,
            smallest => Some(self.largest() as f64 / smallest as f64),
        }
    }

    /// Shannon's entropy of the class shares over log C: 1 where all classes have as many rows, 0
    /// where one class has them all, and 0 where there is no row or fewer than two classes.
    pub fn entropy(&self) -> f64 {
        let total = self.total() as f64;
        if total == 0.0 || self.counts.len() < 2 {
            return 0.0;
        }
        let nats: f64 = self
            .counts
            .iter()
            .filter(|count| **count > 0)
            .map(|count| *count as f64 / total)
            .map(|share| -share * share.ln())
            .sum();
        nats / (self.counts.len() as f64).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_counts_have_entropy_one_and_imbalance_one() {
        let even = Balance::of_counts(vec![7; 5]);
        assert!((even.entropy() - 1.0).abs() < 1e-12);
        assert_eq!(even.imbalance(), Some(1.0));
        assert_eq!((even.smallest(), even.largest(), even.total()), (7, 7, 35));
    }

    #[test]
    fn one_class_alone_has_entropy_zero_and_no_imbalance_ratio() {
        let lonely = Balance::of_counts(vec![0, 9, 0]);
        assert_eq!(lonely.entropy(), 0.0);
        assert_eq!(lonely.imbalance(), None);
    }

    #[test]
    fn two_of_four_classes_have_half_the_entropy() {
        let half = Balance::of_counts(vec![5, 5, 0, 0]);
        assert!((half.entropy() - 0.5).abs() < 1e-12);
    }

    #[test]
    fn nothing_is_defined_away() {
        for counts in [vec![], vec![0, 0], vec![3]] {
            let balance = Balance::of_counts(counts);
            assert_eq!(balance.entropy(), 0.0);
        }
        assert_eq!(Balance::of_counts(vec![]).imbalance(), None);
    }

    #[test]
    fn rows_are_counted_by_class() {
        let counted = Balance::of_rows([0, 2, 2, 1, 2, 9], 3);
        assert_eq!(counted.counts(), [1, 1, 3]);
    }
}
