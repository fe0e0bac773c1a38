//! `select` under constraints, with quotas from files, and `--explain`.

use crate::support::Bench;

const BASE: &str = "--head head.safetensors --strategy base";

fn column(picks: &str, name: &str) -> Vec<String> {
    let mut lines = picks.lines();
    let header = lines.next().expect("a header");
    let place = header
        .split(',')
        .position(|found| found == name)
        .expect("the column");
    lines
        .map(|line| line.split(',').nth(place).expect("a field").to_owned())
        .collect()
}

/// Rows in two sites by turns; each costs 1, every third 4.
fn with_tables(bench: &Bench) {
    let site = |row: usize| {
        if row.is_multiple_of(2) {
            "north"
        } else {
            "south"
        }
    };
    let cost = |row: usize| if row.is_multiple_of(3) { "4" } else { "1" };
    let lines: String = (0..40)
        .map(|row| format!("{row},{},{}\n", site(row), cost(row)))
        .collect();
    bench.write("table.csv", format!("row,site,cost\n{lines}"));
}

#[test]
fn a_group_is_picked_up_to_its_cap_and_what_is_missing_is_told() {
    let bench = Bench::new().with_pool(40);
    with_tables(&bench);
    let flags = "--budget 12 --metadata table.csv --group-cap site=4 --json";
    let run = bench.select(&format!("{BASE} {flags}")).ok();
    let rows = column(&bench.read("picks.csv"), "row");
    let north = rows
        .iter()
        .filter(|row| row.parse::<usize>().unwrap().is_multiple_of(2));
    assert_eq!((rows.len(), north.count()), (8, 4));
    assert!(run.stderr.contains("fell short by"), "{}", run.stderr);
    let short = &run.json()["shortfalls"];
    let missing: f64 = short
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["missing"].as_f64().unwrap())
        .sum();
    assert_eq!(missing, 4.0);
    assert!(short.to_string().contains("site=north"), "{short}");
}

#[test]
fn a_budget_of_cost_is_kept() {
    let bench = Bench::new().with_pool(40);
    with_tables(&bench);
    bench
        .select(&format!("{BASE} --budget 15 --cost table.csv"))
        .ok();
    let rows = column(&bench.read("picks.csv"), "row");
    let cost = |row: &String| {
        if row.parse::<usize>().unwrap().is_multiple_of(3) {
            4
        } else {
            1
        }
    };
    let spent: i32 = rows.iter().map(cost).sum();
    assert!((13..=15).contains(&spent), "{spent}");
}

#[test]
fn picks_keep_their_distance() {
    let bench = Bench::new().with_pool(40);
    bench.select(&format!("{BASE} --budget 10")).ok();
    let free = column(&bench.read("picks.csv"), "row");
    let flags = "--budget 10 --min-distance 1e9 --force --json";
    let json = bench.select(&format!("{BASE} {flags}")).ok().json();
    assert_eq!(json["picked"], 1);
    let too_near = json["shortfalls"][0]["too_near"].as_u64().unwrap();
    assert!(too_near > 0, "{json}");
    bench
        .select(&format!("{BASE} --budget 10 --min-distance 1e-9 --force"))
        .ok();
    assert_eq!(column(&bench.read("picks.csv"), "row"), free);
}

#[test]
fn picks_say_their_place_and_how_many_they_beat() {
    let bench = Bench::new().with_pool(40);
    bench.select(&format!("{BASE} --budget 6")).ok();
    let picks = bench.read("picks.csv");
    assert_eq!(column(&picks, "class_rank"), ["1", "2", "1", "2", "1", "2"]);
    assert_eq!(column(&picks, "beat"), ["39", "38", "37", "36", "35", "34"]);
    bench.select("--strategy random --budget 2 --force").ok();
    assert_eq!(column(&bench.read("picks.csv"), "beat"), ["", ""]);
}

#[test]
fn quotas_are_counts_that_sum_to_the_budget_or_weights() {
    let bench = Bench::new().with_pool(40);
    bench.write("weights.csv", "class,weight\n0,0.5\n2,0.25\n");
    bench
        .select(&format!("{BASE} --budget 6 --quotas weights.csv"))
        .ok();
    assert_eq!(
        column(&bench.read("picks.csv"), "class"),
        ["0", "0", "0", "0", "2", "2"]
    );
    bench.write("counts.csv", "class,quota\n0,5\n2,2\n");
    bench
        .select(&format!("{BASE} --budget 6 --quotas counts.csv --force"))
        .fails(1, &["counts.csv", "sum to 7", "budget is 6"])
        .hints(&["weight"]);
    bench.write("none.csv", "class,weight\n0,0\n");
    bench
        .select(&format!("{BASE} --budget 6 --quotas none.csv --force"))
        .fails(1, &["none.csv", "weights"]);
}

