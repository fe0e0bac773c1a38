//! `select` by strategies with options of their own.

use crate::support::Bench;

/// A bench with a pool of 40 rows, four of them labelled unevenly, and true labels of all.
fn bench() -> Bench {
    let bench = Bench::new().with_pool(40);
    let truth = (0..40).map(|row| format!("{row},{}\n", [0, 0, 0, 0, 1, 1, 1, 2][row % 8]));
    let truth = truth.collect::<String>();
    bench.write("truth.csv", format!("row,label\n{truth}"));
    bench.write("labelled.csv", "row,label\n0,0\n1,0\n2,0\n4,1\n");
    bench
}

/// A column of picks.csv.
fn column(bench: &Bench, index: usize) -> Vec<String> {
    let picks = bench.read("picks.csv");
    let lines = picks.lines().skip(1);
    let cell = |line: &str| line.split(',').nth(index).unwrap_or_default().to_owned();
    lines.map(cell).collect()
}

#[test]
fn balanced_random_is_even_and_says_that_it_is_an_oracle() {
    let bench = bench();
    let balanced = "--strategy balanced-random --labels truth.csv --labelled labelled.csv";
    let run = bench.select(&format!("{balanced} --budget 12 --report page.html"));
    let run = run.ok();
    assert!(
        run.stderr.contains("balanced-random, an oracle"),
        "{}",
        run.stderr
    );
    assert!(
        bench
            .read("page.html")
            .contains("an oracle that read true labels")
    );
    assert!(
        bench.read("page.html").contains(">2"),
        "classes have their names"
    );
    let mut classes = column(&bench, 3);
    assert_eq!(&classes[..4], ["0", "1", "2", "0"]);
    classes.sort();
    assert_eq!(classes.concat(), "000011112222");
    let json = bench.select(&format!("{balanced} --budget 36 --json --force"));
    let json = json.ok().json();
    assert_eq!(
        (&json["oracle"], &json["picked"]),
        (&true.into(), &36.into())
    );
    let random = bench.select("--strategy random --budget 3 --json --force");
    assert_eq!(random.ok().json()["oracle"], false);
}

#[test]
fn the_list_of_strategies_marks_oracles() {
    let bench = Bench::new();
    let list = bench.run("strategies --json").ok().json();
    for about in list["strategies"].as_array().unwrap() {
        assert_eq!(
            about["oracle"],
            about["name"] == "balanced-random",
            "{about}"
        );
    }
    let text = bench.run("strategies").ok().stdout;
    let line = text
        .lines()
        .find(|line| line.starts_with("balanced-random"));
    assert!(line.unwrap().contains("an oracle"), "{text}");
}

#[test]
fn oracles_refuse_to_run_without_labels_and_others_refuse_labels() {
    let bench = bench();
    bench.write("some.csv", "row,label\n1,0\n2,1\n");
    bench.write("odd.csv", "row,label\n1,dog\n");
    let before = bench.names();
    let oracle =
        "--head head.safetensors --strategy balancing --balancing-labels oracle --budget 3";
    bench
        .select("--strategy balanced-random --budget 3")
        .fails(1, &["balanced-random", "true labels"])
        .hints(&["--labels"]);
    bench
        .select(oracle)
        .fails(1, &["balancing", "true labels"])
        .hints(&["--labels"]);
    bench
        .select("--strategy balanced-random --labels some.csv --budget 3")
        .fails(1, &["row 0"])
        .hints(&["--exclude"]);
    bench
        .select("--strategy balanced-random --labels none.csv --budget 3")
        .fails(1, &["none.csv"]);
    bench
        .select(&format!("{oracle} --labels odd.csv"))
        .fails(1, &["odd.csv", "dog"]);
    bench
        .select("--strategy random --labels truth.csv --budget 3")
        .fails(2, &["--labels"])
        .hints(&["balanced-random"]);
    assert_eq!(bench.names(), before, "files left behind");
}

#[test]
fn balancing_follows_its_options() {
    let bench = bench();
    // Two frequent classes, so that one is the farther.
    bench.write(
        "two.csv",
        "row,label\n0,0\n1,0\n2,0\n3,0\n8,0\n4,1\n5,1\n6,1\n12,1\n",
    );
    let balancing = "--head head.safetensors --strategy balancing --labelled two.csv --budget 4";
    let mut rows = Vec::new();
    for (options, oracle) in [
        ("", false),
        ("--balancing-majority farthest", false),
        ("--balancing-labels oracle --labels truth.csv", true),
    ] {
        let run = bench
            .select(&format!("{balancing} {options} --json --force"))
            .ok();
        assert_eq!(run.json()["oracle"], oracle, "{options}");
        // Class 2 has no label.
        assert_eq!(column(&bench, 3)[0], "2");
        rows.push(column(&bench, 1));
    }
    assert_ne!(rows[0], rows[1]);
    assert_ne!(rows[0], rows[2]);
}

#[test]
fn balancing_needs_the_classes_of_labelled_rows() {
    let bench = bench();
    bench.write("rows.txt", "3\n5\n");
    let before = bench.names();
    bench
        .select("--head head.safetensors --strategy balancing --labelled rows.txt --budget 4")
        .fails(1, &["balancing", "class", "row 3"])
        .hints(&["label"]);
    assert_eq!(bench.names(), before, "files left behind");
}

#[test]
fn margin_clustering_follows_its_options() {
    let bench = bench();
    let clustering = "--head head.safetensors --strategy margin-clustering --budget 6 --force";
    let mut rows = Vec::new();
    for options in [
        "",
        "--clusters 2",
        "--clusters 2 --linkage average",
        "--clusters 1",
    ] {
        bench.select(&format!("{clustering} {options}")).ok();
        rows.push(column(&bench, 1));
    }
    rows.dedup();
    assert_eq!(rows.len(), 4, "{rows:?}");
    bench
        .select("--head head.safetensors --strategy margin --budget 6 --force")
        .ok();
    assert_eq!(column(&bench, 1), rows[3], "one cluster is no clustering");
}

#[test]
fn clusters_must_fit_the_rows() {
    let bench = bench();
    let clustering = "--head head.safetensors --strategy margin-clustering --budget 6";
    let before = bench.names();
    bench
        .select(&format!("{clustering} --clusters 41"))
        .fails(1, &["40 rows", "41 clusters"])
        .hints(&["--clusters"]);
    bench
        .select(&format!("{clustering} --clusters 0"))
        .code_is(2);
    bench
        .select(&format!("{clustering} --linkage single"))
        .code_is(2);
    assert_eq!(bench.names(), before, "files left behind");
}

#[test]
fn coreset_begins_where_it_is_told() {
    let bench = bench();
    let mut rows = Vec::new();
    for start in ["auto", "central", "mean", "17"] {
        bench
            .select(&format!(
                "--strategy coreset --budget 3 --start {start} --force"
            ))
            .ok();
        rows.push(column(&bench, 1));
    }
    assert_eq!(
        rows[0], rows[1],
        "a small pool has its central row looked for"
    );
    assert_eq!(rows[3][0], "17");
    bench
        .select("--strategy coreset --budget 3 --start 40 --force")
        .fails(1, &["row 40"])
        .hints(&["--start"]);
    bench
        .select("--strategy coreset --budget 3 --start first")
        .code_is(2);
}
