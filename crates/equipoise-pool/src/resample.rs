//! Resizing as Pillow does it, to the bit: `Image.resize` of 8-bit images with its antialiased
//! bilinear and bicubic filters.
//!
//! An output pixel is a weighted mean of the input pixels within the filter's reach, which grows
//! with the reduction. Weights are float64, then fixed point of [`PRECISION`] bits; the passes along
//! rows and down columns round to 8 bits each, so that their order tells. Only the window of the output that is asked for is
//! computed, which changes none of its pixels.

use std::ops::Range;

use image::RgbImage;
use multiversion::multiversion;
use serde::{Deserialize, Serialize};

/// Colour channels.
const COLOURS: usize = 3;

/// Bits after the point of a weight: 8 are the pixel's, 2 are kept for sums beyond white.
const PRECISION: u32 = 32 - 8 - 2;

/// How pixels between others are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// A triangle of reach 1.
    #[default]
    Bilinear,
    /// Keys' cubic with a = −1/2, of reach 2.
    Bicubic,
}

impl Interpolation {
    fn reach(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let x = x.abs();
        match self {
            Self::Bilinear if x < 1.0 => 1.0 - x,
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            _ => 0.0,
        }
    }
}

/// What one output pixel is made of along one axis.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// The pixels `columns` × `rows` of `image` resized to `width` × `height`.
///
/// No side of the image is 0, and the window lies within the size.
pub(crate) fn resize(
    image: &RgbImage,
    (width, height): (usize, usize),
    (columns, rows): (Range<usize>, Range<usize>),
    interpolation: Interpolation,
) -> RgbImage {
    let (had_width, had_height) = (image.width() as usize, image.height() as usize);
    if (had_width, had_height) == (width, height) {
        let (left, top) = (columns.start as u32, rows.start as u32);
        let window = (columns.len() as u32, rows.len() as u32);
        return image::imageops::crop_imm(image, left, top, window.0, window.1).to_image();
    }
    let rows_first = is_rows_first((had_width, had_height), (width, height));
    let across = taps(had_width, width, columns, interpolation);
    let below = taps(had_height, height, rows, interpolation);
    let (needed_columns, needed_rows) = (needed(&across), needed(&below));
    let source = Plane {
        values: image.as_raw(),
        width: had_width,
    };
    let values = if rows_first {
        let narrow = source.down(&below, &needed_columns);
        let width = needed_columns.len();
        let narrow = Plane {
            values: &narrow,
            width,
        };
        narrow.along(&across, needed_columns.start, 0..below.len())
    } else {
        let low = source.along(&across, 0, needed_rows.clone());
        let width = across.len();
        let low = Plane {
            values: &low,
            width,
        };
        low.down(&shifted(below, needed_rows.start), &(0..width))
    };
    let (width, height) = (
        across.len() as u32,
        (values.len() / COLOURS / across.len().max(1)) as u32,
    );
    RgbImage::from_raw(width, height, values).unwrap_or_default()
}

/// Whether Pillow (13; those before never did) makes the pass over rows first: where that takes
/// away more than twice as many rows as the other takes away columns.
fn is_rows_first((width, height): (usize, usize), (new_width, new_height): (usize, usize)) -> bool {
    let fewer = |had: usize, has: usize| had as i64 - has as i64;
    let rows = fewer(height, new_height);
    rows > 0 && rows > 2 * fewer(width, new_width)
}

/// The input pixels that some output pixel is made of.
fn needed(taps: &[Taps]) -> Range<usize> {
    let first = taps.iter().map(|taps| taps.first).min().unwrap_or(0);
    let end = taps.iter().map(|taps| taps.first + taps.weights.len());
    first..end.max().unwrap_or(first)
}

/// Taps of an input that begins at pixel `start`.
fn shifted(mut taps: Vec<Taps>, start: usize) -> Vec<Taps> {
    for taps in &mut taps {
        taps.first -= start;
    }
    taps
}

/// Pixels row by row.
struct Plane<'a> {
    values: &'a [u8],
    width: usize,
}

impl Plane<'_> {
    /// Of each of `rows`, the pixels that `taps` make; the plane's first column is column `start`.
    fn along(&self, taps: &[Taps], start: usize, rows: Range<usize>) -> Vec<u8> {
        let stride = self.width * COLOURS;
        let lines = &self.values[rows.start * stride..rows.end * stride];
        let mut made = vec![0; rows.len() * taps.len() * COLOURS];
        let outputs = made.chunks_exact_mut((taps.len() * COLOURS).max(1));
        let mut wide = vec![[0; 4]; self.width];
        for (line, made) in lines.chunks_exact(stride).zip(outputs) {
            along(line, &mut wide, taps, start, made);
        }
        made
    }

    /// Of each of `columns`, the pixels that `taps` make, row by row.
    fn down(&self, taps: &[Taps], columns: &Range<usize>) -> Vec<u8> {
        let (stride, length) = (self.width * COLOURS, columns.len() * COLOURS);
        let mut made = vec![0; taps.len() * length];
        let mut sums = vec![0; length];
        for (taps, made) in taps.iter().zip(made.chunks_exact_mut(length.max(1))) {
            let lines = &self.values[taps.first * stride + columns.start * COLOURS..];
            down(lines, stride, &taps.weights, &mut sums, made);
        }
        made
    }
}

