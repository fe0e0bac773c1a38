//! `select`: devices, memory and several selections in one call.

use crate::support::{Bench, Run};

const BASE: &str = "--head head.safetensors --strategy base --budget 12";

/// Runs `select` on the pool; unless `arguments` say otherwise, on the CPU and to picks.csv.
fn select(bench: &Bench, arguments: &str) -> Run {
    let unless = |flag: &str, default: &'static str| match arguments.contains(flag) {
        true => "",
        false => default,
    };
    let out = unless("--out ", "--out picks.csv");
    let device = unless("--device ", "--device cpu");
    bench.run(&format!(
        "select --embeddings pool.safetensors {out} {device} {arguments}"
    ))
}

#[test]
fn a_dry_run_prints_the_plan_and_writes_nothing() {
    let bench = Bench::new().with_pool(60);
    let run = select(&bench, &format!("{BASE} --dry-run --device cpu")).ok();
    assert!(run.stdout.contains("lists and float64"), "{}", run.stdout);
    assert!(run.stdout.contains("blocks of up to"), "{}", run.stdout);
    assert!(!bench.has("picks.csv"));
    let run = select(&bench, &format!("{BASE} --dry-run --device cpu --json"));
    let plan = run.ok().json();
    let parts = plan["parts"].as_array().unwrap();
    let bytes = parts.iter().map(|part| part["bytes"].as_u64().unwrap());
    assert_eq!(plan["host_bytes"].as_u64().unwrap(), bytes.sum::<u64>());
    assert_eq!(plan["device_bytes"], 0);
}

#[test]
fn a_budget_too_small_says_the_least_that_works() {
    let bench = Bench::new().with_pool(60);
    let refused = select(&bench, &format!("{BASE} --device cpu --memory 1kB"));
    let refused = refused.fails(1, &["1000 bytes of memory are too few", "at least"]);
    let between = |from: &str, to: &str| {
        let (_, rest) = refused.stderr.split_once(from).unwrap();
        rest.split_once(to).unwrap().0.to_owned()
    };
    let least: u64 = between(" (", " bytes)").parse().unwrap();
    assert!(!bench.has("picks.csv"));
    // What has been read takes a little more or less in each run.
    let less = least - (128 << 10);
    let refused = select(&bench, &format!("{BASE} --device cpu --memory {less}"));
    refused.fails(1, &["at least"]);
    // As it says it, in units.
    let pasted = between("hint: ", ", or a smaller head");
    select(
        &bench,
        &format!("{BASE} --device cpu --out pasted.csv {pasted}"),
    )
    .ok();
    let run = select(
        &bench,
        &format!("{BASE} --device cpu --memory {least} --json"),
    )
    .ok();
    assert!(run.json()["memory"]["host_bytes"].as_u64().unwrap() <= least);
    let small = bench.read("picks.csv");
    assert_eq!(bench.read("pasted.csv"), small);
    select(&bench, &format!("{BASE} --device cpu --force")).ok();
    assert_eq!(bench.read("picks.csv"), small);
    select(&bench, &format!("{BASE} --memory lots")).fails(2, &["--memory", "512MiB"]);
}

#[test]
fn several_strategies_and_heads_write_a_file_each() {
    let bench = Bench::new().with_pool(60);
    std::fs::copy(
        bench.path("head.safetensors"),
        bench.path("other.safetensors"),
    )
    .unwrap();
    select(&bench, &format!("{BASE} --out one.csv")).ok();
    let run = select(
        &bench,
        "--head head.safetensors --head other.safetensors --strategy base,margin --budget 12 \
             --json --out all.csv",
    )
    .ok();
    assert_eq!(run.stdout.lines().count(), 4, "{}", run.stdout);
    assert_eq!(bench.read("all.head.base.csv"), bench.read("one.csv"));
    assert_eq!(bench.read("all.other.base.csv"), bench.read("one.csv"));
    assert_eq!(
        bench.read("all.head.margin.csv"),
        bench.read("all.other.margin.csv")
    );
    // One that exists stops all of them, before anything is written.
    std::fs::remove_file(bench.path("all.head.base.csv")).unwrap();
    select(&bench, "--head head.safetensors --head other.safetensors --strategy base,margin --budget 12 --out all.csv")
        .fails(1, &["all.head.margin.csv"]);
    assert!(!bench.has("all.head.base.csv"));
    select(
        &bench,
        "--head head.safetensors --strategy base,base --budget 1",
    )
    .fails(2, &["two selections"]);
}

#[test]
fn devices_are_named_once_and_only_for_scans() {
    let bench = Bench::new().with_pool(20);
    select(&bench, &format!("{BASE} --device gpu:0,gpu:0")).fails(2, &["gpu:0 is named twice"]);
    select(&bench, &format!("{BASE} --device all,cpu")).fails(2, &["stand alone"]);
    select(&bench, &format!("{BASE} --device cpu --resident always")).fails(2, &["needs one GPU"]);
    bench
        .run("demo --device cpu,gpu:0 --out demo")
        .fails(2, &["a model runs on one device"]);
}

