//! Contact sheets: pictures of many small images, to be looked at.

use image::{Rgb, RgbImage, imageops};

use super::draw::{SIDE, hsv, icon};
use super::figures::Figure;

/// Pixels of an image on a sheet, and between two.
const TILE: u32 = 2 * SIDE;
const GAP: u32 = 4;

/// A sheet with a row a class: its icon, then its images. A class with more images than
/// `columns` goes on in the next row, so that the sheet reads as a bar chart of class counts.
pub(crate) fn by_class(figures: &[Figure], images: &[Vec<RgbImage>], columns: usize) -> RgbImage {
    let rows = |images: &Vec<RgbImage>| images.len().div_ceil(columns).max(1);
    let height = images.iter().map(rows).sum::<usize>() as u32 * (TILE + GAP) + GAP;
    let width = (columns as u32 + 1) * (TILE + GAP) + GAP;
    let mut sheet = RgbImage::from_pixel(width, height, Rgb([255; 3]));
    let mut top = 0;
    for (class, (figure, images)) in figures.iter().zip(images).enumerate() {
        let color = hsv(class as f32 / figures.len() as f32, 0.75, 0.8).map(|value| value as u8);
        place(&mut sheet, &icon(figure, TILE, color), 0, top);
        for (index, image) in images.iter().enumerate() {
            let tile = imageops::resize(image, TILE, TILE, imageops::FilterType::Nearest);
            place(
                &mut sheet,
                &tile,
                1 + index % columns,
                top + index / columns,
            );
        }
        top += rows(images);
    }
    sheet
}

fn place(sheet: &mut RgbImage, tile: &RgbImage, column: usize, row: usize) {
    let at = |position: usize| i64::from(GAP) + position as i64 * i64::from(TILE + GAP);
    imageops::replace(sheet, tile, at(column), at(row));
}
