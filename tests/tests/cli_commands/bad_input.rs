//! Every item of bad input: one line saying what and where, and no half-written output.

use crate::support::Bench;

/// A bench whose folder must hold, after a failed run, what it held before.
struct Untouched {
    bench: Bench,
    before: Vec<String>,
}

impl Untouched {
    fn new(bench: Bench) -> Self {
        Self {
            before: bench.names(),
            bench,
        }
    }

    #[track_caller]
    fn select_fails(&self, arguments: &str, code: i32, words: &[&str], hint: &[&str]) {
        self.bench.select(arguments).fails(code, words).hints(hint);
        assert_eq!(self.bench.names(), self.before, "files left behind");
    }
}

const BASE: &str = "--head head.safetensors --strategy base --budget 3";

#[test]
fn a_missing_file_is_named() {
    let bench = Bench::new().with_pool(9);
    for (arguments, name) in [
        (
            "--head none.safetensors --strategy base --budget 3",
            "none.safetensors",
        ),
        (
            "--strategy random --budget 3 --labelled none.csv",
            "none.csv",
        ),
        (
            "--strategy random --budget 3 --exclude none.csv",
            "none.csv",
        ),
        (
            "--head head.safetensors --strategy base --budget 3 --quotas none.csv",
            "none.csv",
        ),
    ] {
        bench.select(arguments).fails(1, &[name]);
    }
    let pool =
        "select --device cpu --embeddings none.emb --strategy random --budget 3 --out picks.csv";
    bench.run(pool).fails(1, &["none.emb"]);
    bench
        .run("fit --embeddings none.emb --out h.safetensors")
        .fails(1, &["none.emb"]);
    let fit = "fit --embeddings pool.safetensors --labels none.csv --out h.safetensors";
    bench.run(fit).fails(1, &["none.csv"]);
    assert!(!bench.has("picks.csv") && !bench.has("h.safetensors"));
}

#[test]
fn a_truncated_or_foreign_file_is_named() {
    let bench = Bench::new().with_pool(9);
    let whole = std::fs::read(bench.path("pool.safetensors")).unwrap();
    bench
        .write("short.safetensors", &whole[..whole.len() - 5])
        .write("foreign.safetensors", "not a tensor");
    for name in ["short.safetensors", "foreign.safetensors"] {
        let pool = format!(
            "select --device cpu --embeddings {name} --strategy random --budget 3 --out picks.csv"
        );
        bench.run(&pool).fails(1, &[name]);
        bench
            .select(&format!("--head {name} --strategy base --budget 3"))
            .fails(1, &[name]);
    }
    assert!(!bench.has("picks.csv"));
}

#[test]
fn a_head_of_another_width_is_refused() {
    let bench = Bench::new().with_pool(9);
    bench.tensors(
        "wide.safetensors",
        &[("weight", &[2, 4], &[1.0; 8]), ("bias", &[2], &[0.0; 2])],
    );
    Untouched::new(bench).select_fails(
        "--head wide.safetensors --strategy base --budget 3",
        1,
        &["wide.safetensors", "4", "3"],
        &["backbone"],
    );
}

#[test]
fn a_label_the_head_does_not_know_or_of_an_unknown_id_is_refused() {
    let bench = Bench::new().with_pool(9);
    bench
        .write("class.csv", "row,label\n0,1\n1,7\n")
        .write("row.csv", "row,label\n0,1\n99,1\n");
    let bench = Untouched::new(bench);
    bench.select_fails(
        &format!("{BASE} --labelled class.csv"),
        1,
        &["class.csv", "7", "3 classes"],
        &["0 to 2"],
    );
    bench.select_fails(
        &format!("{BASE} --labelled row.csv"),
        1,
        &["row.csv", "99"],
        &[],
    );
    bench.select_fails(
        &format!("{BASE} --exclude row.csv"),
        1,
        &["row.csv", "99"],
        &[],
    );
}

#[test]
fn fit_refuses_unknown_ids_and_classes() {
    let bench = Bench::new().with_pool(9);
    bench
        .write("ids.csv", "row,label\n0,a\n1,b\n77,a\n")
        .write("labels.csv", "row,label\n0,a\n1,b\n2,c\n");
    bench.write("classes.txt", "a\nb\n");
    let fit = "fit --embeddings pool.safetensors --out new.safetensors";
    bench
        .run(&format!("{fit} --labels ids.csv"))
        .fails(1, &["ids.csv", "77"]);
    bench
        .run(&format!("{fit} --labels labels.csv --classes classes.txt"))
        .fails(1, &["labels.csv", "c"]);
    bench.run(fit).fails(1, &["labels"]).hints(&["--labels"]);
    assert!(!bench.has("new.safetensors"));
}

#[test]
fn the_first_row_that_is_not_finite_is_named() {
    let bench = Bench::new().with_pool(9);
    let mut values = vec![1.0f32; 27];
    values[14] = f32::NAN;
    values[25] = f32::INFINITY;
    bench.tensors("pool.safetensors", &[("embeddings", &[9, 3], &values)]);
    Untouched::new(bench).select_fails(BASE, 1, &["row 4"], &["--nonfinite skip"]);
}

