//! The corpora of the fuzz targets, replayed: whatever once failed stays mended.

#[path = "../../../../fuzz/entries.rs"]
mod entries;

use std::path::Path;

/// Replays all files in a target's corpus; how many there were.
fn replay(target: &str, entry: fn(&[u8])) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let replayed = files.map(|file| {
        // Printed where one fails.
        println!("{}", file.display());
        entry(&std::fs::read(&file).unwrap());
    });
    replayed.count()
}

#[test]
fn images() {
    assert!(replay("image", entries::image) > 0);
}

#[test]
fn tars() {
    assert!(replay("tar", entries::tar) > 0);
}

#[test]
fn stores() {
    assert!(replay("store", entries::store) > 0);
}

#[test]
fn heads() {
    assert!(replay("head", entries::head) > 0);
}
