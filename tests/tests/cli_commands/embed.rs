//! `embed` and `fit`: from images to a head, interrupted runs, corrupt images.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use image::{Rgb, RgbImage};

use crate::support::{Bench, binary};

/// The backbone that the demo brings along.
pub(crate) const WEIGHTS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../assets/demo-backbone.safetensors"
);

/// Class folders `images/light` and `images/dark` with `each` images each.
pub(crate) fn with_images(bench: Bench, each: u32) -> Bench {
    with_images_from(&bench, 0..each);
    bench
}

/// The images of these numbers, in both folders.
fn with_images_from(bench: &Bench, numbers: std::ops::Range<u32>) {
    for (class, level) in [("light", 220u8), ("dark", 30)] {
        let folder = bench.path("images").join(class);
        std::fs::create_dir_all(&folder).unwrap();
        for index in numbers.clone() {
            let image = RgbImage::from_fn(32, 32, |x, y| {
                let grain = (x * 7 + y * 13 + index * 5) % 31;
                Rgb([level + grain as u8, level, level.wrapping_sub(grain as u8)])
            });
            image.save(folder.join(format!("{index:03}.png"))).unwrap();
        }
    }
}

/// Embeds them into `pool.emb`.
pub(crate) fn embed(bench: &Bench, more: &str) -> crate::support::Run {
    assert!(Path::new(WEIGHTS).is_file(), "{WEIGHTS}");
    bench.run(&format!(
        "embed --device cpu --images images --model resnet20 --weights {WEIGHTS} --out pool.emb {more}"
    ))
}

#[test]
fn images_become_a_store_a_head_and_picks() {
    let bench = with_images(Bench::new(), 12);
    let json = embed(&bench, "--json").ok().json();
    assert_eq!(
        (json["rows"].as_u64(), json["quarantined"].as_u64()),
        (Some(24), Some(0))
    );
    let json = bench
        .run("fit --embeddings pool.emb --out head.safetensors --json")
        .ok()
        .json();
    assert_eq!(
        json["labels"],
        serde_json::json!([["dark", 12], ["light", 12]])
    );
    assert!(json["train_accuracy"].as_f64().unwrap() > 0.9, "{json}");
    bench
        .run("select --device cpu --embeddings pool.emb --head head.safetensors --strategy base --budget 6 --out picks.csv")
        .ok();
    let picks = bench.read("picks.csv");
    assert_eq!(picks.lines().count(), 7);
    assert!(picks.lines().nth(1).unwrap().contains(".png"), "{picks}");
}

#[test]
fn a_store_that_exists_needs_force() {
    let bench = with_images(Bench::new(), 2);
    embed(&bench, "").ok();
    embed(&bench, "")
        .fails(1, &["pool.emb", "exists"])
        .hints(&["--force"]);
    embed(&bench, "--force").ok();
}

#[test]
fn corrupt_images_are_counted_and_above_the_fraction_the_run_fails() {
    let bench = with_images(Bench::new(), 10);
    bench.write("images/dark/003.png", "no image");
    embed(&bench, "")
        .fails(1, &["images", "1 corrupt", "1%"])
        .hints(&["--max-bad-fraction"]);
    assert!(!bench.has("pool.emb"), "no half-written output");
    let json = embed(&bench, "--max-bad-fraction 0.1 --json").ok().json();
    assert_eq!(
        (json["rows"].as_u64(), json["quarantined"].as_u64()),
        (Some(19), Some(1))
    );
    let quarantine = json["quarantine"].as_str().unwrap();
    assert!(bench.read(quarantine).contains("dark/003.png"));
}

#[test]
fn a_run_that_stopped_goes_on_and_ends_as_one_that_did_not() {
    let bench = with_images(Bench::new(), 10);
    bench.write("images/light/005.png", "no image");
    let small = "--batch 4 --shard-rows 4 --json";
    embed(&bench, small).fails(1, &["1 corrupt"]);
    assert!(bench.has("pool.emb.partial"));
    let json = embed(&bench, &format!("{small} --max-bad-fraction 0.1"))
        .ok()
        .json();
    assert_eq!(
        (json["resumed_at"].as_u64(), json["rows"].as_u64()),
        (Some(12), Some(19))
    );
    assert!(bench.has("pool.emb") && !bench.has("pool.emb.partial"));
    std::fs::rename(bench.path("pool.emb"), bench.path("resumed.emb")).unwrap();
    embed(&bench, &format!("{small} --max-bad-fraction 0.1")).ok();
    let mut compared = 0;
    for entry in std::fs::read_dir(bench.path("pool.emb")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let read = |store: &str| std::fs::read(bench.path(store).join(&name)).unwrap();
        assert!(read("pool.emb") == read("resumed.emb"), "{name} differs");
        compared += 1;
    }
    assert!(compared >= 12, "{compared} files");
}

