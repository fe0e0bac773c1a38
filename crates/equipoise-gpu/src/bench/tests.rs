use std::time::Duration;

use equipoise_core::{Head, Values};
use equipoise_shaders::{ALL, Shader, own_version};
use half::f16;

use super::*;
use crate::garbage::garbled;
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
            assert_eq!(time.on_device, bench.device_clock());
        }
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn workgroup_memory_is_written_before_it_is_read() {
    let engine = engine();
    let (head, values) = (head(40, 16), numbers(140 * 16, 0.7));
    let half: Vec<f16> = values.iter().map(|x| f16::from_f32(*x)).collect();
    let thresholds = vec![0.04; 40];
    let bench = |values| KernelBench::new(&engine, &head, values, &thresholds).expect("a bench");
    let benches = [bench(Values::F32(&values)), bench(Values::F16(&half))];
    let check = |shader: &Shader, source: &str| {
        let own = shader.own_version(garbled(source)).expect("valid WGSL");
        let f16 = own.reads_f16.unwrap_or_default();
        let bench = &benches[usize::from(f16)];
        bench
            .own("garbled", &own)
            .map(|version| bench.check(&version))
    };
    let mut checked = 0;
    // The twins of matrix cores have a test of their own.
    let ours = ALL.iter().filter(|shader| {
        shader.workgroup_bytes > 0
            && shader.kernel != "peak"
            && !shader
                .features
                .contains(&equipoise_shaders::Feature::Matrices)
    });
    for shader in ours {
        match check(shader, shader.source) {
            Ok(same) => same.unwrap_or_else(|error| panic!("{}: {error}", shader.name())),
            // A device without subgroups.
            Err(error) => assert!(!shader.features.is_empty(), "{}: {error}", shader.name()),
        }
        checked += 1;
    }
    assert!(checked >= 12, "{checked}");
    let norms = shader("row_norms");
    let wrong = norms.source.replace("    largest[lane] = most;\n", "");
    assert_ne!(wrong, norms.source);
    assert!(check(norms, &wrong).expect("a version").is_err());
}

#[test]
fn samples_are_of_one_clock() {
    let time = |device: Option<u64>| WorkTime {
        host: Duration::from_millis(40),
        device: device.map(Duration::from_millis),
    };
    let both = KernelTime::of(&[time(Some(20)), time(Some(10))], 10, 7);
    assert_eq!((both.samples, both.on_device), (vec![0.002, 0.001], true));
    // A clock that stood still once is no clock.
    let once = KernelTime::of(&[time(Some(20)), time(None)], 10, 7);
    assert_eq!((once.samples, once.on_device), (vec![0.004; 2], false));
    assert_eq!((once.runs, once.rows), (20, 7));
}

