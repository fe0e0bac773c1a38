//! The data beside the workspace.

use std::path::{Path, PathBuf};

use equipoise_core::Pool;
use equipoise_pool::{EmbeddingPool, HeadFile, Preprocess, Source};
use half::f16;
use safetensors::SafeTensors;

fn shared(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared")
        .join(path)
}

#[test]
#[cfg_attr(not(shared), ignore = "needs ../shared, which is not here")]
fn fixtures_open_as_pools_and_heads() {
    let mut opened = 0;
    for item in std::fs::read_dir(shared("fixtures")).unwrap() {
        let path = item.unwrap().path();
        let name = path.to_string_lossy().into_owned();
        if !name.ends_with(".safetensors") || name.ends_with("_forward.safetensors") {
            continue;
        }
        let pool = EmbeddingPool::open(&path).unwrap_or_else(|error| panic!("{error}"));
        let head = HeadFile::read(&path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(pool.dim(), head.head.dim(), "{name}");
        assert!(
            pool.notices().is_empty() && head.notices.is_empty() && pool.mismatch(&head).is_none()
        );
        opened += 1;
    }
    assert_eq!(opened, 6);
}

#[test]
#[cfg_attr(not(shared), ignore = "needs ../shared, which is not here")]
fn cifar_tars_are_listed_and_decoded() {
    for (name, images) in [("test.tar", 10_000), ("train.tar", 50_000)] {
        let path = shared("data/cifar10").join(name);
        let source = Source::open(path.to_str().unwrap(), None).unwrap();
        assert_eq!(
            (source.entries().len(), source.classes().len()),
            (images, 10)
        );
        let first = &source.entries()[0];
        assert_eq!(
            (first.id.as_str(), first.label.as_deref()),
            ("airplane/0000.jpg", Some("airplane"))
        );
        for item in source.stream(images - 300) {
            let (index, bytes) = item.unwrap();
            let image = Preprocess::CIFAR.apply(&bytes.unwrap()).unwrap();
            assert_eq!((image.height, image.width), (32, 32), "{index}");
        }
    }
}

/// Largest difference from Pillow's pixels, in steps of 1/255: JPEG decoders may differ by a few
/// steps at the edges of colour, resizing rounds differently.
const STEPS: f32 = 4.0;
/// And the mean difference.
const MEAN_STEPS: f32 = 0.5;

#[test]
#[cfg_attr(not(shared), ignore = "needs ../shared, which is not here")]
fn awkward_images_look_as_pillow_sees_them() {
    const SIDE: usize = 224;
    let file = std::fs::read(shared("fixtures/preprocess/expected.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&file).unwrap();
    let preprocess = Preprocess::IMAGENET;
    let mut failed = Vec::new();
    for (name, tensor) in expected.tensors() {
        let image = preprocess
            .apply(&std::fs::read(shared("fixtures/preprocess").join(&name)).unwrap())
            .unwrap();
        let (mut largest, mut sum) = (0f32, 0f32);
        for (place, bytes) in tensor.data().as_chunks().0.iter().enumerate() {
            let channel = place / SIDE / SIDE;
            let found = image.values[place];
            let steps = (found - f16::from_le_bytes(*bytes).to_f32()).abs()
                * 255.0
                * preprocess.std[channel];
            (largest, sum) = (largest.max(steps), sum + steps);
        }
        let mean = sum / (3 * SIDE * SIDE) as f32;
        println!("{name}: {largest:.2} at most, {mean:.3} on average");
        if largest > STEPS || mean > MEAN_STEPS {
            failed.push(format!(
                "{name}: {largest:.2} at most, {mean:.3} on average"
            ));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