#[test]
fn images_of_several_sizes_and_f16_are_embedded() {
    let bench = with_images(Bench::new(), 3);
    RgbImage::from_pixel(48, 40, Rgb([9, 99, 199]))
        .save(bench.path("images/dark/001.png"))
        .unwrap();
    let json = embed(&bench, "--dtype f16 --json").ok().json();
    assert_eq!(json["rows"], 6);
    embed(&bench, "--resize 32 --force").ok();
}

#[test]
fn missing_images_weights_and_classifiers_are_named() {
    let bench = with_images(Bench::new(), 1);
    let embed = |images: &str, weights: &str, more: &str| {
        bench.run(&format!(
            "embed --device cpu --images {images} --model resnet20 --weights {weights} --out new.emb {more}"
        ))
    };
    embed("nowhere", WEIGHTS, "").fails(1, &["nowhere"]);
    embed("images", "none.th", "").fails(1, &["none.th"]);
    bench.write("text.th", "no weights");
    embed("images", "text.th", "").fails(1, &["text.th"]);
    std::fs::create_dir(bench.path("empty")).unwrap();
    embed("empty", WEIGHTS, "").fails(1, &["empty"]);
    assert!(!bench.has("new.emb"));
}

#[test]
fn wrong_usage_exits_2() {
    let bench = with_images(Bench::new(), 1);
    embed(&bench, "--mean 0.5,0.5,0.5").code_is(2);
    embed(&bench, "--preprocess mnist")
        .fails(2, &["mnist"])
        .hints(&["cifar"]);
    bench
        .run("embed --images images --model resnet21 --weights w --out o")
        .fails(2, &["resnet21"])
        .hints(&["resnet20"]);
    bench
        .run("fit --embeddings p --out h --validation 1")
        .fails(2, &["--validation 1"]);
}

#[test]
fn a_head_from_another_backbone_is_refused_unless_forced() {
    let bench = with_images(Bench::new(), 6);
    embed(&bench, "").ok();
    bench
        .run("fit --embeddings pool.emb --out head.safetensors")
        .ok();
    embed(&bench, "--force --preprocess cifar").ok();
    let select = "select --device cpu --embeddings pool.emb --head head.safetensors --strategy base --budget 2 --out picks.csv";
    bench
        .run(select)
        .fails(1, &["head.safetensors", "preprocessing"])
        .hints(&["--force"]);
    assert!(!bench.has("picks.csv"));
    let forced = bench.run(&format!("{select} --force")).ok();
    assert!(forced.stderr.contains("warning: "), "{}", forced.stderr);
}

#[test]
fn fit_only_on_listed_rows_plays_a_labelled_set() {
    let bench = with_images(Bench::new(), 10);
    embed(&bench, "").ok();
    bench.run("select --device cpu --embeddings pool.emb --strategy random --budget 8 --out first.csv").ok();
    let json = bench
        .run("fit --embeddings pool.emb --only first.csv --out h.safetensors --json")
        .ok()
        .json();
    assert_eq!(json["rows"], 8);
}

#[test]
fn parts_embedded_apart_are_one_pool_for_every_command() {
    let bench = with_images(Bench::new(), 6);
    embed(&bench, "").ok();
    let part = |index: usize| {
        bench.run(&format!(
            "embed --device cpu --images images --model resnet20 --weights {WEIGHTS} --shard {index}/3 \
             --out part{index}.emb"
        ))
    };
    (1..=3).for_each(|index| drop(part(index).ok()));
    bench
        .run("join part1.emb part3.emb --out all.emb")
        .fails(1, &["1 of 3 parts", "2"]);
    assert!(!bench.has("all.emb"));
    let json = bench
        .run("join part3.emb part1.emb part2.emb --out all.emb --json")
        .ok()
        .json();
    assert_eq!(json["rows"].as_u64(), Some(12));
    let picks = |pool: &str| {
        bench
            .run(&format!(
                "fit --embeddings {pool} --out {pool}.head.safetensors"
            ))
            .ok();
        bench
            .run(&format!(
                "select --device cpu --embeddings {pool} --head {pool}.head.safetensors \
                 --strategy base --budget 5 --out {pool}.csv"
            ))
            .ok();
        std::fs::read(bench.path(&format!("{pool}.csv"))).unwrap()
    };
    assert_eq!(picks("all.emb"), picks("pool.emb"));
    part(0).code_is(2);
    part(4).code_is(2);
    let other = part(2);
    other.fails(1, &["part2.emb", "exists"]);
}

