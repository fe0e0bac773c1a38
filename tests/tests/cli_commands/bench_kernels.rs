//! `bench` on kernels one by one: what there is, what devices get, somebody's own, sweeps and rooflines.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::{Bench, binary};

/// A shape that takes a software adapter no time.
const ON_GPU: &str = "bench --device gpu --seconds 0 --shape 90,12,5";

fn rows(json: &Value) -> Vec<(&str, &str)> {
    let rows = json["rows"].as_array().expect("rows").iter();
    rows.map(|row| {
        (
            row["name"].as_str().expect("a name"),
            row["variant"].as_str().expect("a variant"),
        )
    })
    .collect()
}

#[test]
fn a_list_names_every_kernel_and_selection() {
    let bench = Bench::new();
    let run = bench.run("bench --device cpu --list").ok();
    for words in [
        "logits",
        "small_f32",
        "16x16",
        "matrix cores",
        "row_norms",
        "select base",
        "burn matmul",
    ] {
        assert!(run.stdout.contains(words), "{}", run.stdout);
    }
    let json = bench.run("bench --device cpu --list --json").ok().json();
    assert!(
        json["kernels"].as_array().map(Vec::len) > Some(20),
        "{json}"
    );
}

#[test]
fn what_is_asked_for_alone_is_measured() {
    let bench = Bench::new();
    let tiny = "bench --device cpu --seconds 0 --shape 60,8,3 --json";
    let json = bench
        .run(&format!(
            "{tiny} --only row_stat,/logits/alone,/logits/int16"
        ))
        .ok()
        .json();
    let expected = [
        ("logits", "alone"),
        ("logits", "int16 alone"),
        ("row_statistics", "with logits"),
        ("row_statistics", "burn topk"),
    ];
    assert_eq!(rows(&json), expected);
    let json = bench
        .run(&format!("{tiny} --only select --peers never"))
        .ok()
        .json();
    assert_eq!(rows(&json).len(), 5);
    bench
        .run(&format!("{tiny} --only nonsense"))
        .fails(2, &["nothing is called nonsense"])
        .hints(&["--list"]);
    // One that is there does not hide one that is not.
    bench
        .run(&format!("{tiny} --only logits,nonsense"))
        .fails(2, &["nothing is called nonsense"]);
    // A variant has a stroke before it.
    bench
        .run(&format!("{tiny} --only logits,burn"))
        .fails(2, &["nothing is called burn"]);
}

#[test]
fn few_rows_of_many_classes_move_few_bytes() {
    let bench = Bench::new();
    let few = "bench --device cpu --shape 2,4,300 --seconds 0.001 --only row_statistics --json";
    let json = bench.run(few).ok().json();
    let bytes = |variant: &str| {
        let all = json["rows"].as_array().expect("rows");
        let row = all.iter().find(|row| row["variant"] == variant);
        let number = |name: &str| row.expect(variant)[name].as_f64().expect("a number");
        (number("gbytes") * number("median_ms") * 1e6).round()
    };
    // The logits, and two of each row.
    assert_eq!(bytes("burn topk"), 4.0 * 600.0 + 16.0);
    // Embeddings, weights, scales of two classes at most, and 36 bytes a row.
    assert_eq!(bytes("with logits"), 4.0 * (8.0 + 1200.0 + 600.0) + 72.0);
}

#[test]
fn shaders_are_written_in_every_language() {
    let bench = Bench::new();
    bench.run("bench --dump shaders").ok();
    let names = std::fs::read_dir(bench.path("shaders")).expect("a folder");
    assert!(names.count() > 80);
    let wgsl = bench.read("shaders/row_norms-f32.wgsl");
    assert!(wgsl.contains("fn load_value") && wgsl.contains("@compute"));
    let spirv = std::fs::read(bench.path("shaders/row_norms-f32.spv")).expect("SPIR-V");
    assert_eq!(spirv[..4], [0x03, 0x02, 0x23, 0x07]);
    assert!(
        bench
            .read("shaders/row_norms-f32.metal")
            .contains("kernel void")
    );
    assert!(
        bench
            .read("shaders/row_norms-f32.hlsl")
            .contains("numthreads")
    );
    bench.run("bench --dump shaders").fails(1, &["exists"]);
    bench.write("row_norms-mine.wgsl", wgsl);
    bench
        .run("bench --dump shaders --kernel row_norms-mine.wgsl --force")
        .ok();
    assert!(bench.has("shaders/own-row_norms-mine.spv"));
}

