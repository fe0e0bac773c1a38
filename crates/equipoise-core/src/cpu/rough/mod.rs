//! A rough look at rows: products of 16-bit integers (`integers`, of `tile`s, after `rounding`), less exact than float32 and, where the processor is
//! made so, faster (`trial`). Most logits need be known no better to be seen not to matter; `refine` makes those that do exact to float32.

pub(super) mod integers;
pub(super) mod refine;
pub(super) mod rounding;
mod tile;
pub(super) mod trial;

pub use integers::Integers;
pub use rounding::RoundedRows;
