//! Parts of one source, embedded apart and joined.

use std::fs;
use std::path::PathBuf;

use equipoise_core::Pool;
use equipoise_pool::{Dtype, EmbeddingPool, Error, Part, SharedQuestion, StoreWriter, join_stores};

use crate::support::{Folder, finish, info, open, store};

/// The stores of all parts.
fn parts(folder: &Folder, count: usize) -> Vec<PathBuf> {
    (1..=count)
        .map(|index| {
            let source = folder.source().part(Part { index, count }).unwrap();
            let path = folder.path(&format!("part{index}of{count}.emb"));
            let writer = StoreWriter::open(&path, info(&source, Dtype::F32, 4), false).unwrap();
            finish(writer, &source);
            path
        })
        .collect()
}

#[test]
fn parts_are_slices_that_together_are_the_whole() {
    let folder = Folder::new().with_images(5);
    for count in 1..=10 {
        let mut entries = Vec::new();
        for index in 1..=count {
            let part = folder.source().part(Part { index, count }).unwrap();
            assert_eq!(part.digest(), folder.source().digest());
            assert_eq!(part.classes(), folder.source().classes());
            let read = part.stream(0).map(|item| item.unwrap().1.unwrap());
            assert_eq!(read.count(), part.entries().len());
            entries.extend(part.entries().to_vec());
        }
        assert_eq!(entries, folder.source().entries());
    }
    for (index, count) in [(0, 2), (3, 2), (1, 11), (1, 0)] {
        let error = folder.source().part(Part { index, count }).unwrap_err();
        assert!(error.is_usage() && matches!(error, Error::NoPart { .. }));
    }
}

#[test]
fn joined_parts_are_one_pool_wherever_they_lie() {
    let folder = Folder::new().with_images(6);
    let stores = parts(&folder, 3);
    let out = folder.path("all.emb");
    let shuffled = [stores[2].clone(), stores[0].clone(), stores[1].clone()];
    let rows = join_stores(&shuffled, &out, false).unwrap();
    let whole = EmbeddingPool::open(&out).unwrap();
    assert_eq!((whole.rows(), rows), (whole.ids().len(), whole.rows()));
    whole.verify().unwrap();
    let manifest = whole.manifest().unwrap();
    assert_eq!((manifest.rows, manifest.info.source.entries), (rows, 12));
    // Row after row they are the parts' own.
    let mut row = 0;
    for store in &stores {
        let part = open(store);
        for own in 0..part.rows() {
            let (a, b) = (whole.chunk(row, 1).unwrap(), part.chunk(own, 1).unwrap());
            assert_eq!(format!("{:?}", a.values), format!("{:?}", b.values));
            assert_eq!(whole.ids().id(row), part.ids().id(own));
            assert_eq!(whole.ids().label(row), part.ids().label(own));
            assert_eq!(whole.ids().row(&part.ids().id(own)), Some(row));
            row += 1;
        }
    }
    assert!(matches!(
        join_stores(&stores, &out, false),
        Err(Error::Exists { .. })
    ));
    join_stores(&stores, &out, true).unwrap();
    let digest = SharedQuestion::pool_digest(&whole).unwrap();
    // The file names its neighbours, not places.
    let moved = folder.path("moved");
    fs::create_dir(&moved).unwrap();
    for path in stores.iter().chain([&out]) {
        fs::rename(path, moved.join(path.file_name().unwrap())).unwrap();
    }
    let moved = EmbeddingPool::open(&moved.join("all.emb")).unwrap();
    assert_eq!(SharedQuestion::pool_digest(&moved).unwrap(), digest);
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let folder = Folder::new().with_images(6);
    let stores = parts(&folder, 2);
    let out = folder.path("all.emb");
    let refused = |stores: &[PathBuf], words: &[&str]| {
        let error = join_stores(stores, &out, false).unwrap_err();
        let text = error.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
        assert!(!out.exists());
    };
    refused(&stores[1..], &["1 of 2 parts", "1"]);
    refused(&[stores[0].clone(), stores[0].clone()], &["both part 1"]);
    let thirds = parts(&folder, 3);
    refused(
        &[stores[0].clone(), thirds[1].clone()],
        &["number of parts"],
    );
    let whole = store(&folder, &folder.source(), Dtype::F32, 4);
    refused(&[whole.clone(), stores[0].clone()], &["number of parts"]);
    folder.write("images/a/new.png", "x");
    let grown = folder.source().part(Part { index: 2, count: 2 }).unwrap();
    let path = folder.path("grown.emb");
    finish(
        StoreWriter::open(&path, info(&grown, Dtype::F32, 4), false).unwrap(),
        &grown,
    );
    refused(&[stores[0].clone(), path], &["source"]);
    refused(&[folder.path("images")], &["manifest.json"]);
    refused(&[], &["no store"]);
    join_stores(&stores, &out, false).unwrap();
    // A store that was made anew is not the one that was joined.
    let manifest = stores[0].join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("\"net\"", "\"other\"")).unwrap();
    let error = EmbeddingPool::open(&out).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}
