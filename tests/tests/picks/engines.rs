//! The engines under test.

use equipoise_core::{CpuEngine, CpuProducts, Engine};
use equipoise_gpu::{DeviceChoice, Gpu, GpuEngine};

/// The CPU engine.
pub(crate) fn cpu() -> Box<dyn Engine> {
    Box::new(CpuEngine::new())
}

/// The CPU engine, which looks at rows roughly first.
pub(crate) fn rough() -> Box<dyn Engine> {
    Box::new(CpuEngine::new().with_products(CpuProducts::Int16))
}

/// The GPU engine on any adapter; a software one counts.
#[cfg_attr(
    no_gpu,
    allow(dead_code, reason = "the tests that call it are ignored")
)]
pub(crate) fn gpu() -> Box<dyn Engine> {
    let gpu = Gpu::open(&DeviceChoice::Any).expect("an adapter");
    Box::new(GpuEngine::new(gpu).expect("the engine on it"))
}
