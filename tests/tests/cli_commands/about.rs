//! Commands that tell about the program.

use crate::support::Bench;

#[test]
fn help_goes_to_stdout_and_exits_0() {
    let run = Bench::new().run("--help").ok();
    for command in ["devices", "demo", "embed", "fit", "select", "scan", "merge"] {
        assert!(run.stdout.contains(command), "{}", run.stdout);
    }
    assert!(run.stderr.is_empty());
}

#[test]
fn wrong_usage_exits_2() {
    let bench = Bench::new();
    for arguments in [
        "",
        "no-such-command",
        "select",
        "devices --device tpu",
        "devices --threads 0",
    ] {
        let run = bench.run(arguments);
        assert_eq!(run.code, 2, "{arguments}: {}", run.stderr);
        assert!(run.stdout.is_empty(), "{arguments}");
    }
}

#[test]
fn strategies_are_listed_with_their_source() {
    let bench = Bench::new();
    let text = bench.run("strategies").ok().stdout;
    for name in ["base", "mase", "margin", "confidence", "entropy", "random"] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{text}");
    }
    let list = bench.run("strategies --json").ok().json();
    assert_eq!(list["strategies"][0]["name"], "base");
}

#[test]
fn devices_says_what_would_be_used() {
    let bench = Bench::new();
    let run = bench.run("devices --device cpu").ok();
    assert!(run.stdout.contains("uses: cpu"), "{}", run.stdout);
    let json = bench.run("devices --device cpu --json").ok().json();
    assert_eq!(json["used"], "cpu");
    assert!(json["adapters"].is_array());
}

#[test]
fn a_device_that_is_not_there_is_named() {
    Bench::new()
        .with_pool(9)
        .run("select --device gpu:99 --embeddings pool.safetensors --strategy random --budget 2 --out p.csv")
        .fails(1, &["99"]);
}

#[test]
fn completions_and_manual_pages_are_generated() {
    let bench = Bench::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(
            bench
                .run(&format!("completions {shell}"))
                .ok()
                .stdout
                .contains("equipoise"),
            "{shell}"
        );
    }
    assert!(bench.run("man").ok().stdout.contains(".TH"));
    bench.run("man --out pages").ok();
    assert!(bench.has("pages/equipoise-select.1"));
}
