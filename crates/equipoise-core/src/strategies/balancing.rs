//! Balancing: rows near the mean of the rarest class and far from those of frequent ones.

use super::{Request, Selection, Strategy};
use crate::class_means::ClassMeans;
use crate::engine::Task;
use crate::exact;
use crate::exact_sums::ExactSums;
use crate::imbalance::Imbalance;
use crate::memory::ScanShape;
use crate::pick::row_picks_bytes;
use crate::random::{Philox, Purpose};
use crate::ratios::Ratios;
use crate::settle::pool_embedding;
use crate::vectors::{Side, finite_of, squares};
use crate::{Engine, Error, Head, LabelledRow, Pick, Result, RowSet, truth};

/// How balancing deviates from the paper, and from its published code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BalancingOptions {
    /// Which majority mean rows keep away from.
    pub majority: Majority,
    /// As what a pick counts until it is labelled.
    pub labels: PickLabels,
}

/// Which majority mean a row's distance is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Majority {
    /// The nearest, as in the paper.
    #[default]
    Nearest,
    /// The farthest, as in the published code of arXiv 2111.12880.
    Farthest,
}

/// As what a pick counts for the picks after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PickLabels {
    /// As the class that the head predicts: all that can be known before the batch is labelled.
    #[default]
    Predicted,
    /// As its true class, as in the published code: an oracle, for comparison.
    Oracle,
}

/// Aggarwal et al., *Active Learning for Imbalanced Datasets*, WACV 2020. Classes with more labelled rows than
/// the mean are the majority, others the minority. While the rows left to pick are not more than would lift
/// the minority's mean count to the majority's, a pick is the row with the least ratio of squared distances:
/// from the mean of the rarest class (1 where it has no row), over from a majority mean; +∞ where that is 0.
/// Otherwise it is random.
///
/// Means are sums in float64, labelled rows by row and then picks in order, rounded to f32 when divided.
pub struct Balancing;

impl Strategy for Balancing {
    fn name(&self) -> &'static str {
        "balancing"
    }

    fn summary(&self) -> &'static str {
        "while labels are unbalanced, rows near the rarest class's mean and far from frequent ones'; else random"
    }

    fn source(&self) -> &'static str {
        "Aggarwal et al., WACV 2020"
    }

    fn needs_head(&self) -> bool {
        true
    }

    fn memory(&self, request: &Request<'_>) -> Result<u64> {
        let head = request.head_for(self.name())?;
        let (rows, dim) = (request.pool.rows(), head.dim());
        let distances = Ratios::bytes(rows, head.classes(), dim);
        // Of each row its square, its random key and its place in their order.
        let of_rows = (rows * 3 * size_of::<u64>()) as u64;
        let of_rows =
            of_rows + 4 * RowSet::bytes(rows) + row_picks_bytes(request.effective_budget()?);
        let means = ClassMeans::bytes(head.classes(), dim);
        Ok(distances + of_rows + means + exact::bytes(request, head))
    }

    fn scan_shape(&self, request: &Request<'_>) -> Result<Option<ScanShape>> {
        let head = request.head_for(self.name())?;
        ScanShape::of(head, request.pool, Task::Nearest).map(Some)
    }

    fn select(&self, engine: &dyn Engine, request: &Request<'_>) -> Result<Selection> {
        let head = request.head_for(self.name())?;
        let budget = request.effective_budget()?;
        let mut means = labelled_means(request, head.classes())?;
        let classes = PickClasses::new(request, head)?;
        let squares = squares(request.pool)?;
        let is_finite = |row: &usize| squares[*row].is_finite();
        let mut labelled = request.labelled.iter().map(|labelled| labelled.row);
        if let Some(row) = labelled.find(|row| !is_finite(row)) {
            return Err(Error::NonFiniteRow { row });
        }
        let (mut left, nonfinite) = finite_of(request.available, request.nonfinite, &squares)?;
        let budget = budget.min(left.len());
        let mut random = in_random_order(request, &left).into_iter();
        let far = match request.balancing.majority {
            Majority::Nearest => Side::Nearest,
            Majority::Farthest => Side::Farthest,
        };
        let mut ratios = Ratios::new(engine, request, &squares, far);
        let mut picks = Vec::with_capacity(budget);
        let (rows, mut told) = (request.pool.rows() as u64, 0);
        while picks.len() < budget {
            let pick = match Imbalance::of(means.counts(), budget - picks.len()) {
                Some(imbalance) => ratios.least(&imbalance, &means, &left)?,
                None => random.find(|row| left.contains(*row)).map(Pick::of_row),
            };
            let Some(pick) = pick else {
                break;
            };
            left.remove(pick.row);
            let x = pool_embedding(request.pool, pick.row)?;
            let predicted = classes.predicted(&x);
            means.add(classes.counted(pick.row, predicted), &x);
            picks.push(Pick {
                predicted: Some(predicted),
                ..pick
            });
            let done = (u128::from(rows) * picks.len() as u128 / budget as u128) as u64;
            (request.progress)(done - told);
            told = done;
        }
        let mut selection = Selection {
            picks,
            nonfinite,
            oracle: request.balancing.labels == PickLabels::Oracle,
            ..Selection::default()
        };
        selection.add_work(ratios.into_work());
        Ok(selection)
    }
}

