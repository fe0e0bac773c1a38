//! What a run begins with: which rows are in the pool, which are held out, which are labelled at first.

use equipoise_core::RowSet;
use equipoise_core::quota;
use equipoise_core::random::{Philox, Purpose};

use crate::{Config, ImbalanceType, InitialType};

/// See the module. It depends on the seed, not on the strategy.
#[derive(Debug, Clone, PartialEq)]
pub struct Setup {
    /// Rows that are labelled, or may be.
    pub pool: RowSet,
    /// Rows held out to choose the best epoch, ascending.
    pub evaluation: Vec<usize>,
    /// Rows labelled at first, ascending.
    pub initial: Vec<usize>,
}

impl Setup {
    /// The setup of a seed, for rows of these classes.
    pub fn new(config: &Config, labels: &[u32], classes: usize, seed: u64) -> Self {
        let experiment = &config.experiment;
        let mut of_class = rows_of_classes(labels, classes, seed, Purpose::Evaluation);
        // As many of each class, but no more than half of a class.
        let wanted = (labels.len() as f64 * experiment.evaluation / classes.max(1) as f64) as usize;
        let mut evaluation = Vec::new();
        for rows in &mut of_class {
            let kept = wanted.min(rows.len() / 2);
            evaluation.extend(rows.drain(..kept));
        }
        evaluation.sort_unstable();
        let seed_of_tail = experiment.imbalance_seed.unwrap_or(seed);
        let mut pool = RowSet::none(labels.len());
        let counts: Vec<usize> = of_class.iter().map(Vec::len).collect();
        let kept = class_sizes(experiment.imbalance, experiment.imbalance_factor, &counts);
        let order = rows_of_classes(labels, classes, seed_of_tail, Purpose::Imbalance);
        for (rows, kept) in order.iter().zip(kept) {
            let left = rows
                .iter()
                .filter(|row| evaluation.binary_search(row).is_err());
            left.take(kept).for_each(|row| {
                pool.insert(*row);
            });
        }
        let initial = initial(&pool, labels, classes, config, seed);
        Self {
            pool,
            evaluation,
            initial,
        }
    }
}

/// The rows of each class, in random order.
fn rows_of_classes(labels: &[u32], classes: usize, seed: u64, purpose: Purpose) -> Vec<Vec<usize>> {
    let mut of_class = vec![Vec::new(); classes];
    for row in Philox::new(seed, purpose, 0, 0).permutation(labels.len()) {
        of_class[labels[row] as usize].push(row);
    }
    of_class
}

/// How many rows each class keeps: the rule of the published code, which starts from the same number of
/// rows in each class. Here that is the smallest class's.
fn class_sizes(imbalance: ImbalanceType, factor: f64, counts: &[usize]) -> Vec<usize> {
    let classes = counts.len();
    let most = counts.iter().copied().min().unwrap_or(0) as f64;
    let size = |class: usize| match imbalance {
        ImbalanceType::None => counts[class],
        ImbalanceType::Exp => {
            let part = class as f64 / (classes.max(2) - 1) as f64;
            ((most * factor.powf(part)) as usize).max(1)
        }
        ImbalanceType::Step if class < classes / 2 => most as usize,
        ImbalanceType::Step => ((most * factor) as usize).max(1),
    };
    (0..classes).map(size).collect()
}

fn initial(
    pool: &RowSet,
    labels: &[u32],
    classes: usize,
    config: &Config,
    seed: u64,
) -> Vec<usize> {
    let order = Philox::new(seed, Purpose::Initial, 0, 0).permutation(labels.len());
    let order = order.into_iter().filter(|row| pool.contains(*row));
    let count = config.initial();
    let mut rows: Vec<usize> = match config.experiment.initial_type {
        InitialType::Random => order.take(count).collect(),
        InitialType::RandomBalanced => {
            let mut left = quota::uniform(count, classes);
            let mut chosen = Vec::new();
            let mut rest = Vec::new();
            for row in order {
                match &mut left[labels[row] as usize] {
                    0 => rest.push(row),
                    left => {
                        *left -= 1;
                        chosen.push(row);
                    }
                }
            }
            // What small classes lack, any row makes up for.
            let missing = count - chosen.len();
            chosen.extend(rest.into_iter().take(missing));
            chosen
        }
    };
    rows.sort_unstable();
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Experiment;

    fn labels(counts: &[usize]) -> Vec<u32> {
        let of = |(class, count): (usize, &usize)| vec![class as u32; *count];
        counts.iter().enumerate().flat_map(of).collect()
    }

    fn config(experiment: Experiment) -> Config {
        Config {
            experiment,
            ..Config::default()
        }
    }

    fn counts(rows: impl Iterator<Item = usize>, labels: &[u32], classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        rows.for_each(|row| counts[labels[row] as usize] += 1);
        counts
    }

    #[test]
    fn the_published_numbers_of_the_long_tail() {
        // CIFAR-10 by the published rule: 5,000 · 0.1^(c/9), cut.
        let sizes = class_sizes(ImbalanceType::Exp, 0.1, &[5000; 10]);
        assert_eq!(
            sizes,
            [5000, 3871, 2997, 2320, 1796, 1391, 1077, 834, 645, 500]
        );
        let sizes = class_sizes(ImbalanceType::Step, 0.1, &[5000; 10]);
        assert_eq!(
            sizes,
            [5000, 5000, 5000, 5000, 5000, 500, 500, 500, 500, 500]
        );
        assert_eq!(class_sizes(ImbalanceType::None, 0.1, &[7, 3]), [7, 3]);
        assert_eq!(
            class_sizes(ImbalanceType::Exp, 0.01, &[7, 3, 20]),
            [3, 1, 1]
        );
    }

    #[test]
    fn parts_are_apart_and_even_where_they_should_be() {
        let labels = labels(&[100, 100, 100, 40]);
        let config = config(Experiment {
            evaluation: 0.2,
            imbalance: ImbalanceType::Exp,
            imbalance_factor: 0.25,
            initial: 24,
            initial_type: InitialType::RandomBalanced,
            ..Experiment::default()
        });
        let setup = Setup::new(&config, &labels, 4, 3);
        assert_eq!(
            counts(setup.evaluation.iter().copied(), &labels, 4),
            [17; 4]
        );
        assert_eq!(counts(setup.pool.iter(), &labels, 4), [23, 14, 9, 5]);
        assert!(
            setup
                .evaluation
                .iter()
                .all(|row| !setup.pool.contains(*row))
        );
        // The last class has 5 of its 6, another row makes up for it.
        let first = counts(setup.initial.iter().copied(), &labels, 4);
        assert_eq!((first.iter().sum::<usize>(), first[3]), (24, 5));
        assert!(setup.initial.iter().all(|row| setup.pool.contains(*row)));
        assert_eq!(Setup::new(&config, &labels, 4, 3), setup);
        assert_ne!(Setup::new(&config, &labels, 4, 4), setup);
    }

    #[test]
    fn no_more_rows_than_there_are() {
        let labels = labels(&[5, 5]);
        for initial_type in [InitialType::Random, InitialType::RandomBalanced] {
            let config = config(Experiment {
                initial: 50,
                initial_type,
                evaluation: 0.0,
                ..Experiment::default()
            });
            let setup = Setup::new(&config, &labels, 2, 0);
            assert_eq!(setup.initial, (0..10).collect::<Vec<_>>());
            assert!(setup.evaluation.is_empty());
        }
    }
}
