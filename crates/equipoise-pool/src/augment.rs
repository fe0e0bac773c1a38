//! Images changed at random, for networks that learn.

use equipoise_core::random::Philox;
use image::{RgbImage, imageops};

use crate::decode::BadImage;
use crate::resample::resize;
use crate::{Image, Preprocess};

/// Pixels of black around an image that keeps its size, before a window of that size is cut out.
const PADDING: u32 = 4;

/// Tries of a random window, before the middle is taken.
const TRIES: u64 = 10;

/// Share of the image that a random window has, at least.
const LEAST_AREA: f64 = 0.08;

/// The usual changes: images that are cropped are made of a random window of 8% to all of the image, of
/// sides 3:4 to 4:3, resized to the crop; others are moved by up to four pixels amid black. Either
/// is mirrored every other time. As torchvision's `RandomResizedCrop`, `RandomCrop` and
/// `RandomHorizontalFlip`, with random numbers of our own.
#[derive(Debug, Clone, Copy)]
pub struct Augmentation<'a> {
    /// How images are made ready.
    pub preprocess: &'a Preprocess,
    /// A stream of random numbers; a row's depend on nothing but the row.
    pub random: Philox,
}

impl Augmentation<'_> {
    /// The encoded image of `row`, changed and made ready.
    ///
    /// # Errors
    /// [`BadImage`] as [`Preprocess::apply`] says.
    pub fn apply(&self, encoded: &[u8], row: usize) -> Result<Image, BadImage> {
        let pixels = self.preprocess.decode(encoded)?;
        let mut changed = match self.preprocess.crop {
            Some(side) => self.window(&pixels, side, row),
            None => {
                let [down, right, ..] = self.words(row, TRIES);
                let offset = |word| word % (2 * PADDING + 1);
                moved(&pixels, offset(right), offset(down))
            }
        };
        let [coin, ..] = self.words(row, TRIES + 1);
        if coin & 1 == 1 {
            imageops::flip_horizontal_in_place(&mut changed);
        }
        Ok(self.preprocess.normalise(&changed))
    }

    fn words(&self, row: usize, number: u64) -> [u32; 4] {
        self.random.words(row as u64 * (TRIES + 2) + number)
    }

    /// A random window, resized to a square.
    fn window(&self, pixels: &RgbImage, side: u32, row: usize) -> RgbImage {
        let (width, height) = pixels.dimensions();
        let unit = |word: u32| f64::from(word) / (f64::from(u32::MAX) + 1.0);
        let found = (0..TRIES).find_map(|number| {
            let [area, ratio, left, top] = self.words(row, number).map(unit);
            let area =
                f64::from(width) * f64::from(height) * (LEAST_AREA + (1.0 - LEAST_AREA) * area);
            // Even in the logarithm, as torchvision draws it.
            let widest = (4.0f64 / 3.0).ln();
            let ratio = (widest * (2.0 * ratio - 1.0)).exp();
            let wide = (area * ratio).sqrt().round() as u32;
            let high = (area / ratio).sqrt().round() as u32;
            let fits = (1..=width).contains(&wide) && (1..=height).contains(&high);
            let place = |unit: f64, room: u32| (unit * (f64::from(room) + 1.0)) as u32;
            fits.then(|| {
                (
                    place(left, width - wide),
                    place(top, height - high),
                    wide,
                    high,
                )
            })
        });
        let (left, top, wide, high) = found.unwrap_or_else(|| {
            let short = width.min(height);
            ((width - short) / 2, (height - short) / 2, short, short)
        });
        let window = imageops::crop_imm(pixels, left, top, wide, high).to_image();
        let side = side.max(1) as usize;
        resize(
            &window,
            (side, side),
            (0..side, 0..side),
            self.preprocess.interpolation,
        )
    }
}

/// A window as large as the image, cut from the image amid black.
fn moved(pixels: &RgbImage, right: u32, down: u32) -> RgbImage {
    let (width, height) = pixels.dimensions();
    RgbImage::from_fn(width, height, |x, y| {
        let from = |place: u32, by: u32| (place + by).checked_sub(PADDING);
        match (from(x, right), from(y, down)) {
            (Some(x), Some(y)) if x < width && y < height => *pixels.get_pixel(x, y),
            _ => image::Rgb([0; 3]),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::io::Cursor;

    use equipoise_core::random::Purpose;
    use image::{ImageFormat, Rgb};

    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let image = RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, 200]));
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn plain(crop: Option<u32>) -> Preprocess {
        Preprocess {
            crop,
            mean: [0.0; 3],
            std: [1.0 / 255.0; 3],
            ..Preprocess::CIFAR
        }
    }

    #[test]
    fn small_images_are_moved_amid_black_and_mirrored() {
        let (preprocess, bytes) = (plain(None), png(9, 7));
        let random = Philox::new(1, Purpose::Augmentation, 0, 0);
        let augmentation = Augmentation {
            preprocess: &preprocess,
            random,
        };
        let mut seen = HashSet::new();
        for row in 0..400 {
            let image = augmentation.apply(&bytes, row).unwrap();
            assert_eq!((image.width, image.height), (9, 7));
            // Blue is black or not at all; where it is not, the rest tells from where it came.
            let plane = 9 * 7;
            let lit: Vec<usize> = (0..plane)
                .filter(|at| image.values[2 * plane + at] > 1.0)
                .collect();
            assert!(lit.len() >= 5 * 3, "{row}");
            let at = lit[0];
            let (x, y) = (
                image.values[at].round() as i32,
                image.values[plane + at].round() as i32,
            );
            let mirrored = image.values[at] > image.values[at + 1];
            seen.insert((x, y, at, mirrored));
            assert_eq!(augmentation.apply(&bytes, row).unwrap(), image);
        }
        // 9 × 9 places, two ways round.
        assert!(seen.len() > 140, "{}", seen.len());
    }

    #[test]
    fn large_images_are_windows_of_the_whole() {
        let (preprocess, bytes) = (plain(Some(16)), png(120, 80));
        let random = Philox::new(1, Purpose::Augmentation, 0, 0);
        let augmentation = Augmentation {
            preprocess: &preprocess,
            random,
        };
        let (mut mirrored, mut areas) = (0, Vec::new());
        for row in 0..300 {
            let image = augmentation.apply(&bytes, row).unwrap();
            assert_eq!((image.width, image.height), (16, 16));
            let (left, right) = (image.values[0], image.values[15]);
            mirrored += usize::from(left > right);
            let wide = (right - left).abs() / 15.0 * 16.0;
            let high = (image.values[256 + 15 * 16] - image.values[256]) / 15.0 * 16.0;
            areas.push(wide * high / (120.0 * 80.0));
        }
        assert!((100..200).contains(&mirrored), "{mirrored}");
        let least = areas.iter().copied().fold(f32::INFINITY, f32::min);
        let most = areas.iter().copied().fold(0.0, f32::max);
        assert!(
            least > 0.05 && least < 0.2 && most > 0.7 && most < 1.1,
            "{least} {most}"
        );
        // A strip has no such window: its middle is taken.
        let strip = augmentation.apply(&png(200, 1), 0).unwrap();
        assert_eq!((strip.width, strip.height), (16, 16));
    }
}