/// The means of the labelled rows, each of which needs a class.
fn labelled_means(request: &Request<'_>, classes: usize) -> Result<ClassMeans> {
    let mut labelled = request.labelled.to_vec();
    labelled.sort_unstable_by_key(|labelled| labelled.row);
    let mut means = ClassMeans::new(classes, request.pool.dim());
    for LabelledRow { row, class } in labelled {
        if row >= request.pool.rows() {
            return Err(Error::Shape {
                what: "labelled rows".into(),
                expected: format!("rows of the pool, which has {}", request.pool.rows()),
                found: format!("row {row}"),
            });
        }
        let class = class.ok_or(Error::ClassMissing {
            strategy: Balancing.name(),
            row,
        })?;
        check_class(row, class, classes)?;
        means.add(class as usize, &pool_embedding(request.pool, row)?);
    }
    Ok(means)
}

fn check_class(row: usize, class: u32, classes: usize) -> Result<()> {
    match (class as usize) < classes {
        true => Ok(()),
        false => Err(Error::ClassUnknown {
            row,
            class,
            classes,
        }),
    }
}

/// The rows by their random keys: the first one left is a uniform choice.
fn in_random_order(request: &Request<'_>, rows: &RowSet) -> Vec<usize> {
    let numbers = Philox::new(request.seed, Purpose::Balancing, request.round, 0);
    let mut keyed: Vec<(u64, usize)> = Vec::with_capacity(rows.len());
    keyed.extend(rows.iter().map(|row| (numbers.bits(row as u64), row)));
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, row)| row).collect()
}

/// The classes that picks have and count as.
struct PickClasses<'a> {
    sums: ExactSums<'a>,
    /// The true ones of all available rows, for an oracle.
    truth: Option<&'a [Option<u32>]>,
}

impl<'a> PickClasses<'a> {
    fn new(request: &Request<'a>, head: &'a Head) -> Result<Self> {
        let truth = match request.balancing.labels {
            PickLabels::Predicted => None,
            PickLabels::Oracle => {
                for (row, class) in truth::of_available(Balancing.name(), request)? {
                    check_class(row, class, head.classes())?;
                }
                request.truth
            }
        };
        Ok(Self {
            sums: ExactSums::new(head),
            truth,
        })
    }

    /// The class that the head predicts for a row's embedding.
    fn predicted(&self, x: &[f32]) -> u32 {
        self.sums.exact_rows([x])[0].predicted as u32
    }

    /// The class that a row counts as.
    fn counted(&self, row: usize, predicted: u32) -> usize {
        let known = self.truth.and_then(|truth| truth[row]);
        known.unwrap_or(predicted) as usize
    }
}
