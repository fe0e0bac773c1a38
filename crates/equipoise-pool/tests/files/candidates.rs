//! Candidates of shards: written as they are read, refused where they are damaged or of another question.

use std::path::PathBuf;

use equipoise_core::strategies::{Listed, ShardList, ShardScan};
use equipoise_core::{RowSet, Selection};
use equipoise_pool::{Candidates, Deepening, Error, Gathered, Ids, MOST_SHARDS, SharedQuestion};
use proptest::prelude::*;

use crate::support::{Folder, open, store};

fn question() -> SharedQuestion {
    SharedQuestion {
        strategy: "base".into(),
        pool_digest: "p".repeat(64),
        pool_rows: 10,
        head_digest: "h".repeat(64),
        available_digest: "a".repeat(64),
        available: 9,
        shards: 2,
        budget: 3,
        quotas: vec![2, 1],
        order: vec![1, 0],
        classes: vec!["cat".into(), "dog".into()],
    }
}

fn entry(row: usize, key: f64) -> Listed {
    Listed {
        row,
        key,
        score: key,
        predicted: 1,
        runner_up: row.is_multiple_of(2).then_some(0),
    }
}

fn list(entries: &[(usize, f64)], complete: bool) -> ShardList {
    ShardList {
        entries: entries.iter().map(|(row, key)| entry(*row, *key)).collect(),
        complete,
    }
}

fn candidates(shard: usize, lists: Vec<ShardList>) -> Candidates {
    let scan = ShardScan {
        lists,
        selection: Selection {
            nonfinite: vec![5 * shard],
            ..Selection::default()
        },
    };
    Candidates::new(question(), shard, scan, &Ids::numbers(10))
}

/// Candidates of the first of two shards, for two classes.
pub(crate) fn first() -> Candidates {
    let lists = vec![
        list(&[(3, 0.0), (0, f64::INFINITY), (4, f64::INFINITY)], true),
        list(&[(1, f64::NEG_INFINITY)], false),
    ];
    candidates(0, lists)
}

fn gather(files: Vec<Candidates>) -> Result<Gathered, Error> {
    let named = |(i, file)| (PathBuf::from(format!("{i}.cand")), file);
    Gathered::new(files.into_iter().enumerate().map(named).collect())
}

#[test]
fn candidates_are_read_as_they_were_written() {
    let folder = Folder::new();
    let path = folder.path("a.cand");
    first().write(&path, false).unwrap();
    assert_eq!(Candidates::read(&path).unwrap(), first());
    assert!(matches!(
        first().write(&path, false),
        Err(Error::Exists { .. })
    ));
    first().write(&path, true).unwrap();
}

#[test]
fn rows_of_a_store_keep_their_names() {
    let folder = Folder::new().with_images(6);
    let pool = open(&store(
        &folder,
        &folder.source(),
        equipoise_pool::Dtype::F32,
        4,
    ));
    let scan = ShardScan {
        lists: vec![list(&[(3, 0.5)], true), list(&[], true)],
        ..ShardScan::default()
    };
    let path = folder.path("a.cand");
    let written = Candidates::new(question(), 0, scan, pool.ids());
    written.write(&path, false).unwrap();
    let read = Candidates::read(&path).unwrap();
    assert_eq!(read, written);
    let rest = candidates(1, vec![list(&[], true), list(&[], true)]);
    let gathered = gather(vec![read, rest]).unwrap();
    assert_eq!(gathered.names().id(3), pool.ids().id(3));
    assert_eq!(gathered.names().uri(3), pool.ids().uri(3));
    assert!(pool.ids().uri(3).is_some() && gathered.names().uri(9).is_none());
    let digest = SharedQuestion::pool_digest(&pool).unwrap();
    assert_eq!(
        digest,
        SharedQuestion::head_digest(&folder.path("POOL.emb/manifest.json")).unwrap()
    );
}

#[test]
fn sets_of_rows_have_digests_of_their_own() {
    let digest = SharedQuestion::digest_of_available;
    let mut one_less = RowSet::all(100);
    one_less.remove(77);
    assert_ne!(digest(&RowSet::all(100)), digest(&one_less));
    assert_eq!(digest(&RowSet::all(100)), digest(&RowSet::all(100)));
}

