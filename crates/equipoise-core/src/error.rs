//! What can go wrong, with the operands in the message.

use crate::memory::{exactly, rounded_up};

/// Errors of the definitions, engines and strategies.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A shape that does not fit another.
    #[error("{what}: expected {expected}, found {found}")]
    Shape {
        /// What was being looked at.
        what: String,
        /// What would have fitted.
        expected: String,
        /// What was there.
        found: String,
    },
    /// The head has another number of columns than the pool.
    #[error("the head has {head} columns, the pool's embeddings have {pool}")]
    Dimension {
        /// Columns of the head's weight.
        head: usize,
        /// Columns of the embeddings.
        pool: usize,
    },
    /// A NaN or an infinity in an embedding.
    #[error("row {row} of the pool holds a NaN or an infinity")]
    NonFiniteRow {
        /// The first such row.
        row: usize,
    },
    /// A NaN or an infinity in the head.
    #[error("the head holds a NaN or an infinity at class {class}")]
    NonFiniteHead {
        /// The first such class.
        class: usize,
    },
    /// A budget of nothing.
    #[error("the budget is 0")]
    ZeroBudget,
    /// No row left to pick.
    #[error("none of the pool's {rows} rows is available")]
    NothingAvailable {
        /// Rows of the pool.
        rows: usize,
    },
    /// A strategy that needs a head was given none.
    #[error("strategy {strategy} needs a head")]
    HeadMissing {
        /// The strategy's name.
        strategy: &'static str,
    },
    /// A row to begin with that may not be picked.
    #[error("row {row} cannot be picked first: it is labelled, excluded or not in the pool")]
    Start {
        /// The row.
        row: usize,
    },
    /// More partitions than rows, or none.
    #[error("{partitions} partitions of {rows} available rows: there are 1 to {rows}")]
    Partitions {
        /// How many were asked for.
        partitions: usize,
        /// Available rows.
        rows: usize,
    },
    /// Constraints that do not fit the request.
    #[error("constraints: {0}")]
    Constraints(String),
    /// A strategy that reads true labels was given none.
    #[error("strategy {strategy} reads the true labels of the available rows, and there are none")]
    TruthMissing {
        /// The strategy's name.
        strategy: &'static str,
    },
    /// A row without a class, where a strategy needs it.
    #[error("strategy {strategy} needs the class of row {row}, which has none")]
    ClassMissing {
        /// The strategy's name.
        strategy: &'static str,
        /// The first such row.
        row: usize,
    },
    /// A class that the head does not have.
    #[error("row {row} has class {class}, the head has {classes}")]
    ClassUnknown {
        /// The row.
        row: usize,
        /// Its class.
        class: u32,
        /// Classes of the head.
        classes: usize,
    },
    /// A number of clusters that so many rows do not make.
    #[error("{rows} rows cannot make {clusters} clusters")]
    Clusters {
        /// How many clusters were asked for.
        clusters: usize,
        /// How many rows are clustered.
        rows: usize,
    },
    /// Quotas that do not fit the request.
    #[error("quotas: {0}")]
    Quotas(String),
    /// A strategy that has to see the pool more than once, where it comes by only once.
    #[error(
        "strategy {strategy} ranks no rows by themselves: it needs the whole pool, not one batch after another"
    )]
    NotStreamed {
        /// The strategy's name.
        strategy: &'static str,
    },
    /// A stream was used after an error.
    #[error("the stream is of no use after an error: begin another")]
    Broken,
    /// What a score of somebody's own says of its errors is no bound.
    #[error(
        "score {score}: its {what} is {found}, which bounds nothing (hint: it is 0 or more, infinite where there is no \
         bound)"
    )]
    Score {
        /// The score's name.
        score: String,
        /// Which bound.
        what: &'static str,
        /// What it says.
        found: f64,
    },
    /// A score of somebody's own gives a row another key than its bounds allow: picks by it would be wrong.
    #[error(
        "score {score}: the key of row {row} is {key}, its bounds say {lower} to {upper} (hint: compare what its WGSL \
         computes with its key, and both with its steepness and rounding)"
    )]
    ScoreBounds {
        /// The score's name.
        score: String,
        /// Row of the pool.
        row: usize,
        /// The key of the exact logits.
        key: f64,
        /// Lower bound from the computed key.
        lower: f64,
        /// Upper bound from it.
        upper: f64,
    },
    /// The pool could not be read.
    #[error("cannot read the pool at row {row}: {message}")]
    Read {
        /// First row of the chunk.
        row: usize,
        /// What the reader said.
        message: String,
    },
    /// The device failed or refused.
    #[error("device {device}: {message}")]
    Device {
        /// The engine's name.
        device: String,
        /// What it said.
        message: String,
    },
    /// A memory budget that not even the smallest blocks fit.
    #[error(
        "device {device}: {} of memory are too few: it takes at least {} ({needed} bytes)",
        exactly(*.budget), rounded_up(*.needed)
    )]
    MemoryBudget {
        /// The engine's name.
        device: String,
        /// The budget.
        budget: u64,
        /// The least that works.
        needed: u64,
    },
    /// The device's memory does not suffice.
    #[error("device {device} is out of memory: {message}")]
    OutOfMemory {
        /// The engine's name.
        device: String,
        /// What it said.
        message: String,
    },
}
