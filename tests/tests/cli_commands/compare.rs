//! `compare`: strategies side by side.

use std::fs;

use crate::support::Bench;

const THREE: &str = "compare --embeddings pool.safetensors --head head.safetensors --budget 8";

#[test]
fn every_strategy_has_its_numbers_and_the_figure_shows_them() {
    let bench = Bench::new().with_pool(40);
    let labels: String = (0..40).map(|row| format!("{row},{}\n", row % 2)).collect();
    fs::write(bench.path("labels.csv"), format!("row,label\n{labels}")).unwrap();
    fs::write(bench.path("labelled.txt"), "3\n5\n").unwrap();
    let flags = "--strategy base,coreset,badge,random --labels labels.csv --labelled labelled.txt";
    let run = bench
        .run(&format!("{THREE} {flags} --figure it.svg --json"))
        .ok();
    let json = run.json();
    assert_eq!(
        (&json["available"], &json["labelled"]),
        (&38.into(), &2.into())
    );
    let lines = json["strategies"].as_array().unwrap();
    let names: Vec<_> = lines
        .iter()
        .map(|line| line["strategy"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["base", "coreset", "badge", "random"]);
    let radius = |name: &str| {
        let line = lines.iter().find(|line| line["strategy"] == name).unwrap();
        line["coverage_radius"].as_f64().unwrap()
    };
    for line in lines {
        assert_eq!(line["picked"], 8, "{line}");
        for of in ["predicted", "labelled"] {
            let entropy = line[of]["entropy"].as_f64().unwrap();
            assert!((0.0..=1.0).contains(&entropy), "{line}");
        }
        assert!(line["peak_bytes"].as_u64().unwrap() > 0, "{line}");
    }
    assert!(radius("coreset") <= radius("random"), "{json}");
    for (row, shares) in json["overlap"].as_array().unwrap().iter().enumerate() {
        assert_eq!(shares.as_array().unwrap()[row], 1.0);
    }
    let figure = bench.read("it.svg");
    for text in ["coverage radius", "coreset", "true classes"] {
        assert!(figure.contains(text), "{text} is not in the figure");
    }
    let text = bench.run(&format!("{THREE} {flags}")).ok().stdout;
    for word in ["radius", "true entropy", "share of its picks", "100%"] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn nothing_is_overwritten_and_nothing_compared_with_itself() {
    let bench = Bench::new().with_pool(40);
    fs::write(bench.path("it.svg"), "mine").unwrap();
    let run = bench.run(&format!("{THREE} --strategy base,random --figure it.svg"));
    run.fails(1, &["it.svg", "exists"]).hints(&["--force"]);
    assert_eq!(bench.read("it.svg"), "mine");
    bench
        .run(&format!("{THREE} --strategy base,base"))
        .fails(2, &["base", "itself"]);
    bench
        .run(&format!(
            "{THREE} --strategy base,random --labels nowhere.csv"
        ))
        .fails(1, &["nowhere.csv"]);
}

#[test]
fn without_a_head_there_are_no_predicted_classes() {
    let bench = Bench::new().with_pool(40);
    let flags = "compare --embeddings pool.safetensors --budget 8 --strategy coreset,random --json";
    let json = bench.run(flags).ok().json();
    for line in json["strategies"].as_array().unwrap() {
        assert!(
            line["predicted"].is_null() && line["labelled"].is_null(),
            "{line}"
        );
        assert!(line["coverage_radius"].as_f64().unwrap() > 0.0);
    }
}
