//! Single files as pools.

use equipoise_core::{Pool, Values};
use equipoise_pool::{Dtype, EmbeddingPool, Error};
use half::f16;
use safetensors::Dtype as Type;

use crate::support::{Folder, f32s};

fn values(pool: &EmbeddingPool) -> Vec<f32> {
    let chunk = pool.chunk(0, usize::MAX).unwrap();
    let mut values = vec![0.0; chunk.values.len()];
    chunk.values.widen(&mut values);
    values
}

fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let fortran = if fortran { "True" } else { "False" };
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}");
    let padded = (header.len() + 11).next_multiple_of(64) - 11;
    header = format!("{header:padded$}\n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
}

#[test]
fn safetensors_and_npy_of_every_width_are_read() {
    let folder = Folder::new();
    let expected = [1.0f32, -2.0, 0.5, 3.0, 0.25, -8.0];
    let halves: Vec<u8> = expected
        .iter()
        .flat_map(|v| f16::from_f32(*v).to_le_bytes())
        .collect();
    let doubles: Vec<u8> = expected
        .iter()
        .flat_map(|v| (f64::from(*v) + 1e-12).to_le_bytes())
        .collect();
    for (tensor, descr, bytes, dtype, notices) in [
        (Type::F32, "<f4", f32s(&expected), Dtype::F32, 0),
        (Type::F16, "<f2", halves, Dtype::F16, 0),
        (Type::F64, "<f8", doubles, Dtype::F32, 1),
    ] {
        let paths = [
            folder.tensors("p.safetensors", &[("embeddings", tensor, &[2, 3], &bytes)]),
            folder.write("p.npy", npy(descr, false, "(2, 3)", &bytes)),
        ];
        for path in paths {
            let pool = EmbeddingPool::open(&path).unwrap();
            assert_eq!((pool.rows(), pool.dim(), pool.dtype()), (2, 3, dtype));
            assert_eq!(values(&pool), expected);
            assert_eq!(pool.notices().len(), notices, "{:?}", pool.notices());
            assert_eq!(pool.bytes(), notices as u64 * 6 * 4);
            // Only copies take memory.
            match (notices, EmbeddingPool::open_within(&path, Some(23))) {
                (0, opened) => assert!(opened.is_ok()),
                (_, Err(Error::NoRoom { needed: 24, .. })) => {
                    assert!(EmbeddingPool::open_within(&path, Some(24)).is_ok());
                }
                (_, opened) => panic!("{opened:?}"),
            }
            assert!(
                pool.ids().are_rows()
                    && pool.manifest().is_none()
                    && pool.labels(None).unwrap().is_none()
            );
            assert_eq!(pool.chunk(1, 9).unwrap().values.len(), 3);
            pool.verify().unwrap();
        }
    }
}

#[test]
fn unaligned_numbers_are_copied_with_a_notice() {
    let folder = Folder::new();
    let numbers = f32s(&[1.5, 2.5]);
    let header = r#"{"embeddings":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}"#;
    for pad in 0..8 {
        let header = format!("{header}{}", " ".repeat(pad));
        let length = header.len() as u64;
        let bytes = [&length.to_le_bytes()[..], header.as_bytes(), &numbers].concat();
        let pool = EmbeddingPool::open(&folder.write("p.safetensors", bytes)).unwrap();
        assert_eq!(values(&pool), [1.5, 2.5]);
        let aligned = (8 + header.len()) % 4 == 0;
        assert_eq!(pool.notices().is_empty(), aligned);
        assert_eq!(pool.bytes(), if aligned { 0 } else { 8 });
        assert!(matches!(pool.chunk(0, 1).unwrap().values, Values::F32(_)));
    }
}

#[test]
fn bad_pools_are_refused_in_one_line() {
    let folder = Folder::new();
    let six = f32s(&[0.0; 6]);
    for (name, dtype, shape, words) in [
        (
            "x",
            Type::F32,
            &[2, 3][..],
            "no tensor `embeddings`; it has x",
        ),
        ("embeddings", Type::F32, &[6], "[6]"),
        ("embeddings", Type::I32, &[2, 3], "I32"),
        ("embeddings", Type::F32, &[6, 1, 1], "[6, 1, 1]"),
    ] {
        let path = folder.tensors("p.safetensors", &[(name, dtype, shape, &six)]);
        let text = EmbeddingPool::open(&path).unwrap_err().to_string();
        assert!(
            text.contains(words) && text.contains("p.safetensors"),
            "{text}"
        );
    }
    for (bytes, words) in [
        (npy("<f4", true, "(2, 3)", &six), "Fortran"),
        (npy(">f4", false, "(2, 3)", &six), ">f4"),
        (npy("<i8", false, "(1, 3)", &six), "<i8"),
        (npy("<f4", false, "(6,)", &six), "[6]"),
        (npy("<f4", false, "(3, 3)", &six), "truncated"),
        (
            npy("<f4", false, "(4611686018427387904, 4)", &six),
            "truncated",
        ),
        (b"no array".to_vec(), ".npy"),
        (b"\x93NUMPY\x01\x00".to_vec(), ".npy"),
    ] {
        let path = folder.write("p.npy", bytes);
        let text = EmbeddingPool::open(&path).unwrap_err().to_string();
        assert!(
            text.contains(words) && text.contains("p.npy") && !text.contains('\n'),
            "{words}: {text}"
        );
    }
    for name in ["none.emb", "none.npy", "none.safetensors"] {
        let text = EmbeddingPool::open(&folder.path(name))
            .unwrap_err()
            .to_string();
        assert!(text.contains(name), "{text}");
    }
    let text = EmbeddingPool::open(&folder.path(""))
        .unwrap_err()
        .to_string();
    assert!(text.contains("manifest.json"), "{text}");
    assert_eq!(
        EmbeddingPool::open(&tensors_of_no_row(&folder))
            .unwrap()
            .rows(),
        0
    );
}

fn tensors_of_no_row(folder: &Folder) -> std::path::PathBuf {
    folder.tensors(
        "empty.safetensors",
        &[("embeddings", Type::F32, &[0, 3], &[])],
    )
}
