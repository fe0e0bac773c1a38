//! `scan` and `merge`: the picks of `select`, and what is refused.

use crate::embed::{embed, with_images};
use crate::support::{Bench, Run};

const BASE: &str = "--head head.safetensors --strategy base --budget 60";

/// Scans a shard of the pool, on the CPU, to `NAME.cand`.
fn scan(bench: &Bench, shard: &str, name: &str, arguments: &str) -> Run {
    bench.run(&format!(
        "scan --device cpu --embeddings pool.safetensors --shard {shard} --out {name}.cand {arguments}"
    ))
}

/// Scans all of `shards` shards, to `1.cand`, `2.cand`, ….
fn scan_all(bench: &Bench, shards: usize, arguments: &str) {
    for shard in 1..=shards {
        scan(
            bench,
            &format!("{shard}/{shards}"),
            &shard.to_string(),
            arguments,
        )
        .ok();
    }
}

fn bench() -> Bench {
    let bench = Bench::new().with_pool(700);
    bench.write("labelled.csv", "row,label\n0,0\n1,0\n2,2\n350,1\n");
    bench.write("quotas.csv", "class,quota\n2,40\n0,20\n");
    bench
}

#[test]
fn merged_shards_are_the_picks_of_select_byte_for_byte() {
    let bench = bench();
    let of = |strategy: &str| format!("--head head.safetensors --strategy {strategy} --budget 60");
    let base = of("base");
    let questions = [
        base.clone(),
        format!("{base} --labelled labelled.csv --quotas balance --class-order rarest-first"),
        format!("{base} --quotas quotas.csv"),
        "--head head.safetensors --strategy base --budget 9999".into(),
        of("mase"),
        of("margin"),
        of("confidence"),
        of("entropy"),
    ];
    for question in questions {
        for format in ["csv", "jsonl", "label-studio"] {
            bench
                .select(&format!("{question} --format {format} --force"))
                .ok();
            for shard in 1..=3 {
                let flags = format!("{question} --force");
                scan(&bench, &format!("{shard}/3"), &shard.to_string(), &flags).ok();
            }
            let merge =
                format!("merge 3.cand 1.cand 2.cand --out merged --format {format} --force");
            let run = bench.run(&merge).ok();
            assert!(run.stdout.is_empty(), "{}", run.stdout);
            assert_eq!(bench.read("merged"), bench.read("picks.csv"), "{question}");
        }
    }
}

#[test]
fn merged_picks_of_a_store_have_its_ids_uris_and_class_names() {
    let bench = with_images(Bench::new(), 9);
    embed(&bench, "").ok();
    bench
        .run("fit --embeddings pool.emb --out head.safetensors")
        .ok();
    let question = "--device cpu --embeddings pool.emb --head head.safetensors --strategy base \
                    --budget 7 --exclude images.txt";
    bench.write("images.txt", "dark/003.png\nlight/000.png\n");
    for shard in 1..=4 {
        bench
            .run(&format!(
                "scan {question} --shard {shard}/4 --out {shard}.cand"
            ))
            .ok();
    }
    // Nothing but the candidates is needed.
    for format in ["csv", "jsonl", "label-studio"] {
        bench
            .run(&format!(
                "select {question} --format {format} --out picks --force"
            ))
            .ok();
        bench
            .run(&format!(
                "merge 1.cand 2.cand 3.cand 4.cand --format {format} --out merged --force"
            ))
            .ok();
        assert!(bench.read("picks").contains("light/00"));
        assert_eq!(bench.read("merged"), bench.read("picks"), "{format}");
    }
}

#[test]
fn scan_and_merge_report_as_json() {
    let bench = bench();
    let json = scan(&bench, "2/4", "a", &format!("{BASE} --json"))
        .ok()
        .json();
    assert_eq!(
        (json["shard"].as_u64(), json["shards"].as_u64()),
        (Some(2), Some(4))
    );
    assert_eq!(
        (json["first_row"].as_u64(), json["rows"].as_u64()),
        (Some(175), Some(175))
    );
    scan_all(&bench, 2, BASE);
    let json = bench
        .run("merge 1.cand 2.cand --out p.csv --json")
        .ok()
        .json();
    assert_eq!(
        (json["exact"].as_bool(), json["picked"].as_u64()),
        (Some(true), Some(60))
    );
}

