//! Which device computes.

use std::fmt;
use std::str::FromStr;

use equipoise::burn::ModelDevice;
use equipoise::core::{CpuEngine, Engine};
use equipoise::gpu::{self, DeviceChoice, Gpu, GpuEngine};

use crate::failure::Result;

/// The device that was asked for with `--device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceWish {
    /// A real GPU if there is one, else the CPU.
    Auto,
    /// The CPU engine.
    Cpu,
    /// Any GPU, real ones first; a software adapter counts.
    Gpu,
    /// The adapter of that number.
    Index(usize),
    /// Any adapter of Vulkan.
    Vulkan,
    /// Any adapter of Metal.
    Metal,
    /// Any adapter of Direct3D 12.
    Dx12,
    /// Each of them, one after the other: `bench` alone.
    All,
}

impl FromStr for DeviceWish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "gpu" => Ok(Self::Gpu),
            "vulkan" => Ok(Self::Vulkan),
            "metal" => Ok(Self::Metal),
            "dx12" => Ok(Self::Dx12),
            "all" => Ok(Self::All),
            _ => text
                .strip_prefix("gpu:")
                .and_then(|number| number.parse().ok())
                .map(Self::Index)
                .ok_or_else(|| "one of auto, cpu, gpu, gpu:N, vulkan, metal, dx12".into()),
        }
    }
}

impl fmt::Display for DeviceWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Gpu => f.write_str("gpu"),
            Self::Index(index) => write!(f, "gpu:{index}"),
            Self::Vulkan => f.write_str("vulkan"),
            Self::Metal => f.write_str("metal"),
            Self::Dx12 => f.write_str("dx12"),
            Self::All => f.write_str("all"),
        }
    }
}

/// The device that will be used.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Device {
    /// The CPU.
    Cpu,
    /// An adapter.
    Gpu(DeviceChoice),
}

impl DeviceWish {
    /// What the wish comes to on this machine.
    pub(crate) fn resolve(self) -> Device {
        match self {
            Self::Auto | Self::All => {
                gpu::real_gpu().map_or(Device::Cpu, |index| Device::Gpu(DeviceChoice::Index(index)))
            }
            Self::Cpu => Device::Cpu,
            Self::Gpu => Device::Gpu(DeviceChoice::Any),
            Self::Index(index) => Device::Gpu(DeviceChoice::Index(index)),
            Self::Vulkan => Device::Gpu(DeviceChoice::Vulkan),
            Self::Metal => Device::Gpu(DeviceChoice::Metal),
            Self::Dx12 => Device::Gpu(DeviceChoice::Dx12),
        }
    }
}

impl Device {
    /// The engine on this device.
    ///
    /// # Errors
    /// Where there is no such adapter, or it refuses.
    pub(crate) fn engine(&self) -> Result<Box<dyn Engine>> {
        Ok(match self {
            Device::Cpu => Box::new(CpuEngine::new()),
            Device::Gpu(choice) => Box::new(GpuEngine::new(Gpu::open(choice)?)?),
        })
    }

    /// Where models run on this device.
    ///
    /// # Errors
    /// Where there is no such adapter, or it refuses.
    pub(crate) fn model(&self) -> Result<ModelDevice> {
        Ok(match self {
            Device::Cpu => ModelDevice::cpu(),
            Device::Gpu(choice) => ModelDevice::gpu(choice)?,
        })
    }
}

/// The engine that shares `model`'s device.
///
/// # Errors
/// Where the adapter refuses.
pub(crate) fn engine_beside(model: &ModelDevice) -> Result<Box<dyn Engine>> {
    Ok(match model.shared() {
        Some(gpu) => Box::new(GpuEngine::new(gpu)?),
        None => Box::new(CpuEngine::new()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_read_as_they_print() {
        for text in [
            "auto", "cpu", "gpu", "gpu:3", "vulkan", "metal", "dx12", "all",
        ] {
            assert_eq!(text.parse::<DeviceWish>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_no_device() {
        for text in ["", "GPU", "gpu:", "gpu:x", "gpu:-1", "cuda"] {
            assert!(text.parse::<DeviceWish>().is_err(), "{text}");
        }
    }
}
