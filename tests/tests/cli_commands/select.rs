//! `select`: what it writes.

use crate::support::Bench;

fn rows(picks: &str) -> Vec<usize> {
    let lines = picks.lines().skip(1);
    lines
        .map(|line| {
            line.split(',')
                .nth(1)
                .and_then(|row| row.parse().ok())
                .expect("a row")
        })
        .collect()
}

#[test]
fn picks_have_the_agreed_columns_first_and_ranks_from_1() {
    let bench = Bench::new().with_pool(40);
    bench
        .select("--head head.safetensors --strategy base --budget 6")
        .ok();
    let picks = bench.read("picks.csv");
    let mut lines = picks.lines();
    assert!(
        lines
            .next()
            .unwrap()
            .starts_with("rank,row,id,class,score,predicted,runner_up")
    );
    assert!(lines.next().unwrap().starts_with("1,"));
    assert_eq!(rows(&picks).len(), 6);
}

/// Those that need nothing but a pool and a head.
const STRATEGIES: [&str; 11] = [
    "base",
    "mase",
    "margin",
    "confidence",
    "entropy",
    "coreset",
    "badge",
    "partitioned-coreset",
    "partitioned-badge",
    "margin-clustering",
    "random",
];

#[test]
fn every_strategy_writes_the_budget_and_json_reports_it() {
    let bench = Bench::new().with_pool(40);
    for strategy in STRATEGIES {
        let run = bench
            .select(&format!(
                "--head head.safetensors --strategy {strategy} --budget 7 --json --force"
            ))
            .ok();
        let json = run.json();
        assert_eq!(json["picked"], 7, "{strategy}");
        assert_eq!(json["strategy"], strategy);
        let mut picked = rows(&bench.read("picks.csv"));
        picked.sort_unstable();
        picked.dedup();
        assert_eq!(picked.len(), 7, "{strategy}");
    }
}

#[test]
fn random_needs_no_head_and_follows_its_seed() {
    let bench = Bench::new().with_pool(40);
    let mut picks = Vec::new();
    for seed in [1, 1, 2] {
        bench
            .select(&format!(
                "--strategy random --budget 5 --seed {seed} --force"
            ))
            .ok();
        picks.push(rows(&bench.read("picks.csv")));
    }
    assert_eq!(picks[0], picks[1]);
    assert_ne!(picks[0], picks[2]);
}

#[test]
fn what_predicts_nothing_counts_no_predictions() {
    let bench = Bench::new().with_pool(40);
    for (strategy, predicts) in [("random", false), ("base", true)] {
        let json = bench
            .select(&format!(
                "--head head.safetensors --strategy {strategy} --budget 5 --force --json"
            ))
            .ok()
            .json();
        assert_eq!(json["predicted_entropy"].is_null(), !predicts, "{json}");
        let counted = json["predicted"].as_array().map(Vec::len);
        assert_eq!(counted > Some(0), predicts, "{json}");
    }
}

#[test]
fn outputs_that_cannot_be_are_refused_before_a_scan() {
    let bench = Bench::new().with_pool(40);
    let of = |outputs: &str| {
        let question = "--head head.safetensors --strategy base --budget 5 --device cpu";
        bench.run(&format!(
            "select --embeddings pool.safetensors {question} {outputs}"
        ))
    };
    for outputs in [
        "--out none/picks.csv",
        "--out picks.csv --report none/picks.html",
        "--out pool.safetensors/picks.csv",
    ] {
        of(outputs).fails(1, &["cannot write"]);
    }
    std::fs::create_dir(bench.path("folder")).unwrap();
    for report in ["picks.csv", "./picks.csv", "folder/../picks.csv"] {
        of(&format!("--out picks.csv --report {report} --force")).fails(2, &["cannot be one file"]);
    }
    assert!(!bench.has("picks.csv"));
    bench.run("devices --threads 1025").fails(2, &["1025"]);
}

#[test]
fn threads_do_not_change_the_picks() {
    let bench = Bench::new().with_pool(500);
    let mut picks = Vec::new();
    for threads in [1, 2, 5] {
        let flags = format!(
            "--threads {threads} --head head.safetensors --strategy base --budget 40 --force"
        );
        bench.select(&flags).ok();
        picks.push(bench.read("picks.csv"));
    }
    assert_eq!(picks[0], picks[1]);
    assert_eq!(picks[0], picks[2]);
}

