//! `simulate`: experiments from the command line, their folder and their report.

use crate::embed::{WEIGHTS, with_images};
use crate::support::Bench;

/// Rows around a corner per class, of three; the last of them less clear.
fn pool(bench: &Bench, name: &str, rows: usize, classes: &[&str]) {
    let value = |row: usize, column: usize| {
        let noise = (row * 37 + column * 61 + row * row * 7) % 101;
        let centre = f32::from(u8::from(row % 3 == column));
        centre + (noise as f32 - 50.0) / 60.0
    };
    let values: Vec<f32> = (0..rows * 3).map(|i| value(i / 3, i % 3)).collect();
    bench.tensors(
        &format!("{name}.safetensors"),
        &[("embeddings", &[rows, 3], &values)],
    );
    let line = |row: usize| format!("{row},{}\n", classes[row % 3]);
    let lines: String = (0..rows).map(line).collect();
    bench.write(&format!("{name}.csv"), format!("row,label\n{lines}"));
}

const FILE: &str = "\
[data]
pool = 'pool.safetensors'
labels = 'pool.csv'
test = 'test.safetensors'
test-labels = 'test.csv'
[experiment]
strategies = ['random', 'base', 'careful']
seeds = 2
rounds = 2
initial = 9
budget = 6
[training]
epochs = 10
[variants.careful]
strategy = 'base'
quotas = 'balance'
";

fn bench() -> Bench {
    let bench = Bench::new();
    pool(&bench, "pool", 120, &["ant", "bee", "<cow>"]);
    pool(&bench, "test", 45, &["ant", "bee", "<cow>"]);
    bench.write("e.toml", FILE);
    bench
}

const RUN: &str = "simulate --config e.toml --out run --device cpu";

