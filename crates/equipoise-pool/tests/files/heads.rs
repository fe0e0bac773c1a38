//! Heads.

use std::fs;

use equipoise_core::Head;
use equipoise_pool::{Dtype, Error, HeadFile, Preprocess};
use half::f16;
use safetensors::Dtype as Type;

use crate::support::{Folder, f32s, open, store};

fn head() -> Head {
    Head::new(
        vec![1.0, 2.0, 3.0, -4.0, 0.1, f32::MIN_POSITIVE],
        vec![0.5, -0.5],
        3,
    )
    .unwrap()
}

#[test]
fn what_was_written_is_read_and_bytes_are_reproducible() {
    let folder = Folder::new().with_images(2);
    let pool = open(&store(&folder, &folder.source(), Dtype::F32, 4));
    let file = HeadFile::for_pool(head(), vec!["a, \"b\"".into(), "ü".into()], &pool);
    let paths = ["one", "two"].map(|name| folder.path(name));
    for path in &paths {
        file.write(path, false).unwrap();
    }
    assert_eq!(HeadFile::read(&paths[0]).unwrap(), file);
    assert_eq!(fs::read(&paths[0]).unwrap(), fs::read(&paths[1]).unwrap());
    assert!(matches!(
        file.write(&paths[0], false),
        Err(Error::Exists { .. })
    ));
    file.write(&paths[0], true).unwrap();
    assert_eq!(pool.mismatch(&file), None);
    assert_eq!(
        pool.mismatch(&HeadFile::of(head())),
        None,
        "a head that does not say"
    );
    let other = HeadFile::of_backbone(head(), None, "w".repeat(64), &Preprocess::CIFAR);
    assert!(pool.mismatch(&other).unwrap().contains("preprocessing"));
    let other = HeadFile {
        weights_digest: Some("x".into()),
        ..file
    };
    assert!(pool.mismatch(&other).unwrap().contains("weights"));
}

#[test]
fn other_names_types_and_a_missing_bias_are_read() {
    let folder = Folder::new();
    let weight = [1.0f32, 0.5, -2.0, 4.0];
    let halves: Vec<u8> = weight
        .iter()
        .flat_map(|w| f16::from_f32(*w).to_le_bytes())
        .collect();
    let doubles: Vec<u8> = weight
        .iter()
        .flat_map(|w| f64::from(*w).to_le_bytes())
        .collect();
    for prefix in ["", "fc.", "linear.", "head."] {
        for (dtype, bytes, notices) in [
            (Type::F32, f32s(&weight), 0),
            (Type::F16, halves.clone(), 0),
            (Type::F64, doubles.clone(), 1),
        ] {
            let name = format!("{prefix}weight");
            let path = folder.tensors("h", &[(&name, dtype, &[2, 2], &bytes)]);
            let read = HeadFile::read(&path).unwrap();
            assert_eq!(
                (read.head.weight(), read.head.bias()),
                (&weight[..], &[0.0, 0.0][..])
            );
            assert_eq!((read.notices.len(), read.classes), (notices, None));
        }
    }
}

#[test]
fn class_names_of_other_programs_are_read_if_they_are_some() {
    let folder = Folder::new();
    for (classes, names) in [
        (r#"[\"cat\",\"dog\"]"#, Some(["cat", "dog"])),
        ("2", None),
        (r#"[\"cat\"]"#, None),
        (r#"[\"cat\",\"cat\"]"#, None),
        (r#"[\"\",\"dog\"]"#, None),
    ] {
        let header = format!(
            r#"{{"__metadata__":{{"classes":"{classes}"}},"weight":{{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}}}"#
        );
        let header = format!("{header:200}");
        let length = (header.len() as u64).to_le_bytes();
        let bytes = [&length[..], header.as_bytes(), &f32s(&[1.0, 2.0])].concat();
        let read = HeadFile::read(&folder.write("h", bytes)).unwrap();
        let names = names.map(|names| names.map(str::to_owned).to_vec());
        assert_eq!(read.classes, names, "{classes}");
    }
}

#[test]
fn bad_heads_are_refused_in_one_line() {
    let folder = Folder::new();
    let (two, four) = (f32s(&[1.0; 2]), f32s(&[1.0; 4]));
    let nan = f32s(&[1.0, 1.0, f32::NAN, 1.0]);
    type Tensor<'a> = (&'a str, Type, &'a [usize], &'a [u8]);
    let cases: [(&[Tensor], &str); 6] = [
        (&[("x", Type::F32, &[2, 2], &four)], "weight"),
        (&[("weight", Type::F32, &[4], &four)], "[4]"),
        (
            &[
                ("weight", Type::F32, &[2, 2], &four),
                ("bias", Type::F32, &[4], &four),
            ],
            "[4]",
        ),
        (&[("weight", Type::I32, &[2, 2], &four)], "I32"),
        (
            &[
                ("weight", Type::F32, &[2, 2], &nan),
                ("bias", Type::F32, &[2], &two),
            ],
            "h",
        ),
        (&[("weight", Type::F32, &[0, 2], &[])], "h"),
    ];
    for (tensors, words) in cases {
        let path = folder.tensors("h", tensors);
        let error = HeadFile::read(&path).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(words) && text.contains(path.to_str().unwrap()) && !text.contains('\n'),
            "{text}"
        );
    }
    let path = folder.path("new");
    HeadFile::of(head()).write(&path, false).unwrap();
    let bytes = fs::read(&path).unwrap();
    for length in [0, 7, 8, 20, bytes.len() - 1] {
        let error = HeadFile::read(&folder.write("cut", &bytes[..length])).unwrap_err();
        assert!(error.to_string().contains("cut"), "{error}");
    }
    let version = b"\"equipoise_head\":\"1";
    let found = bytes
        .windows(version.len())
        .position(|window| window == version);
    let at = found.unwrap() + version.len() - 1;
    let mut newer = bytes;
    newer[at] = b'2';
    let error = HeadFile::read(&folder.write("newer", newer)).unwrap_err();
    assert!(matches!(error, Error::Newer { found: 2, .. }), "{error}");
    assert!(matches!(
        HeadFile::read(&folder.path("none")),
        Err(Error::Read { .. })
    ));
}
