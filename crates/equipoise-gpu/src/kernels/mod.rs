//! One wrapper a kernel, named as its shader and its CPU twin.

pub(crate) mod class_candidates;
pub(crate) mod gradients;
pub(crate) mod logits;
pub(crate) mod nearest;
pub(crate) mod nearest_gradient;
pub(crate) mod row_keys;
pub(crate) mod row_norms;
pub(crate) mod row_scores;
pub(crate) mod row_statistics;

use equipoise_shaders::{OwnShader, Shader};
use wgpu::{BindingResource, Buffer, BufferBinding, CommandEncoder};

use crate::GpuError;
use crate::choices::Cache;
use crate::device::Context;
use crate::facts::Facts;
use crate::row_variants::{RowVariants, RowsChoice};
pub(crate) use logits::Storage;

/// The shaders' sentinels are the engine's.
const _: () = {
    use equipoise_core::engine;
    use equipoise_shaders::row_statistics_plain as shader;
    assert!(shader::UNREACHABLE == engine::UNREACHABLE);
    assert!(shader::UNAVAILABLE == engine::UNAVAILABLE);
    assert!(shader::UNDECIDABLE == engine::UNDECIDABLE);
    assert!(shader::NONFINITE == engine::NONFINITE);
    assert!(equipoise_shaders::row_norms_f32::NONFINITE_NORM < 0.0);
    assert!(shader::ALL_CLASSES == engine::ALL_CLASSES);
    assert!(shader::NO_CLASS == engine::NO_CLASS);
    assert!(shader::PAIR == engine::PAIR);
    assert!(shader::GAP_ROUNDING == engine::GAP_ROUNDING);
    assert!(shader::BOUND_ROUNDING == engine::BOUND_ROUNDING);
    assert!(shader::NO_BOUNDARY == engine::NO_BOUNDARY);
    assert!(shader::UNSCALED == engine::UNSCALED);
};

/// Every kernel, compiled.
#[derive(Debug)]
pub(crate) struct Kernels {
    pub(crate) logits: logits::Logits,
    pub(crate) row_norms: row_norms::RowNorms,
    pub(crate) rows: RowVariants,
}

impl Kernels {
    pub(crate) fn new(
        context: &Context,
        facts: Facts,
        cache: Cache,
        (choice, rows): (&logits::LogitsChoice, RowsChoice),
    ) -> Result<Self, GpuError> {
        let logits = logits::Logits::new(context, facts.clone(), choice, cache.clone())?;
        context.guarded(|| {
            Ok(Self {
                logits,
                row_norms: row_norms::RowNorms::new(context),
                rows: RowVariants::new(context, facts, rows, cache),
            })
        })
    }
}

/// Which checks a shader is compiled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checks {
    /// Indices are clamped, loops bounded, and workgroup memory begins as zeros.
    Full,
    /// As `Full`, but for the zeros: a test shows that workgroup memory is written before it is read.
    Written,
    /// None: as `Written`, and tests prove that indices stay within the bindings and that loops end.
    Proven,
}

/// A compiled shader.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    label: String,
    pipeline: wgpu::ComputePipeline,
    /// Which bindings its layout has, where they are not all that are recorded.
    used: Option<Vec<u32>>,
}

impl Kernel {
    pub(crate) fn new(context: &Context, shader: &Shader, checks: Checks) -> Self {
        let label = format!("{} {}", shader.kernel, shader.variant);
        Self::of_source(
            context,
            label.trim_end(),
            shader.source,
            shader.entry,
            checks,
        )
    }

    /// Somebody's own version of a kernel.
    pub(crate) fn of_own(context: &Context, label: &str, own: &OwnShader) -> Self {
        let (source, entry) = (&own.source, &own.entry);
        Self {
            used: Some(own.bindings.clone()),
            ..Self::of_source(context, label, source, entry, Checks::Full)
        }
    }

    /// The kernel of any source.
    pub(crate) fn of_source(
        context: &Context,
        label: &str,
        source: &str,
        entry: &str,
        checks: Checks,
    ) -> Self {
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(label),
            source: wgpu::ShaderSource::Wgsl(source.into()),
        };
        let device = &context.device;
        let module = match checks {
            Checks::Full | Checks::Written => device.create_shader_module(descriptor),
            // SAFETY: who says `Proven` has tests that run the shader between guarded zones at awkward
            // sizes; its loops count up to a parameter.
            Checks::Proven => unsafe {
                device.create_shader_module_trusted(
                    descriptor,
                    wgpu::ShaderRuntimeChecks::unchecked(),
                )
            },
        };
        let pipeline = context
            .device
            .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(label),
                layout: None,
                module: &module,
                entry_point: Some(entry),
                compilation_options: wgpu::PipelineCompilationOptions {
                    zero_initialize_workgroup_memory: checks == Checks::Full,
                    ..Default::default()
                },
                cache: None,
            });
        Self {
            label: label.into(),
            pipeline,
            used: None,
        }
    }

    /// Records one dispatch with `resources` bound from 0 on.
    pub(crate) fn record(
        &self,
        context: &Context,
        encoder: &mut CommandEncoder,
        resources: &[BindingResource<'_>],
        groups: [u32; 2],
    ) {
        let bound: Vec<_> = (0..).zip(resources.iter().cloned()).collect();
        self.record_at(context, encoder, &bound, groups);
    }

    /// Records one dispatch with resources bound where they say.
    pub(crate) fn record_at(
        &self,
        context: &Context,
        encoder: &mut CommandEncoder,
        resources: &[(u32, BindingResource<'_>)],
        groups: [u32; 2],
    ) {
        let used = |binding: &u32| self.used.as_ref().is_none_or(|used| used.contains(binding));
        let entries: Vec<wgpu::BindGroupEntry<'_>> = resources
            .iter()
            .filter(|(binding, _)| used(binding))
            .map(|(binding, resource)| wgpu::BindGroupEntry {
                binding: *binding,
                resource: resource.clone(),
            })
            .collect();
        let bound = context
            .device
            .create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(&self.label),
                layout: &self.pipeline.get_bind_group_layout(0),
                entries: &entries,
            });
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some(&self.label),
            timestamp_writes: None,
        });
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &bound, &[]);
        pass.dispatch_workgroups(groups[0], groups[1], 1);
    }
}

/// The first `bytes` of a buffer, which may be larger than a binding may be.
pub(crate) fn first_bytes(buffer: &Buffer, bytes: u64) -> BindingResource<'_> {
    BindingResource::Buffer(BufferBinding {
        buffer,
        offset: 0,
        size: wgpu::BufferSize::new(bytes.next_multiple_of(4)),
    })
}

/// A workgroup per row, spread over two dimensions of at most `most` each.
pub(crate) fn group_per_row(rows: u32, most: u32) -> [u32; 2] {
    let width = rows.min(most).max(1);
    [width, rows.div_ceil(width)]
}

/// Embeddings on the device, (rows, dim).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values<'a> {
    pub(crate) rows: u32,
    pub(crate) dim: u32,
    /// f16 are two to a word.
    pub(crate) storage: Storage,
    pub(crate) buffer: &'a Buffer,
    /// Where they begin, in bytes: a multiple of the device's alignment.
    pub(crate) offset: u64,
}

impl<'a> Values<'a> {
    fn binding(&self) -> BindingResource<'a> {
        let bytes = u64::from(self.rows) * u64::from(self.dim) * self.storage.bytes();
        BindingResource::Buffer(BufferBinding {
            buffer: self.buffer,
            offset: self.offset,
            size: wgpu::BufferSize::new(bytes.next_multiple_of(4)),
        })
    }
}