#[test]
fn an_experiment_leaves_ledgers_results_and_a_report() {
    let bench = bench();
    let json = bench.run(&format!("{RUN} --json")).ok().json();
    assert_eq!(json["classes"].as_array().unwrap().len(), 3);
    let curves = json["curves"].as_array().unwrap();
    let names: Vec<_> = curves
        .iter()
        .map(|curve| curve["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["random", "base", "careful"]);
    for curve in curves {
        let labels: Vec<_> = curve["points"]
            .as_array()
            .unwrap()
            .iter()
            .map(|point| point["labels"].as_f64().unwrap())
            .collect();
        assert_eq!(labels, [9.0, 15.0, 21.0]);
        assert_eq!(curve["gain"].is_null(), curve["name"] == "random");
    }
    let csv = bench.read("run/results.csv");
    assert_eq!(csv.lines().count(), 1 + 3 * 2 * 3);
    assert!(bench.has("run/runs/careful/seed-1/ledger.jsonl"));
    assert!(bench.has("run/runs/careful/seed-1/model-2.safetensors"));
    let page = bench.read("run/report.html");
    for text in [
        "careful",
        "&lt;cow&gt;",
        "quotas = &quot;balance&quot;",
        "Seconds of a run",
    ] {
        assert!(page.contains(text), "{text}");
    }
    assert!(!page.contains("<script") && !page.contains("http"));
    // Again, with more: what is there stays as it is.
    let before = bench.read("run/runs/base/seed-0/ledger.jsonl");
    let text = bench
        .run(&format!("{RUN} --strategies mase,random --quiet"))
        .ok();
    assert!(text.stdout.is_empty());
    assert_eq!(bench.read("run/runs/base/seed-0/ledger.jsonl"), before);
    assert_eq!(bench.read("run/results.csv").lines().count(), 1 + 4 * 2 * 3);
    // The saved settings are the experiment.
    let again = bench.run("simulate --config run/config.toml --out twin --device cpu --quiet");
    again.ok();
    let sorted = |csv: String| {
        let mut lines: Vec<String> = csv.lines().map(Into::into).collect();
        lines.sort();
        lines
    };
    assert_eq!(
        sorted(bench.read("twin/results.csv")),
        sorted(bench.read("run/results.csv"))
    );
}

#[test]
fn the_template_is_printed_and_settings_are_resolved() {
    let bench = bench();
    let template = bench.run("simulate --template").ok().stdout;
    bench.write("t.toml", &template);
    let flags =
        "--config t.toml --preset cifar10 --budget 7 --scale 2 --set training.schedule=step";
    let printed = bench
        .run(&format!("simulate {flags} --print-config"))
        .ok()
        .stdout;
    for line in [
        "preset = \"cifar10\"",
        "budget = 7",
        "scale = 2.0",
        "schedule = \"step\"",
    ] {
        assert!(printed.contains(line), "{line}: {printed}");
    }
    assert_eq!(bench.names().len(), 6);
}

#[test]
fn bad_input_is_named_and_leaves_nothing() {
    let bench = bench();
    let before = bench.names();
    bench.write("typo.toml", FILE.replace("rounds", "round"));
    for (arguments, code, words) in [
        ("simulate --config e.toml", 2, &["required arguments"][..]),
        ("simulate --config none.toml --out run", 1, &["none.toml"]),
        (
            "simulate --config typo.toml --out run",
            2,
            &["typo.toml", "line 9", "round"],
        ),
        (
            "simulate --config e.toml --out run --strategies bse",
            2,
            &["bse", "random"],
        ),
        (
            "simulate --config e.toml --out run --set training.epochs",
            2,
            &["training.epochs"],
        ),
        (
            "simulate --config e.toml --out run --set training.epochs=0",
            2,
            &["training.epochs"],
        ),
        (
            "simulate --config e.toml --out run --set training.speed=1",
            2,
            &["speed"],
        ),
        (
            "simulate --config e.toml --out run --set experiment.seeds=-1",
            2,
            &["seeds = -1"],
        ),
        (
            "simulate --config e.toml --out run --preset mnist",
            2,
            &["mnist"],
        ),
        (
            "simulate --config e.toml --out run --test none.emb",
            1,
            &["none.emb"],
        ),
        ("simulate --strategies base --out run", 2, &["data.pool"]),
    ] {
        bench.run(arguments).fails(code, words);
    }
    // Vaal looks at images, and bare embeddings have none.
    bench
        .run(&format!("{RUN} --strategies vaal"))
        .fails(1, &["pool.safetensors", "images"]);
    std::fs::remove_dir_all(bench.path("run")).unwrap();
    // A test set with other classes, of another width, and a row without a label.
    pool(&bench, "test", 45, &["ant", "bee", "dog"]);
    bench.run(RUN).fails(1, &["test.csv", "dog"]);
    bench.write("test.csv", "row,label\n0,ant\n");
    bench
        .run(RUN)
        .fails(1, &["test.csv", "44 of 45 rows have no label"]);
    bench.tensors("test.safetensors", &[("embeddings", &[45, 2], &[0.0; 90])]);
    let lines: String = (0..45).map(|row| format!("{row},ant\n")).collect();
    bench.write("test.csv", format!("row,label\n{lines}"));
    bench.run(RUN).fails(1, &["test.safetensors", "2 numbers"]);
    let _ = std::fs::remove_file(bench.path("typo.toml"));
    assert_eq!(bench.names(), before);
}

#[test]
fn another_experiment_in_the_same_folder_is_refused() {
    let bench = bench();
    bench
        .run(&format!("{RUN} --rounds 1 --seeds 1 --quiet"))
        .ok();
    let page = bench.read("run/report.html");
    bench
        .run(&format!("{RUN} --set training.epochs=11"))
        .fails(1, &["run", "training.epochs was 10 and is 11"])
        .hints(&["--out"]);
    // Another pool under the old name.
    pool(&bench, "pool", 123, &["ant", "bee", "<cow>"]);
    bench.run(RUN).fails(1, &["ledger.jsonl", "another pool"]);
    assert_eq!(bench.read("run/report.html"), page);
}

/// A browser without a window opens the report: nothing is reported to its console, and there is something to see.
#[test]
#[cfg_attr(
    not(chromium),
    ignore = "needs EQUIPOISE_TEST_CHROMIUM, a Chromium: see cargo xtask test"
)]
fn a_browser_shows_the_report() {
    let Some(chromium) = option_env!("EQUIPOISE_TEST_CHROMIUM") else {
        panic!("EQUIPOISE_TEST_CHROMIUM was not set when this was built");
    };
    let bench = bench();
    bench.run(&format!("{RUN} --quiet")).ok();
    let page = format!("file://{}", bench.path("run/report.html").display());
    // A laptop and a phone.
    for (name, size) in [("wide.png", "1280,1600"), ("narrow.png", "390,1600")] {
        let output = std::process::Command::new(chromium)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
            ])
            .arg(format!(
                "--user-data-dir={}",
                bench.path("profile").display()
            ))
            .args(["--enable-logging=stderr", "--log-level=0"])
            .arg(format!("--window-size={size}"))
            .arg(format!("--screenshot={}", bench.path(name).display()))
            .arg(&page)
            .output()
            .expect("Chromium starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && bench.has(name), "{said}");
        assert!(!said.contains("CONSOLE"), "{said}");
        let picture = image::open(bench.path(name))
            .expect("a screenshot")
            .into_rgb8();
        let colours: std::collections::HashSet<_> = picture.pixels().map(|pixel| pixel.0).collect();
        // White paper alone has one colour; text, lines and bands have many.
        assert!(colours.len() > 200, "{name}: {} colours", colours.len());
    }
}

