//! `demo`: the whole job with nothing but the binary.

use crate::support::Bench;

#[test]
fn the_demo_does_the_whole_job_and_leaves_its_files() {
    let bench = Bench::new();
    let json = bench.run("demo --device cpu --json").ok().json();
    let stages = json["stages"].as_array().unwrap();
    let names: Vec<_> = stages
        .iter()
        .map(|stage| stage["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["start", "random", "margin", "base"]);
    assert!(json["pool_per_class"].as_array().unwrap().len() >= 8);
    let labels = |index: usize| stages[index]["labels"].as_u64().unwrap();
    assert!((1..4).all(|index| labels(index) == labels(0) + 100));
    let entropy = |index: usize| stages[index]["entropy"].as_f64().unwrap();
    assert!(
        entropy(3) > entropy(1),
        "base is more even than random: {json}"
    );
    let accuracy = |index: usize| stages[index]["accuracy"].as_f64().unwrap();
    assert!(accuracy(0) > 0.3 && accuracy(3) > accuracy(0), "{json}");
    for name in [
        "images",
        "pool.emb",
        "head-start.safetensors",
        "picks-base.csv",
        "picks-base.png",
        "table.txt",
    ] {
        assert!(bench.has(&format!("equipoise-demo/{name}")), "{name}");
    }
    bench
        .run("demo --device cpu")
        .fails(1, &["equipoise-demo", "exists"])
        .hints(&["--force"]);
}

#[test]
fn a_folder_that_is_no_demo_is_never_replaced() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("mine")).unwrap();
    bench.write("mine/thesis.txt", "years of work");
    bench
        .run("demo --device cpu --out mine --force")
        .fails(1, &["mine"])
        .hints(&["--out"]);
    assert_eq!(bench.read("mine/thesis.txt"), "years of work");
}
