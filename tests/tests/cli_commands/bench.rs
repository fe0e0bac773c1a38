//! `bench`: its tables, its JSON, its pools.

use serde_json::Value;

use crate::support::{Bench, Run};

/// A shape that takes no time.
const TINY: &str = "bench --device cpu --seconds 0 --shape 60,8,3";

fn strings<'a>(list: &'a Value, key: &str) -> Vec<&'a str> {
    let items = list.as_array().expect("a list").iter();
    items.map(|item| item[key].as_str().expect(key)).collect()
}

#[test]
fn every_kernel_and_selection_has_a_row_next_to_the_ceilings() {
    let json = Bench::new().run(&format!("{TINY} --json")).ok().json();
    assert_eq!(
        (&json["format"], &json["version"]),
        (&"equipoise-bench".into(), &1.into())
    );
    let ceilings = &json["devices"][0]["ceilings"];
    for ceiling in ["fma_gflops", "copy_gbytes"] {
        assert!(ceilings[ceiling].as_f64() > Some(0.0), "{ceilings}");
    }
    let names = strings(&json["rows"], "name");
    assert_eq!(
        names,
        [
            // In float32 and in integers.
            "logits",
            "logits",
            "row_statistics",
            "class_candidates",
            "nearest",
            "nearest_gradient",
            "select base",
            "select mase",
            "select margin",
            "select confidence",
            "select entropy",
            // By burn.
            "logits",
            "row_statistics",
            "select mase"
        ]
    );
    for row in json["rows"].as_array().expect("rows") {
        assert!(row["median_ms"].as_f64() > Some(0.0), "{row}");
        let samples = row["samples_ms"].as_array().expect("samples");
        assert!(samples.len() >= 5 && row["clock"] == "host", "{row}");
        // Operations of burn's topk are not known.
        let counted = row["variant"] != "burn topk";
        assert_eq!(row["compute_share"].as_f64() > Some(0.0), counted, "{row}");
        assert!(row["bandwidth_share"].as_f64() > Some(0.0), "{row}");
    }
    assert!(
        json["omitted"].as_array().is_some_and(Vec::is_empty),
        "{json}"
    );
}

#[test]
fn json_goes_to_a_file_and_the_table_to_stdout() {
    let bench = Bench::new();
    let run = bench
        .run(&format!("{TINY} --shape 70,8,3,5,f16 --json new.json"))
        .ok();
    for words in ["at most", "class_candidates", "60x8x3", "70x8x3 B=5", "f16"] {
        assert!(run.stdout.contains(words), "{}", run.stdout);
    }
    let json: Value = serde_json::from_str(&bench.read("new.json")).expect("JSON");
    // Of f16 without burn, which is measured in f32.
    assert_eq!(json["rows"].as_array().map(Vec::len), Some(25));
    assert_eq!(json["omitted"][0]["failed"], false);
    assert_eq!(json["complete"], true);
    bench
        .run(&format!("{TINY} --out new.json"))
        .fails(1, &["new.json", "exists"]);
    bench
        .run(&format!("{TINY} --out new.json --force --json"))
        .ok()
        .json();
}

#[test]
fn a_run_compares_with_an_earlier_one() {
    let bench = Bench::new();
    bench.run(&format!("{TINY} --out old.json")).ok();
    // The earlier run becomes one of a far faster and one of a far slower machine.
    let mut old: Value = serde_json::from_str(&bench.read("old.json")).expect("JSON");
    for (row, milliseconds) in [(0, 1e-9), (1, 1e9)] {
        old["rows"][row]["median_ms"] = milliseconds.into();
        old["rows"][row]["samples_ms"] = vec![milliseconds; 9].into();
    }
    // An earlier program's rows have no samples.
    old["rows"][2]
        .as_object_mut()
        .expect("a row")
        .remove("samples_ms");
    bench.write("old.json", old.to_string());
    let run = bench.run(&format!("{TINY} --compare old.json")).ok();
    for words in ["ratio", "slower", "faster", "Mann–Whitney"] {
        assert!(run.stdout.contains(words), "{}", run.stdout);
    }
    bench.run(&format!("{TINY} --out new.json")).ok();
    let run = bench.run("bench --compare old.json new.json").ok();
    assert!(
        run.stdout.contains("Mann–Whitney") && !run.stdout.contains("at most"),
        "{}",
        run.stdout
    );
    let json = bench
        .run("bench --compare old.json new.json --json")
        .ok()
        .json();
    assert_eq!(
        (json["rows"].as_array().map(Vec::len), &json["unmatched"]),
        (Some(14), &0.into())
    );
    bench
        .run("bench --compare old.json gone.json")
        .fails(1, &["gone.json"]);
    let run = bench
        .run(&format!("{TINY} --shape 61,8,3 --compare old.json --json"))
        .ok();
    let comparison = &run.json()["comparison"];
    assert_eq!(comparison["unmatched"], 14);
    let slower: Vec<_> = comparison["rows"].as_array().expect("rows")[..2]
        .iter()
        .map(|row| row["slower"].as_bool())
        .collect();
    assert_eq!(slower, [Some(true), Some(false)]);
    assert_eq!(comparison["rows"][1]["verdict"], "faster");
    assert!(
        comparison["rows"][0]["p"].as_f64() < Some(0.01),
        "{comparison}"
    );
    assert!(comparison["rows"][2]["p"].is_null(), "{comparison}");
}

