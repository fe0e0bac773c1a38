//! The WGSL of Equipoise.
//!
//! `wgsl/` holds one file a kernel and the few imports they share. The build script joins them,
//! validates the result with naga (an invalid shader fails the build) and generates the table
//! here, the kernels' constants and assertions that the parameter structs agree with the layouts
//! that naga computes.

mod custom;
mod own;
mod parameters;
mod translate;

pub use custom::{CustomError, row_keys_with};
pub use own::{OwnShader, own_version};
pub use parameters::{
    GradientParameters, LogitsParameters, NormsParameters, PeakParameters, RowParameters,
};
pub use translate::{Translation, translate};

/// A graphics API that a shader can be translated for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Through SPIR-V.
    Vulkan,
    /// Through MSL.
    Metal,
    /// Through HLSL.
    Dx12,
}

impl Backend {
    /// Every backend.
    pub const ALL: &[Backend] = &[Backend::Vulkan, Backend::Metal, Backend::Dx12];
}

/// What a shader needs of a device beyond what every device has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// `enable f16`.
    F16,
    /// `enable wgpu_cooperative_matrix`.
    Matrices,
    /// Operations of subgroups.
    Subgroups,
}

impl Feature {
    /// Every feature.
    pub const ALL: &[Feature] = &[Feature::F16, Feature::Matrices, Feature::Subgroups];
}

/// A validated compute shader with one entry point.
#[derive(Debug, Clone, Copy)]
pub struct Shader {
    /// The kernel's name: that of its file, its wrapper and its CPU twin.
    pub kernel: &'static str,
    /// Which variant of the kernel; empty where there is one.
    pub variant: &'static str,
    /// Plain WGSL.
    pub source: &'static str,
    /// Name of the entry point.
    pub entry: &'static str,
    /// Lanes of a workgroup in each dimension.
    pub workgroup_size: [u32; 3],
    /// Workgroup memory in bytes.
    pub workgroup_bytes: u32,
    /// Storage buffers bound.
    pub storage_buffers: u32,
    /// What the device must have.
    pub features: &'static [Feature],
    /// Where the variant can run. Every kernel has one that runs everywhere.
    pub backends: &'static [Backend],
}

impl Shader {
    /// Kernel and variant, as files and tables call it: `logits-large_f32`, `row_scores`.
    pub fn name(&self) -> String {
        match self.variant {
            "" => self.kernel.into(),
            variant => format!("{}-{variant}", self.kernel),
        }
    }
}

/// A struct of a shader, as naga lays it out.
#[derive(Debug, Clone, Copy)]
pub struct StructLayout {
    /// Name in the shader.
    pub name: &'static str,
    /// Size in bytes.
    pub size: u32,
    /// Name and offset in bytes of each member.
    pub members: &'static [(&'static str, u32)],
}

/// The layout of the struct that shaders call `name`.
pub fn struct_layout(name: &str) -> Option<&'static StructLayout> {
    STRUCTS.iter().find(|layout| layout.name == name)
}

include!(concat!(env!("OUT_DIR"), "/shaders.rs"));
