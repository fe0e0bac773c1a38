//! The devices that are measured.

use std::collections::BTreeMap;
use std::time::Duration;

use equipoise::core::{CpuCeilings, CpuEngine, Engine};
use equipoise::gpu::wgpu::DeviceType;
use equipoise::gpu::{self, DeviceChoice, Gpu, GpuEngine, Timer};

use super::record::{Ceilings, DeviceRecord};
use crate::device::{Device, DeviceWish};
use crate::failure::Result;

/// Least time that ceilings are measured for: short runs find none.
const LEAST: Duration = Duration::from_millis(400);

/// A device, open.
pub(super) enum Target {
    Cpu(CpuEngine),
    Gpu {
        choice: DeviceChoice,
        gpu: Box<Gpu>,
        engine: Box<GpuEngine>,
    },
}

/// The devices that were asked for: one, or with `all` the CPU and every real GPU (software adapters
/// where there is none).
///
/// # Errors
/// Where there is no such adapter, or it refuses.
pub(super) fn open(wish: &DeviceWish) -> Result<Vec<Target>> {
    if *wish != DeviceWish::All {
        return targets(&wish.resolve()?);
    }
    let adapters = gpu::adapters();
    let real = adapters.iter().any(|adapter| !adapter.software);
    let chosen = adapters.iter().filter(|adapter| adapter.software != real);
    let chosen = chosen.map(|adapter| Device::Gpu(DeviceChoice::Index(adapter.index)));
    targets(&Device::Several(
        std::iter::once(Device::Cpu).chain(chosen).collect(),
    ))
}

/// Several devices are measured one after the other.
fn targets(device: &Device) -> Result<Vec<Target>> {
    Ok(match device {
        Device::Cpu => vec![Target::Cpu(CpuEngine::new())],
        Device::Gpu(choice) => vec![Target::on_gpu(*choice)?],
        Device::Several(devices) => {
            let all = devices.iter().map(targets);
            all.collect::<Result<Vec<_>>>()?
                .into_iter()
                .flatten()
                .collect()
        }
    })
}

impl Target {
    /// The engine on it.
    pub(super) fn engine(&self) -> &dyn Engine {
        match self {
            Target::Cpu(engine) => engine,
            Target::Gpu { engine, .. } => engine.as_ref(),
        }
    }

    /// Whether it is an adapter in software.
    pub(super) fn is_software(&self) -> bool {
        match self {
            Target::Cpu(_) => false,
            Target::Gpu { gpu, .. } => gpu.adapter.get_info().device_type == DeviceType::Cpu,
        }
    }

    /// Whether nothing runs on it any more.
    pub(super) fn is_lost(&self) -> bool {
        match self {
            Target::Cpu(_) => false,
            Target::Gpu { gpu, .. } => {
                let timer = Timer::new(&gpu.device, &gpu.queue);
                timer.time(|_| Ok(())).is_err()
            }
        }
    }

    /// The same device, opened once more.
    ///
    /// # Errors
    /// Where it does not open.
    pub(super) fn reopened(&self) -> Result<Self> {
        let Target::Gpu { choice, .. } = self else {
            return Ok(Target::Cpu(CpuEngine::new()));
        };
        Self::on_gpu(*choice)
    }

    fn on_gpu(choice: DeviceChoice) -> Result<Self> {
        let gpu = Gpu::open(&choice)?;
        Ok(Target::Gpu {
            choice,
            engine: Box::new(GpuEngine::new(gpu.clone())?),
            gpu: Box::new(gpu),
        })
    }

    /// What it is. `known` are devices from whose names its own has to differ.
    pub(super) fn describe(&self, processor: &str, known: &[DeviceRecord]) -> DeviceRecord {
        let Target::Gpu { gpu, .. } = self else {
            return DeviceRecord {
                device: self.engine().name().into(),
                name: processor.into(),
                driver: None,
                backend: None,
                software: false,
                features: Vec::new(),
                limits: BTreeMap::new(),
                ceilings: None,
            };
        };
        let info = gpu.adapter.get_info();
        let base = format!("{} ({})", info.name, info.backend);
        let same = known.iter().filter(|device| device.name == info.name);
        DeviceRecord {
            device: match same.count() {
                0 => base,
                others => format!("{base} #{}", others + 1),
            },
            driver: Some(format!("{} {}", info.driver, info.driver_info)),
            backend: Some(info.backend.to_string()),
            software: self.is_software(),
            features: features(gpu),
            limits: limits(gpu),
            ceilings: None,
            name: info.name,
        }
    }

    /// Its ceilings, measured.
    ///
    /// # Errors
    /// Where the device fails.
    pub(super) fn ceilings(&self, budget: Duration) -> Result<Ceilings> {
        let budget = budget.max(LEAST);
        Ok(match self {
            Target::Cpu(_) => {
                let found = CpuCeilings::measure(budget);
                Ceilings {
                    fma_gflops: found.fma_gflops,
                    matrix_gflops: None,
                    copy_gbytes: found.copy_gbytes,
                    upload_gbytes: None,
                    copy_by_width: BTreeMap::new(),
                    device_clock: false,
                }
            }
            Target::Gpu { gpu, .. } => {
                let found = gpu::Ceilings::measure(gpu, budget)?;
                Ceilings {
                    fma_gflops: found.fma_gflops,
                    matrix_gflops: found.matrix_gflops,
                    copy_gbytes: found.copy_gbytes,
                    upload_gbytes: Some(found.upload_gbytes),
                    copy_by_width: gpu::copy_by_width(gpu, budget / 4)?.into_iter().collect(),
                    device_clock: found.device_clock,
                }
            }
        })
    }
}

/// Names of the features that the device was opened with.
fn features(gpu: &Gpu) -> Vec<String> {
    let names = gpu.device.features().iter_names();
    names.map(|(name, _)| name.to_string()).collect()
}

/// The limits that compute shaders meet, and the sizes of subgroups.
fn limits(gpu: &Gpu) -> BTreeMap<String, u64> {
    let (of, info) = (gpu.device.limits(), gpu.adapter.get_info());
    let named: [(&str, u64); 13] = [
        ("max_buffer_size", of.max_buffer_size),
        (
            "max_storage_buffer_binding_size",
            of.max_storage_buffer_binding_size,
        ),
        (
            "max_storage_buffers_per_shader_stage",
            of.max_storage_buffers_per_shader_stage.into(),
        ),
        (
            "max_compute_workgroup_storage_size",
            of.max_compute_workgroup_storage_size.into(),
        ),
        (
            "max_compute_invocations_per_workgroup",
            of.max_compute_invocations_per_workgroup.into(),
        ),
        (
            "max_compute_workgroup_size_x",
            of.max_compute_workgroup_size_x.into(),
        ),
        (
            "max_compute_workgroup_size_y",
            of.max_compute_workgroup_size_y.into(),
        ),
        (
            "max_compute_workgroup_size_z",
            of.max_compute_workgroup_size_z.into(),
        ),
        (
            "max_compute_workgroups_per_dimension",
            of.max_compute_workgroups_per_dimension.into(),
        ),
        (
            "min_storage_buffer_offset_alignment",
            of.min_storage_buffer_offset_alignment.into(),
        ),
        (
            "min_uniform_buffer_offset_alignment",
            of.min_uniform_buffer_offset_alignment.into(),
        ),
        ("subgroup_min_size", info.subgroup_min_size.into()),
        ("subgroup_max_size", info.subgroup_max_size.into()),
    ];
    named
        .into_iter()
        .map(|(name, value)| (name.to_string(), value))
        .collect()
}
