//! Which device computes.

use std::fmt;
use std::str::FromStr;

use equipoise::burn::ModelDevice;
use equipoise::core::combined::Several;
use equipoise::core::{CpuEngine, Engine};
use equipoise::gpu::{self, AdapterSummary, DeviceChoice, Gpu, GpuEngine};

use crate::failure::{Failure, Result};

/// The device that was asked for with `--device`.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Every real GPU.
    All,
    /// These, which share a scan.
    Several(Vec<DeviceWish>),
}

impl FromStr for DeviceWish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains(',') {
            let wishes: Vec<Self> = text.split(',').map(str::parse).collect::<Result<_, _>>()?;
            if wishes.contains(&Self::All) || wishes.contains(&Self::Auto) {
                return Err("auto and all stand alone".into());
            }
            let twice = |(i, wish)| wishes[..i].contains(wish);
            if let Some((_, wish)) = wishes.iter().enumerate().find(|pair| twice(*pair)) {
                return Err(format!("{wish} is named twice"));
            }
            return Ok(Self::Several(wishes));
        }
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
                .ok_or_else(|| {
                    "one of auto, cpu, gpu, gpu:N, vulkan, metal, dx12, all, or several with commas"
                        .into()
                }),
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
            Self::Several(wishes) => {
                let wishes: Vec<String> = wishes.iter().map(ToString::to_string).collect();
                f.write_str(&wishes.join(","))
            }
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
    /// These, which share a scan.
    Several(Vec<Device>),
}

impl DeviceWish {
    /// What the wish comes to on this machine.
    ///
    /// # Errors
    /// Where all GPUs are asked for and there is none, and where one is named twice.
    pub(crate) fn resolve(&self) -> Result<Device> {
        Ok(match self {
            Self::Auto => {
                gpu::real_gpu().map_or(Device::Cpu, |index| Device::Gpu(DeviceChoice::Index(index)))
            }
            Self::Cpu => Device::Cpu,
            Self::Gpu => Device::Gpu(DeviceChoice::Any),
            Self::Index(index) => Device::Gpu(DeviceChoice::Index(*index)),
            Self::Vulkan => Device::Gpu(DeviceChoice::Vulkan),
            Self::Metal => Device::Gpu(DeviceChoice::Metal),
            Self::Dx12 => Device::Gpu(DeviceChoice::Dx12),
            Self::All => {
                let found = gpu::adapters();
                let real = found.iter().filter(|adapter| !adapter.software);
                let all: Vec<Device> = real
                    .map(|adapter| Device::Gpu(DeviceChoice::Index(adapter.index)))
                    .collect();
                match all.len() {
                    0 => {
                        let hint = match found.is_empty() {
                            true => "`--device cpu` needs none",
                            false => {
                                "a software adapter has to be named, as `--device gpu:0`; `equipoise devices` lists them"
                            }
                        };
                        let failure = Failure::new("--device all: there is no real GPU");
                        return Err(failure.with_hint(hint));
                    }
                    1 => all[0].clone(),
                    _ => Device::Several(all),
                }
            }
            Self::Several(wishes) => {
                let devices = wishes
                    .iter()
                    .map(Self::resolve)
                    .collect::<Result<Vec<_>>>()?;
                if let Some((first, second)) = twice(&devices, &gpu::adapters()) {
                    return Err(Failure::usage(format!(
                        "--device {self}: {first} and {second} are one adapter"
                    ))
                    .with_hint("name each once; `equipoise devices` lists them"));
                }
                Device::Several(devices)
            }
        })
    }
}

/// Two choices among `devices` that are the same adapter of those found.
fn twice(devices: &[Device], found: &[AdapterSummary]) -> Option<(DeviceChoice, DeviceChoice)> {
    let chosen = devices.iter().filter_map(|device| match device {
        Device::Gpu(choice) => Some((choice.index(found)?, *choice)),
        _ => None,
    });
    let mut earlier: Vec<(usize, DeviceChoice)> = Vec::new();
    for (index, choice) in chosen {
        if let Some((_, first)) = earlier.iter().find(|(known, _)| *known == index) {
            return Some((*first, choice));
        }
        earlier.push((index, choice));
    }
    None
}

impl Device {
    /// How many adapters it is.
    pub(crate) fn gpus(&self) -> usize {
        match self {
            Device::Cpu => 0,
            Device::Gpu(_) => 1,
            Device::Several(devices) => devices.iter().map(Self::gpus).sum(),
        }
    }

    /// The engine on this device, within `memory` bytes of the host's and of each device's memory.
    ///
    /// # Errors
    /// Where there is no such adapter, or it refuses.
    pub(crate) fn engine(&self, memory: Option<u64>) -> Result<Box<dyn Engine>> {
        self.sharing(memory, 1)
    }

    /// The same as one of `engines` that share the host's part of `memory`.
    fn sharing(&self, memory: Option<u64>, engines: u64) -> Result<Box<dyn Engine>> {
        Ok(match (self, memory) {
            (Device::Cpu, None) => Box::new(CpuEngine::new()),
            (Device::Cpu, Some(bytes)) => Box::new(CpuEngine::with_memory(bytes).sharing(engines)),
            (Device::Gpu(choice), memory) => Box::new(gpu_engine(choice, memory)?.sharing(engines)),
            (Device::Several(devices), memory) => {
                let all = engines * devices.len() as u64;
                let engines = devices.iter().map(|device| device.sharing(memory, all));
                Box::new(Several::new(engines.collect::<Result<_>>()?))
            }
        })
    }

    /// Where models run on this device.
    ///
    /// # Errors
    /// Where there is no such adapter, or it refuses; where there are several.
    pub(crate) fn model(&self) -> Result<ModelDevice> {
        Ok(match self {
            Device::Cpu => ModelDevice::cpu(),
            Device::Gpu(choice) => ModelDevice::gpu(choice)?,
            Device::Several(_) => {
                return Err(Failure::usage("a model runs on one device")
                    .with_hint("several devices share the scan of `equipoise select`"));
            }
        })
    }
}

/// The engine on an adapter.
///
/// # Errors
/// Where there is no such adapter, or it refuses.
pub(crate) fn gpu_engine(choice: &DeviceChoice, memory: Option<u64>) -> Result<GpuEngine> {
    let gpu = Gpu::open(choice)?;
    Ok(match memory {
        Some(bytes) => GpuEngine::with_memory(gpu, bytes)?,
        None => GpuEngine::new(gpu)?,
    })
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
            "auto",
            "cpu",
            "gpu",
            "gpu:3",
            "vulkan",
            "metal",
            "dx12",
            "all",
            "gpu:0,gpu:1,cpu",
        ] {
            assert_eq!(text.parse::<DeviceWish>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_no_device() {
        for text in [
            "",
            "GPU",
            "gpu:",
            "gpu:x",
            "gpu:-1",
            "cuda",
            "cpu,",
            "gpu:0,gpu:0",
            "all,cpu",
        ] {
            assert!(text.parse::<DeviceWish>().is_err(), "{text}");
        }
    }
}