#[test]
fn what_is_no_record_is_named_before_anything_is_measured() {
    let bench = Bench::new();
    bench
        .write("text.json", "not JSON")
        .write("other.json", "{\"a\": 1}");
    bench.write(
        "newer.json",
        "{\"format\": \"equipoise-bench\", \"version\": 7}",
    );
    bench.write(
        "damaged.json",
        "{\"format\": \"equipoise-bench\", \"version\": 1}",
    );
    let compare = |name: &str| bench.run(&format!("bench --device cpu --compare {name}"));
    compare("text.json").fails(1, &["text.json", "no JSON"]);
    compare("other.json")
        .fails(1, &["other.json", "not of"])
        .hints(&["--out"]);
    compare("newer.json").fails(1, &["newer.json", "version is 7"]);
    compare("damaged.json").fails(1, &["damaged.json", "damaged"]);
    compare("missing.json").fails(1, &["missing.json"]);
}

#[test]
fn wrong_shapes_and_combinations_exit_2() {
    let bench = Bench::new();
    for arguments in [
        "bench --shape 1,2",
        "bench --shape 10,4,1",
        "bench --shape 10,4,3,f64",
        "bench --shape 0,4,3",
        "bench --seconds -1",
        "bench stray.json",
        "bench --make-pool p.safetensors",
        "bench --make-pool p.npy --shape 9,8,7",
        "bench --make-pool p.safetensors --shape 9,8,7 --check",
    ] {
        let run = bench.run(arguments);
        assert_eq!(run.code, 2, "{arguments}: {}", run.stderr);
        assert!(run.stdout.is_empty(), "{arguments}");
    }
    assert!(bench.names().is_empty());
}

#[test]
fn a_pool_that_is_larger_than_memory_is_left_out() {
    let run = Bench::new().run("bench --device cpu --seconds 0 --shape 9000000000,1000,3 --json");
    let json = run.ok().json();
    assert_eq!(json["rows"], serde_json::json!([]));
    assert_eq!(json["omitted"][0]["failed"], false);
}

#[test]
fn tables_of_all_classes_are_left_out_where_memory_does_not_hold_them() {
    // 160 GB for each table of 200,000 × 200,000.
    let run = Bench::new()
        .run("bench --device cpu --seconds 0 --shape 10,4,200000 --only nearest,mase --json");
    let json = run.ok().json();
    let omitted = json["omitted"].as_array().expect("omissions");
    let of = |name: &str| {
        omitted
            .iter()
            .find(|of| of["what"].as_str().expect("a name").starts_with(name))
    };
    for name in ["nearest_gradient ", "select mase burn"] {
        let omission = of(name).unwrap_or_else(|| panic!("{name}: {json}"));
        let reason = omission["reason"].as_str().expect("a reason");
        assert!(reason.contains("of memory, of which"), "{reason}");
        assert_eq!(omission["failed"], false);
    }
    let names = strings(&json["rows"], "name");
    assert_eq!(names, ["nearest", "select mase"], "{json}");
}

#[test]
fn one_card_is_compared_with_another() {
    let bench = Bench::new();
    bench.run(&format!("{TINY} --out old.json")).ok();
    let json = bench.read("old.json");
    let mut old: Value = serde_json::from_str(&json).expect("JSON");
    // The same measurements of two cards.
    let card = |json: &mut Value, name: &str| {
        json["devices"][0]["backend"] = "vulkan".into();
        json["devices"][0]["device"] = name.into();
        for row in json["rows"].as_array_mut().expect("rows") {
            row["device"] = name.into();
        }
    };
    let mut new = old.clone();
    card(&mut old, "a card (vulkan)");
    card(&mut new, "another card (vulkan)");
    bench.write("card.json", old.to_string());
    bench.write("other-card.json", new.to_string());
    let run = bench.run("bench --compare card.json other-card.json").ok();
    let heading = "another card (vulkan) against a card (vulkan), another device";
    assert!(run.stdout.contains(heading), "{}", run.stdout);
    assert!(
        run.stdout.contains("0 measurements are in one run only"),
        "{}",
        run.stdout
    );
}