#[test]
fn labelled_and_excluded_rows_are_not_picked_and_picks_exclude() {
    let bench = Bench::new().with_pool(12);
    bench
        .write("labelled.txt", "0\n1\n2\n")
        .write("exclude.csv", "row\n3\n4\n");
    bench
        .select("--strategy random --budget 4 --labelled labelled.txt --exclude exclude.csv")
        .ok();
    let first = rows(&bench.read("picks.csv"));
    assert!(first.iter().all(|row| *row >= 5), "{first:?}");
    std::fs::rename(bench.path("picks.csv"), bench.path("earlier.csv")).unwrap();
    let more = "--labelled labelled.txt --exclude exclude.csv --exclude earlier.csv";
    let json = bench
        .select(&format!("--strategy random --budget 99 --json {more}"))
        .ok()
        .json();
    assert_eq!(
        json["picked"], 3,
        "more than the available rows means all of them"
    );
    let second = rows(&bench.read("picks.csv"));
    assert!(second.iter().all(|row| !first.contains(row)));
}

#[test]
fn quotas_balance_and_from_a_file_reach_base() {
    let bench = Bench::new().with_pool(60);
    bench.write("labelled.csv", "row,label\n0,0\n1,0\n2,0\n3,1\n");
    bench.write("quotas.csv", "class,quota\n2,4\n0,1\n");
    let base = "--head head.safetensors --strategy base --labelled labelled.csv";
    let slots = |bench: &Bench| -> Vec<usize> {
        let mut counts = vec![0; 3];
        for line in bench.read("picks.csv").lines().skip(1) {
            counts[line.split(',').nth(3).unwrap().parse::<usize>().unwrap()] += 1;
        }
        counts
    };
    bench
        .select(&format!(
            "{base} --budget 5 --quotas balance --class-order rarest-first"
        ))
        .ok();
    assert_eq!(slots(&bench), [0, 2, 3]);
    bench
        .select(&format!("{base} --budget 5 --quotas quotas.csv --force"))
        .ok();
    assert_eq!(slots(&bench), [1, 0, 4]);
}

#[test]
fn nonfinite_rows_are_left_out_and_counted_when_told_so() {
    let bench = Bench::new().with_pool(9);
    let mut values = vec![0.5f32; 30];
    (0..30).for_each(|i| values[i] += i as f32);
    values[4] = f32::NAN;
    values[21] = f32::INFINITY;
    bench.tensors("pool.safetensors", &[("embeddings", &[10, 3], &values)]);
    let run = bench
        .select("--head head.safetensors --strategy margin --budget 10 --nonfinite skip --json");
    let json = run.ok().json();
    assert_eq!(json["nonfinite_rows"], serde_json::json!([1, 7]));
    assert_eq!(json["picked"], 8);
}

#[test]
fn other_formats_hold_the_same_picks() {
    let bench = Bench::new().with_pool(20);
    let flags = "--head head.safetensors --strategy base --budget 3 --force";
    bench.select(&format!("{flags} --format jsonl")).ok();
    let lines = bench.read("picks.csv");
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(
        (lines.lines().count(), first["rank"].as_u64()),
        (3, Some(1))
    );
    bench.select(&format!("{flags} --format label-studio")).ok();
    let tasks: serde_json::Value = serde_json::from_str(&bench.read("picks.csv")).unwrap();
    assert_eq!(tasks.as_array().map(Vec::len), Some(3));
}

#[test]
fn quiet_says_nothing_and_data_stays_off_stderr() {
    let bench = Bench::new().with_pool(20);
    let run = bench.select("-q --strategy random --budget 3").ok();
    assert!(
        run.stdout.is_empty() && run.stderr.is_empty(),
        "{}{}",
        run.stdout,
        run.stderr
    );
}

#[test]
fn a_report_shows_the_picks_and_replaces_nothing_unasked() {
    let bench = Bench::new().with_pool(40);
    let command = "--head head.safetensors --strategy base --budget 6 --report picks.html";
    bench.select(command).ok();
    let html = bench.read("picks.html");
    assert!(html.contains("6 picks by base"), "{html}");
    assert_eq!(html.matches("<figure>").count(), 6);
    bench
        .select(&command.replace("picks.html", "picks.csv"))
        .fails(1, &["picks.csv", "exists"]);
}
