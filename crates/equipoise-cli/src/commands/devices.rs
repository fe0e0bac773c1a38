//! `devices`: the adapters, what they allow, and which one would be used.

use equipoise::gpu::{self, AdapterSummary};
use serde_json::{Value, json};

use crate::console::Console;
use crate::device::{Device, DeviceWish};
use crate::failure::Result;

/// Lists the adapters.
///
/// # Errors
/// Where stdout cannot be written.
pub(crate) fn main(wish: &DeviceWish, console: Console) -> Result<()> {
    let adapters = gpu::adapters();
    let device = wish.resolve();
    let used = device.as_ref().map_err(ToString::to_string);
    let used = used.and_then(|device| device.engine(None).map_err(|error| error.to_string()));
    let (used, problem) = match &used {
        Ok(engine) => (engine.name().to_owned(), None),
        Err(problem) => ("none".to_owned(), Some(problem.clone())),
    };
    let report = json!({
        "adapters": adapters.iter().map(as_json).collect::<Vec<_>>(),
        "cpu_threads": rayon::current_num_threads(),
        "wish": wish.to_string(),
        "used": used,
        "problem": problem,
    });
    console.report(&report, |_| {
        let mut text: String = adapters.iter().map(as_text).collect();
        if adapters.is_empty() {
            text += "no GPU adapter (Vulkan, Metal or DX12) on this machine\n";
        }
        text += &format!("cpu     {} threads\n\n", rayon::current_num_threads());
        text += &format!("--device {wish} uses: {used}\n");
        if let Some(problem) = &problem {
            text += &format!("{problem}\n");
        }
        if matches!(device, Ok(Device::Cpu)) && adapters.iter().any(|adapter| adapter.software) {
            text += "A software adapter is used only when named: --device gpu, gpu:N or vulkan\n";
        }
        text
    })
}

fn as_json(adapter: &AdapterSummary) -> Value {
    let limits = &adapter.limits;
    json!({
        "index": adapter.index,
        "name": adapter.name,
        "backend": adapter.backend.to_string(),
        "kind": format!("{:?}", adapter.device_type),
        "driver": adapter.driver,
        "software": adapter.software,
        "features": features(adapter),
        "limits": {
            "max_buffer_size": limits.max_buffer_size,
            "max_storage_buffer_binding_size": limits.max_storage_buffer_binding_size,
            "max_compute_workgroup_storage_size": limits.max_compute_workgroup_storage_size,
            "max_compute_invocations_per_workgroup": limits.max_compute_invocations_per_workgroup,
            "max_compute_workgroups_per_dimension": limits.max_compute_workgroups_per_dimension,
        },
    })
}

fn as_text(adapter: &AdapterSummary) -> String {
    let limits = &adapter.limits;
    let software = if adapter.software { ", software" } else { "" };
    format!(
        "gpu:{}   {} ({}, {:?}{software}; {})\n        binding {}, buffer {}, workgroup memory {}, {} invocations\n        features: {}\n",
        adapter.index,
        adapter.name,
        adapter.backend,
        adapter.device_type,
        adapter.driver,
        bytes(limits.max_storage_buffer_binding_size),
        bytes(limits.max_buffer_size),
        bytes(limits.max_compute_workgroup_storage_size.into()),
        limits.max_compute_invocations_per_workgroup,
        match features(adapter).as_slice() {
            [] => "none".to_owned(),
            some => some.join(", "),
        },
    )
}

/// The features that the kernels, now or later, make use of.
fn features(adapter: &AdapterSummary) -> Vec<&'static str> {
    use equipoise::gpu::wgpu::Features;
    [
        (Features::SHADER_F16, "f16"),
        (Features::SUBGROUP, "subgroups"),
        (Features::SHADER_INT64, "int64"),
        (
            Features::EXPERIMENTAL_COOPERATIVE_MATRIX,
            "cooperative matrices",
        ),
        (Features::TIMESTAMP_QUERY, "timestamps"),
        (Features::PIPELINE_CACHE, "pipeline cache"),
    ]
    .into_iter()
    .filter(|(feature, _)| adapter.features.contains(*feature))
    .map(|(_, name)| name)
    .collect()
}

/// A number of bytes in the largest binary unit that leaves at least 1.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let tenths = (value * 10.0).round() / 10.0;
    let digits = usize::from(tenths.fract() != 0.0);
    format!("{value:.digits$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn bytes_read_in_binary_units() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(32 << 10), "32 KiB");
        assert_eq!(bytes(128 << 20), "128 MiB");
        assert_eq!(bytes((2 << 30) - 1), "2 GiB");
        assert_eq!(bytes(3 << 29), "1.5 GiB");
    }
}
