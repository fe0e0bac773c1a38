//! Embedding stores.

use std::fs;

use equipoise_core::{Pool, Values};
use equipoise_pool::{Dtype, EmbeddingPool, Error, Preprocess, StoreInfo, StoreWriter};

use crate::support::{DIM, Folder, embedding, finish, info, is_bad, open, png, step, store};

/// All embeddings, read in chunks of `rows`.
fn read(pool: &EmbeddingPool, rows: usize) -> Vec<f32> {
    let mut values = Vec::new();
    while values.len() < pool.rows() * pool.dim() {
        let chunk = pool.chunk(values.len() / pool.dim(), rows).unwrap();
        let mut part = vec![0.0; chunk.values.len()];
        chunk.values.widen(&mut part);
        assert!(!part.is_empty());
        values.extend(part);
    }
    values
}

#[test]
fn what_was_written_is_read() {
    for dtype in [Dtype::F32, Dtype::F16] {
        for shard_rows in [1, 4, 7, 8, 100] {
            let folder = Folder::new().with_images(10);
            let source = folder.source();
            let path = store(&folder, &source, dtype, shard_rows);
            let pool = open(&path);
            let kept: Vec<usize> = (0..20).filter(|index| !is_bad(*index)).collect();
            let expected: Vec<f32> = kept.iter().flat_map(|index| embedding(*index)).collect();
            assert_eq!((pool.rows(), pool.dim(), pool.dtype()), (16, 3, dtype));
            for rows in [1, 3, 1000] {
                assert_eq!(read(&pool, rows), expected, "{dtype} {shard_rows} {rows}");
            }
            let is_f16 = matches!(pool.chunk(0, 1).unwrap().values, Values::F16(_));
            assert_eq!(is_f16, dtype == Dtype::F16);
            for (row, index) in kept.iter().enumerate() {
                let entry = &source.entries()[*index];
                assert_eq!(pool.ids().id(row), entry.id);
                assert_eq!(pool.ids().uri(row), Some(entry.uri.as_str().into()));
                assert_eq!(pool.ids().row(&entry.id), Some(row));
            }
            pool.verify().unwrap();
            let manifest = pool.manifest().unwrap();
            assert_eq!((manifest.rows, manifest.quarantined), (16, 4));
            assert_eq!(manifest.shards.len(), 16usize.div_ceil(shard_rows));
            let labels = pool.labels(None).unwrap().unwrap();
            assert_eq!(
                (labels.rows.len(), labels.classes),
                (16, vec!["a".into(), "b".into()])
            );
            let quarantine = fs::read_to_string(path.join("quarantine.csv")).unwrap();
            assert_eq!(quarantine.lines().count(), 5);
            assert!(
                quarantine.contains("a/003.png,")
                    && quarantine.contains("\"no pixels, \"\"none\"\"\"")
            );
            let labels = fs::read_to_string(path.join("labels.csv")).unwrap();
            assert!(labels.starts_with("id,label\na/000.png,a\n"));
            assert_eq!(folder.names(""), ["POOL.emb", "images"]);
            assert!(pool.chunk(16, 1).is_err());
        }
    }
}

#[test]
fn a_run_stopped_anywhere_goes_on_and_ends_alike() {
    let folder = Folder::new().with_images(7);
    let source = folder.source();
    let (entries, shard_rows) = (source.entries(), 3);
    let whole = store(&folder, &source, Dtype::F32, shard_rows);
    for stop in 0..=entries.len() {
        let path = folder.path("stopped.emb");
        let open =
            || StoreWriter::open(&path, info(&source, Dtype::F32, shard_rows), false).unwrap();
        let mut writer = open();
        (0..stop).for_each(|index| step(&mut writer, entries, index));
        drop(writer);
        assert!(!path.exists());
        let writer = open();
        let (at, rows, bad) = (writer.resume_at(), writer.rows(), writer.bad());
        assert!(
            at <= stop && rows % shard_rows == 0 && rows + bad == at,
            "{at} {rows} {bad}"
        );
        assert!((0..stop).filter(|index| !is_bad(*index)).count() < rows + shard_rows);
        finish(writer, &source);
        for name in folder.names("POOL.emb") {
            let bytes = |store: &str| fs::read(folder.path(store).join(&name)).unwrap();
            assert!(
                bytes("POOL.emb") == bytes("stopped.emb"),
                "{name} after a stop at {stop}"
            );
        }
        assert_eq!(folder.names("POOL.emb"), folder.names("stopped.emb"));
        fs::remove_dir_all(&path).unwrap();
    }
    open(&whole).verify().unwrap();
}

