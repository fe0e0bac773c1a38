//! A shader as the languages of the backends have it, for tests and for reading.

use naga::back::{hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo};

use crate::custom::checked;
use crate::{Backend, Feature, Shader};

/// What a backend's compiler gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Translation {
    /// SPIR-V 1.3, for Vulkan.
    Words(Vec<u32>),
    /// MSL 2.3 or HLSL, for Metal and DX12.
    Text(String),
}

/// Kernels that run without checks of indices, loops and divisors: `Checks::Proven` in equipoise-gpu.
const UNCHECKED: [&str; 2] = ["logits", "peak"];

/// Translates `shader` for `backend`, with the checks that it runs with (none in `logits` and `peak`) and workgroup memory
/// as it comes. Numbers of bindings and the version of the language are not those that wgpu chooses for a device, nor is it
/// known here which checks a driver makes itself.
///
/// # Errors
/// What naga says, where it cannot: a shader's `backends` are those for which it can.
pub fn translate(shader: &Shader, backend: Backend) -> Result<Translation, String> {
    let checks = !UNCHECKED.contains(&shader.kernel);
    let source = (shader.source, shader.entry);
    translate_source(source, capabilities(shader), checks, backend)
}

/// As [`translate`], of any compute shader with an entry point of that name.
pub(crate) fn translate_source(
    (source, entry): (&str, &str),
    capabilities: Capabilities,
    checks: bool,
    backend: Backend,
) -> Result<Translation, String> {
    let (module, info) = checked(source, capabilities).map_err(|error| error.to_string())?;
    match backend {
        Backend::Vulkan => to_spirv(&module, &info, entry, checks).map(Translation::Words),
        Backend::Metal => to_msl(&module, &info, checks).map(Translation::Text),
        // naga's HLSL writer has no matrices: it panics.
        Backend::Dx12 if source.contains("wgpu_cooperative_matrix") => {
            Err("HLSL has no cooperative matrices".into())
        }
        Backend::Dx12 => to_hlsl(&module, &info, checks).map(Translation::Text),
    }
}

fn capabilities(shader: &Shader) -> Capabilities {
    let needed = shader.features.iter().map(|feature| feature.capability());
    needed.fold(Capabilities::empty(), Capabilities::union)
}

impl Feature {
    /// What naga calls it.
    pub(crate) fn capability(self) -> Capabilities {
        match self {
            Feature::F16 => Capabilities::SHADER_FLOAT16,
            Feature::Matrices => Capabilities::COOPERATIVE_MATRIX,
            Feature::Subgroups => Capabilities::SUBGROUP,
        }
    }
}

/// Of buffers and arrays.
fn bounds(checks: bool) -> BoundsCheckPolicies {
    let policy = match checks {
        true => BoundsCheckPolicy::Restrict,
        false => BoundsCheckPolicy::Unchecked,
    };
    BoundsCheckPolicies {
        index: policy,
        buffer: policy,
        ..Default::default()
    }
}

fn to_spirv(
    module: &naga::Module,
    info: &ModuleInfo,
    entry: &str,
    checks: bool,
) -> Result<Vec<u32>, String> {
    let entry = spv::PipelineOptions {
        shader_stage: naga::ShaderStage::Compute,
        entry_point: entry.into(),
    };
    let options = spv::Options {
        lang_version: (1, 3),
        bounds_check_policies: bounds(checks),
        force_loop_bounding: checks,
        emit_int_div_checks: checks,
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        ..Default::default()
    };
    spv::write_vec(module, info, &options, Some(&entry)).map_err(|e| e.to_string())
}

fn to_msl(module: &naga::Module, info: &ModuleInfo, checks: bool) -> Result<String, String> {
    let options = msl::Options {
        lang_version: (2, 3),
        bounds_check_policies: bounds(checks),
        force_loop_bounding: checks,
        emit_int_div_checks: checks,
        zero_initialize_workgroup_memory: false,
        ..Default::default()
    };
    msl::write_string(module, info, &options, &Default::default())
        .map(|(text, _)| text)
        .map_err(|e| e.to_string())
}

fn to_hlsl(module: &naga::Module, info: &ModuleInfo, checks: bool) -> Result<String, String> {
    let options = hlsl::Options {
        restrict_indexing: checks,
        force_loop_bounding: checks,
        zero_initialize_workgroup_memory: false,
        ..Default::default()
    };
    let pipeline = hlsl::PipelineOptions::default();
    let mut text = String::new();
    hlsl::Writer::new(&mut text, &options, &pipeline)
        .write(module, info, None)
        .map_err(|e| e.to_string())?;
    Ok(text)
}
