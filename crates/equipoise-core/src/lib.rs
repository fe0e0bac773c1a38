//! Types, definitions, strategies and the CPU engine of Equipoise.
//!
//! Nothing here does IO, knows a GPU or depends on burn. A [`Strategy`] asks an [`Engine`] for
//! operations over a [`Pool`] and a [`Head`] and returns [`Pick`]s; [`definition`] says, plainly
//! and slowly, what every score is.

mod boundary_sums;
mod candidates;
mod ceilings;
mod centres;
mod class_means;
mod clustering;
pub mod combined;
mod constraints;
mod coverage;
pub mod cpu;
mod custom_score;
pub mod definition;
mod distances;
mod draw;
pub mod engine;
mod error;
mod exact;
mod exact_sums;
pub mod explain;
mod gradients;
mod head;
mod imbalance;
mod interval;
mod known;
mod lists;
pub mod memory;
mod nth_smallest;
mod operations;
mod pick;
mod pool;
mod predictions;
pub mod quota;
pub mod random;
mod ratios;
mod round_robin;
mod rows;
mod scale;
mod scan;
mod settle;
mod start;
pub mod strategies;
mod stream;
mod tolerance;
mod truth;
mod turns;
mod vectorised;
mod vectors;

pub use ceilings::CpuCeilings;
pub use clustering::{ClusterOptions, Linkage};
pub use constraints::{Constraints, Groups, Shortfall};
pub use coverage::coverage_radius;
pub use cpu::{CpuEngine, CpuProducts};
pub use definition::RowScore;
pub use engine::{
    Answer, Candidate, CustomScore, Engine, Question, Rounding, RowStatistics, Scorer,
};
pub use error::Error;
pub use head::Head;
pub use operations::{Operations, RowOrder};
pub use pick::{LabelledRow, Pick};
pub use pool::{Chunk, MemoryPool, Pool, Values};
pub use predictions::predictions;
pub use rows::RowSet;
pub use start::Start;
pub use strategies::{Request, Selection, Strategy};
pub use stream::{Stream, StreamOptions};

/// Result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;
