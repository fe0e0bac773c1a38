//! Which pixels of an image are resized, and which of those stay: torchvision's `Resize` and `CenterCrop`.

use image::RgbImage;

use super::Preprocess;
use crate::decode::BadImage;
use crate::resample::{Interpolation, resize};

/// Most pixels that an image may be made of that is not cropped.
const MOST_RESIZED: u64 = 1 << 28;

/// Which pixels of the resized image are wanted, and where they lie in the result.
pub(super) struct Window {
    /// The image's size once it is resized.
    pub(super) size: (usize, usize),
    pub(super) columns: Span,
    pub(super) rows: Span,
}

/// A window along one axis.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// The resized image's pixels that are wanted.
    first: usize,
    end: usize,
    /// Black pixels before them.
    pub(super) before: usize,
    /// Length of the result.
    pub(super) length: usize,
}

impl Window {
    pub(super) fn of(
        settings: &Preprocess,
        (width, height): (usize, usize),
    ) -> Result<Self, BadImage> {
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

    pub(super) fn resized(&self, image: &RgbImage, interpolation: Interpolation) -> RgbImage {
        let columns = self.columns.first..self.columns.end;
        let rows = self.rows.first..self.rows.end;
        resize(image, self.size, (columns, rows), interpolation)
    }
}

impl Span {
    pub(super) fn whole(length: usize) -> Self {
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
    use super::*;

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
}
