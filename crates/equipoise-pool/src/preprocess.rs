//! Pixels to what a backbone expects.

use image::RgbImage;
use image::imageops::{self, FilterType};
use serde::{Deserialize, Serialize};

use crate::decode::{BadImage, decode};
use crate::digest::sha256_hex;

/// How images are made ready: resized if asked for, scaled to 0..1, normalised per channel.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Preprocess {
    /// The shorter side becomes this long (bilinear, antialiased), then the middle square is cut
    /// out; `None` leaves the size alone.
    pub resize: Option<u32>,
    /// Subtracted from red, green and blue in 0..1.
    pub mean: [f32; 3],
    /// What the difference is divided by.
    pub std: [f32; 3],
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
    pub const NAMES: [&str; 2] = ["imagenet", "cifar"];

    /// Mean and standard deviation of ImageNet, no resize.
    pub const IMAGENET: Self = Self {
        resize: None,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    };

    /// Mean and standard deviation of CIFAR-10, no resize.
    pub const CIFAR: Self = Self {
        resize: None,
        mean: [0.4914, 0.4822, 0.4465],
        std: [0.2023, 0.1994, 0.2010],
    };

    /// The preset of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        match name {
            "imagenet" => Some(Self::IMAGENET),
            "cifar" => Some(Self::CIFAR),
            _ => None,
        }
    }

    /// SHA-256 of the settings: equal digests mean equal inputs to the backbone.
    pub fn digest(&self) -> String {
        // The version changes with the arithmetic of `apply`.
        let text = format!(
            "equipoise preprocess 1; resize {:?}; mean {:?}; std {:?}",
            self.resize, self.mean, self.std
        );
        sha256_hex(text.as_bytes())
    }

    /// Decodes an encoded image and makes it ready.
    ///
    /// # Errors
    /// [`BadImage`] as [`decode`] says.
    pub fn apply(&self, encoded: &[u8]) -> Result<Image, BadImage> {
        let image = decode(encoded)?;
        Ok(match self.resize {
            Some(side) => self.normalise(&square(&image, side.max(1))),
            None => self.normalise(&image),
        })
    }

    fn normalise(&self, image: &RgbImage) -> Image {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let mut values = Vec::with_capacity(3 * width * height);
        for channel in 0..3 {
            let (mean, std) = (self.mean[channel], self.std[channel]);
            let pixels = image.as_raw()[channel..].iter().step_by(3);
            values.extend(pixels.map(|value| (f32::from(*value) / 255.0 - mean) / std));
        }
        Image {
            values,
            height,
            width,
        }
    }
}

/// Longer images are cut to this ratio of sides before they are resized.
const MAX_ASPECT: u32 = 16;

/// The middle `side`×`side` pixels of the image scaled so that its shorter side is `side`, as
/// torchvision's `Resize(side)` and `CenterCrop(side)`.
fn square(image: &RgbImage, side: u32) -> RgbImage {
    let (width, height) = image.dimensions();
    let (short, long) = (width.min(height), width.max(height));
    if long / short > MAX_ASPECT {
        // A strip of a few pixels' width would grow beyond memory; only its middle stays anyway.
        let kept = short * MAX_ASPECT;
        let (left, top) = (
            (width - width.min(kept)) / 2,
            (height - height.min(kept)) / 2,
        );
        let strip = imageops::crop_imm(image, left, top, width.min(kept), height.min(kept));
        return square(&strip.to_image(), side);
    }
    let scaled = |long: u32, short: u32| {
        let long = u64::from(side) * u64::from(long) / u64::from(short);
        u32::try_from(long).unwrap_or(u32::MAX)
    };
    let (new_width, new_height) = match width <= height {
        true => (side, scaled(height, width)),
        false => (scaled(width, height), side),
    };
    let mut resized = match (new_width, new_height) == (width, height) {
        true => image.clone(),
        false => imageops::resize(image, new_width, new_height, FilterType::Triangle),
    };
    let middle = |length: u32| {
        // Half-way goes to the even neighbour, as Python's `round`.
        let (half, odd) = ((length - side) / 2, (length - side) % 2);
        half + (odd & half & 1)
    };
    let (left, top) = (middle(new_width), middle(new_height));
    imageops::crop(&mut resized, left, top, side, side).to_image()
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
            resize: None,
            mean: [0.5, 0.25, 0.0],
            std: [0.5, 0.75, 1.0],
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
                ..Preprocess::IMAGENET
            };
            let image = preprocess.apply(&png(&image)).unwrap();
            assert_eq!((image.height, image.width), (7, 7), "{width}×{height}");
            let grey = (90.0 / 255.0 - 0.485) / 0.229;
            assert!(image.values[..49].iter().all(|value| *value == grey));
        }
    }

    #[test]
    fn the_middle_is_what_stays() {
        let image = RgbImage::from_fn(
            30,
            10,
            |x, _| Rgb([10 * u8::from((10..20).contains(&x)); 3]),
        );
        assert!(square(&image, 10).as_raw().iter().all(|value| *value == 10));
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
                resize: Some(33),
                ..Preprocess::CIFAR
            },
        ]
        .iter()
        .map(Preprocess::digest)
        .collect();
        assert_eq!(digests.len(), 4);
    }
}
