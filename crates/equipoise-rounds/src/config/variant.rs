//! A strategy with its options.

use equipoise_core::quota::{self, ClassOrder};
use equipoise_core::strategies::{
    self, Balancing, BalancingOptions, Majority, PickLabels, Strategy,
};
use equipoise_core::{ClusterOptions, Constraints, LabelledRow, Linkage, Request};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How many rows each class may claim of BASE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuotasName {
    /// As many each.
    #[default]
    Uniform,
    /// So that the labelled set becomes even.
    Balance,
}

/// In which order BASE serves classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrderName {
    /// By number.
    #[default]
    Id,
    /// Fewest labels first.
    RarestFirst,
}

/// What BADGE begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BadgeStart {
    /// The labelled rows.
    #[default]
    Labelled,
    /// Nothing.
    None,
}

/// Which clusters margin-clustering joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkageName {
    /// Those whose union spreads least.
    #[default]
    Ward,
    /// Those nearest on average.
    Average,
}

/// Which frequent class balancing keeps away from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MajorityName {
    /// The nearest.
    #[default]
    Nearest,
    /// The farthest, as the published code.
    Farthest,
}

/// The strategy that is none of the engine's: it trains networks on images.
const VAAL: &str = "vaal";

/// A strategy with its options; those of other strategies have no effect on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Variant {
    /// The strategy's name.
    pub strategy: String,
    /// base: what each class may claim.
    #[serde(default)]
    pub quotas: QuotasName,
    /// base: in which order classes are served.
    #[serde(default)]
    pub class_order: OrderName,
    /// base: the least Euclidean distance between picks and labelled rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_distance: Option<f64>,
    /// badge: what it begins with.
    #[serde(default)]
    pub badge_start: BadgeStart,
    /// margin-clustering: how many clusters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<usize>,
    /// margin-clustering: which are joined.
    #[serde(default)]
    pub linkage: LinkageName,
    /// balancing: which frequent class it keeps away from.
    #[serde(default)]
    pub balancing_majority: MajorityName,
    /// balancing: whether it reads a pick's true label at once, as the published code.
    #[serde(default)]
    pub balancing_oracle: bool,
}

impl Variant {
    /// A strategy as it is.
    pub fn of(strategy: &str) -> Self {
        Self {
            strategy: strategy.into(),
            quotas: QuotasName::Uniform,
            class_order: OrderName::Id,
            min_distance: None,
            badge_start: BadgeStart::Labelled,
            clusters: None,
            linkage: LinkageName::Ward,
            balancing_majority: MajorityName::Nearest,
            balancing_oracle: false,
        }
    }

    /// Whether it is VAAL.
    pub(crate) fn is_vaal(&self) -> bool {
        self.strategy == VAAL
    }

    /// The strategy, where it is not VAAL.
    ///
    /// # Errors
    /// [`Error::Config`] where none has that name.
    pub(crate) fn strategy(&self, name: &str) -> Result<&'static dyn Strategy> {
        strategies::by_name(&self.strategy).ok_or_else(|| {
            let known: Vec<&str> = strategies::all().iter().map(|each| each.name()).collect();
            let known = known.join(", ");
            let message = format!("`{}` is no strategy: {known}, {VAAL}", self.strategy);
            match name == self.strategy {
                true => Error::config(
                    "experiment.strategies",
                    message + ", or a name of `variants`",
                ),
                false => Error::config(format!("variants.{name}.strategy"), message),
            }
        })
    }

    pub(crate) fn check(&self, name: &str) -> Result<()> {
        if !self.is_vaal() {
            self.strategy(name)?;
        }
        if let Some(distance) = self.min_distance
            && !(distance > 0.0 && distance.is_finite())
        {
            let message = format!("{distance}: a number above 0");
            return Err(Error::config(
                format!("variants.{name}.min-distance"),
                message,
            ));
        }
        match self.clusters {
            Some(0) => Err(Error::config(
                format!("variants.{name}.clusters"),
                "0: at least 1",
            )),
            _ => Ok(()),
        }
    }

    /// Whether it may read true labels of rows that are not labelled.
    pub(crate) fn reads_labels(&self, strategy: &dyn Strategy) -> bool {
        strategy.is_oracle() || (strategy.name() == Balancing.name() && self.balancing_oracle)
    }

    /// What each class may claim; `None` for the uniform quota.
    pub(crate) fn quotas(
        &self,
        budget: usize,
        labelled: &[LabelledRow],
        classes: usize,
    ) -> Result<Option<Vec<usize>>> {
        Ok(match self.quotas {
            QuotasName::Uniform => None,
            QuotasName::Balance => {
                let counts = quota::class_counts(labelled, classes)?;
                Some(quota::balance(budget, &counts))
            }
        })
    }

    /// `request` with the options.
    pub(crate) fn applied<'a>(&self, request: Request<'a>) -> Request<'a> {
        Request {
            class_order: match self.class_order {
                OrderName::Id => ClassOrder::Id,
                OrderName::RarestFirst => ClassOrder::RarestFirst,
            },
            constraints: Constraints {
                min_distance: self.min_distance,
                ..Constraints::default()
            },
            fresh_start: self.badge_start == BadgeStart::None,
            clustering: ClusterOptions {
                clusters: self.clusters,
                linkage: match self.linkage {
                    LinkageName::Ward => Linkage::Ward,
                    LinkageName::Average => Linkage::Average,
                },
            },
            balancing: BalancingOptions {
                majority: match self.balancing_majority {
                    MajorityName::Nearest => Majority::Nearest,
                    MajorityName::Farthest => Majority::Farthest,
                },
                labels: match self.balancing_oracle {
                    true => PickLabels::Oracle,
                    false => PickLabels::Predicted,
                },
            },
            ..request
        }
    }
}
