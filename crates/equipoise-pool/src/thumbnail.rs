//! Small pictures for reports.

use std::borrow::Cow;

use image::codecs::jpeg::JpegEncoder;
use image::imageops;

use crate::decode::{BadImage, decode};

/// Bytes up to which an image is taken as it is.
const SMALL: usize = 4096;

/// How good the JPEG is, of 100.
const QUALITY: u8 = 82;

/// An encoded image with no side longer than `side` pixels: the same bytes where they are few, else a
/// JPEG.
///
/// # Errors
/// [`BadImage`] as [`crate::decode()`] says.
pub fn thumbnail(encoded: &[u8], side: u32) -> Result<Cow<'_, [u8]>, BadImage> {
    let pixels = decode(encoded)?;
    let (width, height) = pixels.dimensions();
    if encoded.len() <= SMALL && width.max(height) <= side {
        return Ok(encoded.into());
    }
    let scale = f64::from(side) / f64::from(width.max(height));
    let shorter = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    let small = match scale < 1.0 {
        true => imageops::thumbnail(&pixels, shorter(width), shorter(height)),
        false => pixels,
    };
    let mut bytes = Vec::new();
    let encoder = &mut JpegEncoder::new_with_quality(&mut bytes, QUALITY);
    encoder.encode_image(&small).map_err(BadImage::new)?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{ImageFormat, Rgb, RgbImage};

    use super::*;

    #[test]
    fn large_images_become_small_and_small_ones_stay() {
        let png = |width, height| {
            let image =
                RgbImage::from_fn(width, height, |x, y| Rgb([(x * 7) as u8, (y * 5) as u8, 9]));
            let mut bytes = Cursor::new(Vec::new());
            image.write_to(&mut bytes, ImageFormat::Png).unwrap();
            bytes.into_inner()
        };
        let small = png(20, 10);
        assert!(matches!(thumbnail(&small, 64).unwrap(), Cow::Borrowed(_)));
        let large = png(900, 3);
        let made = thumbnail(&large, 64).unwrap();
        assert_eq!(decode(&made).unwrap().dimensions(), (64, 1));
        assert!(thumbnail(b"none", 64).is_err());
    }
}