#[test]
fn a_manifest_gives_labels_and_groups() {
    let bench = with_images(Bench::new(), 4);
    let line = |index: usize| {
        let (class, label) = [("dark", "night"), ("light", "day")][index % 2];
        format!(
            "images/{class}/{:03}.png,{label},camera{}\n",
            index / 2,
            index / 4
        )
    };
    let lines: String = (0..8).map(line).collect();
    let text = format!("path,label,camera\n{lines}images/none.png,day,camera9\n");
    std::fs::write(bench.path("m.csv"), text).unwrap();
    let run = bench.run(&format!(
        "embed --device cpu --images m.csv --model resnet20 --weights {WEIGHTS} --out pool.emb \
         --max-bad-fraction 0.2 --json"
    ));
    let json = run.ok().json();
    assert_eq!(
        (json["rows"].as_u64(), json["quarantined"].as_u64()),
        (Some(8), Some(1))
    );
    let quarantine = std::fs::read_to_string(bench.path("pool.emb/quarantine.csv")).unwrap();
    assert!(quarantine.contains("images/none.png") && quarantine.contains("cannot read"));
    bench
        .run("fit --embeddings pool.emb --out head.safetensors")
        .ok();
    let select = "select --device cpu --embeddings pool.emb --head head.safetensors --strategy base \
                  --budget 4 --out picks.csv --force";
    bench.run(&format!("{select} --group-cap camera=2")).ok();
    let picks = std::fs::read_to_string(bench.path("picks.csv")).unwrap();
    let first = picks.lines().skip(1).filter(|line| {
        let id = line.split(',').nth(2).unwrap();
        id.ends_with("000.png") || id.ends_with("001.png")
    });
    assert_eq!((picks.lines().count(), first.count()), (5, 2), "{picks}");
    let run = bench.run(&format!("{select} --group-cap lens=2"));
    run.fails(2, &["no metadata `lens`"]).hints(&["camera"]);
}

#[test]
fn a_grown_source_is_appended_without_touching_old_rows() {
    let bench = with_images(Bench::new(), 4);
    embed(&bench, "").ok();
    let shard = bench.path("pool.emb/embeddings-00000.safetensors");
    let before = std::fs::read(&shard).unwrap();
    with_images_from(&bench, 4..6);
    let json = embed(&bench, "--append --json").ok().json();
    assert_eq!(
        (json["images"].as_u64(), json["rows"].as_u64()),
        (Some(4), Some(12))
    );
    assert_eq!(std::fs::read(&shard).unwrap(), before);
    let rows = std::fs::read_to_string(bench.path("pool.emb/rows-00001.csv")).unwrap();
    assert!(
        rows.contains("dark/004.png") && !rows.contains("dark/003.png"),
        "{rows}"
    );
    // Once more there is nothing to do, and nothing is lost.
    let json = embed(&bench, "--append --json").ok().json();
    assert_eq!(
        (json["images"].as_u64(), json["rows"].as_u64()),
        (Some(0), Some(12))
    );
    embed(&bench, "--append --preprocess cifar")
        .fails(1, &["pool.emb", "another preprocess"])
        .hints(&["another output"]);
    embed(&bench, "--append --force").code_is(2);
    bench
        .run("fit --embeddings pool.emb --out head.safetensors")
        .ok();
}

#[test]
fn a_run_killed_at_any_moment_goes_on_and_ends_as_one_that_was_not() {
    let bench = with_images(Bench::new(), 150);
    let embed = |out: &str| {
        let mut command = Command::new(binary());
        command.current_dir(bench.path("."));
        command.args([
            "embed", "--device", "cpu", "--images", "images", "--model", "resnet20",
        ]);
        command.args([
            "--weights",
            WEIGHTS,
            "--shard-rows",
            "16",
            "--batch",
            "8",
            "--quiet",
        ]);
        command.args(["--out", out]);
        command
    };
    assert!(embed("whole.emb").status().unwrap().success());
    let progress = bench.path("pool.emb.partial/progress.json");
    let shards =
        || std::fs::read_to_string(&progress).map_or(0, |text| text.matches("rows_file").count());
    let mut kills = 0;
    for wait in 0..8 {
        let before = shards();
        let mut child = embed("pool.emb").spawn().unwrap();
        // Once right at the start, then ever later after a shard was written.
        while wait > 0 && child.try_wait().unwrap().is_none() && shards() <= before {
            std::thread::sleep(Duration::from_micros(300));
        }
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().unwrap();
        kills += usize::from(!child.wait().unwrap().success());
    }
    if !bench.has("pool.emb") {
        assert!(embed("pool.emb").status().unwrap().success());
    }
    assert!(kills >= 3, "{kills}");
    let files = |store: &str| {
        let mut names: Vec<_> = std::fs::read_dir(bench.path(store))
            .unwrap()
            .map(|item| item.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    assert_eq!(files("pool.emb"), files("whole.emb"));
    for name in files("whole.emb") {
        let read = |store: &str| std::fs::read(bench.path(store).join(&name)).unwrap();
        assert!(read("pool.emb") == read("whole.emb"), "{name:?}");
    }
}