/// A folder with the shaders, and a version of one of them in a file.
fn with_version(file: &str, of: &str, from: &str, to: &str) -> Bench {
    let bench = Bench::new();
    bench.run("bench --dump shaders").ok();
    change(&bench, file, of, from, to);
    bench
}

fn change(bench: &Bench, file: &str, of: &str, from: &str, to: &str) {
    let source = bench.read(&format!("shaders/{of}.wgsl"));
    let changed = source.replace(from, to);
    assert!(changed != source || from == to, "{from}");
    bench.write(file, changed);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_kernel_of_ones_own_is_timed_beside_ours() {
    let bench = with_version(
        "row_norms-mine.wgsl",
        "row_norms-f32",
        "LANES: u32 = 64u",
        "LANES: u32 = 32u",
    );
    let json = bench
        .run(&format!("{ON_GPU} --kernel row_norms-mine.wgsl --json"))
        .ok()
        .json();
    assert_eq!(
        rows(&json),
        [("row_norms", "row_norms-mine.wgsl"), ("row_norms", "f32")]
    );
    let shaders = [0, 1].map(|row| json["rows"][row]["shader"].as_str().map(str::len));
    assert_eq!(shaders, [Some(12); 2]);
    assert_ne!(json["rows"][0]["shader"], json["rows"][1]["shader"]);
    let device = &json["devices"][0];
    assert!(
        device["features"]
            .as_array()
            .is_some_and(|features| !features.is_empty()),
        "{device}"
    );
    assert!(
        device["limits"]["max_compute_invocations_per_workgroup"].as_u64() > Some(0),
        "{device}"
    );
    assert!(
        device["ceilings"]["copy_by_width"]["4"].as_f64() > Some(0.0),
        "{device}"
    );
    // Whose weights are f16 is a version for matrix cores, which a device may lack.
    let run = bench.run(&format!(
        "{ON_GPU} --shape 90,12,5,f16 --kernel shaders/logits-matrix_16.wgsl --json"
    ));
    let json: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let own = |json: &Value| {
        rows(json)
            .iter()
            .any(|(_, variant)| *variant == "logits-matrix_16.wgsl")
    };
    let omitted = json["omitted"].as_array().expect("omissions").iter();
    let reasons: Vec<&str> = omitted.filter_map(|of| of["reason"].as_str()).collect();
    let lacking = reasons.iter().any(|reason| {
        reason.contains("matrix cores")
            || reason.contains("matrices")
            || reason.contains("subgroups")
    });
    assert!(own(&json) != lacking, "{json}");
    assert!(reasons.contains(&"it reads f16 embeddings"), "{reasons:?}");
    // A tile of one's own.
    change(
        &bench,
        "mine.wgsl",
        "logits-small_f32",
        "SIDE: u32 = 16u",
        "SIDE: u32 = 16u",
    );
    let json = bench
        .run(&format!("{ON_GPU} --kernel logits=mine.wgsl --json"))
        .ok()
        .json();
    assert_eq!(
        rows(&json),
        [
            ("logits", "mine.wgsl"),
            ("logits", "small"),
            ("logits", "large")
        ]
    );
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_wrong_kernel_is_not_timed_and_named_with_what_it_computes() {
    let bench = with_version(
        "nearest-mine.wgsl",
        "nearest-plain",
        "top.second)",
        "top.second + 1.0)",
    );
    let run = bench.run(&format!("{ON_GPU} --kernel nearest-mine.wgsl --json"));
    assert_eq!(run.code, 1, "{}", run.stderr);
    let json: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert!(
        rows(&json)
            .iter()
            .all(|(_, variant)| *variant != "nearest-mine.wgsl")
    );
    let reason = json["omitted"][0]["reason"].as_str().expect("a reason");
    assert!(
        reason.contains("is not what its CPU twin computes: nearest of row 0"),
        "{reason}"
    );
    let own = |source: &str, words: &[&str]| {
        bench.write("nearest-other.wgsl", source);
        bench
            .run(&format!("{ON_GPU} --kernel nearest-other.wgsl"))
            .fails(1, words);
    };
    own(
        "fn f() {\n    let x = ;\n}",
        &["nearest-other.wgsl", "line 2"],
    );
    own(
        "@compute @workgroup_size(1) fn main() {}\n@group(0) @binding(9) var<storage> x: array<u32>;",
        &["no binding 9"],
    );
    bench
        .run(&format!("{ON_GPU} --kernel nearest-gone.wgsl"))
        .fails(1, &["nearest-gone.wgsl"]);
    bench.run("bench --kernel mine.wgsl").code_is(2);
    bench
        .run("bench --device cpu --kernel nearest-mine.wgsl")
        .fails(2, &["runs on a GPU"]);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_kernel_that_does_not_end_ends_the_program_with_an_error() {
    let row = "let row = group.y * groups.x + group.x;";
    // It ends in some years.
    let endless = format!(
        "{row} for (var i = 0u; i < 0xffffffffu; i++) {{ norms[0] += sin(norms[0] + f32(i)); }}"
    );
    let bench = with_version("row_norms-endless.wgsl", "row_norms-f32", row, &endless);
    bench
        .run(&format!(
            "{ON_GPU} --kernel row_norms-endless.wgsl --patience 1"
        ))
        .fails(1, &["row_norms-endless.wgsl has not ended after 1 s"])
        .hints(&["--patience"]);
}

/// Ends a child with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_watched_kernel_is_measured_again_and_the_last_right_one_stays() {
    // It does not compile at the start.
    let bench = with_version(
        "row_norms-mine.wgsl",
        "row_norms-f32",
        "let row =",
        "let row :=",
    );
    let child = Command::new(binary())
        .args(ON_GPU.split_whitespace())
        .args(["--kernel", "row_norms-mine.wgsl", "--watch"])
        .current_dir(bench.path(""))
        .env("XDG_RUNTIME_DIR", bench.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut child = Killed(child);
    let mut said = BufReader::new(child.0.stdout.take().expect("stdout")).lines();
    let mut notes = BufReader::new(child.0.stderr.take().expect("stderr")).lines();
    assert!(notes.any(|line| {
        line.expect("a line")
            .starts_with("watching row_norms-mine.wgsl")
    }));
    let mut answer = || {
        let mut lines = said.by_ref().map(|line| line.expect("a line"));
        lines
            .find(|line| line.starts_with("row_norms-mine.wgsl"))
            .expect("an answer")
    };
    let first = answer();
    assert!(
        first.contains("line ") && !first.contains("stays"),
        "{first}"
    );
    let mut after = |from: &str, to: &str| {
        change(&bench, "row_norms-mine.wgsl", "row_norms-f32", from, to);
        answer()
    };
    let right = after("", "");
    assert!(right.contains("right, "), "{right}");
    let broken = after("let row =", "let row :=");
    assert!(
        broken.contains("line ") && broken.contains("the last right one stays"),
        "{broken}"
    );
    let wrong = after("unit * sqrt", "0.5 * unit * sqrt");
    assert!(wrong.contains("not what its CPU twin computes"), "{wrong}");
    let right = after("LANES: u32 = 64u", "LANES: u32 = 32u");
    assert!(
        right.contains("right, ") && right.contains(" of the last"),
        "{right}"
    );
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn constants_and_types_are_swept_on_a_gpu() {
    let run = Bench::new()
        .run(&format!(
            "{ON_GPU} --sweep constants,types --only row_norms,/logits/small"
        ))
        .ok();
    for words in [
        "LANES=128",
        "SIDE=8 DEPTH=32",
        "wide_f32 WORDS=4",
        "f16",
        "best constants",
    ] {
        assert!(run.stdout.contains(words), "{}", run.stdout);
    }
    assert!(!run.stdout.contains("select base"), "{}", run.stdout);
}

#[test]
fn sizes_are_swept_around_powers_of_two() {
    let run = Bench::new()
        .run("bench --device cpu --seconds 0 --shape 200,30,5 --sweep dim --only logits")
        .ok();
    for words in [
        "sweep of numbers per embedding",
        " 31 ",
        " 32",
        "200x33x5",
        "200x…x5",
        "cliffs",
    ] {
        assert!(run.stdout.contains(words), "{words}: {}", run.stdout);
    }
    Bench::new().run("bench --sweep lanes").code_is(2);
}

#[test]
fn a_roofline_is_drawn_and_written() {
    let bench = Bench::new();
    let tiny = "bench --device cpu --seconds 0 --shape 60,8,3 --only logits --roofline roof.svg";
    let run = bench.run(tiny).ok();
    for words in [
        "Roofline of cpu",
        "a logits ",
        "% of its roof",
        "GFLOP/s over operations",
    ] {
        assert!(run.stdout.contains(words), "{}", run.stdout);
    }
    let svg = bench.read("roof.svg");
    assert!(
        svg.contains("multiply-adds") && svg.contains("copies in memory"),
        "{svg}"
    );
    bench.run(tiny).fails(1, &["roof.svg", "exists"]);
}