#[test]
fn merge_asks_for_deeper_scans_and_is_then_exact() {
    let bench = bench();
    bench.select(BASE).ok();
    scan_all(&bench, 3, &format!("{BASE} --depth 2"));
    let mut files: Vec<String> = (1..=3).map(|shard| format!("{shard}.cand")).collect();
    let mut rounds = 0;
    loop {
        let run = bench.run(&format!("merge {} --out merged.csv", files.join(" ")));
        if run.code == 0 {
            break;
        }
        rounds += 1;
        assert!(rounds < 12 && !bench.has("merged.csv"));
        assert!(run.stdout.contains("rows to list") && run.stdout.contains("/3"));
        run.fails(1, &["not certain", "shards"])
            .hints(&["--deepen merged.csv.deepen.json"]);
        let asked: serde_json::Value =
            serde_json::from_str(&bench.read("merged.csv.deepen.json")).unwrap();
        let asked = asked["shards"].as_array().unwrap().clone();
        for shard in 1..=3 {
            let name = format!("{shard}-{rounds}");
            let flags = format!("{BASE} --deepen merged.csv.deepen.json");
            let run = scan(&bench, &format!("{shard}/3"), &name, &flags).ok();
            if asked.iter().any(|of| of["shard"] == shard) {
                files.push(format!("{name}.cand"));
            } else {
                assert!(run.stderr.contains("nothing is asked"), "{}", run.stderr);
                assert!(!bench.has(&format!("{name}.cand")));
            }
        }
    }
    assert!(rounds > 0);
    assert_eq!(bench.read("merged.csv"), bench.read("picks.csv"));
}

#[test]
fn a_deeper_scan_must_be_asked_the_same() {
    let bench = bench();
    scan_all(&bench, 2, &format!("{BASE} --depth 1"));
    let run = bench.run("merge 1.cand 2.cand --out m.csv --deepen-out asked.json --json");
    assert_eq!(run.json()["exact"], false);
    run.fails(1, &["not certain"]);
    let other = "--head head.safetensors --strategy base --budget 61 --deepen asked.json";
    scan(&bench, "1/2", "new", other)
        .fails(1, &["asked.json", "budget"])
        .hints(&["options of the first scan"]);
    bench.write("none.json", "{}");
    scan(&bench, "1/2", "new", &format!("{BASE} --deepen none.json")).fails(1, &["none.json"]);
    scan(
        &bench,
        "1/2",
        "new",
        &format!("{BASE} --deepen asked.json --depth 3"),
    )
    .code_is(2);
    assert!(!bench.has("new.cand"));
}

#[test]
fn candidates_of_other_questions_are_refused() {
    let bench = bench();
    scan_all(&bench, 2, BASE);
    let values: Vec<f32> = (0..2100).map(|i| (i % 89) as f32).collect();
    bench.tensors("other.safetensors", &[("embeddings", &[700, 3], &values)]);
    let weight = [1.0, 0.5, -0.25, -0.5, 1.0, 0.75, 0.25, -1.0, 1.25];
    bench.tensors("head2.safetensors", &[("weight", &[3, 3], &weight)]);
    bench.write("exclude.txt", "5\n");
    let others = [
        (
            "pool",
            "--embeddings other.safetensors",
            "2/2",
            BASE.to_owned(),
        ),
        ("head", "", "2/2", BASE.replace("head.saf", "head2.saf")),
        ("strategy", "", "2/2", BASE.replace("base", "mase")),
        ("budget", "", "2/2", BASE.replace("60", "59")),
        (
            "excluded rows",
            "",
            "2/2",
            format!("{BASE} --exclude exclude.txt"),
        ),
        ("quotas", "", "2/2", format!("{BASE} --quotas quotas.csv")),
        (
            "class order",
            "",
            "2/2",
            format!("{BASE} --class-order rarest-first --labelled labelled.csv"),
        ),
        ("number of shards", "", "2/3", BASE.to_owned()),
    ];
    for (what, pool, shard, question) in others {
        let pool = if pool.is_empty() {
            "--embeddings pool.safetensors"
        } else {
            pool
        };
        let first = match what {
            // Labelled rows alone would differ first.
            "class order" => {
                let flags = format!("{BASE} --labelled labelled.csv");
                scan(&bench, "1/2", "labelled", &flags).ok();
                "labelled.cand"
            }
            _ => "1.cand",
        };
        let flags = format!("scan --device cpu --force {pool} --shard {shard} --out x.cand");
        bench.run(&format!("{flags} {question}")).ok();
        bench
            .run(&format!("merge {first} x.cand --out m.csv"))
            .fails(1, &[first, "x.cand", what])
            .hints(&["same"]);
    }
    assert!(!bench.has("m.csv"));
}

