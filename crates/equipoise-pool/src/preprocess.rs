//! Pixels to what a backbone expects, as torchvision's transforms do it on Pillow.

use image::{DynamicImage, RgbImage};
use serde::{Deserialize, Serialize};

use crate::decode::{BadImage, decode_oriented, decode_reduced};
use crate::digest::sha256_hex;
use crate::resample::{Interpolation, resize};

/// Most pixels that an image may be made of that is not cropped.
const MOST_RESIZED: u64 = 1 << 28;

/// How images are made ready: resized and cropped if asked for, scaled to 0..1, normalised per
/// channel.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct Preprocess {
    /// The shorter side becomes this long, the longer one in proportion, rounded down; `None` leaves
    /// the size alone.
    pub resize: Option<u32>,
    /// How pixels between others are made.
    pub interpolation: Interpolation,
    /// The middle square with sides of this length is cut out afterwards, amid black where the image
    /// is smaller; `None` cuts nothing.
    pub crop: Option<u32>,
    /// What becomes of the orientation that a camera noted.
    pub exif: Exif,
    /// Whether large JPEGs are decoded to 1/2, 1/4 or 1/8 of their size where that is still no
    /// less than `resize`: faster, and no longer what torchvision makes.
    pub reduced_jpeg: bool,
    /// Subtracted from red, green and blue in 0..1.
    pub mean: [f32; 3],
    /// What the difference is divided by.
    pub std: [f32; 3],
}

/// What becomes of the orientation that a camera noted in a photograph's EXIF data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exif {
    /// Pixels are taken as they are stored.
    #[default]
    Ignore,
    /// The image is turned and mirrored to stand upright.
    Apply,
}

/// The settings in a manifest. Older ones had `resize` alone, which cropped to the same length.
#[derive(Deserialize)]
struct Stored {
    resize: Option<u32>,
    #[serde(default)]
    interpolation: Interpolation,
    #[serde(default, with = "present")]
    crop: Option<Option<u32>>,
    #[serde(default)]
    exif: Exif,
    #[serde(default)]
    reduced_jpeg: bool,
    mean: [f32; 3],
    std: [f32; 3],
}

/// Tells a field that is null from one that is not there.
mod present {
    use serde::{Deserialize, Deserializer};

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(
        deserializer: D,
    ) -> Result<Option<Option<u32>>, D::Error> {
        Option::deserialize(deserializer).map(Some)
    }
}

impl From<Stored> for Preprocess {
    fn from(stored: Stored) -> Self {
        Self {
            resize: stored.resize,
            interpolation: stored.interpolation,
            crop: stored.crop.unwrap_or(stored.resize),
            exif: stored.exif,
            reduced_jpeg: stored.reduced_jpeg,
            mean: stored.mean,
            std: stored.std,
        }
    }
}

/// An image as a backbone takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// (3, height, width) row-major: all of red, then green, then blue.
    pub values: Vec<f32>,
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
}

impl Preprocess {
    /// Names that [`Preprocess::by_name`] knows.
    pub const NAMES: [&str; 3] = ["imagenet", "cifar", "clip"];

    /// As torchvision evaluates classifiers of ImageNet: shorter side 256, the middle 224×224.
    pub const IMAGENET: Self = Self {
        resize: Some(256),
        interpolation: Interpolation::Bilinear,
        crop: Some(224),
        exif: Exif::Ignore,
        reduced_jpeg: false,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    };

    /// Mean and standard deviation of CIFAR-10, the size left alone.
    pub const CIFAR: Self = Self {
        mean: [0.4914, 0.4822, 0.4465],
        std: [0.2023, 0.1994, 0.2010],
        ..Self::IMAGENET.unresized()
    };

    /// As CLIP was trained: shorter side 224, bicubic, the middle 224×224.
    pub const CLIP: Self = Self {
        resize: Some(224),
        interpolation: Interpolation::Bicubic,
        mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
        std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
        ..Self::IMAGENET
    };

    /// The same, with the size left alone.
    pub const fn unresized(mut self) -> Self {
        (self.resize, self.crop) = (None, None);
        self
    }