#[test]
fn a_crash_within_the_writing_of_a_shard_loses_that_shard_alone() {
    let folder = Folder::new().with_images(5);
    let source = folder.source();
    let path = folder.path("POOL.emb");
    let open = || StoreWriter::open(&path, info(&source, Dtype::F32, 2), false).unwrap();
    let mut writer = open();
    (0..3).for_each(|index| step(&mut writer, source.entries(), index));
    drop(writer);
    // As if the machine had died after the shard's file and before its record.
    folder.write(
        "POOL.emb.partial/embeddings-00001.safetensors",
        "half a shard",
    );
    folder.write("POOL.emb.partial/.equipoise-abc", "half a file");
    let quarantine = folder.path("POOL.emb.partial/quarantine.csv");
    fs::write(&quarantine, "id,uri,reason\na/003.png,x,torn li").unwrap();
    let writer = open();
    assert_eq!((writer.resume_at(), writer.bad()), (2, 0));
    assert_eq!(writer.quarantine_path(), quarantine);
    assert_eq!(finish(writer, &source).rows, 8);
    EmbeddingPool::open(&path).unwrap().verify().unwrap();

    // A recorded shard that is gone or torn: from the beginning.
    for damage in ["cut", "gone"] {
        let path = folder.path(damage);
        let open = || StoreWriter::open(&path, info(&source, Dtype::F32, 2), false).unwrap();
        let mut writer = open();
        (0..6).for_each(|index| step(&mut writer, source.entries(), index));
        drop(writer);
        let shard = folder.path(&format!("{damage}.partial/embeddings-00000.safetensors"));
        match damage {
            "cut" => fs::write(&shard, "cut").unwrap(),
            _ => fs::remove_file(&shard).unwrap(),
        }
        let writer = open();
        assert_eq!(writer.resume_at(), 0);
        finish(writer, &source);
        EmbeddingPool::open(&path).unwrap().verify().unwrap();
    }
}

#[test]
fn other_settings_are_refused_unless_forced() {
    let folder = Folder::new().with_images(3);
    let source = folder.source();
    let path = folder.path("POOL.emb");
    let mut writer = StoreWriter::open(&path, info(&source, Dtype::F32, 2), false).unwrap();
    (0..3).for_each(|index| step(&mut writer, source.entries(), index));
    drop(writer);
    let other = StoreInfo {
        model: "other".into(),
        ..info(&source, Dtype::F16, 2)
    };
    let error = StoreWriter::open(&path, other.clone(), false).unwrap_err();
    assert!(error.to_string().contains("dtype, model"), "{error}");
    assert!(error.hint().unwrap().contains("--force"));
    let same = StoreWriter::open(&path, info(&source, Dtype::F32, 2), false).unwrap();
    assert_eq!(same.resume_at(), 2, "the refusal changed nothing");
    drop(same);
    let writer = StoreWriter::open(&path, other, true).unwrap();
    assert_eq!(writer.resume_at(), 0);
    finish(writer, &source);
    assert_eq!(open(&path).manifest().unwrap().info.model, "other");
}

#[test]
fn a_finished_store_is_replaced_only_when_forced_and_whole() {
    let folder = Folder::new().with_images(3);
    let source = folder.source();
    let path = store(&folder, &source, Dtype::F32, 2);
    let error = StoreWriter::open(&path, info(&source, Dtype::F32, 2), false).unwrap_err();
    assert!(matches!(&error, Error::Exists { .. }) && error.to_string().contains("POOL.emb"));
    let mut writer = StoreWriter::open(&path, info(&source, Dtype::F16, 2), true).unwrap();
    (0..4).for_each(|index| step(&mut writer, source.entries(), index));
    drop(writer);
    assert_eq!(
        open(&path).dtype(),
        Dtype::F32,
        "the old one until the new one is whole"
    );
    let writer = StoreWriter::open(&path, info(&source, Dtype::F16, 2), true).unwrap();
    assert_eq!(
        writer.resume_at(),
        2,
        "--force does not throw the same run's work away"
    );
    finish(writer, &source);
    assert_eq!(open(&path).dtype(), Dtype::F16);
    assert_eq!(folder.names(""), ["POOL.emb", "images"]);
}

#[test]
fn what_is_no_store_is_never_replaced() {
    let folder = Folder::new().with_images(1);
    let source = folder.source();
    let file = folder.write("file", "mine");
    for path in [folder.path("images"), file] {
        let error = StoreWriter::open(&path, info(&source, Dtype::F32, 2), true).unwrap_err();
        assert!(matches!(error, Error::Irreplaceable { .. }), "{error}");
    }
}

