//! Equipoise: a GPU-native selection engine for active learning.
//!
//! A façade over the crates that do the work:
//! - [`core`]: types, definitions, strategies and the CPU engine;
//! - [`pool`]: embedding stores, heads, labels, image sources, exports;
//! - [`report`]: class counts, balance, tables;
//! - `gpu` (feature `gpu`): the GPU engine on wgpu;
//! - `burn` (feature `burn`): backbones and training;
//! - `rounds` (feature `burn`): rounds of select, label and train, simulated or with people.
//!
//! ```
//! use equipoise::core::strategies::Random;
//! use equipoise::core::{CpuEngine, MemoryPool, Request, RowSet, Strategy, Values};
//!
//! let embeddings = [0.0, 1.0, 1.0, 0.0, 0.5, 0.5];
//! let pool = MemoryPool::new(Values::F32(&embeddings), 2)?;
//! let available = RowSet::all(3);
//! let selection = Random.select(&CpuEngine::new(), &Request::new(&pool, &available, 2))?;
//! assert_eq!(selection.picks.len(), 2);
//! # Ok::<(), equipoise::core::Error>(())
//! ```

#[cfg(feature = "burn")]
pub use equipoise_burn as burn;
pub use equipoise_core as core;
#[cfg(feature = "gpu")]
pub use equipoise_gpu as gpu;
pub use equipoise_pool as pool;
pub use equipoise_report as report;
#[cfg(feature = "burn")]
pub use equipoise_rounds as rounds;
