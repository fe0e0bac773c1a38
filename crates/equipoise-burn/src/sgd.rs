//! Stochastic gradient descent, as papers on active learning train heads and networks.

use crate::Error;

/// How the learning rate changes from epoch to epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Schedule {
    /// It stays.
    Constant,
    /// It falls to 0 along half a cosine.
    Cosine,
    /// It is multiplied by `factor` after every `every` epochs.
    Step {
        /// At least 1.
        every: usize,
        /// 0.1 for example.
        factor: f64,
    },
}

impl Schedule {
    /// The rate of an epoch, from 0, of `epochs`.
    pub fn rate(self, first: f64, epoch: usize, epochs: usize) -> f64 {
        match self {
            Self::Constant => first,
            Self::Cosine => {
                let part = epoch as f64 / epochs.max(1) as f64;
                first * (1.0 + (std::f64::consts::PI * part).cos()) / 2.0
            }
            Self::Step { every, factor } => first * factor.powi((epoch / every.max(1)) as i32),
        }
    }
}

/// How to train by mini-batches.
#[derive(Debug, Clone, PartialEq)]
pub struct Sgd {
    /// How many times each row is shown, at most.
    pub epochs: usize,
    /// Rows per step.
    pub batch: usize,
    /// Learning rate of the first epoch.
    pub learning_rate: f64,
    /// What becomes of it later.
    pub schedule: Schedule,
    /// Momentum, in [0, 1).
    pub momentum: f64,
    /// Weight of the L2 penalty, biases included, added to the gradient as PyTorch does.
    pub weight_decay: f64,
    /// Training ends after so many epochs without a better accuracy on the evaluation rows; `None`
    /// trains to the end. The best epoch is what comes out, either way.
    pub patience: Option<usize>,
    /// Whether rows count in inverse proportion to how many their class has.
    pub class_weights: bool,
    /// Seed of the order of rows.
    pub seed: u64,
    /// The round: another stream of random numbers.
    pub round: u32,
}

impl Sgd {
    /// Whether every number is in its range.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let wrong = |option, value: String, hint| {
            Err(Error::Option {
                option,
                value,
                hint,
            })
        };
        for (name, value) in [("epochs", self.epochs), ("batch", self.batch)] {
            if value == 0 {
                return wrong(name, "0".into(), "at least 1");
            }
        }
        let rate = self.learning_rate;
        if !(rate.is_finite() && rate > 0.0) {
            return wrong(
                "learning rate",
                rate.to_string(),
                "a positive number, 0.1 for example",
            );
        }
        if !(0.0..1.0).contains(&self.momentum) {
            let hint = "a share from 0 to below 1, 0.9 for example";
            return wrong("momentum", self.momentum.to_string(), hint);
        }
        let decay = self.weight_decay;
        if !(decay.is_finite() && decay >= 0.0) {
            let hint = "0 or a positive number, 0.0001 for example";
            return wrong("weight decay", decay.to_string(), hint);
        }
        if self.patience == Some(0) {
            return wrong("patience", "0".into(), "at least 1");
        }
        Ok(())
    }

    /// The learning rate of an epoch, from 0.
    pub(crate) fn rate(&self, epoch: usize) -> f64 {
        self.schedule.rate(self.learning_rate, epoch, self.epochs)
    }
}

/// Per class a weight in inverse proportion to its rows, 1 on average over rows; 0 for a class without any.
pub(crate) fn class_weights(labels: &[u32], classes: usize) -> Vec<f32> {
    let mut counts = vec![0usize; classes];
    for label in labels {
        counts[*label as usize] += 1;
    }
    let present = counts.iter().filter(|count| **count > 0).count();
    let weight = |count: &usize| match count {
        0 => 0.0,
        count => (labels.len() as f64 / (present * count) as f64) as f32,
    };
    counts.iter().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_fall_as_they_are_said_to() {
        assert_eq!(Schedule::Constant.rate(2.0, 7, 10), 2.0);
        assert_eq!(Schedule::Cosine.rate(2.0, 0, 10), 2.0);
        assert!((Schedule::Cosine.rate(2.0, 5, 10) - 1.0).abs() < 1e-12);
        let step = Schedule::Step {
            every: 20,
            factor: 0.1,
        };
        assert_eq!(step.rate(15.0, 19, 60), 15.0);
        assert!((step.rate(15.0, 40, 60) - 0.15).abs() < 1e-12);
    }
}
