//! Sources of images.

use std::fs;

use equipoise_pool::{Error, Source};

use crate::support::{Folder, png};

pub(crate) fn open(folder: &Folder, spec: &str) -> Result<Source, Error> {
    Source::open(folder.path(spec).to_str().unwrap(), None)
}

pub(crate) fn ids(source: &Source) -> Vec<&str> {
    source
        .entries()
        .iter()
        .map(|entry| entry.id.as_str())
        .collect()
}

/// The images from entry `from` on, all of which can be read.
pub(crate) fn bytes(source: &Source, from: usize) -> Vec<Vec<u8>> {
    let items = source.stream(from).map(|item| item.unwrap().1);
    items.map(Result::unwrap).collect()
}

/// A tar file of members with these contents, in this order.
pub(crate) fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, contents) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(contents.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *contents).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn folders_are_listed_bytewise_and_read_in_order() {
    let folder = Folder::new();
    for name in [
        "b/2.PNG",
        "b/deep/1.webp",
        "a/10.jpg",
        "a/9.jpeg",
        "B/1.png",
        "a/notes.txt",
        "a/.hidden.png",
        ".git/x.png",
    ] {
        folder.write(&format!("images/{name}"), name);
    }
    let source = open(&folder, "images").unwrap();
    assert_eq!(
        ids(&source),
        [
            "B/1.png",
            "a/10.jpg",
            "a/9.jpeg",
            "b/2.PNG",
            "b/deep/1.webp"
        ]
    );
    assert_eq!(source.classes(), ["B", "a", "b"]);
    assert_eq!(source.entries()[4].label.as_deref(), Some("b"));
    assert!(source.entries()[0].uri.ends_with("images/B/1.png"));
    assert!(std::path::Path::new(&source.entries()[0].uri).is_absolute());
    for from in 0..=6 {
        let read: Vec<_> = source.stream(from).collect::<Result<_, _>>().unwrap();
        let expected = source.entries().iter().enumerate().skip(from);
        assert!(
            read.iter()
                .map(|(index, bytes)| (*index, bytes.as_deref().unwrap()))
                .eq(expected.map(|(index, entry)| (index, entry.id.as_bytes())))
        );
    }
}

#[test]
fn a_file_that_goes_away_is_a_bad_image() {
    let folder = Folder::new().with_images(2);
    let source = folder.source();
    fs::remove_file(folder.path("images/a/001.png")).unwrap();
    let mut stream = source.stream(0);
    assert_eq!(stream.next().unwrap().unwrap(), (0, Ok(png(20))));
    let (index, bad) = stream.next().unwrap().unwrap();
    let bad = bad.unwrap_err();
    assert!(index == 1 && bad.reason.starts_with("cannot read"), "{bad}");
    assert_eq!(stream.next().unwrap().unwrap(), (2, Ok(png(200))));
}

#[test]
fn a_tar_that_goes_away_ends_the_stream_with_its_name() {
    let folder = Folder::new();
    let path = folder.write("one.tar", tar(&[("a.png", b"1"), ("b.png", b"2")]));
    let source = open(&folder, "one.tar").unwrap();
    fs::remove_file(path).unwrap();
    let mut stream = source.stream(0);
    let error = stream.next().unwrap().unwrap_err().to_string();
    assert!(error.contains("one.tar#a.png"), "{error}");
    assert!(stream.next().is_none());
}

#[test]
fn tars_are_listed_by_headers_and_read_by_place() {
    let folder = Folder::new();
    let long = format!("b/{}.png", "x".repeat(150));
    let members: [(&str, &[u8]); 5] = [
        ("./b/1.png", b"one"),
        ("a/1.jpg", b""),
        ("a/readme.md", b"no image"),
        (&long, b"long"),
        ("a/0.png", &[7; 1500]),
    ];
    folder.write("one.tar", tar(&members));
    let source = open(&folder, "one.tar").unwrap();
    assert_eq!(ids(&source), ["a/0.png", "a/1.jpg", "b/1.png", &long]);
    assert_eq!(source.classes(), ["a", "b"]);
    assert!(source.entries()[2].uri.ends_with("one.tar#b/1.png"));
    let read: Vec<_> = bytes(&source, 0);
    assert_eq!(
        read,
        [vec![7; 1500], vec![], b"one".to_vec(), b"long".to_vec()]
    );
}

