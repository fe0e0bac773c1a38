//! Encoded images to pixels.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};

/// Most pixels that an image may have, told by its header before anything is decoded: a photograph
/// of 13,377 × 13,377, or half a gigabyte of decoded pixels; where Pillow refuses too.
pub(crate) const MOST_PIXELS: u64 = 178_956_970;

/// The longest side that an image may have: the longest that a JPEG can have.
const LONGEST_SIDE: u32 = 65_535;

/// Most bytes that a decoder may take beside the pixels.
const DECODER_BYTES: u64 = 1 << 30;

/// Why an image could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct BadImage {
    /// In one line.
    pub reason: String,
}

impl BadImage {
    pub(crate) fn new(reason: impl ToString) -> Self {
        Self {
            reason: reason.to_string().replace(['\n', '\r'], " "),
        }
    }
}

/// An image, and how it is to be turned to stand upright.
pub(crate) struct Decoded {
    pub(crate) pixels: RgbImage,
    pub(crate) orientation: Orientation,
}

/// Decodes a JPEG, PNG or WebP, whatever its file name says, to 8-bit RGB: grey is repeated,
/// alpha dropped, 16 bits divided by 257. EXIF orientation is not applied.
///
/// # Errors
/// [`BadImage`] where the bytes are no such image, damaged, truncated, without a pixel or of more
/// than 178,956,970 pixels, as Pillow.
pub fn decode(encoded: &[u8]) -> Result<RgbImage, BadImage> {
    decode_oriented(encoded).map(|decoded| decoded.pixels)
}

/// As [`decode`], with the EXIF orientation.
pub(crate) fn decode_oriented(encoded: &[u8]) -> Result<Decoded, BadImage> {
    check_format(encoded)?;
    let mut reader = ImageReader::new(Cursor::new(encoded))
        .with_guessed_format()
        .map_err(BadImage::new)?;
    let mut limits = image::Limits::no_limits();
    limits.max_alloc = Some(6 * MOST_PIXELS + DECODER_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(BadImage::new)?;
    check_size(decoder.dimensions())?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder).map_err(BadImage::new)?;
    Ok(Decoded {
        pixels: to_rgb8(image),
        orientation,
    })
}

/// As [`decode_oriented`], but a JPEG whose shorter side is at least twice `side` is decoded to 1/2,
/// 1/4 or 1/8 of its size, so that the shorter side is still at least `side`: faster, and a little
/// different from a whole image that is resized.
pub(crate) fn decode_reduced(encoded: &[u8], side: u32) -> Result<Decoded, BadImage> {
    if check_format(encoded)? != ImageFormat::Jpeg {
        return decode_oriented(encoded);
    }
    let mut decoder = jpeg_decoder::Decoder::new(encoded);
    // What this decoder can't read, the other one judges.
    let Some(info) = decoder.read_info().ok().and_then(|()| decoder.info()) else {
        return decode_oriented(encoded);
    };
    check_size((u32::from(info.width), u32::from(info.height)))?;
    let short = u32::from(info.width.min(info.height));
    let reduction = [8, 4, 2].into_iter().find(|by| short / by >= side.max(1));
    let (Some(by), true) = (reduction, is_plain(info.pixel_format)) else {
        return decode_oriented(encoded);
    };
    let orientation = orientation(encoded);
    let scaled = decoder.scale(
        info.width.div_ceil(by as u16),
        info.height.div_ceil(by as u16),
    );
    let (Ok((width, height)), Ok(values)) = (scaled, decoder.decode()) else {
        return decode_oriented(encoded);
    };
    let values = match info.pixel_format {
        jpeg_decoder::PixelFormat::L8 => values.into_iter().flat_map(|grey| [grey; 3]).collect(),
        _ => values,
    };
    match RgbImage::from_raw(width.into(), height.into(), values) {
        Some(pixels) => Ok(Decoded {
            pixels,
            orientation,
        }),
        None => decode_oriented(encoded),
    }
}

/// Whether the reduced decoder's pixels need no conversion of colours.
fn is_plain(format: jpeg_decoder::PixelFormat) -> bool {
    use jpeg_decoder::PixelFormat::{L8, RGB24};
    matches!(format, L8 | RGB24)
}

/// The EXIF orientation of an image whose pixels are decoded elsewhere.
fn orientation(encoded: &[u8]) -> Orientation {
    let reader = ImageReader::new(Cursor::new(encoded)).with_guessed_format();
    let decoder = reader.ok().and_then(|reader| reader.into_decoder().ok());
    let orientation = decoder.and_then(|mut decoder| decoder.orientation().ok());
    orientation.unwrap_or(Orientation::NoTransforms)
}

