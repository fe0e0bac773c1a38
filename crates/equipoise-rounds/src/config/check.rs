//! Whether an experiment's numbers are in their ranges.

use super::Config;
use crate::{Error, Result};

impl Config {
    /// Whether numbers are in their ranges and names are known.
    ///
    /// # Errors
    /// [`Error::Config`] names the first field that is not.
    pub fn check(&self) -> Result<()> {
        let (experiment, training, vaal) = (&self.experiment, &self.training, &self.vaal);
        let counts = [
            ("experiment.seeds", experiment.seeds as usize),
            ("experiment.rounds", experiment.rounds as usize),
            ("experiment.budget", experiment.budget),
            ("experiment.initial", experiment.initial),
            ("experiment.partitions", experiment.partitions),
            ("training.epochs", training.epochs),
            ("training.batch", training.batch),
            ("training.step", training.step),
            ("vaal.width", vaal.width),
            ("vaal.latent", vaal.latent),
            ("vaal.steps", vaal.steps),
        ];
        every(counts, |count| *count > 0, "at least 1")?;
        let positive = [
            ("scale", self.scale.unwrap_or(1.0)),
            ("training.learning-rate", training.learning_rate),
            ("vaal.learning-rate", vaal.learning_rate),
        ];
        every(
            positive,
            |number| *number > 0.0 && number.is_finite(),
            "a number above 0",
        )?;
        let weights = [
            ("training.weight-decay", training.weight_decay),
            ("training.gamma", training.gamma),
            ("vaal.beta", vaal.beta),
            ("vaal.adversary", vaal.adversary),
        ];
        every(
            weights,
            |number| *number >= 0.0 && number.is_finite(),
            "0 or more",
        )?;
        let shares = [
            ("experiment.evaluation", experiment.evaluation),
            ("training.momentum", training.momentum),
        ];
        every(
            shares,
            |share| (0.0..1.0).contains(share),
            "at least 0, below 1",
        )?;
        let factor = [("experiment.imbalance-factor", experiment.imbalance_factor)];
        every(
            factor,
            |factor| *factor > 0.0 && *factor <= 1.0,
            "above 0, at most 1",
        )?;
        let side = |side: &usize| side.is_power_of_two() && *side >= 16;
        every(
            [("vaal.side", vaal.side)],
            side,
            "a power of 2 of at least 16",
        )?;
        every(
            [("vaal.batch", vaal.batch)],
            |batch| *batch >= 2,
            "at least 2",
        )?;
        self.check_names()?;
        self.chosen().map(drop)
    }

    /// Names of variants become those of folders.
    fn check_names(&self) -> Result<()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
        let is_name =
            |name: &str| !name.is_empty() && name.chars().all(plain) && !name.starts_with('.');
        match self.variants.keys().find(|name| !is_name(name)) {
            Some(name) => {
                let message = "letters, digits and -_.+ make a name";
                Err(Error::config(format!("variants.{name}"), message))
            }
            None => Ok(()),
        }
    }
}

/// Whether each value is `right`; what it ought to be is told of the first that is not.
fn every<T: std::fmt::Display, const N: usize>(
    values: [(&str, T); N],
    right: impl Fn(&T) -> bool,
    wanted: &str,
) -> Result<()> {
    match values.iter().find(|(_, value)| !right(value)) {
        Some((field, value)) => Err(Error::config(*field, format!("{value}: {wanted}"))),
        None => Ok(()),
    }
}
