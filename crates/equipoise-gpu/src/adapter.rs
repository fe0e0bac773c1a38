//! Which adapters there are, and opening one.

use std::fmt;

use equipoise_shaders::{Feature, Shader};
use wgpu::{Backend, Backends, DeviceType, Features};

use crate::GpuError;
use crate::facts::Facts;
use crate::kernels::logits::{Matrices, lacking_cores};

/// The backends offered: those with compute shaders as the kernels need them.
const BACKENDS: Backends = Backends::VULKAN
    .union(Backends::METAL)
    .union(Backends::DX12);

/// What is made use of where the adapter has it.
const OPTIONAL: Features = Features::SHADER_F16
    .union(Features::SUBGROUP)
    .union(Features::TIMESTAMP_QUERY)
    .union(Features::TIMESTAMP_QUERY_INSIDE_ENCODERS)
    .union(Features::EXPERIMENTAL_COOPERATIVE_MATRIX);

/// Which adapter to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first of [`adapters`]: a real GPU where there is one, a software adapter otherwise.
    Any,
    /// The adapter with this index in [`adapters`].
    Index(usize),
    /// The first on Vulkan.
    Vulkan,
    /// The first on Metal.
    Metal,
    /// The first on DX12.
    Dx12,
}

impl DeviceChoice {
    /// Which of the machine's adapters, as [`adapters`] lists them, it names; `None` where none fits.
    pub fn index(&self, found: &[AdapterSummary]) -> Option<usize> {
        self.place(found.iter().map(|adapter| adapter.backend))
    }

    /// Place among adapters of such backends.
    fn place(&self, mut backends: impl ExactSizeIterator<Item = Backend>) -> Option<usize> {
        let wanted = match self {
            DeviceChoice::Any => return (backends.len() > 0).then_some(0),
            DeviceChoice::Index(index) => return (*index < backends.len()).then_some(*index),
            DeviceChoice::Vulkan => Backend::Vulkan,
            DeviceChoice::Metal => Backend::Metal,
            DeviceChoice::Dx12 => Backend::Dx12,
        };
        backends.position(|backend| backend == wanted)
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Any => f.write_str("gpu"),
            DeviceChoice::Index(index) => write!(f, "gpu:{index}"),
            DeviceChoice::Vulkan => f.write_str("vulkan"),
            DeviceChoice::Metal => f.write_str("metal"),
            DeviceChoice::Dx12 => f.write_str("dx12"),
        }
    }
}

/// What an adapter is, without opening it.
#[derive(Debug, Clone)]
pub struct AdapterSummary {
    /// Place in [`adapters`], for [`DeviceChoice::Index`].
    pub index: usize,
    /// Name, as the driver gives it.
    pub name: String,
    /// Graphics API.
    pub backend: Backend,
    /// Kind of device.
    pub device_type: DeviceType,
    /// Driver and its version.
    pub driver: String,
    /// Whether it is software on the CPU.
    pub software: bool,
    /// Its own limits, which the engine uses.
    pub limits: wgpu::Limits,
    /// What it can do beyond the kernels' needs.
    pub features: wgpu::Features,
}

impl AdapterSummary {
    fn of(index: usize, adapter: &wgpu::Adapter) -> Self {
        let info = adapter.get_info();
        Self {
            index,
            driver: format!("{} {}", info.driver, info.driver_info)
                .trim()
                .into(),
            name: info.name,
            backend: info.backend,
            device_type: info.device_type,
            software: info.device_type == DeviceType::Cpu,
            limits: adapter.limits(),
            features: adapter.features(),
        }
    }
}

/// Every adapter of this machine on Vulkan, Metal or DX12: real GPUs first, software last.
pub fn adapters() -> Vec<AdapterSummary> {
    let found = found(&instance());
    let summaries = found.iter().enumerate();
    summaries
        .map(|(index, adapter)| AdapterSummary::of(index, adapter))
        .collect()
}

/// Index of the adapter that `--device auto` takes: the first real GPU.
pub fn real_gpu() -> Option<usize> {
    adapters()
        .iter()
        .position(|adapter| is_real(adapter.device_type))
}

fn is_real(device_type: DeviceType) -> bool {
    matches!(
        device_type,
        DeviceType::DiscreteGpu | DeviceType::IntegratedGpu | DeviceType::VirtualGpu
    )
}

fn instance() -> wgpu::Instance {
    wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: BACKENDS,
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    })
}

