//! Uniform random picks.

use super::{Request, Selection, Strategy};
use crate::random::{Philox, Purpose};
use crate::{Engine, Pick, Result};

/// The available rows with the smallest random keys, so that a larger budget only adds picks.
pub struct Random;

impl Strategy for Random {
    fn name(&self) -> &'static str {
        "random"
    }

    fn summary(&self) -> &'static str {
        "rows drawn uniformly, reproducible by seed"
    }

    fn source(&self) -> &'static str {
        "baseline"
    }

    fn needs_head(&self) -> bool {
        false
    }

    fn select(&self, _engine: &dyn Engine, request: &Request<'_>) -> Result<Selection> {
        let budget = request.effective_budget()?;
        let numbers = Philox::new(request.seed, Purpose::Picks, request.round, 0);
        let most = budget.saturating_mul(2).min(request.available.len());
        let mut keyed: Vec<(u64, usize)> = Vec::with_capacity(most);
        let cut = |keyed: &mut Vec<(u64, usize)>| {
            if budget < keyed.len() {
                keyed.select_nth_unstable(budget);
                keyed.truncate(budget);
            }
        };
        for row in request.available.iter() {
            if keyed.len() == most {
                cut(&mut keyed);
            }
            keyed.push((numbers.bits(row as u64), row));
        }
        cut(&mut keyed);
        keyed.sort_unstable();
        Ok(Selection {
            picks: keyed
                .into_iter()
                .map(|(_, row)| Pick::of_row(row))
                .collect(),
            ..Selection::default()
        })
    }
}
