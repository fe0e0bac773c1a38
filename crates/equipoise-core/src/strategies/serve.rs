//! Serving: class after class takes its quota, wherever the candidates come from.

use crate::constraints::Shortfall;
use crate::quota::{ClassOrder, class_counts, uniform};
use crate::{Error, Head, LabelledRow, Pick, Request, Result};

/// A class keeps this many candidates for each row of its quota, and [`SPARE`] more: classes served
/// before it may take some. Running out of them costs another scan, never a wrong pick.
const CANDIDATES_PER_QUOTA: usize = 4;
const SPARE: usize = 128;

/// Where the classes want much of the pool, most of a list is taken when its class is served: for each
/// row of a quota, this many more times the share of the pool that is wanted up to it, up to [`MOST_SCARCE`].
/// Made pools of which half is wanted, ten rows a class, need lists of 100 to 500 rows for the last classes; where a
/// twentieth is wanted, of less than 40.
const SCARCE_PER_QUOTA: usize = 64;
const MOST_SCARCE: usize = 320;

/// How many rows each class takes, and when. A strategy that ranks rows by themselves has one class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// Per class, how many rows it may take.
    pub quotas: Vec<usize>,
    /// The classes, in the order in which they are served.
    pub order: Vec<usize>,
    /// How many rows all of them may take.
    pub budget: usize,
}

impl Serving {
    /// Of BASE: what `request` says of quotas and order.
    pub(crate) fn of_classes(request: &Request<'_>, head: &Head) -> Result<Self> {
        let budget = request.effective_budget()?;
        let order = (request.class_order, request.labelled);
        Self::of_quotas(budget, request.quotas, order, head.classes())
    }

    /// Of classes with such quotas, or uniform ones, in an order that may depend on the labelled rows.
    pub(crate) fn of_quotas(
        budget: usize,
        quotas: Option<&[usize]>,
        (order, labelled): (ClassOrder, &[LabelledRow]),
        classes: usize,
    ) -> Result<Self> {
        let quotas = match quotas {
            Some(quotas) if quotas.len() == classes => quotas.to_vec(),
            Some(quotas) => {
                let given = quotas.len();
                return Err(Error::Quotas(format!(
                    "{given} given, the head has {classes} classes"
                )));
            }
            None => uniform(budget, classes),
        };
        let order = match order {
            ClassOrder::Id => (0..classes).collect(),
            order => order.order(&class_counts(labelled, classes)?),
        };
        Ok(Self {
            quotas,
            order,
            budget,
        })
    }

    /// Of a score of the rows themselves: the first `budget` of them.
    pub(crate) fn of_rows(budget: usize) -> Self {
        Self {
            quotas: vec![budget],
            order: vec![0],
            budget,
        }
    }

    /// The classes that did not take what they might, of which `picks` are the picks: no row was left.
    pub(crate) fn shortfalls(&self, picks: &[Pick]) -> Vec<Shortfall> {
        let mut taken = vec![0; self.quotas.len()];
        for class in picks.iter().filter_map(|pick| pick.class) {
            taken[class as usize] += 1;
        }
        let mut left = self.budget;
        let mut short = Vec::new();
        for class in &self.order {
            let wanted = self.quotas[*class].min(left);
            left -= taken[*class];
            if taken[*class] < wanted {
                short.push(Shortfall {
                    missing: (wanted - taken[*class]) as f64,
                    ..Shortfall::none(*class as u32)
                });
            }
        }
        short
    }

    /// Per class, how many candidates are worth keeping of `rows` available rows.
    pub fn depths(&self, rows: usize) -> Vec<usize> {
        depths(&self.quotas, &self.order, rows, 0)
    }

    /// Per class, how many candidates are enough whatever the classes before it take: the quotas served up
    /// to it.
    pub fn most(&self) -> Vec<usize> {
        most(&self.quotas, &self.order)
    }
}

/// [`Serving::depths`] of such quotas, after so many refills: twice as deep each time.
pub(crate) fn depths(quotas: &[usize], order: &[usize], rows: usize, refills: u64) -> Vec<usize> {
    let most = most(quotas, order);
    let enough = |(quota, most): (&usize, usize)| {
        let wanted = rows.min(most);
        let scarce = *quota as u128 * SCARCE_PER_QUOTA as u128 * wanted as u128;
        let scarce = (scarce / rows.max(1) as u128).min(MOST_SCARCE as u128) as usize;
        let enough = quota.saturating_mul(CANDIDATES_PER_QUOTA);
        let enough = enough.saturating_add(SPARE + scarce);
        enough.saturating_mul(1 << refills.min(30)).min(most)
    };
    quotas.iter().zip(most).map(enough).collect()
}

/// [`Serving::most`] of such quotas; a class without a quota needs none.
fn most(quotas: &[usize], order: &[usize]) -> Vec<usize> {
    let mut most = vec![0; quotas.len()];
    let mut served = 0usize;
    for class in order {
        served = served.saturating_add(quotas[*class]);
        if quotas[*class] > 0 {
            most[*class] = served;
        }
    }
    most
}

/// Where the candidates come from; it remembers which rows were taken.
pub(crate) trait Source {
    type Entry;
    type Error;

    /// Takes at most `count` rows for `class`: the first of those not taken yet, in any order.
    fn take(&mut self, class: usize, count: usize) -> Result<Vec<Self::Entry>, Self::Error>;

    /// The first class of `order` misses `missing` rows: whether there are more now.
    fn refill(&mut self, order: &[usize], missing: usize) -> Result<bool, Self::Error>;
}

/// Serves the classes, one after the other; returns (class, entry).
pub(crate) fn serve<S: Source>(
    source: &mut S,
    serving: &Serving,
) -> Result<Vec<(usize, S::Entry)>, S::Error> {
    let quotas = serving
        .quotas
        .iter()
        .fold(0usize, |sum, quota| sum.saturating_add(*quota));
    let mut served = Vec::with_capacity(serving.budget.min(quotas));
    for (position, class) in serving.order.iter().enumerate() {
        let mut missing = serving.quotas[*class].min(serving.budget - served.len());
        while missing > 0 {
            let taken = source.take(*class, missing)?;
            missing -= taken.len();
            served.extend(taken.into_iter().map(|entry| (*class, entry)));
            if missing == 0 || !source.refill(&serving.order[position..], missing)? {
                break;
            }
        }
    }
    Ok(served)
}
