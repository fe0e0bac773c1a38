//! Fitting a head: multinomial logistic regression on stored embeddings, with an L2 penalty.
//!
//! Over rows standardised to mean 0 and variance 1 a column, it minimises the mean cross-entropy
//! plus penalty/2 · ‖W‖² (the bias is free) by L-BFGS in float64. What it returns is folded back
//! and applies to embeddings as they are stored. The same input gives the same bits on one
//! machine, however many threads run.

mod lbfgs;
mod objective;
mod split;

use equipoise_core::Head;

use crate::Error;
use crate::labelled::{check_finite, check_labels, check_several_classes};
use objective::Objective;
pub(crate) use objective::Standard;
use split::Split;

/// Penalties tried where none is given, from strong to weak: each start is the last one's end.
const PENALTIES: [f32; 6] = [1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-5];

/// The penalty where none is given and there are too few labels to choose on.
const DEFAULT_PENALTY: f32 = 1e-2;

/// How to fit.
#[derive(Debug, Clone, PartialEq)]
pub struct FitOptions {
    /// Weight of the L2 penalty; `None` chooses the one with the least validation loss.
    pub penalty: Option<f32>,
    /// Share of each class's labels, rounded down, that is kept for validation: in [0, 1).
    pub validation: f32,
    /// Seed of the validation split.
    pub seed: u64,
    /// Most L-BFGS steps for each fit.
    pub steps: usize,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self {
            penalty: None,
            validation: 0.2,
            seed: 0,
            steps: 200,
        }
    }
}

/// A fitted head and how well it does.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Fit {
    /// The head, fitted with `penalty` on all labelled rows, those of the validation split too.
    pub head: Head,
    /// The penalty used.
    pub penalty: f32,
    /// Share of all labelled rows that `head` gets right.
    pub train_accuracy: f64,
    /// Share of the validation rows that a head gets right which was fitted, with `penalty`, on the
    /// others; `None` where no row was kept for validation.
    pub validation_accuracy: Option<f64>,
    /// Number of validation rows.
    pub validation_rows: usize,
    /// Classes without any label. They keep their slots: weight 0 over standardised rows, and a
    /// bias too low for any labelled row to be predicted as one of them.
    pub missing_classes: Vec<u32>,
    /// L-BFGS steps of the last fit.
    pub steps: usize,
    /// Whether it converged within [`FitOptions::steps`].
    pub converged: bool,
}

/// Fits a head of `classes` classes to `labels.len()` rows of `dim` numbers.
///
/// # Errors
/// [`Error::Shape`] where the lengths don't agree; [`Error::Option`]; [`Error::NoLabels`];
/// [`Error::SingleClass`]; [`Error::LabelRange`]; [`Error::NonFinite`], naming the first row.
pub fn fit(
    embeddings: &[f32],
    dim: usize,
    labels: &[u32],
    classes: usize,
    options: &FitOptions,
) -> Result<Fit, Error> {
    check(embeddings, dim, labels, classes, options)?;
    let (slots, present) = present_classes(labels, classes);
    let rows = Rows {
        embeddings,
        dim,
        slots: &slots,
        classes: present.len(),
    };
    let split = Split::stratified(&slots, present.len(), options.validation, options.seed);
    let chosen = choose(&rows, &split, options);
    let all: Vec<usize> = (0..labels.len()).collect();
    let standard = Standard::of(embeddings, dim, &all);
    let objective = Objective::new(&rows, &all, &standard, chosen.penalty);
    let start = vec![0.0; objective.parameters()];
    let found = lbfgs::minimise(&objective, start, options.steps);
    let score = objective.score(&found.parameters);
    let head = fold(
        &found.parameters,
        &standard,
        &present,
        classes,
        score.log_sum_exp,
        labels,
    )?;
    Ok(Fit {
        head,
        penalty: chosen.penalty,
        train_accuracy: score.accuracy,
        validation_accuracy: chosen.accuracy,
        validation_rows: split.validation.len(),
        missing_classes: missing(&present, classes),
        steps: found.steps,
        converged: found.converged,
    })
}

/// Labelled rows; labels are slots among the classes that have any.
pub(crate) struct Rows<'a> {
    embeddings: &'a [f32],
    dim: usize,
    slots: &'a [u32],
    classes: usize,
}

