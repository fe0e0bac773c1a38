//! Which labelled rows are kept for validation.

use equipoise_core::random::{Philox, Purpose};

/// Labelled rows for training and for validation, each ascending.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Split {
    pub(crate) train: Vec<usize>,
    pub(crate) validation: Vec<usize>,
}

impl Split {
    /// Keeps `share` of each class's rows, rounded down, for validation, but never all of them.
    pub(crate) fn stratified(labels: &[u32], classes: usize, share: f32, seed: u64) -> Self {
        let mut of_class = vec![Vec::new(); classes];
        let order = Philox::new(seed, Purpose::Validation, 0, 0).permutation(labels.len());
        for row in order {
            of_class[labels[row] as usize].push(row);
        }
        let mut split = Self {
            train: Vec::new(),
            validation: Vec::new(),
        };
        for rows in of_class {
            let wanted = (rows.len() as f64 * f64::from(share)) as usize;
            let (validation, train) = rows.split_at(wanted.min(rows.len().saturating_sub(1)));
            split.validation.extend(validation);
            split.train.extend(train);
        }
        split.train.sort_unstable();
        split.validation.sort_unstable();
        split
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_keeps_its_share() {
        let labels: Vec<u32> = (0..100)
            .map(|i| u32::from(i % 10 == 0))
            .chain([2])
            .collect();
        let split = Split::stratified(&labels, 3, 0.25, 7);
        let count = |rows: &[usize], class| rows.iter().filter(|r| labels[**r] == class).count();
        assert_eq!(count(&split.validation, 0), 22);
        assert_eq!(count(&split.validation, 1), 2);
        // The only row of a class is for training.
        assert_eq!(count(&split.validation, 2), 0);
        let mut all = [split.train.clone(), split.validation.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..101).collect::<Vec<_>>());
        assert_eq!(split, Split::stratified(&labels, 3, 0.25, 7));
        assert_ne!(split, Split::stratified(&labels, 3, 0.25, 8));
    }
}
