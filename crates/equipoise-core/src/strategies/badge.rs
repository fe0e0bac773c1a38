//! BADGE: k-means++ seeding over gradient embeddings, without ever making one.
//!
//! Squared distances only shrink as rows are picked: what they were at the last pass bounds what
//! they are now, so that few rows are weighed for a pick (`draw.rs`), and passes are rare.

use super::{Request, Selection, Strategy};
use crate::draw::{self, Weights, draw, uniform};
use crate::gradients::Gradients;
use crate::memory::ScanShape;
use crate::pick::row_picks_bytes;
use crate::random::{Philox, Purpose};
use crate::{Engine, Head, Pick, Result, RowSet};

/// How many times as many float64 products as an engine's take as long.
const SLOWER: usize = 16;

/// Fewer float64 products than this are not worth a pass.
const WORTH_A_PASS: usize = 1 << 24;

/// Most picks between passes.
const MOST_WAITING: usize = 512;

/// Ash et al., *Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds*, ICLR 2020.
pub struct Badge;

impl Strategy for Badge {
    fn name(&self) -> &'static str {
        "badge"
    }

    fn summary(&self) -> &'static str {
        "k-means++ over gradient embeddings: uncertain rows that differ, drawn by seed"
    }

    fn source(&self) -> &'static str {
        "arXiv 1906.03671"
    }

    fn needs_head(&self) -> bool {
        true
    }

    fn memory(&self, request: &Request<'_>) -> Result<u64> {
        let head = request.head_for(self.name())?;
        let sets = 3 * RowSet::bytes(request.pool.rows());
        let picked = row_picks_bytes(request.effective_budget()?);
        let gradients = Gradients::bytes(request.pool, head, centres(request)?);
        Ok(gradients + draw::bytes(request.pool.rows()) + sets + picked)
    }

    fn scan_shape(&self, request: &Request<'_>) -> Result<Option<ScanShape>> {
        let head = request.head_for(self.name())?;
        Gradients::scan_shape(request.pool, head, centres(request)?).map(Some)
    }

    fn select(&self, engine: &dyn Engine, request: &Request<'_>) -> Result<Selection> {
        let head = request.head_for(self.name())?;
        let budget = request.effective_budget()?;
        let mut weighed = Weighed {
            gradients: Gradients::new(engine, request, head)?,
            products: 0,
            head,
        };
        if !request.fresh_start {
            for labelled in request.labelled {
                weighed.gradients.add(labelled.row)?;
                weighed.gradients.rows.remove(labelled.row);
            }
        }
        // Also finds what is not finite.
        weighed.gradients.look()?;
        let (rows, mut told) = (request.pool.rows() as u64, 0);
        let mut picks = Vec::with_capacity(budget);
        while picks.len() < budget {
            let step = picks.len() as u32;
            let stream = Philox::new(request.seed, Purpose::Badge, request.round, step);
            let left = weighed.gradients.rows.clone();
            let drawn = match weighed.gradients.is_empty() {
                true => uniform(&stream, &left).map(|row| (row, None)),
                false => {
                    draw(&stream, &left, &mut weighed)?.map(|(row, weight)| (row, Some(weight)))
                }
            };
            let Some((row, score)) = drawn else {
                // What is left is not finite.
                break;
            };
            picks.push(Pick {
                score,
                ..Pick::of_row(row)
            });
            weighed.gradients.rows.remove(row);
            weighed.gradients.add(row)?;
            if weighed.is_stale() && picks.len() < budget {
                weighed.products = 0;
                weighed.gradients.pass()?;
            }
            let done = (u128::from(rows) * picks.len() as u128 / budget as u128) as u64;
            (request.progress)(done - told);
            told = done;
        }
        Ok(Selection {
            picks,
            ..weighed.gradients.selection
        })
    }
}

/// Most centres there may come to be.
fn centres(request: &Request<'_>) -> Result<usize> {
    Ok(request.labelled.len() + request.effective_budget()?)
}

/// Distances as weights.
struct Weighed<'a> {
    gradients: Gradients<'a>,
    head: &'a Head,
    /// Products summed in float64 since the last pass.
    products: usize,
}

impl Weighed<'_> {
    /// Whether a pass takes no longer than weighing has, or would take with nothing known.
    fn is_stale(&self) -> bool {
        if self.gradients.is_unseen() {
            return true;
        }
        let (classes, dim) = (self.head.classes(), self.head.dim());
        let waiting = self.gradients.waiting();
        let pass = self.gradients.rows.len() * (classes * dim + waiting * (classes + dim));
        waiting >= MOST_WAITING || self.products > (pass / SLOWER).max(WORTH_A_PASS)
    }
}

impl Weights for Weighed<'_> {
    fn upper(&self) -> &[f32] {
        self.gradients.upper()
    }

    fn weigh(&mut self, row: usize) -> Result<f64> {
        let (classes, dim) = (self.head.classes(), self.head.dim());
        let distances = self.gradients.distances_of(row);
        self.products += classes * dim + distances * (classes + dim);
        self.gradients.settle(row)
    }
}