#[test]
fn a_made_pool_can_be_selected_from() {
    let bench = Bench::new();
    for dtype in ["f16", "f32"] {
        let made = format!("bench --make-pool made.safetensors --shape 3000,16,5,{dtype}");
        let json = bench.run(&format!("{made} --force --json")).ok().json();
        assert_eq!(json["head"], "made.head.safetensors");
        bench.run(&made).fails(1, &["made.safetensors", "exists"]);
        let run = bench
            .run(
                "select --device cpu --embeddings made.safetensors --head made.head.safetensors \
                 --strategy base --budget 50 --out picks.csv --force --json",
            )
            .ok()
            .json();
        assert_eq!((&run["rows"], &run["picked"]), (&3000.into(), &50.into()));
        // Each of the clusters is some class's.
        let classes = run["predicted"].as_array().expect("classes");
        assert!(
            classes.iter().all(|class| class[1].as_u64() > Some(0)),
            "{run}"
        );
    }
    assert_eq!(
        bench.names(),
        ["made.head.safetensors", "made.safetensors", "picks.csv"]
    );
}

/// Everything that was checked passed, or cannot be done here.
fn all_passed(run: Run) -> Value {
    let json = run.ok().json();
    for check in json["checks"].as_array().expect("checks") {
        assert_ne!(check["passed"], false, "{check}");
    }
    json
}

#[test]
fn the_cpu_picks_what_the_definition_says() {
    let json = all_passed(Bench::new().run(&format!("{TINY} --check --json")));
    let checks = strings(&json["checks"], "name");
    // Sixteen pools, with the products chosen and with each kind.
    assert_eq!(checks.len(), 3 * 16, "{checks:?}");
    for way in ["in memory", "logits float32", "logits int16"] {
        let of_way = checks.iter().filter(|name| name.contains(way));
        assert_eq!(of_way.count(), 16, "{way}: {checks:?}");
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_full_run_measures_base_with_every_variant_of_logits() {
    let run = Bench::new()
        .run("bench --device gpu --full --seconds 0 --shape 300,8,3,f16 --only /select --json");
    let json = all_passed(run);
    let rows = json["rows"].as_array().expect("rows");
    for place in ["streamed", "resident"] {
        for logits in ["", " small", " large"] {
            let variant = format!("{place}{logits}");
            let row = rows
                .iter()
                .find(|row| row["name"] == "select base" && row["variant"] == variant);
            let row = row.unwrap_or_else(|| panic!("no {variant}"));
            // Lanes multiply in these, whatever embeddings are stored as.
            assert!(
                logits.is_empty() || row["compute_ceiling"] == "fma",
                "{row}"
            );
        }
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_gpu_is_checked_and_measured_streamed_and_resident() {
    let run = Bench::new()
        .run("bench --device all --check --seconds 0 --shape 300,8,3 --shape 300,8,3,f16 --json");
    let json = all_passed(run);
    let checks = strings(&json["checks"], "name");
    for name in [
        "picks, streamed: rows on boundaries, f16",
        "picks, resident: clusters, f32",
        "picks, logits large: saturated probabilities, f16",
        "picks, row kernels plain: clusters, f32",
        "logits small, f32",
    ] {
        assert!(checks.contains(&name), "no {name} in {checks:?}");
    }
    let device = &json["devices"][1];
    assert!(
        device["driver"].is_string() && device["backend"].is_string(),
        "{device}"
    );
    assert!(
        device["ceilings"]["upload_gbytes"].as_f64() > Some(0.0),
        "{device}"
    );
    let rows = json["rows"].as_array().expect("rows").iter();
    let rows: Vec<_> = rows
        .filter(|row| row["device"] == device["device"])
        .collect();
    let features = device["features"].as_array().expect("features");
    let timestamps = ["TIMESTAMP_QUERY", "TIMESTAMP_QUERY_INSIDE_ENCODERS"];
    let clock = match timestamps
        .iter()
        .all(|name| features.contains(&(*name).into()))
    {
        true => "device",
        false => "host",
    };
    for row in &rows {
        let whole = row["name"].as_str().expect("a name").starts_with("select");
        let expected = if whole { "host" } else { clock };
        assert_eq!(row["clock"], expected, "{row}");
    }
    let has = |name: &str, variant: &str| {
        rows.iter()
            .any(|row| row["name"] == name && row["variant"] == variant)
    };
    for (name, variant) in [
        ("logits", "small"),
        ("logits", "large"),
        ("row_norms", "f16"),
        ("row_statistics", "plain"),
        ("class_candidates", "plain"),
        ("nearest", "plain"),
        ("gradients", "plain"),
        ("nearest_gradient", "plain"),
        ("select base", "streamed"),
        ("select margin", "resident"),
    ] {
        assert!(has(name, variant), "no {name} {variant}");
    }
}