#[test]
fn what_differs_is_named() {
    let other = || candidates(1, vec![list(&[], true), list(&[], true)]);
    let change = |what: &str, change: fn(&mut SharedQuestion)| {
        let mut other = other();
        change(&mut other.question);
        let error = gather(vec![first(), other]).unwrap_err();
        assert!(matches!(&error, Error::Mismatch { .. }), "{error}");
        let message = error.to_string();
        assert!(
            message.contains("0.cand and 1.cand") && message.ends_with(what),
            "{message}"
        );
        assert!(error.hint().is_some());
    };
    change("strategy", |q| q.strategy = "mase".into());
    change("pool", |q| q.pool_digest = "q".repeat(64));
    change("number of rows of the pool", |q| q.pool_rows += 1);
    change("head", |q| q.head_digest = "q".repeat(64));
    change("class names", |q| q.classes[0] = "cow".into());
    change("labelled or excluded rows", |q| {
        q.available_digest = "q".repeat(64)
    });
    change("number of shards", |q| q.shards += 1);
    change("budget", |q| q.budget += 1);
    change("quotas", |q| q.quotas[0] += 1);
    change("class order", |q| q.order.reverse());
    assert!(gather(vec![first(), other()]).is_ok());
    let error = gather(vec![first()]).unwrap_err();
    assert_eq!(error.to_string(), "no candidates of 1 of 2 shards: 2");
}

#[test]
fn the_longer_list_counts_and_must_begin_as_the_shorter() {
    let second = || candidates(1, vec![list(&[(7, 0.25)], true), list(&[(5, 2.0)], true)]);
    let deeper =
        |entries: &[(usize, f64)]| candidates(0, vec![list(&[], false), list(entries, true)]);
    // Row 1 is certain for class 1, which takes one; class 0 takes 3 and 7.
    let picks = gather(vec![first(), second()]).unwrap().picks().unwrap();
    assert_eq!(picks.iter().map(|p| p.row).collect::<Vec<_>>(), [1, 3, 7]);
    let both = [(1, f64::NEG_INFINITY), (2, 0.0)];
    for files in [
        vec![first(), deeper(&both), second()],
        vec![second(), deeper(&both), first()],
    ] {
        let picks = gather(files).unwrap().picks().unwrap();
        assert_eq!(picks.iter().map(|p| p.row).collect::<Vec<_>>(), [1, 3, 7]);
    }
    for wrong in [&[(2, 0.0), (4, 1.0)][..], &[(1, -3.0)]] {
        let error = gather(vec![first(), deeper(wrong), second()]).unwrap_err();
        assert!(error.to_string().contains("class 1 in shard 1"), "{error}");
    }
}

#[test]
fn what_to_deepen_is_written_and_read() {
    let folder = Folder::new();
    let short = candidates(0, vec![list(&[], false), list(&[], false)]);
    let rest = candidates(1, vec![list(&[(7, 0.25)], true), list(&[(5, 2.0)], true)]);
    let deeper = gather(vec![short, rest]).unwrap().picks().unwrap_err();
    let asked = Deepening::new(question(), &deeper);
    assert_eq!(asked.depths(0), Some(vec![2, 1]));
    assert_eq!(asked.depths(1), None);
    let path = folder.path("deepen.json");
    asked.write(&path, false).unwrap();
    assert_eq!(Deepening::read(&path).unwrap(), asked);
    let text = std::fs::read_to_string(&path).unwrap();
    let newer = folder.write("newer.json", text.replace("\"version\":1", "\"version\":2"));
    let error = Deepening::read(&newer).unwrap_err().to_string();
    assert!(error.contains("version 2"), "{error}");
    let beyond = folder.write("beyond.json", text.replace("\"class\":1", "\"class\":2"));
    assert!(matches!(
        Deepening::read(&beyond),
        Err(Error::Format { .. })
    ));
}