#[test]
fn constraints_are_checked_before_anything_is_written() {
    let bench = Bench::new().with_pool(40);
    with_tables(&bench);
    bench.write("short.csv", "row,site,cost\n0,north,1\n");
    bench.write("negative.csv", "row,cost\n0,-1\n");
    let group = "--metadata table.csv --group-cap";
    for (flags, code, words) in [
        (
            "--metadata short.csv --group-cap site=3".to_owned(),
            1,
            &["short.csv", "39", "site"][..],
        ),
        (format!("{group} town=3"), 1, &["table.csv", "town"]),
        ("--cost short.csv".into(), 1, &["short.csv", "cost"]),
        ("--cost negative.csv".into(), 1, &["negative.csv", "-1"]),
        ("--cost nowhere.csv".into(), 1, &["nowhere.csv"]),
        (
            "--cost table.csv --quotas balance".into(),
            2,
            &["balance", "--cost"],
        ),
        ("--explain 999".into(), 1, &["999"]),
    ] {
        bench
            .select(&format!("{BASE} --budget 6 {flags}"))
            .fails(code, words);
        assert!(!bench.has("picks.csv"), "{flags}");
    }
    for flags in [
        "--group-cap site=3",
        "--min-distance -1",
        "--min-distance near",
    ] {
        bench
            .select(&format!("{BASE} --budget 6 {flags}"))
            .code_is(2);
    }
    bench
        .select(&format!("{BASE} --budget 6 {group} site"))
        .code_is(2);
    bench
        .select("--head head.safetensors --strategy margin --budget 6 --min-distance 1")
        .fails(2, &["margin", "constraints"])
        .hints(&["base"]);
    bench
        .run(
            "scan --shard 1/2 --embeddings pool.safetensors --head head.safetensors --strategy base \
             --budget 6 --cost table.csv --out 1.cand",
        )
        .fails(2, &["shards", "constraints"]);
}

#[test]
fn every_row_can_be_explained() {
    let bench = Bench::new().with_pool(40);
    bench.write("labelled.txt", "3\n");
    bench.write("excluded.txt", "5\n");
    let all: String = (0..40).map(|row| format!(" --explain {row}")).collect();
    let flags = "--budget 6 --labelled labelled.txt --exclude excluded.txt --json";
    let run = bench.select(&format!("{BASE} {flags}{all}")).ok();
    let json = run.json();
    let explained = json["explained"].as_array().unwrap();
    assert_eq!(explained.len(), 40);
    assert_eq!(
        (&explained[3]["fate"], &explained[5]["fate"]),
        (&"labelled".into(), &"excluded".into())
    );
    let picked: Vec<_> = explained
        .iter()
        .filter(|row| row["fate"] == "picked")
        .collect();
    assert_eq!(picked.len(), 6);
    let rows = column(&bench.read("picks.csv"), "row");
    for row in picked {
        let rank = row["rank"].as_u64().unwrap() as usize;
        assert_eq!(rows[rank - 1], row["row"].to_string());
    }
    for row in explained.iter().filter(|row| row["fate"] == "not picked") {
        // No constraint was in the way: it stands behind the last pick of every class.
        let standings = row["standings"].as_array().unwrap();
        assert_eq!(standings.len(), 3, "{row}");
        assert!(
            standings.iter().all(|of| of["before_last"] == false),
            "{row}"
        );
        assert!(row["hindrances"].as_array().unwrap().is_empty());
    }
    assert!(run.stderr.contains("row 3 (3): labelled"), "{}", run.stderr);
    let near = "--budget 6 --min-distance 1e9 --force --explain 0 --explain 1";
    let run = bench.select(&format!("{BASE} {near}")).ok();
    assert!(run.stderr.contains("which is too near"), "{}", run.stderr);
    let run = bench
        .select("--strategy random --budget 6 --force --explain 2")
        .ok();
    assert!(
        run.stderr.contains("no score of their own"),
        "{}",
        run.stderr
    );
}