#[test]
fn a_head_that_is_not_finite_is_refused() {
    let bench = Bench::new().with_pool(9);
    let weight = [1.0, 2.0, 3.0, f32::NAN, 1.0, 1.0];
    bench.tensors(
        "nan.safetensors",
        &[("weight", &[2, 3], &weight), ("bias", &[2], &[0.0; 2])],
    );
    let arguments = "--head nan.safetensors --strategy base --budget 3";
    Untouched::new(bench).select_fails(arguments, 1, &["nan.safetensors", "class 1"], &[]);
}

#[test]
fn a_budget_of_0_is_refused() {
    let bench = Untouched::new(Bench::new().with_pool(9));
    bench.select_fails(
        "--head head.safetensors --strategy base --budget 0",
        1,
        &["budget"],
        &["one"],
    );
    assert_eq!(
        bench.bench.select("--strategy random --budget minus").code,
        2
    );
}

#[test]
fn an_empty_pool_is_refused() {
    let bench = Bench::new().with_pool(9);
    bench.tensors("pool.safetensors", &[("embeddings", &[0, 3], &[])]);
    Untouched::new(bench).select_fails(BASE, 1, &["pool.safetensors", "no rows"], &[]);
}

#[test]
fn all_rows_labelled_is_refused() {
    let bench = Bench::new().with_pool(3);
    bench.write("all.txt", "0\n1\n2\n");
    let bench = Untouched::new(bench);
    bench.select_fails(
        &format!("{BASE} --labelled all.txt"),
        1,
        &["available", "3"],
        &["--labelled"],
    );
}

#[test]
fn a_head_of_one_class_is_refused_where_it_is_used() {
    let bench = Bench::new().with_pool(9);
    bench.tensors(
        "one.safetensors",
        &[("weight", &[1, 3], &[1.0; 3]), ("bias", &[1], &[0.0])],
    );
    let bench = Untouched::new(bench);
    for strategy in [
        "base",
        "mase",
        "margin",
        "confidence",
        "entropy",
        "margin-clustering",
        "balancing",
    ] {
        let arguments = format!("--head one.safetensors --strategy {strategy} --budget 3");
        bench.select_fails(
            &arguments,
            1,
            &["one.safetensors", "single class", strategy],
            &["two classes"],
        );
    }
    bench
        .bench
        .select("--head one.safetensors --strategy random --budget 3")
        .ok();
}

#[test]
fn an_output_that_exists_needs_force() {
    let bench = Bench::new().with_pool(9);
    bench.write("picks.csv", "mine");
    let bench = Untouched::new(bench);
    bench.select_fails(BASE, 1, &["picks.csv", "exists"], &["--force"]);
    assert_eq!(bench.bench.read("picks.csv"), "mine");
    bench.bench.select(&format!("{BASE} --force")).ok();
    assert!(bench.bench.read("picks.csv").starts_with("rank,"));
}

#[test]
fn a_failed_run_leaves_an_output_that_exists_as_it_was() {
    let bench = Bench::new().with_pool(9);
    bench
        .write("picks.csv", "mine")
        .write("all.txt", "0\n1\n2\n3\n4\n5\n6\n7\n8\n");
    bench
        .select(&format!("{BASE} --force --labelled all.txt"))
        .fails(1, &["available"]);
    assert_eq!(bench.read("picks.csv"), "mine");
}

#[test]
fn wrong_usage_of_strategies_exits_2() {
    let bench = Untouched::new(Bench::new().with_pool(9));
    bench.select_fails(
        "--strategy base --budget 3",
        2,
        &["--head"],
        &["equipoise fit"],
    );
    bench.select_fails("--strategy vaal --budget 3", 2, &["vaal"], &["simulate"]);
    bench.select_fails("--strategy bse --budget 3", 2, &["bse"], &["base"]);
}

#[test]
fn quota_files_are_checked() {
    let bench = Bench::new().with_pool(9);
    for (text, words) in [
        ("klass,quota\n0,1\n", &["class"][..]),
        ("class,quota\n0,many\n", &["many"]),
        ("class,quota\n9,1\n", &["9"]),
        ("class,quota\n0,1\n0,2\n", &["twice"]),
    ] {
        bench.write("q.csv", text);
        bench
            .select(&format!("{BASE} --quotas q.csv"))
            .fails(1, &[&["q.csv"], words].concat());
    }
    assert!(!bench.has("picks.csv"));
}

#[test]
fn balance_without_classes_says_what_is_missing() {
    let bench = Bench::new().with_pool(9);
    bench.write("rows.txt", "0\n1\n");
    let arguments = format!("{BASE} --quotas balance --labelled rows.txt");
    Untouched::new(bench).select_fails(&arguments, 1, &["class"], &["label"]);
}
