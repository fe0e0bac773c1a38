//! A shader as the languages of the backends have it, for tests and for reading.

use naga::back::{hlsl, msl, spv};
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

/// Translates `shader` for `backend`, with naga's default options.
///
/// # Errors
/// What naga says, where it cannot: a shader's `backends` are those for which it can.
pub fn translate(shader: &Shader, backend: Backend) -> Result<Translation, String> {
    translate_source(shader.source, shader.entry, capabilities(shader), backend)
}

/// As [`translate`], of any compute shader with an entry point of that name.
pub(crate) fn translate_source(
    source: &str,
    entry: &str,
    capabilities: Capabilities,
    backend: Backend,
) -> Result<Translation, String> {
    let (module, info) = checked(source, capabilities).map_err(|error| error.to_string())?;
    match backend {
        Backend::Vulkan => to_spirv(&module, &info, entry).map(Translation::Words),
        Backend::Metal => to_msl(&module, &info).map(Translation::Text),
        // naga's HLSL writer has no matrices: it panics.
        Backend::Dx12 if source.contains("wgpu_cooperative_matrix") => {
            Err("HLSL has no cooperative matrices".into())
        }
        Backend::Dx12 => to_hlsl(&module, &info).map(Translation::Text),
    }
}

fn capabilities(shader: &Shader) -> Capabilities {
    let needed = shader.features.iter().map(|feature| match feature {
        Feature::F16 => Capabilities::SHADER_FLOAT16,
        Feature::Matrices => Capabilities::COOPERATIVE_MATRIX,
        Feature::Subgroups => Capabilities::SUBGROUP,
    });
    needed.fold(Capabilities::empty(), Capabilities::union)
}

fn to_spirv(module: &naga::Module, info: &ModuleInfo, entry: &str) -> Result<Vec<u32>, String> {
    let entry = spv::PipelineOptions {
        shader_stage: naga::ShaderStage::Compute,
        entry_point: entry.into(),
    };
    let options = spv::Options {
        lang_version: (1, 3),
        ..Default::default()
    };
    spv::write_vec(module, info, &options, Some(&entry)).map_err(|e| e.to_string())
}

fn to_msl(module: &naga::Module, info: &ModuleInfo) -> Result<String, String> {
    let options = msl::Options {
        lang_version: (2, 3),
        ..Default::default()
    };
    msl::write_string(module, info, &options, &Default::default())
        .map(|(text, _)| text)
        .map_err(|e| e.to_string())
}

fn to_hlsl(module: &naga::Module, info: &ModuleInfo) -> Result<String, String> {
    let (options, pipeline) = (hlsl::Options::default(), hlsl::PipelineOptions::default());
    let mut text = String::new();
    hlsl::Writer::new(&mut text, &options, &pipeline)
        .write(module, info, None)
        .map_err(|e| e.to_string())?;
    Ok(text)
}
