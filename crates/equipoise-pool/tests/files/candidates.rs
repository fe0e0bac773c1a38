//! Candidates of shards: written as they are read, refused where they are damaged or of another question.

use std::path::PathBuf;

use equipoise_core::strategies::{Listed, ShardList, ShardScan};
use equipoise_core::{RowSet, Selection};
use equipoise_pool::{Candidates, Deepening, Error, Gathered, Ids, MOST_SHARDS, SharedQuestion};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

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
    let mut nonfinite = RowSet::none(10);
    if shard == 1 {
        nonfinite.insert(9);
    }
    let scan = ShardScan {
        lists,
        selection: Selection {
            nonfinite,
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
    let second = candidates(1, vec![list(&[], true), list(&[(7, 0.5)], false)]);
    assert_eq!(second.nonfinite, [9]);
    second.write(&path, true).unwrap();
    assert_eq!(Candidates::read(&path).unwrap(), second);
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
    let (mut less, mut more) = (written.clone(), written.clone());
    less.lists[0].entries.clear();
    more.lists[1].entries.push(entry(2, 1.0));
    for other in [less, more] {
        other.write(&path, true).unwrap();
        let error = Candidates::read(&path).unwrap_err().to_string();
        assert!(
            error.ends_with("its names are not those of its rows"),
            "{error}"
        );
    }
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
    let merged = gather(vec![first(), second()])
        .unwrap()
        .selection()
        .unwrap();
    assert_eq!(
        merged.picks.iter().map(|p| p.row).collect::<Vec<_>>(),
        [1, 3, 7]
    );
    let both = [(1, f64::NEG_INFINITY), (2, 0.0)];
    for files in [
        vec![first(), deeper(&both), second()],
        vec![second(), deeper(&both), first()],
    ] {
        let merged = gather(files).unwrap().selection().unwrap();
        assert_eq!(
            merged.picks.iter().map(|p| p.row).collect::<Vec<_>>(),
            [1, 3, 7]
        );
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
    let deeper = gather(vec![short, rest]).unwrap().selection().unwrap_err();
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
    for (from, to, what) in [
        ("\"class\":1", "\"class\":2", "class 2 of 2"),
        ("\"depth\":2", "\"depth\":0", "no row of class 0"),
        ("\"shard\":1", "\"shard\":3", "shard 3 of 2"),
        ("\"shard\":1", "\"shard\":0", "shard 0 of 2"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        let error = Deepening::read(&folder.write("wrong.json", changed)).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error}");
        assert!(error.to_string().contains(what), "{error}");
    }
}

/// The file of [`first`], with its checksum's place.
fn first_file() -> (Vec<u8>, std::ops::Range<usize>) {
    let folder = Folder::new();
    let path = folder.path("a.cand");
    first().write(&path, false).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let start = place(&bytes, "\"sha256\":\"") + 10;
    (bytes, start..start + 64)
}

/// Where `text` is in a file.
fn place(bytes: &[u8], text: &str) -> usize {
    let mut places = bytes.windows(text.len());
    let place = places.position(|part| part == text.as_bytes());
    place.unwrap_or_else(|| panic!("no {text}"))
}

fn read(bytes: &[u8]) -> Result<Candidates, Error> {
    Candidates::read(&Folder::new().write("b.cand", bytes))
}

/// The file of [`first`] with `from` in it replaced by `to`, which is as long, and its checksum made anew.
fn edited(from: &str, to: &str) -> Result<Candidates, Error> {
    assert_eq!(from.len(), to.len());
    let (mut bytes, digest) = first_file();
    let place = place(&bytes, from);
    bytes[place..place + to.len()].copy_from_slice(to.as_bytes());
    sign(&mut bytes, digest);
    read(&bytes)
}

/// Makes a file's checksum anew.
fn sign(bytes: &mut [u8], digest: std::ops::Range<usize>) {
    bytes[digest.clone()].fill(b'0');
    let made: String = Sha256::digest(&*bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    bytes[digest].copy_from_slice(made.as_bytes());
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
        ("\"first_row\":\"0\"", "\"first_row\":\"7\""),
        ("\"rows\":\"5\"", "\"rows\":\"6\""),
        ("\"rows\":\"5\"", "\"rowz\":\"5\""),
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

/// Reads `candidates` as they are written.
fn written(candidates: &Candidates) -> Result<Candidates, Error> {
    let folder = Folder::new();
    let path = folder.path("a.cand");
    candidates.write(&path, false).unwrap();
    Candidates::read(&path)
}

/// Refuses [`first`] with that change, and says so.
fn refused(what: &str, change: impl FnOnce(&mut Candidates)) {
    let mut wrong = first();
    change(&mut wrong);
    let error = written(&wrong).expect_err(what);
    assert!(matches!(error, Error::Format { .. }), "{what}: {error}");
    let message = error.to_string();
    assert!(
        message.contains(what) && !message.contains('\n'),
        "{what}: {message}"
    );
    assert!(error.hint().is_some());
}

#[test]
fn lists_that_are_none_of_their_shard_are_refused() {
    let of = |entries: &[(usize, f64)]| {
        let list = list(entries, true);
        move |wrong: &mut Candidates| wrong.lists[0] = list
    };
    let order = "list 0: it is not in the order of its keys";
    refused(order, of(&[(3, 1.0), (2, 0.5)]));
    refused(order, of(&[(3, 1.0), (2, 1.0)]));
    refused(order, of(&[(3, 1.0), (3, 1.0)]));
    refused("row 3 is there twice", of(&[(3, 0.5), (3, 1.0)]));
    let beyond = "row 7 is none of shard 1/2, rows 0 to 5";
    refused(beyond, of(&[(7, 1.0)]));
    refused("row 18446744073709551615", of(&[(usize::MAX, 1.0)]));
    refused("the key or score of row 3", of(&[(3, f64::NAN)]));
    refused("the key or score of row 3", |wrong| {
        wrong.lists[0].entries[0].score = f64::NAN
    });
    refused("list 1: row 1: there is no class 2", |wrong| {
        wrong.lists[1].entries[0].predicted = 2
    });
    refused("row 0: there is no class 9", |wrong| {
        wrong.lists[0].entries[1].runner_up = Some(9)
    });
}

#[test]
fn rows_left_out_that_cannot_be_are_refused() {
    let of = |rows: &[usize]| {
        let rows = rows.to_vec();
        move |wrong: &mut Candidates| wrong.nonfinite = rows
    };
    refused("do not ascend", of(&[2, 2]));
    refused("do not ascend", of(&[2, 1]));
    refused("row 5 is none of shard 1/2", of(&[2, 5]));
    refused("row 18446744073709551615", of(&[usize::MAX]));
    refused("row 3 is listed, and left out", of(&[2, 3]));
    let mut most = first();
    most.nonfinite = vec![2];
    assert_eq!(written(&most).unwrap(), most);
    refused("of 5 rows, and 4 are available", |wrong| {
        wrong.nonfinite = vec![2];
        wrong.question.available = 4;
    });
}

#[test]
fn files_that_name_more_rows_than_can_be_picked_are_refused_together() {
    let second = |lists| candidates(1, lists);
    let listed = [(5, 0.0), (6, 0.0), (7, 0.0), (8, 0.0)];
    let whole = second(vec![list(&[], false), list(&listed, false)]);
    let mut full = first();
    assert!(gather(vec![full.clone(), whole.clone()]).is_ok());
    full.nonfinite = vec![2];
    let error = gather(vec![full, whole]).unwrap_err();
    assert!(matches!(error, Error::TooManyRows { .. }));
    assert_eq!(
        error.to_string(),
        "the candidates are of 10 rows, and 9 are available"
    );
    assert!(error.hint().is_some());
}

#[test]
fn files_of_one_shard_must_leave_out_the_same_rows() {
    let second = candidates(1, vec![list(&[], true), list(&[], true)]);
    let mut other = first();
    other.nonfinite = vec![2];
    let error = gather(vec![first(), second, other]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "0.cand and 2.cand differ in their rows that are not finite in shard 1"
    );
}

#[test]
fn a_changed_byte_is_noticed() {
    let (whole, digest) = first_file();
    for place in 0..whole.len() {
        let mut changed = whole.clone();
        changed[place] ^= 1;
        match read(&changed) {
            Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
            // The key of the checksum, without which a file is an earlier program's.
            Ok(read) => {
                assert!(
                    (digest.start - 9..digest.start - 3).contains(&place),
                    "{place}"
                );
                assert_eq!(read, first());
            }
        }
    }
    let mut changed = whole;
    *changed.last_mut().unwrap() ^= 1;
    let error = read(&changed).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert!(error.hint().unwrap().contains("scan"));
}

#[test]
fn files_without_a_checksum_are_read_as_ever() {
    let (mut whole, digest) = first_file();
    whole[digest.start - 9] = b'_';
    assert_eq!(read(&whole).unwrap(), first());
}

#[test]
fn files_are_as_long_as_their_header_says() {
    let (whole, _) = first_file();
    let message = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
    let end = [&whole[..], &[0]].concat();
    assert!(message(&end).contains("its length is not what its header says"));
    let cut = &whole[..whole.len() - 1];
    assert!(message(cut).contains("its length is not what its header says"));
    // Of more numbers than there is memory for, or than a number of bytes can say.
    for (count, bytes) in [(1u64 << 60, 1u64 << 63), (1 << 62, 0), (u64::MAX, u64::MAX)] {
        let header = serde_json::json!({
            "__metadata__": { "format": "equipoise-candidates", "version": "1" },
            "rows": { "dtype": "U64", "shape": [count], "data_offsets": [0, bytes] },
        });
        let header = header.to_string();
        let file = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
        let error = read(&file).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error}");
    }
    let endless = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
    assert!(matches!(read(&endless), Err(Error::Format { .. })));
}

proptest! {
    #[test]
    fn damaged_candidates_are_an_error_or_other_candidates_and_never_a_panic(
        cut in 0.0f64..1.0, flips in proptest::collection::vec((0.0f64..1.0, any::<u8>()), 0..4),
        noise in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let folder = Folder::new();
        let (whole, digest) = first_file();
        let length = (whole.len() as f64 * cut) as usize;
        prop_assert!(read(&whole[..length]).is_err());
        let mut flipped = whole;
        for (place, bits) in &flips {
            let place = (flipped.len() as f64 * place) as usize;
            flipped[place] ^= bits;
        }
        let unsigned = read(&flipped);
        sign(&mut flipped, digest);
        for read in [unsigned, read(&flipped)].into_iter().flatten() {
            let mut rest = candidates(1, read.lists.clone());
            rest.question = read.question.clone();
            if let Ok(gathered) = gather(vec![read, rest]) {
                let _ = gathered.selection();
            }
        }
        prop_assert!(Candidates::read(&folder.write("noise.cand", &noise)).is_err());
        prop_assert!(Deepening::read(&folder.write("noise.json", &noise)).is_err());
    }
}