#[test]
fn every_shard_must_be_there() {
    let bench = bench();
    scan_all(&bench, 3, BASE);
    bench
        .run("merge 1.cand 3.cand --out m.csv")
        .fails(1, &["1 of 3 shards", ": 2"])
        .hints(&["scan"]);
    // The same shard twice is no harm.
    bench
        .run("merge 1.cand 2.cand 2.cand 3.cand --out m.csv")
        .ok();
    bench.run("merge --out m.csv").code_is(2);
}

#[test]
fn outputs_that_exist_need_force() {
    let bench = bench();
    scan_all(&bench, 1, BASE);
    scan(&bench, "1/1", "1", BASE).fails(1, &["1.cand", "exists"]);
    bench.write("m.csv", "mine");
    bench
        .run("merge 1.cand --out m.csv")
        .fails(1, &["m.csv", "exists"]);
    bench.run("merge 1.cand --out m.csv --force").ok();
    bench.write("m2.csv.deepen.json", "mine");
    scan(&bench, "1/1", "1", &format!("{BASE} --depth 1 --force")).ok();
    bench
        .run("merge 1.cand --out m2.csv")
        .fails(1, &["m2.csv.deepen.json", "exists"]);
    assert_eq!(bench.read("m2.csv.deepen.json"), "mine");
}

#[test]
fn what_is_read_is_not_written_over() {
    let bench = bench();
    scan_all(&bench, 1, BASE);
    let read = |name: &str| std::fs::read(bench.path(name)).unwrap();
    let whole = read("pool.safetensors");
    for name in ["pool.safetensors", "head.safetensors", "./labelled.csv"] {
        let flags = "--device cpu --embeddings pool.safetensors --labelled labelled.csv --force";
        for command in ["scan --shard 1/1", "select"] {
            bench
                .run(&format!("{command} {BASE} {flags} --out {name}"))
                .fails(2, &[name, "it is read"])
                .hints(&["another output"]);
        }
    }
    let candidates = read("1.cand");
    for outs in ["--out 1.cand", "--out m.csv --deepen-out 1.cand"] {
        bench
            .run(&format!("merge 1.cand {outs} --force"))
            .fails(2, &["1.cand", "it is read"]);
    }
    assert_eq!(
        (read("pool.safetensors"), read("1.cand")),
        (whole, candidates)
    );
    assert!(!bench.has("m.csv"));
}

