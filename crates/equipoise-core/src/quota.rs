//! How many rows each class may claim, and in which order classes are served.

use crate::{Error, LabelledRow, Result};

/// In which order classes take their quotas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClassOrder {
    /// 0..C, as in the paper.
    #[default]
    Id,
    /// Fewest labelled rows first; ties by id.
    RarestFirst,
}

impl ClassOrder {
    /// The classes in that order, given how many labelled rows each has.
    pub fn order(self, labelled: &[usize]) -> Vec<usize> {
        let mut classes: Vec<usize> = (0..labelled.len()).collect();
        if self == ClassOrder::RarestFirst {
            classes.sort_by_key(|class| (labelled[*class], *class));
        }
        classes
    }
}

/// The uniform quota: ⌊B/C⌋, and one more for the first B mod C classes.
pub fn uniform(budget: usize, classes: usize) -> Vec<usize> {
    (0..classes)
        .map(|class| budget / classes + usize::from(class < budget % classes))
        .collect()
}

/// Quotas that even out the labelled set: each of the `budget` rows goes to the class with the
/// fewest labelled rows and quota so far (ties: lowest class), as water fills a basin.
pub fn balance(budget: usize, labelled: &[usize]) -> Vec<usize> {
    let classes = labelled.len();
    let mut sorted = ClassOrder::RarestFirst.order(labelled);
    // The level to which all classes below it are filled: the `filled` rarest ones.
    let (mut filled, mut spent) = (1, 0);
    while filled < classes {
        let step = (labelled[sorted[filled]] - labelled[sorted[filled - 1]]) * filled;
        if spent + step > budget {
            break;
        }
        spent += step;
        filled += 1;
    }
    let level = labelled[sorted[filled - 1]] + (budget - spent) / filled;
    let rest = (budget - spent) % filled;
    sorted.truncate(filled);
    sorted.sort_unstable();
    let mut quotas = vec![0; classes];
    for (position, class) in sorted.into_iter().enumerate() {
        quotas[class] = level - labelled[class] + usize::from(position < rest);
    }
    quotas
}

/// Quotas in proportion to `weights`, finite and at least 0, that sum to `budget`: whole parts first, and one more for the
/// largest remainders (ties: lowest class).
///
/// # Errors
/// [`Error::Quotas`] where a weight is negative or not finite, or all are 0.
pub fn by_weights(budget: usize, weights: &[f64]) -> Result<Vec<usize>> {
    if let Some(class) = weights
        .iter()
        .position(|weight| !(*weight >= 0.0 && weight.is_finite()))
    {
        let weight = weights[class];
        return Err(Error::Quotas(format!(
            "class {class} has weight {weight}: weights are 0 or more"
        )));
    }
    let total: f64 = weights.iter().sum();
    if !(total > 0.0 && total.is_finite()) {
        return Err(Error::Quotas("the weights sum to nothing".into()));
    }
    let shares: Vec<f64> = weights
        .iter()
        .map(|weight| weight / total * budget as f64)
        .collect();
    let mut quotas: Vec<usize> = shares.iter().map(|share| *share as usize).collect();
    let mut classes: Vec<usize> = (0..weights.len())
        .filter(|class| weights[*class] > 0.0)
        .collect();
    let remainder = |class: usize| shares[class] - quotas[class] as f64;
    classes.sort_by(|a, b| remainder(*b).total_cmp(&remainder(*a)).then(a.cmp(b)));
    let given: usize = quotas.iter().sum();
    // Fewer than there are classes, but for rounding.
    for class in classes
        .into_iter()
        .cycle()
        .take(budget.saturating_sub(given))
    {
        quotas[class] += 1;
    }
    Ok(quotas)
}

/// How many of `labelled` each of `classes` classes has.
///
/// # Errors
/// [`Error::Quotas`] where a row has no class or one beyond `classes`.
pub fn class_counts(labelled: &[LabelledRow], classes: usize) -> Result<Vec<usize>> {
    let mut counts = vec![0; classes];
    for labelled in labelled {
        let class = labelled
            .class
            .ok_or_else(|| Error::Quotas(format!("labelled row {} has no class", labelled.row)))?;
        *counts.get_mut(class as usize).ok_or_else(|| {
            Error::Quotas(format!(
                "labelled row {} has class {class}, the head has {classes}",
                labelled.row
            ))
        })? += 1;
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_gives_the_remainder_to_the_first_classes() {
        assert_eq!(uniform(8, 3), [3, 3, 2]);
        assert_eq!(uniform(2, 4), [1, 1, 0, 0]);
    }

    #[test]
    fn weights_give_the_largest_remainders_one_more() {
        assert_eq!(by_weights(10, &[1.0, 1.0, 1.0]).unwrap(), [4, 3, 3]);
        assert_eq!(by_weights(10, &[0.5, 0.0, 0.3, 0.2]).unwrap(), [5, 0, 3, 2]);
        // Equal remainders: the lowest class.
        assert_eq!(by_weights(3, &[1.0, 5.0, 0.0]).unwrap(), [1, 2, 0]);
        assert_eq!(by_weights(1, &[1.0, 1.1]).unwrap(), [0, 1]);
        for wrong in [&[-1.0, 2.0][..], &[0.0, 0.0], &[f64::NAN], &[]] {
            assert!(
                matches!(by_weights(5, wrong), Err(Error::Quotas(_))),
                "{wrong:?}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn weighted_quotas_sum_to_the_budget(
            weights in proptest::collection::vec(0.0f64..9.0, 1..12), budget in 0usize..300,
        ) {
            proptest::prop_assume!(weights.iter().sum::<f64>() > 0.0);
            let quotas = by_weights(budget, &weights).unwrap();
            proptest::prop_assert_eq!(quotas.iter().sum::<usize>(), budget);
            for (quota, weight) in quotas.iter().zip(&weights) {
                let share = weight / weights.iter().sum::<f64>() * budget as f64;
                proptest::prop_assert!((*quota as f64 - share).abs() < 1.0 + 1e-9);
            }
        }

        #[test]
        fn balance_equals_one_row_at_a_time(
            labelled in proptest::collection::vec(0usize..20, 1..8), budget in 0usize..100,
        ) {
            let mut one_by_one = vec![0; labelled.len()];
            for _ in 0..budget {
                let class = (0..labelled.len())
                    .min_by_key(|class| labelled[*class] + one_by_one[*class])
                    .unwrap();
                one_by_one[class] += 1;
            }
            proptest::prop_assert_eq!(balance(budget, &labelled), one_by_one);
        }
    }
}