#[test]
fn where_a_device_does_not_open_another_goes_on() {
    let bench = Bench::new().with_pool(60);
    select(&bench, &format!("{BASE} --device cpu --out cpu.csv")).ok();
    select(&bench, &format!("{BASE} --device gpu:77")).fails(1, &["gpu:77"]);
    for flags in ["", "--resident always", "--memory 64MiB", "--dry-run"] {
        let flags = format!("{BASE} --device gpu:77 --fallback cpu {flags} --force --json");
        let run = select(&bench, &flags).ok();
        assert!(
            run.stderr.contains("went on with another device"),
            "{}",
            run.stderr
        );
        if !flags.contains("--dry-run") {
            assert_eq!(bench.read("picks.csv"), bench.read("cpu.csv"));
            let json = run.json();
            assert_eq!(json["device"], "cpu");
            assert_eq!(
                json["fallbacks"].as_array().map(Vec::len),
                Some(1),
                "{json}"
            );
        }
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn one_adapter_by_two_names_is_named_twice() {
    let bench = Bench::new().with_pool(20);
    for names in ["gpu,gpu:0", "gpu:0,gpu", "cpu,gpu:0,gpu"] {
        select(&bench, &format!("{BASE} --device {names}"))
            .fails(2, &[names, "are one adapter"])
            .hints(&["equipoise devices"]);
    }
    assert!(!bench.has("picks.csv"));
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_resident_pool_counts_into_the_least_memory_that_works() {
    let bench = Bench::new().with_pool(300);
    let flags = format!("{BASE} --device gpu --resident always");
    let refused = select(&bench, &format!("{flags} --memory 1KiB"));
    let refused = refused.fails(1, &["1 KiB of memory are too few"]);
    let (_, hint) = refused.stderr.split_once("hint: ").unwrap();
    let (pasted, _) = hint.split_once(", or").unwrap();
    let json = select(&bench, &format!("{flags} {pasted} --json"))
        .ok()
        .json();
    assert!(bench.has("picks.csv"));
    let planned = json["memory"]["host_bytes"].as_u64().unwrap();
    let peak = json["peak_bytes"].as_u64().unwrap();
    assert!(peak <= planned, "{peak} of {planned}");
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn where_a_device_cannot_do_it_another_does() {
    // A software adapter leaves longer sums early, and refuses them.
    let (rows, classes, dim) = (6, 3, 40_000);
    let numbers = |count: usize| -> Vec<f32> { (0..count).map(|i| (i as f32).sin()).collect() };
    let bench = Bench::new();
    bench
        .tensors(
            "pool.safetensors",
            &[("embeddings", &[rows, dim], &numbers(rows * dim))],
        )
        .tensors(
            "head.safetensors",
            &[
                ("weight", &[classes, dim], &numbers(classes * dim)),
                ("bias", &[classes], &numbers(classes)),
            ],
        );
    let flags = "--head head.safetensors --strategy base --budget 3";
    select(&bench, &format!("{flags} --out cpu.csv")).ok();
    let run = select(
        &bench,
        &format!("{flags} --device gpu --fallback cpu --json"),
    )
    .ok();
    assert_eq!(bench.read("picks.csv"), bench.read("cpu.csv"));
    if !run.json()["fallbacks"].as_array().unwrap().is_empty() {
        select(&bench, &format!("{flags} --device gpu --force")).fails(1, &["40000"]);
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn every_way_to_use_a_gpu_picks_the_same() {
    let bench = Bench::new().with_pool(300);
    select(&bench, &format!("{BASE} --device cpu --out cpu.csv")).ok();
    let expected = bench.read("cpu.csv");
    for flags in [
        "--device gpu",
        "--device gpu:0,cpu",
        "--device gpu --fallback cpu",
        "--device gpu --memory 64MiB",
        "--device gpu:0,cpu --memory 64MiB",
        "--device gpu --fallback cpu --memory 64MiB",
        "--device gpu --resident always",
        "--device gpu --resident always --fallback cpu --memory 1GiB",
    ] {
        let run = select(&bench, &format!("{BASE} {flags} --force --json")).ok();
        assert_eq!(bench.read("picks.csv"), expected, "{flags}");
        let json = run.json();
        let plan = &json["memory"];
        assert!(plan["device_bytes"].as_u64().unwrap() > 0, "{flags}");
        // All engines' together.
        let bytes = plan["host_bytes"].as_u64().unwrap();
        let peak = json["peak_bytes"].as_u64().unwrap();
        assert!(peak <= bytes, "{flags}: {peak} of {bytes}");
        if flags.contains("64MiB") {
            assert!(bytes <= 64 << 20, "{flags}: {bytes}");
        }
    }
    // Several selections keep the pool on the device by themselves.
    let flags = "--head head.safetensors --strategy base,mase --budget 12 --device gpu --json";
    let run = select(&bench, &format!("{flags} --out all.csv")).ok();
    assert_eq!(bench.read("all.base.csv"), expected);
    assert!(run.stdout.contains(r#""what":"pool""#), "{}", run.stdout);
    select(&bench, &format!("{BASE} --device gpu --memory 2kB --force"))
        .fails(1, &["too few", "at least"]);
}
