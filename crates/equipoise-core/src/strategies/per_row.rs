//! Strategies that rank rows by a score of their own: MASE, margin, confidence, entropy.

use super::shards::Ranking;
use super::{Request, Selection, Strategy};
use crate::definition::RowScore;
use crate::exact;
use crate::lists;
use crate::pick::{number, row_picks_bytes};
use crate::scan::Scan;
use crate::{Engine, Pick, Result};

/// Least distance to a decision boundary, whichever class it belongs to.
pub struct Mase;
/// Least difference between the two most probable classes.
pub struct Margin;
/// Least probability of the most probable class.
pub struct Confidence;
/// Largest entropy of the predicted probabilities.
pub struct Entropy;

macro_rules! per_row_strategy {
    ($type:ty, $score:expr, $name:literal, $summary:literal, $source:literal) => {
        impl Strategy for $type {
            fn name(&self) -> &'static str {
                $name
            }

            fn summary(&self) -> &'static str {
                $summary
            }

            fn source(&self) -> &'static str {
                $source
            }

            fn needs_head(&self) -> bool {
                true
            }

            fn memory(&self, request: &Request<'_>) -> Result<u64> {
                let head = request.head_for($name)?;
                let (budget, rows) = (request.effective_budget()?, request.available.len());
                // The list is gone when the picks are made of its rows.
                let picking = lists::known_bytes(budget, rows) + row_picks_bytes(budget);
                Ok(lists::bytes([budget], rows).max(picking) + exact::bytes(request, head))
            }

            fn ranking(&self) -> Option<Ranking> {
                Some(Ranking::Rows($score))
            }

            fn select(&self, engine: &dyn Engine, request: &Request<'_>) -> Result<Selection> {
                select($name, $score, engine, request)
            }
        }
    };
}

per_row_strategy!(
    Mase,
    RowScore::Mase,
    "mase",
    "rows nearest to any decision boundary of the head",
    "arXiv 2111.12880"
);
per_row_strategy!(
    Margin,
    RowScore::Margin,
    "margin",
    "rows whose two most probable classes are nearly as probable",
    "Scheffer et al., IDA 2001"
);
per_row_strategy!(
    Confidence,
    RowScore::Confidence,
    "confidence",
    "rows whose most probable class is least probable",
    "Lewis and Gale, SIGIR 1994"
);
per_row_strategy!(
    Entropy,
    RowScore::Entropy,
    "entropy",
    "rows whose predicted probabilities have the largest entropy",
    "Settles, Active Learning Literature Survey, 2009"
);

fn select(
    name: &'static str,
    score: RowScore,
    engine: &dyn Engine,
    request: &Request<'_>,
) -> Result<Selection> {
    let head = request.head_for(name)?;
    let budget = request.effective_budget()?;
    let mut scan = Scan::new(engine, request, head)?;
    let (picks, _) = scan.best_rows(score, request.available, budget)?;
    let selection = scan.exact.selection;
    let mut picks: Vec<Pick> = picks.into_iter().map(|(_, pick)| pick).collect();
    number(
        &mut picks,
        request.available.len() - selection.nonfinite.len(),
    );
    Ok(Selection { picks, ..selection })
}
