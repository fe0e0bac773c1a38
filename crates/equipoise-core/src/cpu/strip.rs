//! The product of a strip of rows with a head, compiled for each set of instructions.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::logits::{Columns, Slices};
use super::tile::{self, Place, SLICE};
use crate::Values;

/// See [`Columns::multiply`]. `VECTORS` is how many a panel of the columns has, [`tile::VECTORS`] on this processor.
pub(super) struct Strip<'a, F, const VECTORS: usize> {
    pub(super) columns: &'a Columns,
    pub(super) values: Values<'a>,
    pub(super) rows: Range<usize>,
    pub(super) slices: &'a mut Slices,
    pub(super) seen: &'a mut F,
    /// How many columns of `out` are written.
    pub(super) wanted: usize,
    pub(super) out: &'a mut [f32],
}

impl<F: FnMut(usize, &[f32]), const VECTORS: usize> WithSimd for Strip<'_, F, VECTORS> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (dim, stride) = (self.columns.dim(), self.columns.stride());
        let rows = self.rows.len();
        let groups = rows.div_ceil(tile::ROWS);
        if self.slices.len() < groups * tile::ROWS {
            self.slices.resize(groups * tile::ROWS, [0.0; _]);
        }
        let width = VECTORS * S::F32_LANES;
        let panels = self.wanted.div_ceil(width);
        for first in (0..dim).step_by(SLICE) {
            let depth = SLICE.min(dim - first);
            for (row, line) in self.rows.clone().zip(&mut *self.slices) {
                let start = row * dim + first;
                let line = &mut line[..depth];
                self.values.slice(start..start + depth).widen(line);
                (self.seen)(row, line);
            }
            let mut ahead = Ahead::new(self.values, dim, &self.rows, first, panels * groups);
            for panel in 0..panels {
                let column = panel * width;
                let columns = self.wanted - column;
                let (weights, _) = S::as_simd_f32s(self.columns.panel(first, depth, panel));
                // Tile by tile, it is brought into the cache.
                let next = match panel + 1 < panels {
                    true => self.columns.panel(first, depth, panel + 1),
                    false => &[],
                };
                for (group, x) in self.slices.as_chunks().0[..groups].iter().enumerate() {
                    ahead.fetch();
                    prefetch_share(next, width, (group, groups));
                    let row = group * tile::ROWS;
                    let place = Place {
                        out: &mut self.out[row * stride + column..],
                        stride,
                        rows: rows - row,
                        columns,
                        add: first > 0,
                    };
                    match columns.div_ceil(S::F32_LANES) {
                        1 => place.put(simd, tile::sums::<S, 1, VECTORS>(simd, x, weights)),
                        2 if VECTORS > 2 => {
                            place.put(simd, tile::sums::<S, 2, VECTORS>(simd, x, weights));
                        }
                        3 if VECTORS > 3 => {
                            place.put(simd, tile::sums::<S, 3, VECTORS>(simd, x, weights));
                        }
                        _ => place.put(simd, tile::sums::<S, VECTORS, VECTORS>(simd, x, weights)),
                    }
                }
            }
        }
    }
}

/// What is copied after a slice: the strip's next slice, or the first of the rows behind it. While tiles are computed it
/// is brought into the cache, a few lines for each tile, so that copying does not wait for memory.
pub(in crate::cpu) struct Ahead<'a> {
    values: Values<'a>,
    /// Numbers of a row.
    dim: usize,
    /// The numbers of each row.
    columns: Range<usize>,
    rows: Range<usize>,
    /// What comes next: a row of them, a column.
    row: usize,
    column: usize,
    /// Lines of the cache for each tile.
    lines: usize,
    /// Numbers of such a line.
    numbers: usize,
}

impl<'a> Ahead<'a> {
    /// After the slice from column `first` on of `strip`, whose tiles are `tiles`.
    #[inline(always)]
    pub(in crate::cpu) fn new(
        values: Values<'a>,
        dim: usize,
        strip: &Range<usize>,
        first: usize,
        tiles: usize,
    ) -> Self {
        /// Bytes of a line of the cache.
        const LINE: usize = 64;
        let next = first + SLICE;
        let (rows, first) = match next < dim {
            true => (strip.clone(), next),
            false => {
                let behind = strip.end + strip.len();
                (strip.end..behind.min(values.len() / dim), 0)
            }
        };
        let columns = first..dim.min(first + SLICE);
        let numbers = LINE / values.width();
        let lines = rows.len() * columns.len().div_ceil(numbers);
        Self {
            values,
            dim,
            row: rows.start,
            column: columns.start,
            columns,
            rows,
            lines: lines.div_ceil(tiles.max(1)),
            numbers,
        }
    }

    #[inline(always)]
    pub(in crate::cpu) fn fetch(&mut self) {
        for _ in 0..self.lines {
            if self.row >= self.rows.end {
                return;
            }
            let number = self.row * self.dim + self.column;
            match self.values {
                Values::F32(values) => prefetch(values, number),
                Values::F16(values) => prefetch(values, number),
            }
            self.column += self.numbers;
            if self.column >= self.columns.end {
                self.column = self.columns.start;
                self.row += 1;
            }
        }
    }
}

/// Asks for a share of some numbers, of which every `step`-th is in a line of the cache of its own: the first of so many, or another.
#[inline(always)]
pub(in crate::cpu) fn prefetch_share<T>(numbers: &[T], step: usize, (share, of): (usize, usize)) {
    let lines = (numbers.len() / step).div_ceil(of);
    for line in share * lines..(share + 1) * lines {
        prefetch(numbers, line * step);
    }
}

/// Asks for the line of the cache that a number is in; where that is no instruction that Rust has, it does nothing.
#[inline(always)]
fn prefetch<T>(numbers: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(number) = numbers.get(index) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: it reads nothing, and the address is one that could be read.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(number).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (numbers, index);
}
