//! Images as training sees them: moved and mirrored at random.

use equipoise_core::random::{Philox, Purpose};
use rayon::prelude::*;

use super::{LabelledImages, TrainOptions};

/// The changes of one epoch. An image's depend on nothing but the seed, the epoch and its row.
pub(crate) struct Augment<'a> {
    images: &'a LabelledImages<'a>,
    shift: usize,
    mirror: bool,
    random: Philox,
}

/// What happens to one image.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Change {
    mirror: bool,
    down: isize,
    right: isize,
}

impl<'a> Augment<'a> {
    pub(crate) fn new(
        images: &'a LabelledImages<'a>,
        options: &TrainOptions,
        epoch: usize,
    ) -> Self {
        Self {
            images,
            shift: options.shift,
            mirror: options.mirror,
            random: Philox::new(options.seed, Purpose::Training, epoch as u32, 1),
        }
    }

    /// The images `rows`, changed, (n, 3, height, width).
    pub(crate) fn batch(&self, rows: &[usize]) -> Vec<f32> {
        let pixels = self.images.pixels();
        let mut out = vec![0.0; rows.len() * pixels];
        out.par_chunks_exact_mut(pixels)
            .zip(rows)
            .for_each(|(out, row)| {
                let image = &self.images.values[row * pixels..(row + 1) * pixels];
                let size = [self.images.height, self.images.width];
                copy(image, out, size, self.change(*row));
            });
        out
    }

    fn change(&self, row: usize) -> Change {
        let [coin, down, right, _] = self.random.words(row as u64);
        let range = 2 * self.shift as u64 + 1;
        let shift = |word| (u64::from(word) % range) as isize - self.shift as isize;
        Change {
            mirror: self.mirror && coin & 1 == 1,
            down: shift(down),
            right: shift(right),
        }
    }
}

/// Copies an image with `change`; `out` is 0 where nothing comes.
fn copy(image: &[f32], out: &mut [f32], [height, width]: [usize; 2], change: Change) {
    for (plane, out) in image
        .chunks_exact(height * width)
        .zip(out.chunks_exact_mut(height * width))
    {
        for (y, out) in out.chunks_exact_mut(width).enumerate() {
            let Some(from) = y.checked_add_signed(-change.down).filter(|y| *y < height) else {
                continue;
            };
            let line = &plane[from * width..(from + 1) * width];
            for (x, out) in out.iter_mut().enumerate() {
                if let Some(from) = x.checked_add_signed(-change.right).filter(|x| *x < width) {
                    *out = line[if change.mirror {
                        width - 1 - from
                    } else {
                        from
                    }];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_move_and_turn() {
        let image = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let changed = |mirror, down, right| {
            let mut out = vec![0.0; 6];
            let change = Change {
                mirror,
                down,
                right,
            };
            copy(&image, &mut out, [2, 3], change);
            out
        };
        assert_eq!(changed(false, 0, 0), image);
        assert_eq!(changed(true, 0, 0), [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
        assert_eq!(changed(false, 1, -1), [0.0, 0.0, 0.0, 2.0, 3.0, 0.0]);
        assert_eq!(changed(false, -2, 0), [0.0; 6]);
    }
}
