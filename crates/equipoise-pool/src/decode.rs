//! Encoded images to pixels.

use std::io::Cursor;

use image::{DynamicImage, ImageReader, RgbImage};

/// Why an image could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct BadImage {
    /// In one line.
    pub reason: String,
}

impl BadImage {
    fn new(reason: impl ToString) -> Self {
        Self {
            reason: reason.to_string().replace(['\n', '\r'], " "),
        }
    }
}

/// Decodes a JPEG, PNG or WebP, whatever its file name says, to 8-bit RGB: grey is repeated,
/// alpha dropped, 16 bits scaled to 8. EXIF orientation is not applied.
///
/// # Errors
/// [`BadImage`] where the bytes are no such image, damaged, truncated or without a pixel.
pub fn decode(encoded: &[u8]) -> Result<RgbImage, BadImage> {
    if encoded.is_empty() {
        return Err(BadImage::new("the file is empty"));
    }
    let reader = ImageReader::new(Cursor::new(encoded))
        .with_guessed_format()
        .map_err(BadImage::new)?;
    if reader.format() == Some(image::ImageFormat::Jpeg) && jpeg_is_truncated(encoded) {
        return Err(BadImage::new("truncated JPEG: it has no end marker"));
    }
    let image = reader.decode().map_err(BadImage::new)?;
    if image.width() == 0 || image.height() == 0 {
        return Err(BadImage::new("the image has no pixel"));
    }
    Ok(match image {
        DynamicImage::ImageRgb8(image) => image,
        other => other.to_rgb8(),
    })
}

/// Whether no end marker follows the first scan. The decoder fills what is missing with grey; a
/// pool is better off without such images. Scans hold no marker by chance (0xFF is followed by 0
/// there), thumbnails come before them.
fn jpeg_is_truncated(encoded: &[u8]) -> bool {
    let mut at = 2;
    loop {
        let (Some(0xFF), Some(marker)) = (encoded.get(at), encoded.get(at + 1)) else {
            // Not a segment: for the decoder to judge.
            return encoded.len() < at + 2;
        };
        match marker {
            // Fill bytes and markers that stand alone.
            0xFF => at += 1,
            0x01 | 0xD0..=0xD8 => at += 2,
            0xD9 => return false,
            0xDA => return !encoded[at..].windows(2).any(|pair| pair == [0xFF, 0xD9]),
            _ => {
                let length = encoded.get(at + 2..at + 4);
                let Some(&[high, low]) = length else {
                    return true;
                };
                at += 2 + usize::from(u16::from_be_bytes([high, low]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use image::codecs::jpeg::JpegEncoder;
    use image::{ExtendedColorType, ImageFormat};
    use proptest::prelude::*;

    use super::*;

    fn jpeg() -> Vec<u8> {
        let pixels: Vec<u8> = (0..32 * 24 * 3).map(|i| (i * 7 % 251) as u8).collect();
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, 95)
            .encode(&pixels, 32, 24, ExtendedColorType::Rgb8)
            .unwrap();
        bytes
    }

    fn png(image: &DynamicImage) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn a_jpeg_cut_anywhere_is_bad() {
        let whole = jpeg();
        assert_eq!(decode(&whole).unwrap().dimensions(), (32, 24));
        for length in 0..whole.len() {
            assert!(
                decode(&whole[..length]).is_err(),
                "{length} of {}",
                whole.len()
            );
        }
        let mut trailing = whole;
        trailing.extend_from_slice(b"camera data");
        assert!(decode(&trailing).is_ok());
    }

    #[test]
    fn a_png_cut_is_bad() {
        let whole = png(&DynamicImage::ImageRgb8(decode(&jpeg()).unwrap()));
        for length in 0..whole.len() - 12 {
            assert!(
                decode(&whole[..length]).is_err(),
                "{length} of {}",
                whole.len()
            );
        }
    }

    #[test]
    fn grey_is_repeated_alpha_dropped_and_16_bits_scaled() {
        let grey = image::GrayImage::from_fn(2, 1, |x, _| image::Luma([10 + x as u8]));
        let rgb = decode(&png(&grey.into())).unwrap();
        assert_eq!(rgb.as_raw(), &[10, 10, 10, 11, 11, 11]);
        let rgba = image::RgbaImage::from_pixel(1, 1, image::Rgba([1, 2, 3, 0]));
        assert_eq!(decode(&png(&rgba.into())).unwrap().as_raw(), &[1, 2, 3]);
        let deep = image::ImageBuffer::from_pixel(1, 1, image::Luma([257u16 * 77]));
        let rgb = decode(&png(&DynamicImage::ImageLuma16(deep))).unwrap();
        assert_eq!(rgb.as_raw(), &[77, 77, 77]);
    }

    proptest! {
        #[test]
        fn bytes_that_are_no_image_are_bad(mut bytes in proptest::collection::vec(any::<u8>(), 0..64), jpeg in any::<bool>()) {
            if jpeg {
                bytes.splice(0..0, [0xFF, 0xD8, 0xFF]);
            }
            let bad = decode(&bytes).unwrap_err();
            prop_assert!(!bad.reason.is_empty() && !bad.reason.contains('\n'));
        }
    }
}
