//! A tile of a product of 16-bit integers: a few rows by a panel of classes, summed in registers.
//!
//! A processor with AVX2 multiplies sixteen pairs of 16-bit integers, and adds neighbours, in one instruction; with one more for
//! the sum that is up to twice as fast as float32, where both instructions have units of their own.

/// Rows of a tile.
pub(super) const ROWS: usize = 6;

/// Classes summed side by side by one instruction.
pub(super) const LANES: usize = 8;

/// Vectors of a panel: with so many rows, their sums fill most registers.
pub(super) const VECTORS: usize = 2;

/// Classes of a panel.
pub(super) const WIDTH: usize = VECTORS * LANES;

/// Columns multiplied at a time. More of them would have to be rounded to fewer digits, so that sums fit 32 bits.
pub(super) const SLICE: usize = 512;

/// Pairs of columns of a slice.
const PAIRS: usize = SLICE / 2;

/// A row's slice: two columns a number, the first in the lower half. And some room: rows that are a power of two apart would
/// share lines of the cache.
pub(super) type Line = [i32; PAIRS + 8];

/// The weights of a panel's classes in two columns, as [`Line`] has them.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub(super) struct Pairs(pub(super) [[i32; LANES]; VECTORS]);

impl Pairs {
    pub(super) const NONE: Self = Self([[0; LANES]; VECTORS]);
}

/// A pair of columns.
#[inline(always)]
pub(super) fn pair(first: i16, second: i16) -> i32 {
    i32::from(first as u16) | i32::from(second) << 16
}

/// How pairs are multiplied.
pub(super) trait Instructions: Copy {
    type Sums: Copy;
    fn none(self) -> Self::Sums;
    /// `sums`, and the products of the pair `x` with those of eight classes.
    fn add(self, x: i32, weights: &[i32; LANES], sums: Self::Sums) -> Self::Sums;
    fn numbers(self, sums: Self::Sums) -> [i32; LANES];
}

/// For any processor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plain;

impl Instructions for Plain {
    type Sums = [i32; LANES];

    #[inline(always)]
    fn none(self) -> Self::Sums {
        [0; LANES]
    }

    #[inline(always)]
    fn add(self, x: i32, weights: &[i32; LANES], mut sums: Self::Sums) -> Self::Sums {
        let halves = |pair: i32| (i32::from(pair as i16), pair >> 16);
        let (first, second) = halves(x);
        for (sum, pair) in sums.iter_mut().zip(weights) {
            let (a, b) = halves(*pair);
            // Sums of rows that are not numbers may be anything.
            *sum = sum.wrapping_add((first * a).wrapping_add(second * b));
        }
        sums
    }

    #[inline(always)]
    fn numbers(self, sums: Self::Sums) -> [i32; LANES] {
        sums
    }
}

#[cfg(target_arch = "x86_64")]
impl Instructions for pulp::x86::V3 {
    type Sums = std::arch::x86_64::__m256i;

    #[inline(always)]
    fn none(self) -> Self::Sums {
        self.avx._mm256_setzero_si256()
    }

    #[inline(always)]
    fn add(self, x: i32, weights: &[i32; LANES], sums: Self::Sums) -> Self::Sums {
        let weights = pulp::cast(*weights);
        let products = (self.avx2)._mm256_madd_epi16(self.avx._mm256_set1_epi32(x), weights);
        self.avx2._mm256_add_epi32(sums, products)
    }

    #[inline(always)]
    fn numbers(self, sums: Self::Sums) -> [i32; LANES] {
        pulp::cast(sums)
    }
}

/// The tile's sums, of which the first `WANTED` vectors of each row are wanted, over the columns of `panel`.
#[inline(always)]
pub(super) fn sums<I: Instructions, const WANTED: usize>(
    isa: I,
    x: &[Line; ROWS],
    panel: &[Pairs],
) -> [[I::Sums; WANTED]; ROWS] {
    assert!(panel.len() <= PAIRS);
    let mut sums = [[isa.none(); WANTED]; ROWS];
    for (column, weights) in panel.iter().enumerate() {
        for (x, sums) in x.iter().zip(&mut sums) {
            // SAFETY: the panel has at most as many pairs as a line, as asserted.
            let x = *unsafe { x.get_unchecked(column) };
            for (sum, weights) in sums.iter_mut().zip(&weights.0) {
                *sum = isa.add(x, weights, *sum);
            }
        }
    }
    sums
}
