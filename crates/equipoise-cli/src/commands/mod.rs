//! What was meant, and how it is done: a `Job`, a `run` that does it, a `main` that prints its report.

pub(crate) mod about;
pub(crate) mod bench;
pub(crate) mod compare;
pub(crate) mod constraints;
pub(crate) mod demo;
pub(crate) mod devices;
pub(crate) mod embed;
pub(crate) mod explain;
pub(crate) mod fit;
mod input;
pub(crate) mod inspect;
pub(crate) mod join;
pub(crate) mod machine;
mod memory_plan;
pub(crate) mod merge;
mod output;
pub(crate) mod question;
mod report;
pub(crate) mod round;
pub(crate) mod scan;
pub(crate) mod select;
pub(crate) mod simulate;
pub(crate) mod strategy_options;