    /// The preset of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        match name {
            "imagenet" => Some(Self::IMAGENET),
            "cifar" => Some(Self::CIFAR),
            "clip" => Some(Self::CLIP),
            _ => None,
        }
    }

    /// SHA-256 of the settings: equal digests mean equal inputs to the backbone.
    pub fn digest(&self) -> String {
        // The version changes with the arithmetic of `apply`.
        sha256_hex(format!("equipoise preprocess 2; {self}").as_bytes())
    }

    /// Decodes an encoded image and makes it ready.
    ///
    /// # Errors
    /// [`BadImage`] as [`crate::decode`] says, or where it would become too large.
    pub fn apply(&self, encoded: &[u8]) -> Result<Image, BadImage> {
        self.make_ready(self.decode(encoded)?)
    }

    /// The first half of [`Self::apply`]: the pixels, upright if that is asked for.
    ///
    /// # Errors
    /// [`BadImage`] as [`crate::decode`] says.
    pub fn decode(&self, encoded: &[u8]) -> Result<RgbImage, BadImage> {
        let decoded = match self.resize {
            Some(side) if self.reduced_jpeg => decode_reduced(encoded, side)?,
            _ => decode_oriented(encoded)?,
        };
        Ok(match self.exif {
            Exif::Ignore => decoded.pixels,
            Exif::Apply => {
                let mut image = DynamicImage::ImageRgb8(decoded.pixels);
                image.apply_orientation(decoded.orientation);
                image.into_rgb8()
            }
        })
    }

    /// The second half of [`Self::apply`]: pixels resized, cropped and normalised.
    ///
    /// # Errors
    /// [`BadImage`] where the image would become too large.
    pub fn make_ready(&self, pixels: RgbImage) -> Result<Image, BadImage> {
        let window = Window::of(self, (pixels.width() as usize, pixels.height() as usize))?;
        Ok(self.normalised(&window, &window.resized(&pixels, self.interpolation)))
    }

    /// Pixels that have their size, normalised.
    pub(crate) fn normalise(&self, pixels: &RgbImage) -> Image {
        let size = (pixels.width() as usize, pixels.height() as usize);
        let whole = Window {
            size,
            columns: Span::whole(size.0),
            rows: Span::whole(size.1),
        };
        self.normalised(&whole, pixels)
    }

    /// Channels one after the other, black around what the window holds of the image.
    fn normalised(&self, window: &Window, image: &RgbImage) -> Image {
        let (width, height) = (window.columns.length, window.rows.length);
        let mut values = Vec::with_capacity(3 * width * height);
        let inside = image.width() as usize;
        for channel in 0..3 {
            let normal =
                |value: u8| (f32::from(value) / 255.0 - self.mean[channel]) / self.std[channel];
            // Division is slow, and a byte has few values.
            let normal: [f32; 256] = std::array::from_fn(|value| normal(value as u8));
            let black = |count| std::iter::repeat_n(normal[0], count);
            values.extend(black(window.rows.before * width));
            for line in image.as_raw().chunks_exact(3 * inside.max(1)) {
                values.extend(black(window.columns.before));
                let pixels = line.as_chunks::<3>().0;
                values.extend(
                    pixels
                        .iter()
                        .map(|pixel| normal[usize::from(pixel[channel])]),
                );
                values.extend(black(width - window.columns.before - inside));
            }
            values.resize((channel + 1) * width * height, normal[0]);
        }
        Image {
            values,
            height,
            width,
        }
    }
}

impl std::fmt::Display for Preprocess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let side = |side: Option<u32>| side.map_or("none".to_owned(), |side| side.to_string());
        write!(
            f,
            "resize {} {:?}; crop {}; exif {:?}; {} JPEG; mean {:?}; std {:?}",
            side(self.resize),
            self.interpolation,
            side(self.crop),
            self.exif,
            if self.reduced_jpeg {
                "reduced"
            } else {
                "whole"
            },
            self.mean,
            self.std
        )
    }
}

/// Which pixels of the resized image are wanted, and where they lie in the result.
struct Window {
    /// The image's size once it is resized.
    size: (usize, usize),
    columns: Span,
    rows: Span,
}

/// A window along one axis.
#[derive(Debug, PartialEq, Eq)]
struct Span {
    /// The resized image's pixels that are wanted.
    first: usize,
    end: usize,
    /// Black pixels before them.
    before: usize,
    /// Length of the result.
    length: usize,
}

impl Window {
    fn of(settings: &Preprocess, (width, height): (usize, usize)) -> Result<Self, BadImage> {
        let (short, long) = (width.min(height), width.max(height));
        let size = match settings.resize.map(|side| side.max(1) as usize) {
            Some(side) if width <= height => (side, side * long / short),
            Some(side) => (side * long / short, side),
            None => (width, height),
        };
        if settings.crop.is_none() && size.0 as u64 * size.1 as u64 > MOST_RESIZED {
            return Err(BadImage::new(format!(
                "{width}×{height} pixels would become {}×{}",
                size.0, size.1
            )));
        }
        let span = |length: usize| match settings.crop {
            Some(crop) => Span::middle(length, crop.max(1) as usize),
            None => Span::whole(length),
        };
        Ok(Self {
            size,
            columns: span(size.0),
            rows: span(size.1),
        })
    }

    fn resized(&self, image: &RgbImage, interpolation: Interpolation) -> RgbImage {
        let columns = self.columns.first..self.columns.end;
        let rows = self.rows.first..self.rows.end;
        resize(image, self.size, (columns, rows), interpolation)
    }
}

impl Span {
    fn whole(length: usize) -> Self {
        Self {
            first: 0,
            end: length,
            before: 0,
            length,
        }
    }

    /// The middle `crop` of `length` pixels, as torchvision's `CenterCrop`.
    fn middle(length: usize, crop: usize) -> Self {
        if crop >= length {
            return Self {
                first: 0,
                end: length,
                before: (crop - length) / 2,
                length: crop,
            };
        }
        // Half-way goes to the even neighbour, as Python's `round`.
        let (half, odd) = ((length - crop) / 2, (length - crop) % 2);
        let first = half + (odd & half & 1);
        Self {
            first,
            end: first + crop,
            before: 0,
            length: crop,
        }
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn spans_are_torchvisions() {
        for (length, crop, first, before) in [
            (256, 224, 16, 0),
            (227, 224, 2, 0),
            (225, 224, 0, 0),
            (223, 224, 0, 0),
            (10, 15, 0, 2),
        ] {
            let span = Span::middle(length, crop);
            assert_eq!(
                (span.first, span.before, span.length),
                (first, before, crop)
            );
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
}
