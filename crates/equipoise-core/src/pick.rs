//! What a strategy returns.

/// One selected row, with why. Fields a strategy does not define are `None`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pick {
    /// Row of the pool.
    pub row: usize,
    /// The class whose quota the row fills.
    pub class: Option<u32>,
    /// The strategy's score, in its own unit.
    pub score: Option<f64>,
    /// The class the head predicts.
    pub predicted: Option<u32>,
    /// The class of the nearest decision boundary.
    pub runner_up: Option<u32>,
}

impl Pick {
    /// A pick of which nothing but the row is known.
    pub fn of_row(row: usize) -> Self {
        Self {
            row,
            class: None,
            score: None,
            predicted: None,
            runner_up: None,
        }
    }
}

/// A row that has a label already; the class where the file says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelledRow {
    /// Row of the pool.
    pub row: usize,
    /// Its class.
    pub class: Option<u32>,
}
