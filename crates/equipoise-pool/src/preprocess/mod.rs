//! Pixels to what a backbone expects, as torchvision's transforms do it on Pillow.

#[cfg(test)]
mod tests;
mod window;

use image::{DynamicImage, RgbImage};
use serde::{Deserialize, Serialize};

use crate::decode::{BadImage, decode_oriented, decode_reduced};
use crate::digest::sha256_hex;
use crate::resample::Interpolation;

use self::window::{Span, Window};

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