/// What the output pixels `wanted` of `outputs` are made of, of `inputs` pixels.
fn taps(
    inputs: usize,
    outputs: usize,
    wanted: Range<usize>,
    interpolation: Interpolation,
) -> Vec<Taps> {
    if inputs == outputs {
        let weights = || vec![1 << PRECISION];
        let same = wanted.map(|first| Taps {
            first,
            weights: weights(),
        });
        return same.collect();
    }
    let scale = inputs as f64 / outputs as f64;
    let stretch = scale.max(1.0);
    let reach = interpolation.reach() * stretch;
    wanted
        .map(|output| {
            let centre = (output as f64 + 0.5) * scale;
            // A cast cuts towards 0, and below it to 0.
            let first = (centre - reach + 0.5) as usize;
            let end = ((centre + reach + 0.5) as usize).min(inputs);
            let weight = |input: usize| {
                let away = (input as f64 - centre + 0.5) * (1.0 / stretch);
                interpolation.weight(away)
            };
            let weights: Vec<f64> = (first..end).map(weight).collect();
            let sum: f64 = weights.iter().sum();
            let fixed = |weight: &f64| {
                let share = if sum == 0.0 { *weight } else { weight / sum };
                let scaled = share * f64::from(1u32 << PRECISION);
                (scaled + 0.5f64.copysign(scaled)) as i32
            };
            Taps {
                first,
                weights: weights.iter().map(fixed).collect(),
            }
        })
        .collect()
}

/// One line of pixels from one line, whose first pixel is pixel `start`. The line is copied to `wide`
/// first, where a pixel has four values: so many numbers are multiplied at once.
#[multiversion(targets("x86_64+avx2", "x86_64+sse4.1"))]
fn along(line: &[u8], wide: &mut [[u8; 4]], taps: &[Taps], start: usize, made: &mut [u8]) {
    for (wide, [r, g, b]) in wide.iter_mut().zip(line.as_chunks::<COLOURS>().0) {
        *wide = [*r, *g, *b, 0];
    }
    for (taps, made) in taps.iter().zip(made.as_chunks_mut::<COLOURS>().0) {
        let pixels = &wide[taps.first - start..][..taps.weights.len()];
        let mut sums = [1 << (PRECISION - 1); 4];
        for (pixel, weight) in pixels.iter().zip(&taps.weights) {
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum += i32::from(*value) * weight;
            }
        }
        let [r, g, b, _] = sums.map(rounded);
        *made = [r, g, b];
    }
}

/// One line of pixels from as many lines as there are weights, which begin `stride` values apart.
#[multiversion(targets("x86_64+avx2", "x86_64+sse4.1"))]
fn down(lines: &[u8], stride: usize, weights: &[i32], sums: &mut [i32], made: &mut [u8]) {
    sums.fill(1 << (PRECISION - 1));
    for (line, weight) in lines.chunks(stride).zip(weights) {
        for (sum, value) in sums.iter_mut().zip(line) {
            *sum += i32::from(*value) * weight;
        }
    }
    for (made, sum) in made.iter_mut().zip(sums) {
        *made = rounded(*sum);
    }
}

fn rounded(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use super::*;

    /// As tests/golden/pillow.py makes it.
    fn image(width: u32, height: u32) -> RgbImage {
        let value = |place: u32| match (place / 9).is_multiple_of(4) {
            true => 255,
            false => (place.wrapping_mul(2_654_435_761) >> 24) as u8,
        };
        let values = (0..width * height * 3).map(value).collect();
        RgbImage::from_raw(width, height, values).unwrap()
    }

    /// An image, its new size, the filter and Pillow's pixels.
    type Case = (RgbImage, (usize, usize), Interpolation, Vec<u8>);

    /// What Pillow makes of images.
    fn golden() -> Vec<Case> {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/golden/pillow.safetensors"
        );
        let file = std::fs::read(file).unwrap();
        let cases = SafeTensors::deserialize(&file).unwrap();
        let case = |(name, tensor): (&str, safetensors::tensor::TensorView<'_>)| {
            let words: Vec<&str> = name.split(' ').collect();
            let number = |place: usize| words[place].parse::<usize>().unwrap();
            let interpolation = match words[4] {
                "bilinear" => Interpolation::Bilinear,
                _ => Interpolation::Bicubic,
            };
            let image = image(number(0) as u32, number(1) as u32);
            (
                image,
                (number(2), number(3)),
                interpolation,
                tensor.data().to_vec(),
            )
        };
        cases.iter().map(case).collect()
    }

    #[test]
    fn every_pixel_is_pillows() {
        let golden = golden();
        assert_eq!(golden.len(), 20);
        for (image, size, interpolation, expected) in golden {
            let made = resize(&image, size, (0..size.0, 0..size.1), interpolation);
            let from = image.dimensions();
            assert!(
                made.as_raw() == &expected,
                "{from:?} {size:?} {interpolation:?}"
            );
        }
    }

    #[test]
    fn a_window_holds_the_pixels_of_the_whole() {
        for (image, (width, height), interpolation, expected) in golden() {
            let (left, top) = (width / 3, height / 4);
            let (columns, rows) = (left..width - left, top..height - top / 2);
            let made = resize(
                &image,
                (width, height),
                (columns.clone(), rows.clone()),
                interpolation,
            );
            let whole = |x: usize, y: usize| &expected[(y * width + x) * COLOURS..][..COLOURS];
            for (y, row) in rows.enumerate() {
                for (x, column) in columns.clone().enumerate() {
                    assert_eq!(&made.get_pixel(x as u32, y as u32).0, whole(column, row));
                }
            }
        }
    }
}
