//! The CPU engine: every kernel's twin, on all cores.
//!
//! One file a kernel, named as its shader: [`logits`], `row_norms`, `row_statistics`, `class_candidates`,
//! `nearest`; what the last three share is in `row`. A block is cut into parts; a thread makes a part's logits and goes over
//! them at once, while they are in its cache.

mod class_candidates;
pub mod logits;
mod nearest;
mod plan;
mod row;
mod row_norms;
mod row_statistics;
mod scorer;

pub use scorer::CpuEngine;
