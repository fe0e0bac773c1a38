//! Sources that say more of their images than where they are: manifests, lists, WebDataset tars; and
//! globs of images.

use equipoise_pool::{Dtype, Error, Source, StoreWriter};

use crate::sources::{bytes, ids, open, tar};
use crate::support::{Folder, finish, info, open as open_pool, png};

fn labels(source: &Source) -> Vec<&str> {
    let entries = source.entries().iter();
    entries
        .map(|entry| entry.label.as_deref().unwrap_or("-"))
        .collect()
}

fn metadata(source: &Source) -> Vec<String> {
    let entries = source.entries().iter();
    entries.map(|entry| entry.metadata.join("|")).collect()
}

#[test]
fn a_csv_manifest_gives_ids_labels_and_metadata() {
    let folder = Folder::new();
    folder.write("images/1.png", "one");
    folder.write("images/2", "two");
    folder.write("t.tar", tar(&[("in/3.png", b"three")]));
    let text = "\u{feff}path,label,camera,id\nimages/2,dog,B,second\nimages/1.png,cat,A,first\n\
                t.tar#in/3.png,,,third\n";
    folder.write("m.csv", text);
    let source = open(&folder, "m.csv").unwrap();
    assert_eq!(ids(&source), ["first", "second", "third"]);
    assert_eq!(labels(&source), ["cat", "dog", "-"]);
    assert_eq!(source.classes(), ["cat", "dog"]);
    assert_eq!(source.columns(), ["camera"]);
    assert_eq!(metadata(&source), ["A", "B", ""]);
    assert_eq!(bytes(&source, 0), [&b"one"[..], b"two", b"three"]);
    assert!(source.entries()[2].uri.ends_with("t.tar#in/3.png"));
}

#[test]
fn json_lines_say_the_same_and_a_root_may_be_named() {
    let folder = Folder::new();
    folder.write("deep/images/1.png", "one");
    folder.write("deep/t.tar", tar(&[("3.png", b"three")]));
    let text = r#"{"image": "images/1.png", "label": 7, "site": "north", "boxes": [1, 2]}

{"tar": "t.tar", "member": "3.png", "label": 10, "lux": 2.5}
"#;
    let path = folder.write("m.jsonl", text);
    let root = folder.path("deep");
    let source = Source::open(path.to_str().unwrap(), Some(&root)).unwrap();
    assert_eq!(ids(&source), ["images/1.png", "t.tar#3.png"]);
    assert_eq!(source.classes(), ["7", "10"], "in the order of numbers");
    assert_eq!(source.columns(), ["lux", "site"]);
    assert_eq!(metadata(&source), ["|north", "2.5|"]);
    assert_eq!(bytes(&source, 0), [&b"one"[..], b"three"]);
}

#[test]
fn lines_that_cannot_be_used_are_told_by_number() {
    let folder = Folder::new();
    folder.write("t.tar", tar(&[("3.png", b"three")]));
    for (name, text, words) in [
        ("m.csv", "label,camera\ncat,A\n", "line 2: no `path`"),
        (
            "m.csv",
            "path,label\na.png\n",
            "line 2: the header has 2 fields",
        ),
        ("m.csv", "path,uri\na.png,x\n", "cannot be called `uri`"),
        (
            "m.csv",
            "path\nb.png\nt.tar#4.png\n",
            "line 3: there is no `t.tar#4.png`",
        ),
        (
            "m.csv",
            "path\na.png\na.png\n",
            "the id `a.png` is there twice",
        ),
        ("m.csv", "path\n", "no image there"),
        ("m.csv", "path\nnone.tar#4.png\n", "none.tar"),
        (
            "m.jsonl",
            "{\"path\": \"a.png\"}\n[1]\n",
            "line 2: no JSON object",
        ),
        ("m.jsonl", "{\"path\": [\"a.png\"]}\n", "line 1: no `path`"),
        (
            "l.txt",
            "a.png 1\nnotes\n",
            "line 2: `notes` is no path of an image",
        ),
    ] {
        folder.write(name, text);
        let error = open(&folder, name).unwrap_err().to_string();
        assert!(error.contains(words), "{text:?}: {error}");
    }
}

#[test]
fn a_list_of_paths_has_labels_by_number() {
    let folder = Folder::new();
    folder.write("train/b c/1.JPEG", "one");
    folder.write("train/a/2.JPEG", "two");
    let text = "# ImageNet-LT\ntrain/b c/1.JPEG 10\n\ntrain/a/2.JPEG\t9\n";
    folder.write("list.txt", text);
    let source = open(&folder, "list.txt").unwrap();
    assert_eq!(ids(&source), ["train/a/2.JPEG", "train/b c/1.JPEG"]);
    assert_eq!(labels(&source), ["9", "10"]);
    // Folders are classes only where nothing else says what is.
    assert_eq!(source.classes(), ["9", "10"]);
    assert_eq!(bytes(&source, 0), [b"two", b"one"]);

    folder.write("bare.txt", "train/b c/1.JPEG\ntrain/a/2.JPEG\n");
    let source = open(&folder, "bare.txt").unwrap();
    assert_eq!(source.classes(), ["a", "b c"]);
}

