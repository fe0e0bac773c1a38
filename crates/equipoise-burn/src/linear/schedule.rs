//! How the learning rate changes from epoch to epoch.

/// A schedule.
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