#[test]
fn ids_of_a_glob_begin_with_the_tar() {
    let folder = Folder::new();
    for (name, class) in [("s-1.tar", "b"), ("s-0.tar", "a"), ("s-2.tar", "a")] {
        folder.write(name, tar(&[(&format!("{class}/0.png"), name.as_bytes())]));
    }
    let source = open(&folder, "s-*.tar").unwrap();
    assert_eq!(ids(&source), ["s-0/a/0.png", "s-1/b/0.png", "s-2/a/0.png"]);
    assert_eq!(source.classes(), ["a", "b"]);
    let read: Vec<_> = bytes(&source, 1);
    assert_eq!(read, [b"s-1.tar".to_vec(), b"s-2.tar".to_vec()]);
    assert_eq!(
        ids(&open(&folder, "s-0.ta?").unwrap()),
        ["s-0/a/0.png"],
        "even of one tar"
    );
}

#[test]
fn the_digest_follows_the_list() {
    let folder = Folder::new().with_images(2);
    let before = folder.source().digest().to_owned();
    assert_eq!(folder.source().digest(), before);
    folder.write("images/a/zzz.png", "");
    assert_ne!(folder.source().digest(), before);
}

#[test]
fn bad_sources_are_named() {
    let folder = Folder::new();
    fs::create_dir(folder.path("empty")).unwrap();
    for name in ["x.tar.gz", "x.png", "x.mov"] {
        folder.write(name, "x");
        let error = open(&folder, name).unwrap_err();
        assert!(
            error.is_usage() && error.hint().is_some() && error.to_string().contains(name),
            "{error}"
        );
    }
    assert!(matches!(open(&folder, "nowhere"), Err(Error::Read { .. })));
    for spec in ["empty", "none-*.tar"] {
        let error = open(&folder, spec).unwrap_err();
        assert!(
            matches!(&error, Error::NoImages { spec: named } if named.ends_with(spec)),
            "{error}"
        );
    }
    folder.write("noise.tar", [b'x'; 2000]);
    let whole = tar(&[("a/0.png", &[1; 600]), ("a/1.png", &[1; 600])]);
    folder.write("cut.tar", &whole[..512 + 1024 + 512 + 300]);
    folder.write("twice.tar", tar(&[("a/0.png", b"1"), ("./a/0.png", b"2")]));
    for (name, words) in [
        ("noise.tar", "tar"),
        ("cut.tar", "a/1.png"),
        ("twice.tar", "a/0.png"),
    ] {
        let text = open(&folder, name).unwrap_err().to_string();
        assert!(text.contains(name) && text.contains(words), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn links_are_followed_but_not_round_and_round() {
    use std::os::unix::fs::symlink;
    let folder = Folder::new().with_images(1);
    symlink(folder.path("images/a"), folder.path("images/c")).unwrap();
    assert_eq!(
        ids(&folder.source()),
        ["a/000.png", "b/000.png", "c/000.png"]
    );
    symlink(folder.path("images"), folder.path("images/b/up")).unwrap();
    assert!(
        open(&folder, "images")
            .unwrap_err()
            .to_string()
            .contains("up")
    );
}

#[test]
fn images_are_found_again_by_their_uris() {
    let folder = Folder::new();
    folder.write("images/a/1.png", "one");
    folder.write("images/b/2.png", "two");
    folder.write(
        "more.tar",
        tar(&[("./c/3.png", b"three"), ("d/4.png", b"four")]),
    );
    let mut lookup = equipoise_pool::ImageLookup::new();
    for spec in ["images", "more.tar"] {
        let source = open(&folder, spec).unwrap();
        let streamed = bytes(&source, 0);
        for (entry, bytes) in source.entries().iter().zip(streamed) {
            assert_eq!(lookup.read(&entry.uri).unwrap(), bytes, "{}", entry.uri);
        }
    }
    let gone = format!("{}#no.png", folder.path("more.tar").display());
    for uri in [gone.as_str(), "/no/such/image.png", ""] {
        assert!(matches!(lookup.read(uri), Err(Error::Read { .. })), "{uri}");
    }
}