#[test]
fn two_writers_do_not_meet() {
    let folder = Folder::new().with_images(1);
    let source = folder.source();
    let path = folder.path("POOL.emb");
    let writer = StoreWriter::open(&path, info(&source, Dtype::F32, 2), false).unwrap();
    let error = StoreWriter::open(&path, info(&source, Dtype::F32, 2), true).unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error}");
    finish(writer, &source);
}

#[test]
fn entries_must_come_whole_and_in_order() {
    let folder = Folder::new().with_images(2);
    let source = folder.source();
    let entries = source.entries();
    let path = folder.path("POOL.emb");
    let mut writer = StoreWriter::open(&path, info(&source, Dtype::F16, 2), false).unwrap();
    assert!(matches!(
        writer.push(1, &entries[1], &[0.0; 3]),
        Err(Error::Order {
            expected: 0,
            found: 1
        })
    ));
    assert!(matches!(
        writer.push(0, &entries[0], &[0.0; 2]),
        Err(Error::EmbeddingLength { .. })
    ));
    writer
        .push(0, &entries[0], &[f32::INFINITY, f32::NAN, 65504.0])
        .unwrap();
    let error = writer
        .push(1, &entries[1], &[0.0, 0.0, -65520.0])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "row 1 (a/001.png): -65520 is beyond what f16 can hold (65504)"
    );
    assert!(error.hint().unwrap().contains("f32"));
    assert!(matches!(
        writer.finish(),
        Err(Error::Order {
            expected: 1,
            found: 4
        })
    ));
    assert!(!path.exists());
}

#[test]
fn a_store_of_no_rows_opens() {
    let folder = Folder::new().with_images(1);
    let source = folder.source();
    let path = folder.path("POOL.emb");
    let mut writer = StoreWriter::open(&path, info(&source, Dtype::F32, 2), false).unwrap();
    (0..2).for_each(|index| {
        writer
            .reject(index, &source.entries()[index], "bad")
            .unwrap()
    });
    let stored = writer.finish().unwrap();
    assert_eq!((stored.rows, stored.bad), (0, 2));
    assert_eq!(stored.quarantine, Some(path.join("quarantine.csv")));
    assert_eq!(open(&path).rows(), 0);
}

#[test]
fn damage_is_named() {
    type Damage = fn(Vec<u8>) -> Vec<u8>;
    let damages: [(&str, Damage, &str); 7] = [
        (
            "embeddings-00001.safetensors",
            |mut b| {
                b.pop();
                b
            },
            "bytes where the manifest says",
        ),
        (
            "rows-00000.csv",
            |b| b[..20].to_vec(),
            "line 2: the header has 3 fields, this line 1",
        ),
        (
            "rows-00000.csv",
            |b| edit(&b, "\na/001.png", "\na/x.png,u,\na/001.png"),
            "3 rows where the shard has 2",
        ),
        (
            "manifest.json",
            |b| b[..b.len() / 2].to_vec(),
            "not an embedding store",
        ),
        (
            "manifest.json",
            |b| edit(&b, "\"version\": 1", "\"version\": 2"),
            "format version 2",
        ),
        (
            "manifest.json",
            |b| edit(&b, "equipoise-store", "other"),
            "`format`",
        ),
        (
            "manifest.json",
            |b| edit(&b, "\"file\": \"", "\"file\": \"../"),
            "no file of the store",
        ),
    ];
    for (name, damage, words) in damages {
        let folder = Folder::new().with_images(3);
        let path = store(&folder, &folder.source(), Dtype::F32, 2);
        let file = path.join(name);
        fs::write(&file, damage(fs::read(&file).unwrap())).unwrap();
        let error = EmbeddingPool::open(&path).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(name) && text.contains(words),
            "{name}: {text}"
        );
    }
}

fn edit(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(text.contains(from), "{text}");
    text.replace(from, to).into_bytes()
}