/// Whether the bytes are of a kind that is read, and whole.
fn check_format(encoded: &[u8]) -> Result<ImageFormat, BadImage> {
    if encoded.is_empty() {
        return Err(BadImage::new("the file is empty"));
    }
    match image::guess_format(encoded) {
        Ok(ImageFormat::Jpeg) if jpeg_is_truncated(encoded) => {
            Err(BadImage::new("truncated JPEG: it has no end marker"))
        }
        Ok(format @ (ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP)) => Ok(format),
        Ok(other) => Err(BadImage::new(format!(
            "it is {}; JPEG, PNG and WebP are read",
            other.to_mime_type()
        ))),
        Err(_) => Err(BadImage::new(match is_text(encoded) {
            true => "it is text, no image",
            false => "no image of a known kind",
        })),
    }
}

/// Whether the beginning has no control character but those of text.
fn is_text(bytes: &[u8]) -> bool {
    let control = |byte: &u8| *byte < 32 && !b"\t\n\r\x0c".contains(byte);
    !bytes.iter().take(64).any(control)
}

fn check_size((width, height): (u32, u32)) -> Result<(), BadImage> {
    if width == 0 || height == 0 {
        return Err(BadImage::new("the image has no pixel"));
    }
    if width.max(height) > LONGEST_SIDE {
        return Err(BadImage::new(format!(
            "{width}×{height} pixels, a side longer than {LONGEST_SIDE}"
        )));
    }
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(BadImage::new(format!(
            "{width}×{height} pixels, more than {MOST_PIXELS}"
        )));
    }
    Ok(())
}

fn to_rgb8(image: DynamicImage) -> RgbImage {
    // The library rounds to the nearest, which makes 255 of 65,407 and more.
    let eighth = |value: u16| (value / 257) as u8;
    match image {
        DynamicImage::ImageRgb8(image) => image,
        DynamicImage::ImageLuma16(_)
        | DynamicImage::ImageLumaA16(_)
        | DynamicImage::ImageRgb16(_)
        | DynamicImage::ImageRgba16(_) => {
            let deep = image.into_rgb16();
            let (width, height) = deep.dimensions();
            let values = deep.into_raw().into_iter().map(eighth).collect();
            RgbImage::from_raw(width, height, values).unwrap_or_default()
        }
        other => other.into_rgb8(),
    }
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

    /// A PNG of one pixel whose header says otherwise.
    fn png_of(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = png(&RgbImage::new(1, 1).into());
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let sum = bytes[12..29].iter().fold(!0u32, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| match sum & 1 {
                1 => (sum >> 1) ^ 0xEDB8_8320,
                _ => sum >> 1,
            })
        });
        bytes[29..33].copy_from_slice(&(!sum).to_be_bytes());
        bytes
    }

    #[test]
    fn giants_are_refused_by_their_headers() {
        assert!(decode(&png_of(1, 1)).is_ok());
        for (width, height) in [
            (13_378, 13_378),
            (1 << 30, 1),
            (1, i32::MAX as u32),
            (1 << 30, 1 << 30),
        ] {
            let bad = decode(&png_of(width, height)).unwrap_err();
            assert!(!bad.reason.is_empty(), "{width} {height}");
        }
        let bad = decode(&png_of(30_000, 30_000)).unwrap_err();
        assert!(bad.reason.contains("30000×30000"), "{bad}");
        let bad = decode(&png_of(70_000, 1)).unwrap_err();
        assert!(bad.reason.contains("a side longer"), "{bad}");
        // A JPEG's frame header: 65,535 × 65,535.
        let mut bytes = jpeg();
        let frame = bytes
            .windows(2)
            .position(|pair| pair == [0xFF, 0xC0])
            .unwrap();
        bytes[frame + 5..frame + 9].fill(0xFF);
        let bad = decode(&bytes).unwrap_err();
        assert!(bad.reason.contains("65535×65535"), "{bad}");
    }

    #[test]
    fn what_is_no_image_is_named() {
        for (bytes, word) in [
            (&b"<!DOCTYPE html><html><body>404</body></html>"[..], "text"),
            (b"GIF89a\x01\x00\x01\x00\x00\x00\x00", "image/gif"),
            (b"\x00\x01\x02\x03\x04\x05\x06\x07\x08", "no image"),
            (b"", "empty"),
        ] {
            let bad = decode(bytes).unwrap_err();
            assert!(bad.reason.contains(word), "{bad}");
        }
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