/// Whether each of the kernels, with its WGSL changed, is told from its twin, and our own are right afterwards, but for
/// those of the kernel `without`.
fn are_found_out(bench: &KernelBench<'_>, cases: &[(&str, &str, &str)], without: Option<&str>) {
    let ours = bench.versions().expect("versions");
    for (kernel, from, to) in cases {
        let source = shader(kernel).source.replace(from, to);
        assert!(source != shader(kernel).source, "{from}");
        let own = shader(kernel).own_version(source).expect("valid WGSL");
        let version = bench.own("changed", &own).expect("a version");
        let said = bench.check(&version).expect_err(from).to_string();
        assert!(
            said.starts_with(&format!("`{kernel}` changed is not what its CPU twin")),
            "{kernel}: {said}"
        );
        // Whatever it wrote.
        for version in ours.iter().filter(|ours| Some(ours.kernel()) != without) {
            bench.check(version).expect("its twin's numbers");
        }
    }
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
        // Every column of the scores, and a distance that is not the least.
        ("row_scores", "columns[row] = p;", "columns[row] = p + 1u;"),
        ("row_scores", "= nearest.nearest;", "= p;"),
        (
            "row_scores",
            "bitcast<u32>(margin)",
            "bitcast<u32>(confidence)",
        ),
        ("row_scores", "log(1.0 + rest)", "rest"),
        (
            "row_scores",
            "= bits_of(distance);",
            "= bits_of(select(distance, 1.001 * distance, c == 39u));",
        ),
        // Who says that a row has no answer is not believed.
        (
            "row_statistics",
            "let tolerance = tolerance_of(row);",
            "let tolerance = -1.0;",
        ),
        (
            "class_candidates",
            "let tolerance = tolerance_of(row);",
            "let tolerance = UNDECIDABLE;",
        ),
        (
            "row_scores",
            "let tolerance = tolerance_of(row);",
            "let tolerance = -1.0;",
        ),
        (
            "nearest",
            "let tolerance = tolerance_of(row);",
            "let tolerance = -1.0;",
        ),
        (
            "gradients",
            "let doubt = tolerance_of(row);",
            "let doubt = -1.0;",
        ),
        (
            "gradients",
            "nearest.tolerance = known.x;",
            "nearest.tolerance = 2.0 * known.x;",
        ),
        ("nearest_gradient", "Nearest(tolerance,", "Nearest(-1.0,"),
        (
            "nearest_gradient",
            "if lane == 0u {",
            "if lane == 0u {\n        found[row].square = 0.0;",
        ),
    ];
    are_found_out(&bench, &cases, None);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn rows_without_an_answer_are_compared_too() {
    let engine = engine();
    let (head, mut values) = (head(40, 9), numbers(140 * 9, 0.7));
    // A row that is not finite, and one whose logits f32 does not hold.
    (values[3 * 9], values[5 * 9 + 2]) = (f32::NAN, 1e20);
    let thresholds = vec![0.04; 40];
    let bench =
        KernelBench::new(&engine, &head, Values::F32(&values), &thresholds).expect("a bench");
    let cases = [
        (
            "row_norms",
            "NONFINITE_NORM: f32 = -2.0",
            "NONFINITE_NORM: f32 = 2.0",
        ),
        ("class_candidates", "append_odd(row, tolerance);", ""),
        (
            "row_statistics",
            "statistics[row].tolerance = tolerance;",
            "",
        ),
        ("nearest", "nearest[row].tolerance = tolerance;", ""),
        (
            "row_scores",
            "select(NOT_A_NUMBER, NO_CLASS, lane < 2u)",
            "NOT_A_NUMBER",
        ),
        ("gradients", "found[row].nearest.tolerance = doubt;", ""),
        (
            "nearest_gradient",
            "if tolerance < 0.0 ||",
            "if tolerance < 0.0 { found[row].nearest.tolerance = 0.0; }\n    if tolerance < 0.0 ||",
        ),
    ];
    // No logit of rows like these is right.
    are_found_out(&bench, &cases, Some("logits"));
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn right_versions_pass_whatever_their_constants() {
    let engine = engine();
    let thresholds = vec![0.04; 40];
    // Loads of several numbers need rows of as many.
    for (dim, half) in [(9, false), (16, false), (24, true)] {
        let (head, wide) = (head(40, dim), numbers(140 * dim, 0.7));
        let narrow: Vec<f16> = wide.iter().map(|x| f16::from_f32(*x)).collect();
        let values = match half {
            true => Values::F16(&narrow),
            false => Values::F32(&wide),
        };
        let bench = KernelBench::new(&engine, &head, values, &thresholds).expect("a bench");
        let mut checked = Vec::new();
        for tuning in tunings(half) {
            let own = tuning.own().expect("valid WGSL");
            let label = format!("{} {}", tuning.shader.variant, tuning.label());
            match bench.own(&label, &own) {
                Ok(version) => {
                    bench.check(&version).expect("its twin's numbers");
                    checked.push(label);
                }
                // Without subgroups or matrix cores, with fewer lanes than the largest has, of rows that are no whole loads.
                Err(GpuError::Failed { .. }) => {}
                Err(error) => {
                    let said = error.to_string();
                    let lacking = [
                        "which the device does not have",
                        "matrices",
                        "no multiple of its WIDTH",
                    ];
                    assert!(
                        lacking.iter().any(|what| said.contains(what)),
                        "{label}: {said}"
                    );
                }
            }
        }
        let wide = if half {
            "wide_f16 WORDS"
        } else {
            "wide_f32 WORDS"
        };
        let count = checked
            .iter()
            .filter(|label| label.starts_with(wide))
            .count();
        assert_eq!(count, if dim == 9 { 0 } else { 2 }, "{checked:?}");
        let large = checked
            .iter()
            .any(|label| label.ends_with("LANES=128 TILE_ROWS=64"));
        assert!(large, "{checked:?}");
    }
    let labels: Vec<String> = tunings(true).iter().map(Tuning::label).collect();
    for label in ["SIDE=8 DEPTH=32", "LANES=256", "BLOCK=64", "BLOCK=1024"] {
        assert!(labels.iter().any(|found| found == label), "{labels:?}");
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn matrix_kernels_of_ones_own_run_or_say_what_the_device_lacks() {
    let gpu = Gpu::open(&DeviceChoice::Any).expect("an adapter");
    let engine = GpuEngine::new(gpu.clone()).expect("an engine");
    let (head, wide) = (head(20, 16), numbers(70 * 16, 0.7));
    let narrow: Vec<f16> = wide.into_iter().map(f16::from_f32).collect();
    let thresholds = vec![0.5; 20];
    let bench = KernelBench::new(&engine, &head, Values::F16(&narrow), &thresholds);
    let bench = bench.expect("a bench");
    let of_matrices = ALL.iter().filter(|shader| {
        let needed = shader
            .features
            .contains(&equipoise_shaders::Feature::Matrices);
        shader.kernel == "logits" && needed
    });
    for shader in of_matrices {
        let own = own_version("logits", shader.source.into()).expect("valid WGSL");
        match (bench.own("mine.wgsl", &own), gpu.lacks(shader)) {
            (Ok(version), None) => bench.check(&version).expect("its twin's numbers"),
            (Err(error), Some(_)) => {
                let said = error.to_string();
                let lacking = ["matrix cores", "matrices", "subgroups"];
                let named = lacking.iter().any(|what| said.contains(what));
                assert!(said.contains("logits mine.wgsl") && named, "{said}");
            }
            (made, lacks) => panic!("{}: {made:?}, {lacks:?}", shader.name()),
        }
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
    let (from, to) = (
        "find_top(row * parameters.classes, lane)",
        "find_top(row * 1000003u, lane)",
    );
    are_found_out(&bench, &[("nearest", from, to)], None);
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
