//! What the choice of a variant depends on.

use wgpu::{Backend, CooperativeMatrixProperties, CooperativeScalarType, DeviceType, Features};

/// Fewest lanes of a subgroup that are worth it.
const LEAST_SUBGROUP: u32 = 4;

/// What there is to know of an open device.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// Whether it is software on the CPU.
    pub(crate) software: bool,
    pub(crate) backend: Backend,
    /// Those that the device was opened with.
    pub(crate) features: Features,
    pub(crate) workgroup_bytes: u32,
    /// Fewest lanes of a subgroup.
    pub(crate) least_subgroup: u32,
    /// Lanes of a subgroup, where they do not vary.
    pub(crate) subgroup: Option<u32>,
    /// The matrices that its cores multiply.
    pub(crate) matrices: Vec<CooperativeMatrixProperties>,
    /// Adapter, driver and backend.
    identity: String,
}

impl Facts {
    pub(crate) fn of(adapter: &wgpu::Adapter, device: &wgpu::Device) -> Self {
        let info = adapter.get_info();
        Self {
            software: info.device_type == DeviceType::Cpu,
            backend: info.backend,
            features: device.features(),
            workgroup_bytes: device.limits().max_compute_workgroup_storage_size,
            least_subgroup: info.subgroup_min_size,
            subgroup: match info.backend {
                // wgpu reports what Metal allows; the GPUs that have matrices have 32 lanes.
                Backend::Metal => Some(32),
                _ => (info.subgroup_min_size == info.subgroup_max_size)
                    .then_some(info.subgroup_min_size),
            },
            matrices: adapter.cooperative_matrix_properties(),
            identity: format!(
                "{} | {} {} | {}",
                info.name, info.driver, info.driver_info, info.backend
            ),
        }
    }

    /// Whether the device's is one of `backends`.
    pub(crate) fn runs(&self, backends: &[equipoise_shaders::Backend]) -> bool {
        use equipoise_shaders::Backend as Known;
        match self.backend {
            Backend::Vulkan => backends.contains(&Known::Vulkan),
            Backend::Metal => backends.contains(&Known::Metal),
            Backend::Dx12 => backends.contains(&Known::Dx12),
            _ => false,
        }
    }

    /// Whether the row kernels' subgroup variants run: their memory is for subgroups of four lanes and more.
    pub(crate) fn has_subgroups(&self) -> bool {
        self.features.contains(Features::SUBGROUP) && self.least_subgroup >= LEAST_SUBGROUP
    }

    /// Whether our shaders' matrix cores multiply f16 matrices of `size` and add in f32.
    pub(crate) fn multiplies(&self, size: u32) -> bool {
        let features = Features::SHADER_F16 | Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        self.features.contains(features)
            && self.matrices.iter().any(|found| {
                (found.m_size, found.n_size, found.k_size) == (size, size, size)
                    && found.ab_type == CooperativeScalarType::F16
                    && found.cr_type == CooperativeScalarType::F32
            })
    }

    /// Adapter, driver and backend: what choices are remembered for.
    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }
}
