//! The GPU engine: the WGSL kernels of `equipoise-shaders` on wgpu.
//!
//! [`adapters`] lists what there is, [`Gpu::open`] takes one of them, and [`GpuEngine`] implements
//! [`equipoise_core::Engine`] on it, or on a device that someone else made. Vulkan, Metal and DX12
//! are offered. Device failures are errors, not panics; everything on the device has a label.

mod adapter;
mod bench;
mod block;
mod ceilings;
mod centres;
mod choices;
mod device;
mod device_pool;
mod engine;
mod error;
mod facts;
#[cfg(test)]
mod garbage;
mod head;
mod kernels;
mod parts;
mod plan;
mod resident;
mod row_variants;
mod scorer;
mod scores;
mod timer;
mod upload;

pub use adapter::{AdapterSummary, DeviceChoice, Gpu, adapters, real_gpu};
pub use bench::{KernelBench, KernelTime, KernelVersion, Tuning, tunings};
pub use ceilings::{Ceilings, copy_by_width};
pub use device::Transfers;
pub use device_pool::DevicePool;
pub use engine::GpuEngine;
pub use error::GpuError;
pub use kernels::logits::{LogitBound, LogitsChoice, Storage, Trial, logits_variants, try_logits};
pub use plan::Sizes;
pub use resident::ResidentPool;
pub use row_variants::RowsChoice;
pub use scores::{ScoreTargets, Target};
pub use timer::{Timer, WorkTime};

pub use equipoise_shaders as shaders;
pub use wgpu;