/// From images to a report: a head on frozen features, and the whole network tuned.
#[test]
fn images_are_embedded_first_and_networks_are_tuned_from_their_checkpoint() {
    let bench = with_images(Bench::new(), 16);
    let file = format!(
        "[data]\nimages = 'images'\ntest-images = 'images'\nmodel = 'resnet20'\nweights = '{WEIGHTS}'\n\
         preprocess = 'cifar'\n[experiment]\nstrategies = ['base', 'random', 'vaal']\nseeds = 1\nrounds = 2\n\
         initial = 6\nbudget = 4\nevaluation = 0.2\n[training]\nepochs = 2\nbatch = 4\nlearning-rate = 0.01\n\
         [vaal]\nside = 16\nwidth = 4\nlatent = 4\nsteps = 6\nbatch = 4\n"
    );
    bench.write("e.toml", file);
    bench.run(&format!("{RUN} --quiet")).ok();
    assert!(bench.has("run/pool.emb/manifest.json") && bench.has("run/test.emb/manifest.json"));
    let page = bench.read("run/report.html");
    assert!(page.contains("data:image/png;base64,") && page.contains("light, first: light/"));
    // Tuned in one go, and in two: the second begins with a model that it reads.
    let tuned = "simulate --config e.toml --set experiment.mode=finetune --device cpu --quiet";
    bench.run(&format!("{tuned} --out whole")).ok();
    bench.run(&format!("{tuned} --out parts --rounds 1")).ok();
    bench.run(&format!("{tuned} --out parts")).ok();
    let results = bench.read("whole/results.csv");
    assert_eq!(results.lines().count(), 1 + 3 * 3);
    assert_eq!(bench.read("parts/results.csv"), results);
    let picked = |run: &str| {
        let ledger = bench.read(&format!("{run}/runs/base/seed-0/ledger.jsonl"));
        let rows = ledger.split("\"rows\":[").skip(1);
        rows.map(|rest| rest.split(']').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(picked("parts"), picked("whole"));
    assert_eq!(picked("whole").len(), 3);
    // A store whose images are gone can't be tuned on, and says which.
    std::fs::rename(bench.path("images"), bench.path("moved")).unwrap();
    let gone =
        "--pool whole/pool.emb --test whole/test.emb --set experiment.mode=finetune --out gone";
    bench
        .run(&format!("simulate --config e.toml --device cpu {gone}"))
        .fails(1, &["image", "images"]);
    bench
        .run(&format!("{tuned} --out whole --strategies margin"))
        .fails(1, &["image"]);
    assert_eq!(bench.read("whole/results.csv"), results);
}

/// Killed at any moment, the same command ends with the same results and the same models, bit for bit.
#[test]
fn a_simulation_that_was_killed_ends_as_if_it_had_not_been() {
    let bench = bench();
    let command = "simulate --config e.toml --device cpu --quiet --set training.epochs=60";
    bench.run(&format!("{command} --out whole")).ok();
    for milliseconds in [40, 80, 120, 160, 200, 240] {
        let child = std::process::Command::new(crate::support::binary())
            .args(command.split_whitespace())
            .args(["--out", "killed"])
            .current_dir(bench.path(""))
            .spawn();
        let mut child = child.expect("the program starts");
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }
    bench.run(&format!("{command} --out killed")).ok();
    assert_eq!(
        bench.read("killed/results.csv"),
        bench.read("whole/results.csv")
    );
    for name in ["random", "base", "careful"] {
        for seed in 0..2 {
            let model = |run: &str| {
                let path = format!("{run}/runs/{name}/seed-{seed}/model-2.safetensors");
                std::fs::read(bench.path(&path)).expect("the last model")
            };
            assert_eq!(model("killed"), model("whole"), "{name}, seed {seed}");
        }
    }
}

/// A disk that is full at some place of some file: what is there is whole, and the run goes on later.
#[test]
#[cfg(unix)]
fn a_full_disk_corrupts_nothing() {
    let bench = bench();
    bench.run(&format!("{RUN} --quiet")).ok();
    let expected = bench.read("run/results.csv");
    // In units of 512 bytes: ledgers and heads are larger than the first.
    for most in [1, 2, 3, 4, 8] {
        let out = format!("full-{most}");
        let program = crate::support::binary();
        let command = format!(
            "trap '' XFSZ; ulimit -f {most}; exec {} simulate --config e.toml --out {out} --device cpu",
            program.display()
        );
        let output = std::process::Command::new("sh")
            .args(["-c", &command])
            .current_dir(bench.path(""))
            .output()
            .expect("a shell");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{most}: {said}");
        assert!(said.contains("error: "), "{said}");
        bench
            .run(&format!(
                "simulate --config e.toml --out {out} --device cpu --quiet"
            ))
            .ok();
        assert_eq!(
            bench.read(&format!("{out}/results.csv")),
            expected,
            "{most}"
        );
    }
}
