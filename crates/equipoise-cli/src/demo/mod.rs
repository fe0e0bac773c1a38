//! What the demo draws, and how it looks at the outcome.

pub(crate) mod backbone;
pub(crate) mod draw;
pub(crate) mod evaluate;
pub(crate) mod figures;
pub(crate) mod images;
pub(crate) mod outcome;
pub(crate) mod sheet;
