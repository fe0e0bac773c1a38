//! Random picks, evenly over the true classes: a baseline that reads labels.

use std::collections::BTreeMap;

use super::{Request, Selection, Strategy};
use crate::random::{Philox, Purpose};
use crate::round_robin::{in_turns, shares};
use crate::{Engine, Pick, Result, truth};

/// The classes in turns, each giving the available row with its smallest random key, until all have given all
/// they have: as even as the pool allows, and a larger budget only adds picks. Of an uneven last turn the
/// lowest classes have one more.
pub struct BalancedRandom;

impl Strategy for BalancedRandom {
    fn name(&self) -> &'static str {
        "balanced-random"
    }

    fn summary(&self) -> &'static str {
        "rows drawn at random, as evenly over their true classes as the pool allows"
    }

    fn source(&self) -> &'static str {
        "baseline of arXiv 2111.12880"
    }

    fn needs_head(&self) -> bool {
        false
    }

    fn is_oracle(&self) -> bool {
        true
    }

    fn select(&self, _engine: &dyn Engine, request: &Request<'_>) -> Result<Selection> {
        let budget = request.effective_budget()?;
        let rows = truth::of_available(self.name(), request)?;
        let numbers = Philox::new(request.seed, Purpose::BalancedPicks, request.round, 0);
        let mut classes: BTreeMap<u32, Vec<(u64, usize)>> = BTreeMap::new();
        for (row, class) in rows {
            let keyed = classes.entry(class).or_default();
            keyed.push((numbers.bits(row as u64), row));
        }
        let sizes: Vec<usize> = classes.values().map(Vec::len).collect();
        let shares = shares(&sizes, budget);
        let picks = classes
            .into_iter()
            .zip(shares)
            .map(|((class, mut keyed), share)| {
                keyed.sort_unstable();
                let pick = |(_, row)| Pick {
                    class: Some(class),
                    ..Pick::of_row(row)
                };
                keyed.into_iter().take(share).map(pick).collect()
            });
        Ok(Selection {
            picks: in_turns(picks.collect()),
            oracle: true,
            ..Selection::default()
        })
    }
}
