//! Every shader translates to the language of every backend it claims, so that users of Metal and
//! DX12 are not the first to find out.

use equipoise_shaders::{ALL, Backend, Shader, Translation, translate};

fn described(shader: &Shader) -> String {
    format!("{} {}", shader.kernel, shader.variant)
}

/// Translations of every shader that runs on `backend`.
fn translations(backend: Backend) -> impl Iterator<Item = (String, Translation)> {
    let shaders = ALL
        .iter()
        .filter(move |shader| shader.backends.contains(&backend));
    shaders.map(move |shader| {
        let name = described(shader);
        let translated = translate(shader, backend).unwrap_or_else(|e| panic!("{name}: {e}"));
        (name, translated)
    })
}

#[test]
fn to_spirv() {
    for (name, translation) in translations(Backend::Vulkan) {
        let Translation::Words(words) = translation else {
            panic!("{name}: SPIR-V is made of words");
        };
        assert_eq!(words[0], 0x0723_0203, "{name}: SPIR-V's magic");
    }
}

#[test]
fn to_msl() {
    for (name, translation) in translations(Backend::Metal) {
        let kernel = matches!(&translation, Translation::Text(msl) if msl.contains("kernel void"));
        assert!(kernel, "{name}: no kernel");
    }
}

#[test]
fn to_hlsl() {
    for (name, translation) in translations(Backend::Dx12) {
        let kernel = matches!(&translation, Translation::Text(hlsl) if hlsl.contains("numthreads"));
        assert!(kernel, "{name}: no kernel");
    }
}

#[test]
fn every_kernel_has_a_variant_that_runs_everywhere() {
    for shader in ALL {
        let everywhere = |other: &&&Shader| {
            other.kernel == shader.kernel
                && other.features.is_empty()
                && Backend::ALL
                    .iter()
                    .all(|backend| other.backends.contains(backend))
        };
        assert!(ALL.iter().find(everywhere).is_some(), "{}", shader.kernel);
    }
}

#[test]
fn resources_fit_the_least_that_webgpu_promises() {
    for shader in ALL.iter().filter(|shader| shader.features.is_empty()) {
        let lanes: u32 = shader.workgroup_size.iter().product();
        assert!(lanes <= 256, "{}: {lanes} lanes", described(shader));
        let bytes = shader.workgroup_bytes;
        assert!(bytes <= 16384, "{}: {bytes} bytes", described(shader));
        let buffers = shader.storage_buffers;
        assert!(buffers <= 8, "{}: {buffers} buffers", described(shader));
    }
}