#[test]
fn verify_finds_a_changed_byte() {
    let folder = Folder::new().with_images(3);
    let path = store(&folder, &folder.source(), Dtype::F32, 2);
    let file = path.join("embeddings-00001.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let error = open(&path).verify().unwrap_err();
    assert!(matches!(error, Error::Damaged { path, .. } if path == file));
}

#[test]
fn images_of_a_grown_source_are_appended() {
    let folder = Folder::new().with_images(4);
    let path = store(&folder, &folder.source(), Dtype::F32, 3);
    let before = open(&path);
    let old: Vec<String> = (0..before.rows())
        .map(|row| before.ids().id(row).into())
        .collect();
    folder.write("images/a/0005.png", png(1));
    folder.write("images/c/000.png", png(2));
    let append = || {
        let source = folder.source();
        StoreWriter::append(&path, info(&source, Dtype::F32, 3), source)
    };
    // Two new images, and one that was left out: it is tried again.
    let (mut writer, source) = append().unwrap();
    let ids: Vec<&str> = source
        .entries()
        .iter()
        .map(|entry| entry.id.as_str())
        .collect();
    assert_eq!(ids, ["a/0005.png", "a/003.png", "c/000.png"]);
    assert_eq!(writer.resume_at(), 0);
    writer.push(0, &source.entries()[0], &[1.0; DIM]).unwrap();
    // Dropped before it is finished, it leaves the store as it was.
    drop(writer);
    assert_eq!(open(&path).rows(), old.len());
    let (mut writer, source) = append().unwrap();
    for (index, entry) in source.entries().iter().enumerate() {
        match index {
            1 => writer.reject(index, entry, "still bad").unwrap(),
            _ => writer.push(index, entry, &[index as f32; DIM]).unwrap(),
        }
    }
    let stored = writer.finish().unwrap();
    assert_eq!((stored.rows, stored.bad), (old.len() + 2, 1));
    let pool = open(&path);
    pool.verify().unwrap();
    let ids: Vec<String> = (0..pool.rows())
        .map(|row| pool.ids().id(row).into())
        .collect();
    assert_eq!(ids[..old.len()], old);
    assert_eq!(ids[old.len()..], ["a/0005.png", "c/000.png"]);
    assert_eq!(pool.classes().unwrap(), ["a", "b", "c"]);
    let labels = fs::read_to_string(path.join("labels.csv")).unwrap();
    assert!(labels.ends_with("c/000.png,c\n") && labels.lines().count() == ids.len() + 1);
    // What is there is not embedded again.
    let (_, source) = append().unwrap();
    let ids: Vec<&str> = source
        .entries()
        .iter()
        .map(|entry| entry.id.as_str())
        .collect();
    assert_eq!(ids, ["a/003.png"]);
}

#[test]
fn a_store_of_other_settings_is_not_appended_to() {
    let folder = Folder::new().with_images(2);
    let path = store(&folder, &folder.source(), Dtype::F32, 3);
    let refused = |info: StoreInfo, what: &str| {
        let error = StoreWriter::append(&path, info, folder.source()).unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, Error::OtherStore { .. }) && text.contains(what),
            "{text}"
        );
    };
    let settings = || info(&folder.source(), Dtype::F32, 3);
    refused(
        StoreInfo {
            model: "other".into(),
            ..settings()
        },
        "model",
    );
    refused(
        StoreInfo {
            weights_digest: "v".repeat(64),
            ..settings()
        },
        "weights digest",
    );
    refused(
        StoreInfo {
            preprocess: Preprocess::CLIP,
            ..settings()
        },
        "preprocess",
    );
    refused(
        StoreInfo {
            dtype: Dtype::F16,
            ..settings()
        },
        "dtype",
    );
    let part = folder
        .source()
        .part(equipoise_pool::Part { index: 1, count: 2 })
        .unwrap();
    refused(info(&part, Dtype::F32, 3), "part of its source");
    let missing = folder.path("none.emb");
    let error = StoreWriter::append(&missing, settings(), folder.source()).unwrap_err();
    assert!(matches!(error, Error::Read { .. }), "{error}");
}

#[test]
fn an_id_of_two_shards_is_refused() {
    let folder = Folder::new().with_images(3);
    let path = store(&folder, &folder.source(), Dtype::F32, 2);
    let file = path.join("rows-00002.csv");
    let text = edit(&fs::read(&file).unwrap(), "\nb/002.png", "\na/001.png");
    fs::write(&file, text).unwrap();
    let error = EmbeddingPool::open(&path).unwrap_err();
    assert!(
        matches!(&error, Error::DuplicateId { id, .. } if id == "a/001.png"),
        "{error}"
    );
}

#[test]
fn ids_that_are_not_utf8_are_told_by_line() {
    let folder = Folder::new().with_images(3);
    let path = store(&folder, &folder.source(), Dtype::F32, 2);
    let file = path.join("rows-00001.csv");
    let mut text = fs::read(&file).unwrap();
    text.truncate(text.len() - 2);
    text.extend(b"\xff\n");
    fs::write(&file, text).unwrap();
    let text = EmbeddingPool::open(&path).unwrap_err().to_string();
    assert!(
        text.contains("rows-00001.csv") && text.contains("line 3: ") && text.contains("UTF-8"),
        "{text}"
    );
    fs::write(&file, "uri,label\n,\n,\n").unwrap();
    let text = EmbeddingPool::open(&path).unwrap_err().to_string();
    assert!(text.contains("it has no column `id`"), "{text}");
}