fn found(instance: &wgpu::Instance) -> Vec<wgpu::Adapter> {
    let mut found = pollster::block_on(instance.enumerate_adapters(BACKENDS));
    // A stable sort: adapters of a kind stay in the drivers' order.
    found.sort_by_key(|adapter| match adapter.get_info().device_type {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    });
    found
}

/// An open adapter.
#[derive(Debug, Clone)]
pub struct Gpu {
    /// The instance that the adapter belongs to.
    pub instance: wgpu::Instance,
    /// The adapter.
    pub adapter: wgpu::Adapter,
    /// The device, with the adapter's own limits.
    pub device: wgpu::Device,
    /// Its queue.
    pub queue: wgpu::Queue,
}

impl Gpu {
    /// Opens the adapter that `choice` names.
    ///
    /// # Errors
    /// [`GpuError::NoAdapter`] where none fits, [`GpuError::Request`] where it makes no device.
    pub fn open(choice: &DeviceChoice) -> Result<Gpu, GpuError> {
        let instance = instance();
        let found = found(&instance);
        let none = GpuError::NoAdapter {
            choice: *choice,
            found: found.len(),
        };
        let backends = found.iter().map(|adapter| adapter.get_info().backend);
        let place = choice.place(backends);
        let adapter = place.map(|place| found[place].clone()).ok_or(none)?;
        let (device, queue) = Self::request(&adapter)?;
        Ok(Gpu {
            instance,
            adapter,
            device,
            queue,
        })
    }

    /// What the device does not have of what `shader` needs.
    pub fn lacks(&self, shader: &Shader) -> Option<String> {
        let facts = Facts::of(&self.adapter, &self.device);
        let limits = self.device.limits();
        const SUBGROUP: u32 = Matrices::SUBGROUP;
        let has = |feature: &Feature| match feature {
            Feature::F16 => facts.features.contains(Features::SHADER_F16),
            Feature::Matrices => size_of_matrices(shader)
                .is_some_and(|size| lacking_cores(&facts, size, SUBGROUP).is_none()),
            Feature::Subgroups => facts.has_subgroups(),
        };
        let lanes: u32 = shader.workgroup_size.iter().product();
        let most_lanes = limits.max_compute_invocations_per_workgroup;
        let most_bytes = limits.max_compute_workgroup_storage_size;
        if !facts.runs(shader.backends) {
            return Some(format!("it runs on {:?}", shader.backends));
        }
        if let Some(feature) = shader.features.iter().find(|feature| !has(feature)) {
            return Some(format!("no {feature:?}"));
        }
        if lanes > most_lanes {
            return Some(format!("{lanes} lanes, at most {most_lanes}"));
        }
        let bytes = shader.workgroup_bytes;
        (bytes > most_bytes)
            .then(|| format!("{bytes} bytes of workgroup memory, at most {most_bytes}"))
    }

    /// A device with the adapter's limits and what is optional, or without the latter where the
    /// driver refuses what it offers.
    fn request(adapter: &wgpu::Adapter) -> Result<(wgpu::Device, wgpu::Queue), GpuError> {
        let request = |required_features| {
            pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
                label: Some("equipoise"),
                required_features,
                required_limits: adapter.limits(),
                // SAFETY: of the experimental features only cooperative matrices are asked for,
                // and only our own shaders use them, and kernels that somebody has timed.
                experimental_features: unsafe { wgpu::ExperimentalFeatures::enabled() },
                ..Default::default()
            }))
        };
        request(adapter.features() & OPTIONAL)
            .or_else(|_| request(Features::empty()))
            .map_err(|error| GpuError::Request {
                adapter: adapter.get_info().name,
                message: error.to_string(),
            })
    }
}

/// Rows and columns of the matrices that a shader multiplies by matrix cores.
fn size_of_matrices(shader: &Shader) -> Option<u32> {
    let parsed = shader.own_version(shader.source.into()).ok()?;
    parsed.constants.get("SIZE").copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_name_the_first_adapter_that_fits() {
        let found = [Backend::Dx12, Backend::Vulkan, Backend::Vulkan];
        let place = |choice: DeviceChoice| choice.place(found.into_iter());
        assert_eq!(place(DeviceChoice::Any), Some(0));
        assert_eq!(place(DeviceChoice::Index(2)), Some(2));
        assert_eq!(place(DeviceChoice::Index(3)), None);
        assert_eq!(place(DeviceChoice::Vulkan), Some(1));
        assert_eq!(place(DeviceChoice::Metal), None);
        assert_eq!(place(DeviceChoice::Dx12), Some(0));
        assert_eq!(DeviceChoice::Any.index(&[]), None);
    }
}