/// The file of [`first`] with `from` in it replaced by `to`, which is as long.
fn edited(from: &str, to: &str) -> Result<Candidates, Error> {
    assert_eq!(from.len(), to.len());
    let folder = Folder::new();
    let path = folder.path("a.cand");
    first().write(&path, false).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let place = bytes
        .windows(from.len())
        .position(|part| part == from.as_bytes());
    let place = place.unwrap_or_else(|| panic!("no {from}"));
    bytes[place..place + to.len()].copy_from_slice(to.as_bytes());
    Candidates::read(&folder.write("b.cand", bytes))
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let error = edited("\"version\":\"1\"", "\"version\":\"7\"").unwrap_err();
    assert!(matches!(error, Error::Newer { found: 7, .. }), "{error}");
}

#[test]
fn files_that_contradict_themselves_are_refused() {
    for (from, to) in [
        ("equipoise-candidates", "equipoise-candidatez"),
        ("\"version\":\"1\"", "\"version\":\"x\""),
        ("\"shard\":\"1\"", "\"shard\":\"3\""),
        ("\"shard\":\"1\"", "\"shard\":\"2\""),
        ("\\\"shards\\\":2", "\\\"shards\\\":0"),
        ("\\\"budget\\\":3", "\\\"budget\\\":x"),
        ("\\\"order\\\":[1,0]", "\\\"order\\\":[1,1]"),
        ("\\\"quotas\\\":[2,1]", "\\\"quotas\\\":[2  ]"),
        ("\\\"strategy\\\":\\\"base", "\\\"strategy\\\":\\\"bass"),
        ("\\\"strategy\\\":\\\"base", "\\\"strategy\\\":\\\"mase"),
        (
            "\"offsets\":{\"data_offsets\"",
            "\"offsetz\":{\"data_offsets\"",
        ),
    ] {
        let error = edited(from, to).expect_err(to);
        assert!(matches!(error, Error::Format { .. }), "{to}: {error}");
        assert!(!error.to_string().contains('\n'));
    }
    let mut many = first();
    many.question.shards = MOST_SHARDS + 1;
    let folder = Folder::new();
    many.write(&folder.path("many.cand"), false).unwrap();
    assert!(Candidates::read(&folder.path("many.cand")).is_err());
}

#[test]
fn lists_out_of_order_or_beyond_their_shard_are_refused() {
    let folder = Folder::new();
    let wrong = [
        list(&[(3, 1.0), (2, 0.5)], true),
        list(&[(3, 1.0), (3, 1.0)], true),
        list(&[(7, 1.0)], true),
        list(&[(3, f64::NAN)], true),
    ];
    for (index, list) in wrong.into_iter().enumerate() {
        let path = folder.path(&format!("{index}.cand"));
        let file = candidates(0, vec![list, ShardList::default()]);
        file.write(&path, false).unwrap();
        assert!(
            matches!(Candidates::read(&path), Err(Error::Format { .. })),
            "{index}"
        );
    }
}

proptest! {
    #[test]
    fn damaged_candidates_are_an_error_or_other_candidates_and_never_a_panic(
        cut in 0.0f64..1.0, flips in proptest::collection::vec((0.0f64..1.0, any::<u8>()), 0..4),
        noise in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let folder = Folder::new();
        let path = folder.path("a.cand");
        first().write(&path, false).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let length = (whole.len() as f64 * cut) as usize;
        prop_assert!(Candidates::read(&folder.write("cut.cand", &whole[..length])).is_err());
        let mut flipped = whole;
        for (place, bits) in &flips {
            let place = (flipped.len() as f64 * place) as usize;
            flipped[place] ^= bits;
        }
        if let Ok(read) = Candidates::read(&folder.write("flipped.cand", &flipped)) {
            let mut rest = candidates(1, read.lists.clone());
            rest.question = read.question.clone();
            if let Ok(gathered) = gather(vec![read, rest]) {
                let _ = gathered.picks();
            }
        }
        prop_assert!(Candidates::read(&folder.write("noise.cand", &noise)).is_err());
        prop_assert!(Deepening::read(&folder.write("noise.json", &noise)).is_err());
    }
}
