//! A tile of a product: a few rows by a panel of classes, summed in registers.

use pulp::Simd;

/// Rows of a tile.
pub(super) const ROWS: usize = 6;

/// Vectors of a panel here: with so many rows, their sums fill most registers and hide how long an addition takes.
pub(super) const VECTORS: usize = if cfg!(target_arch = "aarch64") { 4 } else { 2 };

/// Columns multiplied at a time: a sum of short sums loses fewer digits than one long sum, whatever the order within
/// each.
pub(super) const SLICE: usize = 512;

/// A row's slice, and some room: rows that are a power of two apart would share lines of the cache.
pub(super) type Line = [f32; SLICE + 16];

/// Columns that one round of the loop takes.
const UNROLLED: usize = 4;

/// The tile's sums, of which the first `WANTED` vectors of each row are wanted, over the columns of `panel`,
/// `VECTORS` vectors each.
#[inline(always)]
pub(super) fn sums<S: Simd, const WANTED: usize, const VECTORS: usize>(
    simd: S,
    x: &[Line; ROWS],
    panel: &[S::f32s],
) -> [[S::f32s; WANTED]; ROWS] {
    assert!(panel.len() <= SLICE * VECTORS);
    let mut sums = [[simd.splat_f32s(0.0); WANTED]; ROWS];
    // A macro, as sums that a closure holds do not stay in registers.
    macro_rules! add {
        ($column:expr, $weights:expr) => {
            for (x, sums) in x.iter().zip(&mut sums) {
                // SAFETY: the panel has at most as many columns as a line has numbers, as asserted.
                let x = simd.splat_f32s(*unsafe { x.get_unchecked($column) });
                for (sum, weights) in sums.iter_mut().zip($weights) {
                    *sum = simd.mul_add_e_f32s(x, *weights, *sum);
                }
            }
        };
    }
    let rounds = panel.chunks_exact(UNROLLED * VECTORS);
    let rest = rounds.remainder();
    let mut column = 0;
    for round in rounds {
        for weights in round.chunks_exact(VECTORS) {
            add!(column, &weights[..WANTED]);
            column += 1;
        }
    }
    for weights in rest.chunks_exact(VECTORS) {
        add!(column, &weights[..WANTED]);
        column += 1;
    }
    sums
}

/// Where a tile's sums go.
pub(super) struct Place<'a> {
    /// From the tile's first number on.
    pub(super) out: &'a mut [f32],
    pub(super) stride: usize,
    /// How many rows and columns are wanted from there on: a tile's, or fewer.
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Whether they are added to what is there.
    pub(super) add: bool,
}

impl Place<'_> {
    #[inline(always)]
    pub(super) fn put<S: Simd, const WANTED: usize>(
        self,
        simd: S,
        sums: [[S::f32s; WANTED]; ROWS],
    ) {
        let width = WANTED * S::F32_LANES;
        let lines = self.out.chunks_mut(self.stride).take(self.rows);
        for (out, sums) in lines.zip(&sums) {
            let (whole, rest) = S::as_mut_simd_f32s(&mut out[..width.min(self.columns)]);
            for (out, sum) in whole.iter_mut().zip(sums) {
                *out = match self.add {
                    true => simd.add_f32s(*out, *sum),
                    false => *sum,
                };
            }
            if let (Some(sum), false) = (sums.get(whole.len()), rest.is_empty()) {
                let before = match self.add {
                    true => simd.partial_load_f32s(rest),
                    false => simd.splat_f32s(0.0),
                };
                simd.partial_store_f32s(rest, simd.add_f32s(before, *sum));
            }
        }
    }
}