#[test]
fn damaged_candidates_are_refused() {
    let bench = bench();
    scan_all(&bench, 1, BASE);
    let mut bytes = std::fs::read(bench.path("1.cand")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(bench.path("2.cand"), &bytes).unwrap();
    std::fs::write(bench.path("3.cand"), [&bytes[..], b"\n"].concat()).unwrap();
    bytes.pop();
    std::fs::write(bench.path("4.cand"), bytes).unwrap();
    for (name, what, hint) in [
        ("2.cand", "SHA-256", "copy it again"),
        ("3.cand", "length", "whole?"),
        ("4.cand", "length", "whole?"),
    ] {
        bench
            .run(&format!("merge {name} --out m.csv"))
            .fails(1, &[name, what])
            .hints(&[hint]);
    }
    assert!(!bench.has("m.csv"));
}

#[test]
fn a_scan_keeps_to_its_memory_and_a_dry_run_writes_nothing() {
    let bench = bench();
    let with = |name: &str, more: &str| scan(&bench, "1/2", name, &format!("{BASE} {more}"));
    let plan = with("a", "--dry-run --json").ok().json();
    let parts = plan["parts"].as_array().unwrap();
    assert!(parts.iter().any(|part| part["what"] == "lists and float64"));
    with("a", "--memory 1kB").fails(1, &["1000 bytes of memory are too few", "at least"]);
    assert!(!bench.has("a.cand"));
    let bytes = plan["host_bytes"].as_u64().unwrap();
    let report = with("a", &format!("--memory {bytes} --json")).ok().json();
    assert!(report["memory"]["host_bytes"].as_u64().unwrap() <= bytes);
    assert_eq!(report["fallbacks"], serde_json::json!([]));
    with("b", "--fallback cpu").ok();
    let read = |name: &str| std::fs::read(bench.path(name)).unwrap();
    assert_eq!(read("a.cand"), read("b.cand"));
}

#[test]
fn wrong_usage_exits_2_and_says_why() {
    let bench = bench();
    for shard in ["0/3", "4/3", "3", "1/0", "x/y", "1/99999999"] {
        scan(&bench, shard, "a", BASE).code_is(2);
    }
    scan(&bench, "1/2", "a", "--strategy random --budget 3")
        .fails(2, &["random", "shards"])
        .hints(&["base"]);
    scan(&bench, "1/2", "a", "--strategy base --budget 3").fails(2, &["--head"]);
    scan(&bench, "1/2", "a", &format!("{BASE} --depth 0")).code_is(2);
    let none = "--head head.safetensors --strategy base --budget 0";
    scan(&bench, "1/2", "a", none).fails(1, &["budget"]);
    assert!(!bench.has("a.cand"));
}

#[test]
fn rows_that_are_not_finite_are_refused_or_left_out_by_each_shard() {
    let bench = bench();
    let mut values: Vec<f32> = (0..90)
        .map(|i| (i * 37 % 101) as f32 / 25.0 - 2.0)
        .collect();
    (values[4], values[85]) = (f32::NAN, f32::INFINITY);
    bench.tensors("pool.safetensors", &[("embeddings", &[30, 3], &values)]);
    let question = "--head head.safetensors --strategy base --budget 30";
    scan(&bench, "1/3", "a", question)
        .fails(1, &["row 1"])
        .hints(&["--nonfinite skip"]);
    // The second shard has none.
    scan(&bench, "2/3", "a", question).ok();
    let skip = format!("{question} --nonfinite skip");
    scan_all(&bench, 3, &skip);
    let merged = bench
        .run("merge 1.cand 2.cand 3.cand --out m.csv --json")
        .ok();
    let json = merged.json();
    assert_eq!(json["nonfinite_rows"], serde_json::json!([1, 28]));
    let selected = bench.select(&format!("{skip} --json")).ok();
    assert_eq!(bench.read("m.csv"), bench.read("picks.csv"));
    // Two rows fewer than the budget: a class falls short, and either says so.
    assert!(merged.stderr.contains("fell short"), "{}", merged.stderr);
    assert_eq!(json["shortfalls"], selected.json()["shortfalls"]);
    assert!(json["shortfalls"][0]["missing"].as_f64() > Some(0.0));
}

#[test]
fn files_that_are_no_candidates_are_named() {
    let bench = bench();
    bench
        .write("empty.cand", "")
        .write("text.cand", "rank,row\n1,2\n");
    for name in ["empty.cand", "text.cand", "head.safetensors", "none.cand"] {
        bench
            .run(&format!("merge {name} --out m.csv"))
            .fails(1, &[name]);
    }
}
