//! Every shader translates to the language of every backend it claims, so that users of Metal and
//! DX12 are not the first to find out.

use equipoise_shaders::{ALL, Backend, Shader};
use naga::ShaderStage;
use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

fn validated(shader: &Shader) -> (naga::Module, ModuleInfo) {
    let module = naga::front::wgsl::parse_str(shader.source).expect("parsed by the build script");
    let info = Validator::new(ValidationFlags::all(), Capabilities::empty())
        .validate(&module)
        .expect("validated by the build script");
    (module, info)
}

fn described(shader: &Shader) -> String {
    format!("{} {}", shader.kernel, shader.variant)
}

fn shaders_for(backend: Backend) -> impl Iterator<Item = &'static Shader> {
    let all = ALL.iter().copied();
    all.filter(move |shader| shader.backends.contains(&backend))
}

#[test]
fn to_spirv() {
    for shader in shaders_for(Backend::Vulkan) {
        let (module, info) = validated(shader);
        let entry = spv::PipelineOptions {
            shader_stage: ShaderStage::Compute,
            entry_point: shader.entry.into(),
        };
        let options = spv::Options {
            lang_version: (1, 3),
            ..Default::default()
        };
        let words = spv::write_vec(&module, &info, &options, Some(&entry))
            .unwrap_or_else(|error| panic!("{}: {error}", described(shader)));
        assert_eq!(
            words[0],
            0x0723_0203,
            "{}: SPIR-V's magic",
            described(shader)
        );
    }
}

#[test]
fn to_msl() {
    for shader in shaders_for(Backend::Metal) {
        let (module, info) = validated(shader);
        let options = msl::Options {
            lang_version: (2, 0),
            ..Default::default()
        };
        let (text, _) = msl::write_string(&module, &info, &options, &Default::default())
            .unwrap_or_else(|error| panic!("{}: {error}", described(shader)));
        assert!(
            text.contains("kernel void"),
            "{}: no kernel",
            described(shader)
        );
    }
}

#[test]
fn to_hlsl() {
    for shader in shaders_for(Backend::Dx12) {
        let (module, info) = validated(shader);
        let (options, pipeline) = (hlsl::Options::default(), hlsl::PipelineOptions::default());
        let mut text = String::new();
        hlsl::Writer::new(&mut text, &options, &pipeline)
            .write(&module, &info, None)
            .unwrap_or_else(|error| panic!("{}: {error}", described(shader)));
        assert!(
            text.contains("numthreads"),
            "{}: no kernel",
            described(shader)
        );
    }
}

#[test]
fn every_kernel_has_a_variant_that_runs_everywhere() {
    for shader in ALL {
        let everywhere = |other: &&&Shader| {
            other.kernel == shader.kernel
                && Backend::ALL
                    .iter()
                    .all(|backend| other.backends.contains(backend))
        };
        assert!(ALL.iter().find(everywhere).is_some(), "{}", shader.kernel);
    }
}

#[test]
fn resources_fit_the_least_that_webgpu_promises() {
    for shader in ALL {
        let lanes: u32 = shader.workgroup_size.iter().product();
        assert!(lanes <= 256, "{}: {lanes} lanes", described(shader));
        let bytes = shader.workgroup_bytes;
        assert!(bytes <= 16384, "{}: {bytes} bytes", described(shader));
        let buffers = shader.storage_buffers;
        assert!(buffers <= 8, "{}: {buffers} buffers", described(shader));
    }
}