#[test]
fn a_webdataset_groups_members_by_key() {
    let folder = Folder::new();
    let members: [(&str, &[u8]); 7] = [
        (
            "a/0002.json",
            br#"{"label": "ignored", "width": 30, "tags": ["x"]}"#,
        ),
        ("a/0002.cls", b"5\n"),
        ("a/0002.seg.png", b"two"),
        ("a/0001.jpg", b"one"),
        ("a/0001.json", br#"{"class": 3, "width": 20}"#),
        ("a/0003.webp", b"three"),
        ("a/9999.json", b"not even JSON, of no image"),
    ];
    folder.write("w.tar", tar(&members));
    let source = open(&folder, "w.tar").unwrap();
    assert_eq!(ids(&source), ["a/0001", "a/0002", "a/0003"]);
    assert_eq!(labels(&source), ["3", "5", "-"]);
    assert_eq!(source.columns(), ["width"]);
    assert_eq!(metadata(&source), ["20", "30", ""]);
    assert_eq!(bytes(&source, 0), [&b"one"[..], b"two", b"three"]);
    let uri = &source.entries()[1].uri;
    assert!(uri.ends_with("w.tar#a/0002.seg.png"), "{uri}");
    let mut lookup = equipoise_pool::ImageLookup::new();
    assert_eq!(lookup.read(uri).unwrap(), b"two");

    folder.write("v.tar", tar(&members[4..5]));
    folder.write("u.tar", tar(&members[3..5]));
    let source = open(&folder, "[uw].tar").unwrap();
    assert_eq!(ids(&source)[..2], ["u/a/0001", "w/a/0001"]);
}

#[test]
fn webdatasets_that_contradict_themselves_are_refused() {
    let folder = Folder::new();
    let large = vec![b' '; (1 << 20) + 1];
    type Members<'a> = &'a [(&'a str, &'a [u8])];
    let cases: [(Members<'_>, &str); 4] = [
        (
            &[("1.jpg", b""), ("1.png", b""), ("1.cls", b"0")],
            "1.jpg and 1.png share a key",
        ),
        (
            &[("1.jpg", b""), ("1.json", b"{")],
            "member 1.json: no JSON object",
        ),
        (
            &[("1.jpg", b""), ("1.cls", b"\xff")],
            "member 1.cls: no text",
        ),
        (&[("1.jpg", b""), ("1.json", &large)], "1048577 bytes"),
    ];
    for (members, words) in cases {
        folder.write("w.tar", tar(members));
        let error = open(&folder, "w.tar").unwrap_err().to_string();
        assert!(error.contains("w.tar") && error.contains(words), "{error}");
    }
    // Without anything beside them, names need not differ before the dot.
    folder.write("w.tar", tar(&[("1.jpg", b""), ("1.png", b"")]));
    assert_eq!(ids(&open(&folder, "w.tar").unwrap()), ["1.jpg", "1.png"]);
}

#[test]
fn members_that_lead_out_of_a_tar_are_refused() {
    let folder = Folder::new();
    for name in ["/etc/1.png", "../1.png", "a/../../1.png"] {
        // The library's writer would refuse such names too.
        let mut whole = tar(&[("placeholder.png", b"x")]);
        whole[..100].fill(0);
        whole[..name.len()].copy_from_slice(name.as_bytes());
        whole[148..156].fill(b' ');
        let sum: u32 = whole[..512].iter().map(|byte| u32::from(*byte)).sum();
        whole[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        folder.write("out.tar", &whole);
        let error = open(&folder, "out.tar").unwrap_err().to_string();
        assert!(
            error.contains("leads out of the tar file"),
            "{name}: {error}"
        );
    }
}

#[test]
fn a_glob_of_images_is_a_source() {
    let folder = Folder::new().with_images(2);
    folder.write("images/c/notes.txt", "x");
    let source = open(&folder, "images/*/*.png").unwrap();
    assert_eq!(ids(&source)[..2], ["a/000.png", "a/001.png"]);
    assert_eq!(source.classes(), ["a", "b"]);
    assert_eq!(source.digest(), folder.source().digest());
    let error = open(&folder, "images/*/*").unwrap_err();
    assert!(matches!(error, Error::SourceKind { .. }), "{error}");
}

#[test]
fn metadata_goes_through_the_store() {
    let folder = Folder::new().with_images(2);
    let text = "path,label,camera,site\nimages/a/000.png,x,A,\nimages/a/001.png,y,\"B, C\",s\n\
                images/b/000.png,x,A,t\n";
    folder.write("m.csv", text);
    let source = open(&folder, "m.csv").unwrap();
    let path = folder.path("POOL.emb");
    let writer = StoreWriter::open(&path, info(&source, Dtype::F32, 2), false).unwrap();
    finish(writer, &source);
    let pool = open_pool(&path);
    let ids = pool.ids();
    assert_eq!(ids.columns().collect::<Vec<_>>(), ["camera", "site"]);
    let cameras = ids.metadata("camera").unwrap();
    assert_eq!(
        cameras,
        [Some("A".into()), Some("B, C".into()), Some("A".into())]
    );
    assert_eq!(ids.metadata("site").unwrap()[0], None);
    assert_eq!(ids.metadata("lens"), None);
    assert_eq!(pool.classes().unwrap(), ["x", "y"]);
    assert_eq!(
        pool.labels(None).unwrap().unwrap().rows,
        [(0, 0), (1, 1), (2, 0)]
    );
    assert_eq!(png(20), bytes(&source, 0)[0]);
}
