//! Where a model runs: burn's CPU backend, or a wgpu device that the selection engine shares.
//!
//! burn makes the wgpu device and hands it out, not the other way round: its SPIR-V compiler needs
//! device extensions that a plain `request_device` does not enable. burn registers one device for
//! each adapter and process, so that those opened here are kept.

use std::sync::{Mutex, PoisonError};

use burn::tensor::wgpu::WgpuBackend;
use burn::tensor::{Device, DeviceKind};
use equipoise_gpu::{AdapterSummary, DeviceChoice, Gpu, GpuError, adapters};
use wgpu::{Backend, DeviceType};

use crate::Error;
use crate::selector::remember;

/// A device for models.
#[derive(Debug, Clone)]
pub struct ModelDevice {
    device: Device,
    name: String,
    gpu: Option<Gpu>,
}

/// The GPUs that this process has opened, by graphics API and burn's name for the adapter.
static OPENED: Mutex<Vec<(Backend, DeviceKind, ModelDevice)>> = Mutex::new(Vec::new());

impl ModelDevice {
    /// burn's CPU backend, on rayon's threads.
    pub fn cpu() -> Self {
        Self {
            device: Device::flex(),
            name: "cpu".into(),
            gpu: None,
        }
    }

    /// The adapter that `choice` names. Opened once: asking again gives the same device, on which an engine can run too: see [`Self::shared`].
    ///
    /// # Errors
    /// [`Error::Gpu`] where no adapter fits; [`Error::Device`] where burn can't open it, or
    /// something else in the process gave it to burn already.
    pub fn gpu(choice: &DeviceChoice) -> Result<Self, Error> {
        let adapters = adapters();
        let adapter = chosen(&adapters, choice).ok_or(GpuError::NoAdapter {
            choice: *choice,
            found: adapters.len(),
        })?;
        let kind = kind(&adapters, adapter);
        let failed = |reason: String| Error::Device {
            device: adapter.name.clone(),
            reason,
        };
        // A panic elsewhere while the list was held leaves it as it was.
        let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((.., device)) = opened
            .iter()
            .find(|(backend, other, _)| *backend == adapter.backend && *other == kind)
        {
            return Ok(device.clone());
        }
        let (device, setup) = Device::wgpu_options()
            .device_kind(kind.clone())
            .graphics_api(graphics_api(adapter.backend))
            .init_with_setup()
            .map_err(|error| failed(error.to_string()))?;
        let found = setup.adapter.get_info();
        if found.name != adapter.name {
            return Err(failed(format!(
                "burn reaches only {:?} of its kind",
                found.name
            )));
        }
        let gpu = Gpu {
            instance: setup.instance,
            adapter: setup.adapter,
            device: setup.device,
            queue: setup.queue,
        };
        remember(&device, &gpu);
        let device = Self {
            device,
            name: found.name,
            gpu: Some(gpu),
        };
        opened.push((adapter.backend, kind, device.clone()));
        Ok(device)
    }

    /// What to call it in messages: `cpu`, or the adapter's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The wgpu device that burn uses, for an engine to share; `None` on the CPU.
    pub fn shared(&self) -> Option<Gpu> {
        self.gpu.clone()
    }

    /// Whether models run on a wgpu device.
    pub fn is_gpu(&self) -> bool {
        self.gpu.is_some()
    }

    /// burn's own handle.
    pub fn burn(&self) -> &Device {
        &self.device
    }

    /// An error of this device.
    pub(crate) fn failed(&self, error: impl std::fmt::Display) -> Error {
        Error::Device {
            device: self.name.clone(),
            reason: error.to_string(),
        }
    }
}

/// The adapter that `choice` names; adapters come real GPUs first.
fn chosen<'a>(adapters: &'a [AdapterSummary], choice: &DeviceChoice) -> Option<&'a AdapterSummary> {
    let on = |backend| adapters.iter().find(|adapter| adapter.backend == backend);
    match choice {
        DeviceChoice::Any => adapters.first(),
        DeviceChoice::Index(index) => adapters.get(*index),
        DeviceChoice::Vulkan => on(Backend::Vulkan),
        DeviceChoice::Metal => on(Backend::Metal),
        DeviceChoice::Dx12 => on(Backend::Dx12),
    }
}

/// burn's name for `adapter`: its kind, and its place among those of its kind and graphics API,
/// in the order of the drivers, which [`adapters`] keeps.
fn kind(adapters: &[AdapterSummary], adapter: &AdapterSummary) -> DeviceKind {
    let before = adapters[..adapter.index]
        .iter()
        .filter(|other| other.backend == adapter.backend)
        .filter(|other| other.device_type == adapter.device_type)
        .count();
    match adapter.device_type {
        DeviceType::DiscreteGpu => DeviceKind::DiscreteGpu(before),
        DeviceType::IntegratedGpu => DeviceKind::IntegratedGpu(before),
        DeviceType::VirtualGpu => DeviceKind::VirtualGpu(before),
        DeviceType::Cpu => DeviceKind::Cpu,
        // burn has no name for it; the caller checks which adapter it gets.
        DeviceType::Other => DeviceKind::DefaultDevice,
    }
}

fn graphics_api(backend: Backend) -> WgpuBackend {
    match backend {
        Backend::Vulkan => WgpuBackend::Vulkan,
        Backend::Metal => WgpuBackend::Metal,
        Backend::Dx12 => WgpuBackend::Dx12,
        Backend::Gl => WgpuBackend::Gl,
        Backend::BrowserWebGpu => WgpuBackend::WebGpu,
        Backend::Noop => WgpuBackend::Auto,
    }
}
