//! How unevenly labelled rows are spread over classes.

/// An imbalance that the rows left to pick should go into evening out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Imbalance {
    /// The class with the fewest rows, the lowest of several.
    pub(crate) rarest: usize,
    /// Classes with more rows than the mean, ascending.
    pub(crate) majority: Vec<usize>,
}

impl Imbalance {
    /// That of classes with so many rows each, if the rows left to pick are at most (number of minority
    /// classes) · (mean majority count − mean minority count). Counted in whole numbers.
    pub(crate) fn of(counts: &[usize], left: usize) -> Option<Self> {
        let total: usize = counts.iter().sum();
        let is_majority = |class: &usize| counts[*class] * counts.len() > total;
        let majority: Vec<usize> = (0..counts.len()).filter(is_majority).collect();
        let of_majority: usize = majority.iter().map(|class| counts[*class]).sum();
        let frequent = majority.len();
        let (rare, of_minority) = (counts.len() - frequent, total - of_majority);
        // Both sides times the number of majority classes; both are zero where there is none.
        let product = |a: usize, b: usize| a as u128 * b as u128;
        let is_worth_it =
            product(left, frequent) + product(of_minority, frequent) <= product(rare, of_majority);
        let rarest = (0..counts.len()).min_by_key(|class| counts[*class])?;
        (frequent > 0 && is_worth_it).then_some(Self { rarest, majority })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_imbalance_counts_while_what_is_left_would_not_even_it_out() {
        // Mean 4: class 1 is the majority, and the others lack 3 · (13 − 1) rows.
        let counts = [1, 13, 0, 2];
        let imbalance = Imbalance {
            rarest: 2,
            majority: vec![1],
        };
        assert_eq!(Imbalance::of(&counts, 36), Some(imbalance));
        assert_eq!(Imbalance::of(&counts, 37), None);
    }

    #[test]
    fn equal_counts_are_balanced() {
        for counts in [&[][..], &[5], &[0, 0, 0], &[3, 3]] {
            assert_eq!(Imbalance::of(counts, 1), None, "{counts:?}");
        }
    }
}
