//! What the fuzz targets call, and what the tests replay the corpora with: any bytes may come, and the
//! worst that may happen is an error.

use std::cell::RefCell;
use std::path::Path;

use equipoise_core::Pool;
use equipoise_pool::{EmbeddingPool, HeadFile, Preprocess, Source};

thread_local! {
    /// A folder to put files in, in memory where the system has such a place.
    static FOLDER: RefCell<tempfile::TempDir> = RefCell::new(folder());
}

fn folder() -> tempfile::TempDir {
    let shared = Path::new("/dev/shm");
    let made = match shared.is_dir() {
        true => tempfile::tempdir_in(shared),
        false => tempfile::tempdir(),
    };
    made.expect("a folder for the files")
}

/// Calls `read` with the path of a file of this name and these bytes.
fn with_file(name: &str, data: &[u8], read: impl FnOnce(&Path)) {
    FOLDER.with_borrow(|folder| {
        let path = folder.path().join(name);
        // Removed first: a map of the last one must not change under its reader.
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, data).expect("a file");
        read(&path);
    });
}

/// An encoded image.
pub(crate) fn image(data: &[u8]) {
    if let Ok(image) = Preprocess::IMAGENET.apply(data) {
        assert_eq!(image.values.len(), 3 * 224 * 224);
        assert!(image.values.iter().all(|value| value.is_finite()));
    }
}

/// A tar file of images, with or without what a WebDataset says of them.
pub(crate) fn tar(data: &[u8]) {
    with_file("source.tar", data, |path| {
        let Ok(source) = Source::open(&path.to_string_lossy(), None) else {
            return;
        };
        for item in source.stream(0) {
            let (index, bytes) = item.expect("members that were listed are there");
            let bytes = bytes.expect("members are no files of their own");
            assert!(bytes.len() <= data.len());
            assert!(!source.entries()[index].id.contains(".."));
        }
    });
}

/// A store: its manifest, a shard and its file of ids, parted by lines of three dashes.
pub(crate) fn store(data: &[u8]) {
    FOLDER.with_borrow(|folder| {
        let mut rest = data;
        for name in [
            "manifest.json",
            "rows-00000.csv",
            "embeddings-00000.safetensors",
        ] {
            let mark = b"\n---\n";
            let end = rest.windows(mark.len()).position(|window| window == mark);
            let (part, after) = match end {
                Some(end) => (&rest[..end], &rest[end + mark.len()..]),
                None => (rest, &[][..]),
            };
            let path = folder.path().join(name);
            let _ = std::fs::remove_file(&path);
            std::fs::write(path, part).expect("a file");
            rest = after;
        }
        let Ok(pool) = EmbeddingPool::open(folder.path()) else {
            return;
        };
        assert_eq!(pool.ids().len(), pool.rows());
        for row in 0..pool.rows() {
            assert_eq!(pool.ids().row(&pool.ids().id(row)), Some(row));
        }
        let _ = pool.verify();
        let mut row = 0;
        while row < pool.rows() {
            let chunk = pool.chunk(row, 64).expect("a row of the pool");
            assert_eq!(chunk.values.len() % pool.dim().max(1), 0);
            row += (chunk.values.len() / pool.dim().max(1)).max(1);
        }
    });
}

/// A head.
pub(crate) fn head(data: &[u8]) {
    with_file("head.safetensors", data, |path| {
        if let Ok(head) = HeadFile::read(path) {
            assert!(head.head.classes() > 0 && head.head.dim() > 0);
        }
    });
}
