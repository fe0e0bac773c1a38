use std::time::Duration;

use equipoise_core::{Head, Values};
use equipoise_shaders::{ALL, Shader};
use half::f16;

use super::*;
use crate::{DeviceChoice, Gpu, Sizes};

fn numbers(count: usize, step: f32) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * step).sin()).collect()
}

/// An engine whose tables of 40 classes are in slices.
fn engine() -> GpuEngine {
    let gpu = Gpu::open(&DeviceChoice::Any).expect("an adapter: see README, cargo xtask test");
    let mut sizes = Sizes::of(&gpu.device.limits());
    (sizes.logits, sizes.binding) = (130 * 40 * 4, 6000);
    GpuEngine::with_sizes(gpu.adapter, gpu.device, gpu.queue, sizes).expect("an engine")
}

fn head(classes: usize, dim: usize) -> Head {
    let weight = numbers(classes * dim, 1.3);
    Head::new(weight, numbers(classes, 0.4), dim).expect("a head")
}

fn shader(kernel: &str) -> &'static Shader {
    ALL.iter()
        .find(|shader| shader.kernel == kernel)
        .expect("a kernel")
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn every_version_is_its_twin_and_takes_some_time() {
    let engine = engine();
    for (classes, dim, half) in [(40, 9, false), (1, 3, false), (2, 8, true)] {
        let head = head(classes, dim);
        let wide = numbers(150 * dim, 0.7);
        let narrow: Vec<f16> = wide.iter().map(|x| f16::from_f32(*x)).collect();
        let values = match half {
            true => Values::F16(&narrow),
            false => Values::F32(&wide),
        };
        let thresholds: Vec<f32> = (0..classes).map(|c| 0.002 * c as f32).collect();
        let bench = KernelBench::new(&engine, &head, values, &thresholds).expect("a bench");
        let versions = bench.versions().expect("versions");
        let kernels = |name: &str| versions.iter().filter(|v| v.kernel() == name).count();
        for shader in ALL {
            let timed = !["peak", "row_keys"].contains(&shader.kernel);
            assert_eq!(kernels(shader.kernel) > 0, timed, "{}", shader.kernel);
        }
        for version in &versions {
            bench.check(version).expect("its twin's numbers");
            let time = bench.time(version, Duration::ZERO).expect("a time");
            assert_eq!(time.samples.len(), LEAST);
            assert!(time.samples.iter().all(|seconds| *seconds > 0.0));
            assert!((1..=150).contains(&time.rows) && time.runs >= LEAST);
        }
    }
}

/// What the check says of a kernel with `from` in its WGSL replaced.
fn changed(bench: &KernelBench<'_>, shader: &Shader, from: &str, to: &str) -> String {
    let source = shader.source.replace(from, to);
    assert!(source != shader.source, "{from}");
    let own = shader.own_version(source).expect("valid WGSL");
    let version = bench.own("changed", &own).expect("a version");
    let outcome = bench.check(&version);
    // Whatever it wrote, ours are right afterwards.
    let ours = bench.versions().expect("versions");
    ours.iter()
        .for_each(|version| bench.check(version).expect("its twin's numbers"));
    outcome.map_or_else(|error| error.to_string(), |()| "right".into())
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn wrong_versions_are_found_out() {
    let engine = engine();
    let (head, values) = (head(40, 9), numbers(140 * 9, 0.7));
    let thresholds = vec![0.04; 40];
    let bench =
        KernelBench::new(&engine, &head, Values::F32(&values), &thresholds).expect("a bench");
    let cases = [
        ("logits", "total + bias[slot]", "total - bias[slot]"),
        (
            "logits",
            "slot < parameters.count",
            "slot + 1u < parameters.count",
        ),
        (
            "row_norms",
            "unit * sqrt(sums[0])",
            "0.99 * unit * sqrt(sums[0])",
        ),
        (
            "row_statistics",
            "out.sum = max(spread.x, 1.0)",
            "out.sum = 1.001 * spread.x",
        ),
        (
            "row_statistics",
            "row >= parameters.rows",
            "row + 1u >= parameters.rows",
        ),
        (
            "class_candidates",
            "1.0 - BOUND_ROUNDING",
            "0.99 - BOUND_ROUNDING",
        ),
        (
            "row_scores",
            "let ratio = exp(-min(gap, NEGLIGIBLE));",
            "let ratio = 1.01 * exp(-min(gap, NEGLIGIBLE));",
        ),
        (
            "nearest",
            "row >= parameters.rows",
            "row >= parameters.rows / 2u",
        ),
        (
            "gradients",
            "-sum, c == top.class_id",
            "sum, c == top.class_id",
        ),
        (
            "nearest_gradient",
            "row >= parameters.rows",
            "row % 7u == 3u",
        ),
    ];
    for (kernel, from, to) in cases {
        let said = changed(&bench, shader(kernel), from, to);
        assert!(
            said.starts_with(&format!("`{kernel}` changed is not what its CPU twin")),
            "{kernel}: {said}"
        );
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn right_versions_pass_whatever_their_constants() {
    let engine = engine();
    let (head, values) = (head(40, 9), numbers(140 * 9, 0.7));
    let thresholds = vec![0.04; 40];
    let bench =
        KernelBench::new(&engine, &head, Values::F32(&values), &thresholds).expect("a bench");
    for tuning in tunings(false) {
        let own = tuning.own().expect("valid WGSL");
        match bench.own(&tuning.label(), &own) {
            Ok(version) => bench.check(&version).expect("its twin's numbers"),
            // Without subgroups, and with fewer lanes than the largest has.
            Err(error) => assert!(matches!(error, GpuError::Failed { .. }), "{error}"),
        }
    }
    let labels: Vec<String> = tunings(true).iter().map(Tuning::label).collect();
    for label in ["SIDE=8 DEPTH=32", "LANES=256", "BLOCK=64"] {
        assert!(labels.iter().any(|found| found == label), "{labels:?}");
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn reading_out_of_bounds_is_an_error_of_the_kernel_alone() {
    let engine = engine();
    let (head, values) = (head(5, 4), numbers(20 * 4, 0.7));
    let thresholds = vec![0.5; 5];
    let bench =
        KernelBench::new(&engine, &head, Values::F32(&values), &thresholds).expect("a bench");
    let beyond = changed(
        &bench,
        shader("nearest"),
        "find_top(row * parameters.classes, lane)",
        "find_top(row * 1000003u, lane)",
    );
    assert!(beyond.contains("`nearest` changed is not"), "{beyond}");
    // Without the constants nobody knows how many workgroups to dispatch.
    let tiles = shader("logits").source.replace("TILE_ROWS", "TILE_HEIGHT");
    let own = shader("logits").own_version(tiles).expect("valid WGSL");
    let error = bench.own("own", &own).unwrap_err();
    assert!(error.to_string().contains("TILE_ROWS"), "{error}");
    // More lanes than the device has is the device's error, not a panic.
    let own = shader("nearest")
        .with_constants(&[("LANES", 4096)])
        .expect("valid WGSL");
    assert!(matches!(
        bench.own("own", &own),
        Err(GpuError::Failed { .. })
    ));
}
