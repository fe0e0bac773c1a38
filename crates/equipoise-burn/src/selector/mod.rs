//! Picks for tensors: the selection engine inside a burn project.
//!
//! A [`Selector`] belongs to a burn device. On a wgpu device the engine reads tensors where they are; of the
//! embeddings only rows that float64 has to settle come to the host, but for strategies that need every row there
//! (coreset, badge and their partitioned forms, margin-clustering, balancing), which read them back once. Tensors of
//! any other backend (flex, ndarray, CUDA, …) are read to host memory once, and the CPU engine picks. The picks are
//! the same.
//!
//! | tensors on | engine | embeddings travel |
//! |---|---|---|
//! | wgpu (Vulkan, Metal, DX12; WGSL or SPIR-V; with and without `fusion`) | GPU, same device | not at all |
//! | flex, ndarray | CPU | not at all, or copied within host memory |
//! | CUDA, ROCm, LibTorch, remote | CPU | once, to host memory |

mod batches;
mod handles;
mod head;
mod host_pool;
mod query;
mod rows;
mod scores;

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use equipoise_core::{CpuEngine, Engine, Strategy};
use equipoise_gpu::{DeviceChoice, Gpu, GpuEngine, Transfers};

use crate::{Error, ModelDevice};

pub use batches::BatchScan;
pub(crate) use handles::remember;
pub use head::ToHead;
pub use query::Query;
pub use rows::TensorPool;
pub use scores::Scores;

/// Selects among rows of tensors. Clones share the engine; it may be used from several threads.
///
/// A device that is lost, or fails, is an error of every call. burn's own calls are not ours: on a lost device they may
/// panic, and dropping tensors may wait for it.
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::tensor::{Device, Distribution, Tensor};
/// use equipoise_burn::Selector;
/// use equipoise_core::strategies::Base;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let device = Device::flex();
/// let embeddings = Tensor::<2>::random([100, 8], Distribution::Default, &device);
/// let head = LinearConfig::new(8, 3).init(&device);
///
/// let selector = Selector::new(&device)?;
/// let selection = selector.strategy(Base).budget(6).select(embeddings, &head)?;
/// assert_eq!(selection.picks.len(), 6);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Selector {
    device: Device,
    engine: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Gpu(Arc<GpuEngine>),
    Cpu(CpuEngine),
}

impl Selector {
    /// A selector for tensors on `device`.
    ///
    /// burn gives the handles of a wgpu device away only when it is opened, which this does: make the selector before
    /// the first tensor. Where the device is in use already, [`Selector::with_handles`] takes the handles that
    /// `Device::wgpu_options().init_with_setup()` returned.
    ///
    /// # Errors
    /// [`Error::Handles`] where the device was opened before and its handles are not known; [`Error::Gpu`] where it
    /// lacks what the kernels need.
    pub fn new(device: &Device) -> Result<Self, Error> {
        let device = device.clone().inner();
        let engine = match handles::wgpu_device(&device) {
            Some(of) => Kind::Gpu(handles::engine(&of)?),
            None => Kind::Cpu(CpuEngine::new()),
        };
        Ok(Self { device, engine })
    }

    /// A selector for tensors on a burn device whose wgpu handles the application has: those of
    /// `init_with_setup`, or those that it registered with `WgpuOptions::setup`. They are tried on a small tensor, and
    /// kept for the rest of the process; of a device that has a selector already they are not looked at.
    ///
    /// # Errors
    /// [`Error::Handles`] where `device` is no wgpu device, or `gpu` is another one: a second device of the adapter is;
    /// [`Error::Gpu`] where it lacks what the kernels need.
    pub fn with_handles(device: &Device, gpu: Gpu) -> Result<Self, Error> {
        let device = device.clone().inner();
        let Some(of) = handles::wgpu_device(&device) else {
            return Err(Error::Handles {
                device: format!("{device:?}"),
                reason: "it is no wgpu device".into(),
            });
        };
        let engine = Kind::Gpu(handles::engine_by(&device, &of, gpu)?);
        Ok(Self { device, engine })
    }

    /// A selector on the adapter that `choice` names, and the burn device to make tensors and modules on.
    ///
    /// # Errors
    /// As [`ModelDevice::gpu`], and as [`Selector::new`].
    pub fn gpu(choice: &DeviceChoice) -> Result<(Self, Device), Error> {
        let device = ModelDevice::gpu(choice)?.burn().clone();
        Ok((Self::new(&device)?, device))
    }

    /// burn's device, without autodiff.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The engine that picks: for strategies and operations beyond those of [`Query`].
    pub fn engine(&self) -> &dyn Engine {
        match &self.engine {
            Kind::Gpu(engine) => engine.as_ref(),
            Kind::Cpu(engine) => engine,
        }
    }

    /// Bytes that the GPU engine moved between host and device so far; `None` on the CPU. burn's own are not
    /// counted.
    pub fn transfers(&self) -> Option<Transfers> {
        match &self.engine {
            Kind::Gpu(engine) => Some(engine.transfers()),
            Kind::Cpu(_) => None,
        }
    }

    /// A selection by `strategy`, to be told more of.
    pub fn strategy<'s>(&'s self, strategy: impl Strategy + 's) -> Query<'s> {
        Query::new(self, Box::new(strategy))
    }

    /// The pool that `embeddings`, (n, M) each, are one after the other, for strategies and operations beyond those
    /// of [`Query`]. On a wgpu device it reads the tensors where they are, and keeps them.
    ///
    /// # Errors
    /// [`Error::OtherDevice`] where a tensor is elsewhere, [`Error::Shape`] where their columns or types differ or
    /// there are none; [`Error::Device`] where the device fails.
    pub fn pool(&self, embeddings: Vec<Tensor<2>>) -> Result<TensorPool, Error> {
        let mut pool = None;
        for tensor in embeddings {
            TensorPool::bind(&mut pool, self, tensor)?;
        }
        pool.ok_or(Error::Shape {
            what: "tensors of embeddings",
            expected: "at least one".into(),
            found: "none".into(),
        })
    }
}
