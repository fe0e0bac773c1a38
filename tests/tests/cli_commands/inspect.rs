//! `inspect`: what is in a checkpoint, and files that are none.

use std::fs;

use crate::embed::WEIGHTS;
use crate::support::Bench;

#[test]
fn a_checkpoint_is_told_with_its_model() {
    let bench = Bench::new();
    let json = bench.run(&format!("inspect {WEIGHTS} --json")).ok().json();
    assert_eq!(json["kind"], "safetensors");
    let models = json["models"].as_array().unwrap();
    assert_eq!(models.len(), 1, "{models:?}");
    assert_eq!(models[0]["model"], "resnet20");
    assert_eq!(models[0]["report"]["layout"], "torchvision");
    assert_eq!(json["tensors"][0]["dtype"], "F32");

    let text = bench.run(&format!("inspect {WEIGHTS}")).ok().stdout;
    assert!(text.contains("layer1.0.conv1.weight"), "{text}");
    assert!(text.contains("resnet20, width"), "{text}");
}

#[test]
fn what_is_missing_for_a_model_is_listed() {
    let bench = Bench::new();
    let run = bench.run(&format!("inspect {WEIGHTS} --model resnet32"));
    assert!(
        run.stdout.contains("layer1.3.conv1.weight: missing"),
        "{}",
        run.stdout
    );
    run.fails(1, &["not weights of resnet32"]);
    let run = bench.run(&format!("inspect {WEIGHTS} --model resnet33"));
    run.fails(2, &["resnet33"]).hints(&["resnet34"]);
    // Renamed, it is no network any more.
    let map = "--key-map ^conv1=first";
    let run = bench.run(&format!("inspect {WEIGHTS} --model resnet20 {map}"));
    run.fails(1, &["no tensor is called conv1.weight"]);
    let run = bench.run(&format!("inspect {WEIGHTS} --key-map ("));
    run.code_is(2);
}

#[test]
fn several_files_under_an_index_are_one_checkpoint() {
    let bench = Bench::new();
    fs::copy(WEIGHTS, bench.path("all.safetensors")).unwrap();
    let index = bench.path("model.safetensors.index.json");
    let write = |text: &str| fs::write(&index, text).unwrap();
    write(r#"{"metadata": {}, "weight_map": {"conv1.weight": "all.safetensors"}}"#);
    let run = bench
        .run("inspect model.safetensors.index.json --json")
        .ok();
    assert_eq!(run.json()["models"][0]["model"], "resnet20");
    for (text, word) in [
        (
            r#"{"weight_map": {"a": "../all.safetensors"}}"#,
            "not beside it",
        ),
        (r#"{"weight_map": {"a": "/etc/passwd"}}"#, "not beside it"),
        (r#"{"weight_map": {}}"#, "names no file"),
        ("[]", "no index"),
    ] {
        write(text);
        let run = bench.run("inspect model.safetensors.index.json");
        run.fails(1, &["model.safetensors.index.json", word]);
    }
    write(r#"{"weight_map": {"a": "none.safetensors"}}"#);
    let run = bench.run("inspect model.safetensors.index.json");
    run.fails(1, &["none.safetensors"]);
}

#[test]
fn files_that_are_no_checkpoint_are_refused_by_name() {
    let bench = Bench::new();
    let whole = fs::read(WEIGHTS).unwrap();
    // A header that lies about its length, and one that lies about the tensors.
    let mut long = whole.clone();
    long[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let mut lying = br#"        {"a":{"dtype":"F32","shape":[4294967295,4294967295],"data_offsets":[0,4]}}    "#.to_vec();
    let length = lying.len() as u64 - 12;
    lying[..8].copy_from_slice(&length.to_le_bytes());
    // A pickle of nested tuples, each of the last one twice: 2^40 of them if they were made.
    let mut bomb = b"\x80\x02)".to_vec();
    bomb.extend(b"q\x00h\x00\x86".repeat(40));
    bomb.push(b'.');
    for (name, bytes) in [
        ("empty.pt", &[][..]),
        (
            "text.pth",
            b"not a checkpoint at all, but long enough for a header",
        ),
        ("cut.safetensors", &whole[..whole.len() / 2]),
        ("long.safetensors", &long),
        ("lying.safetensors", &lying),
        ("bomb.pt", &bomb),
    ] {
        fs::write(bench.path(name), bytes).unwrap();
        bench.run(&format!("inspect {name}")).fails(1, &[name]);
    }
    bench.run("inspect none.pt").fails(1, &["none.pt"]);
}