fn check(
    embeddings: &[f32],
    dim: usize,
    labels: &[u32],
    classes: usize,
    options: &FitOptions,
) -> Result<(), Error> {
    if dim == 0 || labels.len().checked_mul(dim) != Some(embeddings.len()) {
        return Err(Error::Shape {
            what: "embeddings",
            expected: format!(
                "{} labelled rows of {dim} numbers, at least 1",
                labels.len()
            ),
            found: format!("{} numbers", embeddings.len()),
        });
    }
    let option = |option, value: String, hint| Error::Option {
        option,
        value,
        hint,
    };
    if let Some(penalty) = options.penalty
        && !(penalty.is_finite() && penalty > 0.0)
    {
        let hint = "a positive number, 0.01 for example";
        return Err(option("penalty", penalty.to_string(), hint));
    }
    if !(0.0..1.0).contains(&options.validation) {
        let hint = "a share from 0 to below 1, 0.2 for example";
        return Err(option("validation", options.validation.to_string(), hint));
    }
    if options.steps == 0 {
        return Err(option("steps", "0".into(), "at least 1"));
    }
    check_labels(labels, classes)?;
    check_several_classes(labels)?;
    check_finite(embeddings, dim)
}

/// Each label's slot among the classes that have labels, and those classes, ascending.
fn present_classes(labels: &[u32], classes: usize) -> (Vec<u32>, Vec<u32>) {
    let mut has = vec![false; classes];
    for label in labels {
        has[*label as usize] = true;
    }
    let present: Vec<u32> = (0..classes as u32).filter(|c| has[*c as usize]).collect();
    let mut slot_of = vec![0; classes];
    for (slot, class) in present.iter().enumerate() {
        slot_of[*class as usize] = slot as u32;
    }
    let slots = labels.iter().map(|label| slot_of[*label as usize]);
    (slots.collect(), present)
}

fn missing(present: &[u32], classes: usize) -> Vec<u32> {
    let is_missing = |class: &u32| present.binary_search(class).is_err();
    (0..classes as u32).filter(is_missing).collect()
}

/// A penalty, and the accuracy on the validation rows that it reaches.
struct Chosen {
    penalty: f32,
    accuracy: Option<f64>,
}

/// The given penalty, or that of [`PENALTIES`] with the least loss on the validation rows.
fn choose(rows: &Rows<'_>, split: &Split, options: &FitOptions) -> Chosen {
    if split.validation.is_empty() {
        return Chosen {
            penalty: options.penalty.unwrap_or(DEFAULT_PENALTY),
            accuracy: None,
        };
    }
    let candidates = match &options.penalty {
        Some(penalty) => std::slice::from_ref(penalty),
        None => &PENALTIES,
    };
    let standard = Standard::of(rows.embeddings, rows.dim, &split.train);
    let mut parameters = None;
    let mut best: Option<(f64, Chosen)> = None;
    for &penalty in candidates {
        let training = Objective::new(rows, &split.train, &standard, penalty);
        let start = parameters.unwrap_or_else(|| vec![0.0; training.parameters()]);
        let found = lbfgs::minimise(&training, start, options.steps);
        let validation = Objective::new(rows, &split.validation, &standard, penalty);
        let score = validation.score(&found.parameters);
        if best.as_ref().is_none_or(|(loss, _)| score.loss < *loss) {
            let accuracy = Some(score.accuracy);
            best = Some((score.loss, Chosen { penalty, accuracy }));
        }
        parameters = Some(found.parameters);
    }
    // Every loss is finite or the first stands; there is at least one candidate.
    best.map_or(
        Chosen {
            penalty: DEFAULT_PENALTY,
            accuracy: None,
        },
        |(_, chosen)| chosen,
    )
}

/// The head over raw embeddings: W/σ and b − W·(μ/σ). A missing class gets weight 0 and a bias
/// below the least log Σ exp(z) by ln(rows + classes): its softmax is then below 1/(rows + classes)
/// for each labelled row, and some present class's logit is above it.
fn fold(
    parameters: &[f64],
    standard: &Standard,
    present: &[u32],
    classes: usize,
    log_sum_exp: f64,
    labels: &[u32],
) -> Result<Head, Error> {
    let dim = standard.mean.len();
    let low = log_sum_exp - ((labels.len() + classes) as f64).ln();
    let mut weight = vec![0.0f32; classes * dim];
    let mut bias = vec![low as f32; classes];
    let (weights, biases) = parameters.split_at(present.len() * dim);
    for (slot, class) in present.iter().enumerate() {
        let class = *class as usize;
        let mut offset = biases[slot];
        for column in 0..dim {
            let raw = weights[slot * dim + column] * standard.scale[column];
            weight[class * dim + column] = raw as f32;
            offset -= raw * standard.mean[column];
        }
        bias[class] = offset as f32;
    }
    Ok(Head::new(weight, bias, dim)?)
}

#[cfg(test)]
mod tests;
