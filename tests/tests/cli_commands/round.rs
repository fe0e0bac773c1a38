//! `round`: a campaign step by step, and every answer that cannot be taken.

use crate::support::Bench;

fn bench() -> Bench {
    let bench = Bench::new().with_pool(60);
    bench.write("names.txt", "ant\nbee\ncow\n");
    bench
}

const BEGIN: &str = "round next --campaign wild --embeddings pool.safetensors --classes names.txt \
                     --strategy random --budget 12 --seed 3 --device cpu";
const NEXT: &str = "round next --campaign wild --device cpu --budget 6";
const LABEL: &str = "round label --campaign wild";

/// The rows of a round's picks.
fn picks(bench: &Bench, round: usize) -> Vec<usize> {
    let text = bench.read(&format!("wild/round-{round:03}/picks.csv"));
    let rows = text.lines().skip(1);
    rows.map(|line| line.split(',').nth(1).unwrap().parse().unwrap())
        .collect()
}

/// What people say of rows.
fn answers(rows: &[usize]) -> String {
    let name = |row: &usize| ["ant", "bee", "cow"][row % 3];
    let lines = rows.iter().map(|row| format!("{row},{}\n", name(row)));
    format!("row,label\n{}", lines.collect::<String>())
}

#[test]
fn a_campaign_goes_from_round_to_round() {
    let bench = bench();
    bench.run(BEGIN).ok();
    let first = picks(&bench, 1);
    assert_eq!(first.len(), 12);
    // Answers come in twice; a row may be named again.
    bench.write("a.csv", answers(&first[..7]));
    let half = bench.run(&format!("{LABEL} a.csv --json")).ok().json();
    assert_eq!((&half["taken"], &half["waiting"]), (&7.into(), &5.into()));
    assert!(bench.has("wild/head.safetensors"));
    let waiting = bench.run(&format!("{NEXT} --strategy base"));
    waiting
        .fails(1, &["wild", "5 of the 12 rows of round 1"])
        .hints(&["--partial"]);
    bench.write("b.csv", answers(&first[6..]));
    let whole = bench.run(&format!("{LABEL} b.csv --json")).ok().json();
    assert_eq!(
        (&whole["taken"], &whole["waiting"], &whole["labels"]),
        (&5.into(), &0.into(), &12.into())
    );
    let balanced = format!("{NEXT} --strategy base --quotas balance --class-order rarest-first");
    bench.run(&balanced).ok();
    let second = picks(&bench, 2);
    assert_eq!(second.len(), 6);
    assert!(second.iter().all(|row| !first.contains(row)));
    // The picks are those of `select` with the same head and labels.
    bench
        .select(
            "--head wild/head.safetensors --labelled wild/labels.csv --strategy base --budget 6 \
             --quotas balance --class-order rarest-first",
        )
        .ok();
    assert_eq!(
        bench.read("picks.csv"),
        bench.read("wild/round-002/picks.csv")
    );
    let status = bench.run("round status --campaign wild --json").ok().json();
    let rounds = status["rounds"].as_array().unwrap();
    assert_eq!(rounds.len(), 2);
    assert_eq!(
        (&rounds[0]["strategy"], &rounds[1]["strategy"]),
        (&"random".into(), &"base".into())
    );
    assert_eq!(
        (&rounds[0]["labelled"], &rounds[1]["labelled"]),
        (&12.into(), &0.into())
    );
    let text = bench.run("round status --campaign wild").ok().stdout;
    for words in ["base", "12 of 60 rows labelled", "6 rows wait for labels"] {
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn answers_that_cannot_be_taken_are_named_by_line_and_nothing_is_taken() {
    let bench = bench();
    bench.run(BEGIN).ok();
    let asked = picks(&bench, 1);
    let other = (0..60).find(|row| !asked.contains(row)).unwrap();
    bench.write("a.csv", answers(&asked[..2]));
    bench.run(&format!("{LABEL} a.csv")).ok();
    let ledger = bench.read("wild/ledger.jsonl");
    let [first, third] = [asked[0], asked[2]];
    let wrong = ["bee", "cow", "ant"][first % 3];
    for (text, words) in [
        (
            format!("row,label\n{third},ant\n{other},ant\n"),
            &["line 3", "nobody was asked"][..],
        ),
        (format!("row,label\n{third},dog\n"), &["line 2", "dog"]),
        (
            format!("row,label\n{third},ant\n{third},bee\n"),
            &["line 3", "bee", "ant"],
        ),
        (
            format!("row,label\n{third},ant\n{first},{wrong}\n"),
            &["line 3", wrong],
        ),
        (format!("row,label\n{third},\n"), &["line 2", "no label"]),
        ("row,label\n99,ant\n".into(), &["line 2", "99"]),
        ("row\n1\n".into(), &["label"]),
    ] {
        bench.write("bad.csv", &text);
        bench.run(&format!("{LABEL} bad.csv")).fails(1, words);
        assert_eq!(bench.read("wild/ledger.jsonl"), ledger, "{text}");
    }
}

#[test]
fn a_step_that_was_stopped_is_done_again() {
    let bench = bench();
    bench.run(BEGIN).ok();
    bench.write("a.csv", answers(&picks(&bench, 1)));
    bench.run(&format!("{LABEL} a.csv")).ok();
    bench.run(&format!("{NEXT} --strategy margin")).ok();
    let ledger = bench.read("wild/ledger.jsonl");
    let picked = bench.read("wild/round-002/picks.csv");
    let lines: Vec<&str> = ledger.lines().collect();
    // Opened, picked, labelled, trained, picked: the last was cut, then the fit before it as well.
    assert_eq!(lines.len(), 5);
    for kept in [4, 3] {
        let half = &lines[kept][..lines[kept].len() / 2];
        bench.write(
            "wild/ledger.jsonl",
            format!("{}\n{half}", lines[..kept].join("\n")),
        );
        bench.run(&format!("{NEXT} --strategy margin")).ok();
        assert_eq!(bench.read("wild/round-002/picks.csv"), picked);
        assert_eq!(bench.read("wild/ledger.jsonl").lines().count(), 5);
    }
}

#[test]
fn labels_that_are_there_already_begin_a_campaign() {
    let bench = bench();
    bench.write("some.csv", answers(&[3, 4, 5, 6, 7, 8]));
    let begin = BEGIN.replace("--strategy random", "--strategy base") + " --labels some.csv";
    let json = bench.run(&format!("{begin} --json")).ok().json();
    assert_eq!((&json["labels"], &json["waiting"]), (&6.into(), &12.into()));
    assert!(picks(&bench, 1).iter().all(|row| !(3..9).contains(row)));
}

#[test]
fn wrong_steps_are_refused() {
    let bench = bench();
    let names = bench.names();
    bench
        .run("round status --campaign wild")
        .fails(1, &["wild", "no campaign"]);
    bench
        .run(&format!("{NEXT} --strategy random"))
        .fails(2, &["wild"])
        .hints(&["--embeddings"]);
    bench
        .run(&BEGIN.replace("pool", "none"))
        .fails(1, &["none.safetensors"]);
    bench
        .run(&BEGIN.replace("random", "balanced-random"))
        .fails(2, &["balanced-random"]);
    assert_eq!(bench.names(), names);
    let needs = bench.run(&BEGIN.replace("random", "base"));
    needs
        .fails(1, &["base", "head"])
        .hints(&["--strategy random"]);
    bench
        .run(&format!("{LABEL} names.txt"))
        .fails(1, &["nothing was asked"]);
    bench.run(BEGIN).ok();
    bench.run(BEGIN).fails(2, &["--embeddings"]);
}
