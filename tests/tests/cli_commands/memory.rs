//! What commands take of the host's memory, by their own count, is within what they planned.

use equipoise_tests::cases::{Kind, Shape, Stored};

use crate::support::Bench;

/// A pool of hard rows and a head of 40 classes.
fn bench(kind: Kind, rows: usize, dim: usize) -> Bench {
    let shape = Shape {
        kind,
        half: false,
        rows,
        dim,
        classes: 40,
        seed: 3,
    };
    let case = shape.case();
    let Stored::F32(values) = &case.stored else {
        panic!("stored as f32");
    };
    let head = &case.head;
    let bench = Bench::new();
    bench
        .tensors("pool.safetensors", &[("embeddings", &[rows, dim], values)])
        .tensors(
            "head.safetensors",
            &[
                ("weight", &[head.classes(), dim], head.weight()),
                ("bias", &[head.classes()], head.bias()),
            ],
        );
    bench
}

/// Selects without a budget of memory, with one, and with the least; picks are the same and memory is as planned. Returns how often
/// lists were made again.
fn within_the_plan(bench: &Bench, question: &str) -> [u64; 3] {
    within_plans(bench, question, "24MiB")
}

/// The same with another budget than 24 MiB.
fn within_plans(bench: &Bench, question: &str, budget: &str) -> [u64; 3] {
    let flags = format!("--head head.safetensors {question} --force");
    let refused = bench.select(&format!("{flags} --memory 1KiB"));
    let refused = refused.fails(1, &["1 KiB of memory are too few"]);
    let (_, hint) = refused.stderr.split_once("hint: ").unwrap();
    let (least, _) = hint.split_once(", or").unwrap();
    let mut first = None;
    let budget = format!("--memory {budget}");
    let memories = ["", &budget, least];
    memories.map(|memory| {
        let run = bench
            .select(&format!("{flags} {memory} --json"))
            .ok()
            .json();
        let of = |name: &str| run[name].as_u64().unwrap();
        let planned = run["memory"]["host_bytes"].as_u64().unwrap();
        let peak = of("peak_bytes");
        assert!(peak <= planned, "{question} {memory}: {peak} of {planned}");
        // The count counts.
        assert!(peak > 500_000, "{question} {memory}: {peak}");
        let picks = bench.read("picks.csv");
        assert_eq!(
            *first.get_or_insert(picks.clone()),
            picks,
            "{question} {memory}"
        );
        of("refills")
    })
}

#[test]
fn every_ranking_keeps_to_its_plan() {
    for kind in [Kind::Plain, Kind::DuplicateRows, Kind::NearBoundary] {
        let bench = bench(kind, 20_000, 16);
        for strategy in ["base", "mase", "margin", "confidence", "entropy"] {
            within_the_plan(&bench, &format!("--strategy {strategy} --budget 3000"));
        }
    }
}

#[test]
fn strategies_that_keep_something_of_every_row_keep_to_their_plan() {
    for kind in [Kind::Plain, Kind::DuplicateRows] {
        let bench = bench(kind, 30_000, 8);
        for strategy in [
            "coreset",
            "partitioned-coreset",
            "badge",
            "partitioned-badge",
        ] {
            within_the_plan(&bench, &format!("--strategy {strategy} --budget 60"));
        }
        // The distances of 10,000 rows from each other.
        within_plans(&bench, "--strategy margin-clustering --budget 60", "400MiB");
        let labels: String = (0..40).map(|row| format!("{row},{row}\n")).collect();
        bench.write("labelled.csv", format!("row,label\n{labels}"));
        within_the_plan(
            &bench,
            "--strategy balancing --budget 60 --labelled labelled.csv",
        );
    }
}

#[test]
fn wide_rows_are_fetched_as_memory_allows() {
    let bench = bench(Kind::NearEqualWeights, 4_000, 1_100);
    for strategy in ["base", "entropy"] {
        within_the_plan(&bench, &format!("--strategy {strategy} --budget 800"));
    }
}

#[test]
fn refills_keep_to_the_plan_however_deep_classes_would_go() {
    // All classes want the same rows.
    let bench = bench(Kind::AllWeightsEqual, 30_000, 4);
    let refills = within_the_plan(&bench, "--strategy base --budget 16000");
    assert!(refills[0] > 0 && refills[2] >= refills[0], "{refills:?}");
}

#[test]
fn constraints_and_shards_keep_to_the_plan() {
    let bench = bench(Kind::Plain, 20_000, 16);
    let costs: String = (0..20_000)
        .map(|row| format!("{row},{}\n", row % 7))
        .collect();
    bench.write("costs.csv", format!("row,cost\n{costs}"));
    within_the_plan(&bench, "--strategy base --budget 3000 --min-distance 0.5");
    within_the_plan(&bench, "--strategy base --budget 3000 --cost costs.csv");
    let scan =
        "scan --device cpu --embeddings pool.safetensors --head head.safetensors --force --json";
    for strategy in ["base", "entropy"] {
        let run = bench
            .run(&format!(
                "{scan} --strategy {strategy} --budget 3000 --shard 1/2 --out one.cand"
            ))
            .ok()
            .json();
        let planned = run["memory"]["host_bytes"].as_u64().unwrap();
        let peak = run["peak_bytes"].as_u64().unwrap();
        assert!(peak <= planned, "{strategy}: {peak} of {planned}");
    }
}
