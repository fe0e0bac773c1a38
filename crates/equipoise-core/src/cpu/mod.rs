//! The CPU engine: every kernel's twin, on all cores.
//!
//! One file a kernel, named as its shader: [`logits`], `row_norms`, `row_statistics`, `class_candidates`, `row_keys`, `row_scores`,
//! `nearest`, `gradients`, `nearest_gradient`; what they share is in `row`, and [`twins`] runs them one by one. A block is cut into parts, and a part into strips; a thread
//! makes a strip's logits (`strip`, of `tile`s) and goes over them at once, while they are in its cache. Where it pays, it looks at rows roughly first (`rough`).

mod centres;
mod class_candidates;
mod engine;
mod gradients;
pub mod logits;
mod nearest;
mod nearest_gradient;
mod plan;
pub mod rough;
mod row;
mod row_keys;
mod row_norms;
mod row_scores;
mod row_statistics;
mod scorer;
mod strip;
mod tile;
pub mod twins;

pub use engine::{CpuEngine, CpuProducts};
pub use row_scores::{RowScores, row_scores};
