use std::io::Cursor;

use image::{ImageFormat, Rgb};

use super::*;

fn png(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[test]
fn channels_are_planes_and_normalised() {
    let image = RgbImage::from_fn(2, 1, |x, _| Rgb([0, 255, 51 * x as u8]));
    let preprocess = Preprocess {
        mean: [0.5, 0.25, 0.0],
        std: [0.5, 0.75, 1.0],
        ..Preprocess::CIFAR
    };
    let image = preprocess.apply(&png(&image)).unwrap();
    assert_eq!((image.height, image.width), (1, 2));
    assert_eq!(image.values, [-1.0, -1.0, 1.0, 1.0, 0.0, 0.2]);
}

#[test]
fn resize_gives_a_square_of_any_image() {
    for (width, height) in [
        (1, 1),
        (7, 7),
        (9, 7),
        (7, 30),
        (3, 900),
        (2000, 1),
        (64, 48),
    ] {
        let image = RgbImage::from_pixel(width, height, Rgb([90, 90, 90]));
        let preprocess = Preprocess {
            resize: Some(7),
            crop: Some(7),
            ..Preprocess::IMAGENET
        };
        let image = preprocess.apply(&png(&image)).unwrap();
        assert_eq!((image.height, image.width), (7, 7), "{width}×{height}");
        let grey = (90.0 / 255.0 - 0.485) / 0.229;
        assert!(image.values[..49].iter().all(|value| *value == grey));
    }
}

#[test]
fn the_middle_is_what_stays_amid_black() {
    let image = RgbImage::from_fn(
        30,
        10,
        |x, _| Rgb([10 * u8::from((10..20).contains(&x)); 3]),
    );
    let cropped = |crop| {
        let settings = Preprocess {
            crop: Some(crop),
            mean: [0.0; 3],
            std: [1.0 / 255.0; 3],
            ..Preprocess::CIFAR
        };
        settings.apply(&png(&image)).unwrap()
    };
    assert!(
        cropped(10)
            .values
            .iter()
            .all(|value| (value - 10.0).abs() < 1e-4)
    );
    // torchvision pads 15 − 10 rows by 2 above and 3 below, and cuts 30 − 15 columns at 8.
    let padded = cropped(15);
    let lit = |y: usize, x: usize| padded.values[y * 15 + x] > 0.0;
    for y in 0..15 {
        for x in 0..15 {
            assert_eq!(
                lit(y, x),
                (2..12).contains(&y) && (2..12).contains(&x),
                "{y} {x}"
            );
        }
    }
}

fn jpeg(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95);
    encoder.encode_image(image).unwrap();
    bytes
}

#[test]
fn a_reduced_jpeg_looks_much_like_the_whole() {
    // A slope, on which reducing twice changes little.
    let image = RgbImage::from_fn(900, 700, |x, y| {
        Rgb([(x / 4) as u8, (y / 3) as u8, ((x + y) / 7) as u8])
    });
    for (side, differs) in [(80, true), (170, true), (340, true), (400, false)] {
        let settings = |reduced_jpeg| Preprocess {
            resize: Some(side),
            crop: Some(side),
            mean: [0.0; 3],
            std: [1.0 / 255.0; 3],
            reduced_jpeg,
            ..Preprocess::IMAGENET
        };
        let [whole, reduced] = [false, true].map(|reduced| {
            let image = settings(reduced).apply(&jpeg(&image)).unwrap();
            assert_eq!((image.height, image.width), (side as usize, side as usize));
            image.values
        });
        let sum: f32 = std::iter::zip(&whole, &reduced)
            .map(|(a, b)| (a - b).abs())
            .sum();
        let mean = sum / whole.len() as f32;
        assert!(mean < 1.0, "{side}: {mean}");
        assert_eq!(whole != reduced, differs, "{side}");
    }
}

#[test]
fn a_camera_s_orientation_is_applied_on_request() {
    let image = RgbImage::from_fn(16, 8, |x, _| Rgb([if x < 8 { 250 } else { 5 }; 3]));
    let plain = jpeg(&image);
    // After the start marker: an EXIF segment with one entry, orientation 6 (turn right).
    let exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let length = (exif.len() as u16 + 2).to_be_bytes();
    let turned = [&plain[..2], &[0xFF, 0xE1], &length, exif, &plain[2..]].concat();
    let size = |exif, bytes: &[u8]| {
        let settings = Preprocess {
            exif,
            ..Preprocess::CIFAR
        };
        let image = settings.apply(bytes).unwrap();
        (
            image.width,
            image.height,
            image.values[0] > image.values[image.values.len() / 3 - 1],
        )
    };
    // Bright to the left becomes bright above.
    assert_eq!(size(Exif::Ignore, &turned), (16, 8, true));
    assert_eq!(size(Exif::Apply, &turned), (8, 16, true));
    assert_eq!(size(Exif::Apply, &plain), (16, 8, true));
}

#[test]
fn a_strip_is_cropped_without_being_made_or_refused() {
    let strip = png(&RgbImage::from_pixel(1, 60_000, Rgb([7; 3])));
    assert_eq!(Preprocess::IMAGENET.apply(&strip).unwrap().height, 224);
    let whole = Preprocess {
        resize: Some(4096),
        crop: None,
        ..Preprocess::IMAGENET
    };
    let bad = whole.apply(&strip).unwrap_err();
    assert!(bad.reason.contains("4096×245760000"), "{bad}");
}

#[test]
fn manifests_of_before_the_crop_are_read() {
    let read = |text: &str| serde_json::from_str::<Preprocess>(text).unwrap();
    let old = r#"{"resize": 32, "mean": [0.5, 0.5, 0.5], "std": [1.0, 1.0, 1.0]}"#;
    assert_eq!((read(old).resize, read(old).crop), (Some(32), Some(32)));
    for settings in [Preprocess::IMAGENET, Preprocess::CLIP, Preprocess::CIFAR] {
        assert_eq!(read(&serde_json::to_string(&settings).unwrap()), settings);
    }
    let uncropped = Preprocess {
        crop: None,
        ..Preprocess::IMAGENET
    };
    assert_eq!(read(&serde_json::to_string(&uncropped).unwrap()), uncropped);
}

#[test]
fn the_digest_tells_settings_apart() {
    let digests: std::collections::HashSet<_> = [
        Preprocess::IMAGENET,
        Preprocess::CIFAR,
        Preprocess {
            resize: Some(32),
            ..Preprocess::CIFAR
        },
        Preprocess {
            crop: Some(32),
            ..Preprocess::CIFAR
        },
        Preprocess {
            exif: Exif::Apply,
            ..Preprocess::CIFAR
        },
        Preprocess {
            reduced_jpeg: true,
            ..Preprocess::CIFAR
        },
        Preprocess {
            interpolation: Interpolation::Bicubic,
            ..Preprocess::CIFAR
        },
    ]
    .iter()
    .map(Preprocess::digest)
    .collect();
    assert_eq!(digests.len(), 7);
}
