//! Kernel `logits` in 16-bit integers.
//!
//! Every slice of a row, and of a class's weights, is rounded to integers times a number of its own, so small that no sum of a
//! slice's products overflows 32 bits: by Cauchy and Schwarz it is at most the product of two norms.

use std::ops::Range;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::tile::{
    self, Instructions, LANES, Line, Pairs, Plain, ROWS, SLICE, VECTORS, WIDTH, pair,
};
use crate::Values;
use crate::cpu::logits::{Columns, STRIP_ROWS, Slices};
use crate::cpu::row::larger;
use crate::cpu::row_norms::{self, SAFE};
use crate::cpu::strip::{Ahead, prefetch};
use crate::tolerance::RoundedError;

/// Norm of a slice's integers: with what rounding adds, at most half of each, the root of 512 numbers' quarters, it is below
/// √2³¹.
const NORM: f32 = 46_300.0;

/// Largest integer, with room for the rounding of what it is made of.
const LARGEST: f32 = 32_766.0;

/// Adding and subtracting it rounds to an integer, which is then in the lower bits.
const ROUND: f32 = 12_582_912.0;

/// Vectors summed side by side.
pub(super) const SIDE_BY_SIDE: usize = 4;

/// What is found of a row while it is rounded.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Rounded {
    /// ‖x‖².
    pub(crate) square: f32,
    /// The square of what rounding took away.
    pub(crate) left: f32,
}

impl Rounded {
    /// ‖x − x̂‖ of a row of `dim` numbers, with norm at most `norm`, to well within 1%.
    #[inline(always)]
    pub(crate) fn left(&self, norm: f32, dim: usize) -> f32 {
        match SAFE.contains(&self.square) && dim < row_norms::MOST {
            true => self.left.sqrt(),
            // Rounding takes no more away than there is.
            false => norm,
        }
    }
}

/// A strip's rows, rounded: scratch memory.
#[derive(Debug, Default)]
pub(crate) struct RoundedRows {
    lines: Vec<Line>,
    /// Of each row, what its slice's integers are multiplied by.
    scales: Vec<f32>,
    /// A slice, widened.
    wide: Vec<f32>,
    /// What was found of each row.
    pub(crate) rows: Vec<Rounded>,
}

impl RoundedRows {
    /// Bytes of one of at most `rows` rows.
    pub(crate) fn bytes(rows: usize) -> u64 {
        let rows = rows.min(STRIP_ROWS).next_multiple_of(ROWS);
        (rows * (size_of::<Line>() + 4 + size_of::<Rounded>()) + 4 * SLICE) as u64
    }
}

/// A head's weights, rounded, as products read them.
#[derive(Debug, Clone)]
pub(crate) struct Integers {
    dim: usize,
    stride: usize,
    /// Columns of a line that are written: those of all classes, and zeros up to whole vectors.
    written: usize,
    /// Classes, padded to whole panels.
    classes: usize,
    /// Slice by slice, panel by panel.
    panels: Vec<Pairs>,
    /// Slice by slice, what a class's integers are multiplied by.
    scales: Vec<f32>,
    error: RoundedError,
}

impl Integers {
    /// Of `weight`, (classes, dim), for lines of `stride` numbers, a multiple of 8.
    pub(crate) fn new(weight: &[f32], dim: usize, stride: usize) -> Self {
        assert!(stride.is_multiple_of(LANES));
        let classes = (weight.len() / dim).next_multiple_of(WIDTH);
        let slices = dim.div_ceil(SLICE);
        let mut scales = vec![0.0; classes * slices];
        let mut panels = vec![Pairs::NONE; classes / WIDTH * dim.div_ceil(2)];
        let mut squares = vec![(0.0, 0.0); weight.len() / dim];
        let mut rest = &mut panels[..];
        for (first, scales) in (0..dim).step_by(SLICE).zip(scales.chunks_mut(classes)) {
            let depth = SLICE.min(dim - first);
            let pairs = depth.div_ceil(2);
            let (slice, others) = std::mem::take(&mut rest).split_at_mut(pairs * classes / WIDTH);
            rest = others;
            let weights = weight.par_chunks(dim * WIDTH);
            let panels = slice
                .par_chunks_mut(pairs)
                .zip(scales.par_chunks_mut(WIDTH));
            let panels = panels.zip(squares.par_chunks_mut(WIDTH)).zip(weights);
            panels.for_each(|(((panel, scales), squares), weights)| {
                let classes = scales
                    .iter_mut()
                    .zip(squares)
                    .zip(weights.chunks_exact(dim));
                for (class, ((scale, squares), weights)) in classes.enumerate() {
                    let weights = &weights[first..first + depth];
                    let mut line = [0; SLICE];
                    (*scale, _) = round(weights, &mut line);
                    for (pairs, both) in panel.iter_mut().zip(line.as_chunks().0) {
                        let [first, second] = *both;
                        pairs.0[class / LANES][class % LANES] = pair(first, second);
                    }
                    for (weight, integer) in weights.iter().zip(line) {
                        let weight = f64::from(*weight);
                        let left = weight - f64::from(*scale) * f64::from(integer);
                        squares.0 += weight * weight;
                        squares.1 += left * left;
                    }
                }
            });
        }
        let most = |square: fn(&(f64, f64)) -> f64| squares.iter().map(square).fold(0.0, f64::max);
        Self {
            dim,
            stride,
            written: stride.min((weight.len() / dim).next_multiple_of(LANES)),
            classes,
            panels,
            scales,
            error: RoundedError {
                largest: most(|(square, _)| *square).sqrt(),
                left: most(|(_, left)| *left).sqrt(),
                slices,
            },
        }
    }

    /// Bytes of `classes` × `dim` weights.
    pub(crate) fn bytes(classes: usize, dim: usize) -> u64 {
        let classes = classes.next_multiple_of(WIDTH);
        let panels = classes / WIDTH * dim.div_ceil(2) * size_of::<Pairs>();
        (panels + 4 * classes * dim.div_ceil(SLICE)) as u64
    }

    /// How far products are from the exact ones.
    pub(crate) fn error(&self) -> RoundedError {
        self.error
    }

    /// Writes the products of the rows `rows` of `values`, (_, dim), at most [`STRIP_ROWS`] of them, to `out`,
    /// (rows, stride): the columns of all classes, and zeros up to a multiple of 8. `strip` is scratch memory, and tells what was
    /// found of each row.
    #[inline(always)]
    pub(crate) fn multiply(
        &self,
        values: Values<'_>,
        rows: Range<usize>,
        strip: &mut RoundedRows,
        out: &mut [f32],
    ) {
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = pulp::x86::V3::try_new() {
            return simd.vectorize(
                #[inline(always)]
                || self.multiply_by(simd, values, rows, strip, out),
            );
        }
        self.multiply_by(Plain, values, rows, strip, out);
    }

    #[inline(always)]
    fn multiply_by<I: Instructions>(
        &self,
        isa: I,
        values: Values<'_>,
        rows: Range<usize>,
        strip: &mut RoundedRows,
        out: &mut [f32],
    ) {
        let (dim, stride, count) = (self.dim, self.stride, rows.len());
        let groups = count.div_ceil(ROWS);
        assert!(count <= STRIP_ROWS && out.len() >= count * stride);
        strip.lines.resize(groups * ROWS, [0; _]);
        strip.scales.resize(groups * ROWS, 0.0);
        strip.rows.clear();
        strip.rows.resize(count, Rounded::default());
        let panels = self.written.div_ceil(WIDTH);
        for (slice, first) in (0..dim).step_by(SLICE).enumerate() {
            let depth = SLICE.min(dim - first);
            let pairs = depth.div_ceil(2);
            for (index, row) in rows.clone().enumerate() {
                let start = row * dim + first;
                strip.round(index, values.slice(start..start + depth));
            }
            let mut ahead = Ahead::new(values, dim, &rows, first, panels * groups);
            let begin = first / 2 * self.classes / WIDTH;
            for panel in 0..panels {
                let column = panel * WIDTH;
                let weights = &self.panels[begin + panel * pairs..][..pairs];
                let scales = &self.scales[slice * self.classes + column..][..WIDTH];
                for (group, x) in strip.lines.as_chunks().0[..groups].iter().enumerate() {
                    ahead.fetch();
                    let share = pairs.div_ceil(groups);
                    for line in group * share..(group + 1) * share {
                        prefetch(&self.panels, begin + (panel + 1) * pairs + line);
                    }
                    let row = group * ROWS;
                    let place = Place {
                        out: &mut out[row * stride + column..],
                        stride,
                        scales: &strip.scales[row..count.min(row + ROWS)],
                        of_classes: scales,
                        add: first > 0,
                    };
                    match self.written - column {
                        LANES => place.put(isa, tile::sums::<I, 1>(isa, x, weights)),
                        _ => place.put(isa, tile::sums::<I, VECTORS>(isa, x, weights)),
                    }
                }
            }
        }
    }

    /// Whether this processor multiplies integers so much faster than float32 that it is worth rounding for it; measured once, in
    /// about a millisecond.
    pub(crate) fn pay() -> bool {
        static PAY: OnceLock<bool> = OnceLock::new();
        *PAY.get_or_init(measure)
    }
}

impl RoundedRows {
    /// Rounds a slice of the row of that index.
    #[inline(always)]
    fn round(&mut self, index: usize, slice: Values<'_>) {
        let line: &mut [i16] = bytemuck::cast_slice_mut(&mut self.lines[index]);
        let (scale, found) = match slice {
            Values::F32(slice) => round(slice, line),
            Values::F16(_) => {
                self.wide.resize(SLICE, 0.0);
                let wide = &mut self.wide[..slice.len()];
                slice.widen(wide);
                round(wide, line)
            }
        };
        self.scales[index] = scale;
        self.rows[index].square += found.square;
        self.rows[index].left += found.left;
    }
}

/// Rounds a slice of at most [`SLICE`] numbers to integers; returns what the integers are to be multiplied by, and what was found.
fn round(x: &[f32], out: &mut [i16]) -> (f32, Rounded) {
    Arch::new().dispatch(Round { x, out })
}

struct Round<'a> {
    x: &'a [f32],
    out: &'a mut [i16],
}

impl WithSimd for Round<'_> {
    type Output = (f32, Rounded);

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> (f32, Rounded) {
        let none = simd.splat_f32s(0.0);
        let (vectors, rest) = S::as_simd_f32s(self.x);
        let (groups, last) = vectors.as_chunks::<SIDE_BY_SIDE>();
        let (mut squares, mut most) = ([none; SIDE_BY_SIDE], [none; SIDE_BY_SIDE]);
        for group in groups.iter().map(|group| &group[..]).chain([last]) {
            for (lane, x) in group.iter().enumerate() {
                squares[lane] = simd.mul_add_e_f32s(*x, *x, squares[lane]);
                most[lane] = simd.max_f32s(most[lane], simd.abs_f32s(*x));
            }
        }
        let square = total(simd, squares) + rest.iter().map(|x| x * x).sum::<f32>();
        let [a, b, c, d] = most;
        let most = simd.max_f32s(simd.max_f32s(a, b), simd.max_f32s(c, d));
        let most = simd.reduce_max_f32s(most);
        let most = rest.iter().fold(most, |most, x| larger(most, x.abs()));
        // Beyond, squares are nothing to go by: all is left.
        let scale = match SAFE.contains(&square) {
            true => larger(square.sqrt() / NORM, most / LARGEST),
            false => 0.0,
        };
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        let mut rounded = [0.0; SLICE];
        let rounded = &mut rounded[..self.x.len()];
        let (inverses, scales) = (simd.splat_f32s(inverse), simd.splat_f32s(scale));
        let magic = simd.splat_f32s(ROUND);
        let (lines, of_rest) = S::as_mut_simd_f32s(rounded);
        let mut left = [none; SIDE_BY_SIDE];
        let both = vectors
            .chunks(SIDE_BY_SIDE)
            .zip(lines.chunks_mut(SIDE_BY_SIDE));
        for (group, line) in both {
            for (lane, (x, rounded)) in group.iter().zip(line).enumerate() {
                *rounded = simd.mul_add_e_f32s(*x, inverses, magic);
                let missing = simd.mul_add_e_f32s(simd.sub_f32s(magic, *rounded), scales, *x);
                left[lane] = simd.mul_add_e_f32s(missing, missing, left[lane]);
            }
        }
        let mut left = total(simd, left);
        for (x, rounded) in rest.iter().zip(of_rest) {
            *rounded = x * inverse + ROUND;
            let missing = x - (*rounded - ROUND) * scale;
            left += missing * missing;
        }
        for (out, rounded) in self.out.iter_mut().zip(&*rounded) {
            // The lower bits are the integer's.
            *out = rounded.to_bits() as i16;
        }
        (scale, Rounded { square, left })
    }
}

/// The sum of all numbers of some vectors.
#[inline(always)]
pub(super) fn total<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; SIDE_BY_SIDE]) -> f32 {
    simd.reduce_sum_f32s(simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d)))
}

/// Where a tile's sums go.
struct Place<'a> {
    /// From the tile's first number on.
    out: &'a mut [f32],
    stride: usize,
    /// What the sums of each row that is wanted are multiplied by.
    scales: &'a [f32],
    /// And of each class.
    of_classes: &'a [f32],
    /// Whether they are added to what is there.
    add: bool,
}

impl Place<'_> {
    #[inline(always)]
    fn put<I: Instructions, const WANTED: usize>(self, isa: I, sums: [[I::Sums; WANTED]; ROWS]) {
        let (of_classes, _) = self.of_classes.as_chunks::<LANES>();
        let lines = self.out.chunks_mut(self.stride).zip(self.scales);
        for ((line, scale), sums) in lines.zip(sums) {
            let (line, _) = line.as_chunks_mut::<LANES>();
            for ((out, sums), of_classes) in line.iter_mut().zip(sums).zip(of_classes) {
                let numbers = isa.numbers(sums);
                let mut products = [0.0; LANES];
                for lane in 0..LANES {
                    products[lane] = numbers[lane] as f32 * (scale * of_classes[lane]);
                }
                if self.add {
                    for lane in 0..LANES {
                        products[lane] += out[lane];
                    }
                }
                *out = products;
            }
        }
    }
}

/// Times both kinds of products of a small head, several times in turn.
fn measure() -> bool {
    const CLASSES: usize = 192;
    const TURNS: usize = 4;
    let numbers = |count: usize| -> Vec<f32> {
        let one = |i: usize| (i.wrapping_mul(2_654_435_761) % 1021) as f32 - 510.0;
        (0..count).map(one).collect()
    };
    let (weight, x) = (numbers(CLASSES * SLICE), numbers(STRIP_ROWS * SLICE));
    let (values, rows) = (Values::F32(&x), 0..STRIP_ROWS);
    let columns = Columns::new(&weight, SLICE, CLASSES);
    let integers = Integers::new(&weight, SLICE, CLASSES);
    let (mut slices, mut strip) = (Slices::new(), RoundedRows::default());
    let mut out = vec![0.0; STRIP_ROWS * CLASSES];
    let (mut best, mut of_floats) = (Duration::MAX, Duration::MAX);
    for _ in 0..TURNS {
        let begin = Instant::now();
        columns.multiply(values, rows.clone(), &mut slices, &mut out);
        let between = Instant::now();
        integers.multiply(values, rows.clone(), &mut strip, &mut out);
        of_floats = of_floats.min(between - begin);
        best = best.min(between.elapsed());
    }
    std::hint::black_box(out);
    best < of_floats
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;
    use crate::Head;
    use crate::definition;
    use crate::random::{Philox, Purpose};
    use crate::tolerance::{RoundedTolerance, norm};

    /// Numbers from −½ to ½.
    fn numbers(seed: u64, count: usize) -> Vec<f32> {
        let numbers = Philox::new(seed, Purpose::Drawing, 0, 0);
        let one = |i: usize| (numbers.uniform(i as u64) - 0.5) as f32;
        (0..count).map(one).collect()
    }

    /// Rows that are hard to round, and ordinary ones.
    fn rows(dim: usize) -> Vec<f32> {
        let one = |m: usize, x: f32| (0..dim).map(move |i| if i == m { x } else { 0.0 });
        let mut rows = vec![0.0; dim];
        rows.extend(one(0, 1.0));
        rows.extend(one(dim - 1, -3e5));
        rows.extend(vec![1.0; dim]);
        rows.extend(vec![-2.5e-7; dim]);
        // One number that outweighs all others.
        rows.extend((0..dim).map(|i| if i == dim / 2 { 1e4 } else { 0.3 }));
        for scale in [1.0, 1e-12, 1e-30, 1e-42, 1e12, 1e17] {
            rows.extend(numbers(3, dim).iter().map(|x| x * scale));
        }
        // Slices of very different magnitude.
        let numbers = numbers(4, dim);
        rows.extend(numbers.iter().enumerate().map(|(i, x)| match i / SLICE {
            0 => x * 1e-15,
            1 => x * 1e9,
            _ => *x,
        }));
        rows
    }

    /// Heads of as many classes: ordinary ones, and whose products with some rows are as large as there can be.
    fn heads(classes: usize, dim: usize) -> Vec<Head> {
        let bias = numbers(5, classes);
        let heads = [numbers(6, classes * dim), vec![1.0; classes * dim], {
            let rows = rows(dim);
            (rows
                .iter()
                .cycle()
                .take(classes * dim)
                .map(|x| x.clamp(-1e9, 1e9)))
            .collect()
        }];
        let head = |weight| Head::new(weight, bias.clone(), dim).unwrap();
        heads.map(head).into()
    }

    #[test]
    fn products_are_within_their_bounds_and_the_same_by_all_instructions() {
        const GUARD: f32 = 12345.0;
        let (mut finest, mut count) = (f64::INFINITY, 0);
        for (classes, dim) in [
            (1, 1),
            (3, 2),
            (17, 7),
            (24, 511),
            (40, 512),
            (9, 513),
            (33, 1101),
        ] {
            let values = rows(dim);
            let half: Vec<f16> = values.iter().map(|x| f16::from_f32(*x)).collect();
            let widened: Vec<f32> = half.iter().map(|x| x.to_f32()).collect();
            for head in heads(classes, dim) {
                let stride = classes.next_multiple_of(8) + 8;
                let integers = Integers::new(head.weight(), dim, stride);
                let bound = RoundedTolerance::new(&head, integers.error());
                for (values, exact) in [
                    (Values::F32(&values), &values),
                    (Values::F16(&half), &widened),
                ] {
                    let count_rows = exact.len() / dim;
                    let mut outs = [
                        vec![GUARD; count_rows * stride],
                        vec![GUARD; count_rows * stride],
                    ];
                    let mut strip = RoundedRows::default();
                    integers.multiply_by(Plain, values, 0..count_rows, &mut strip, &mut outs[1]);
                    integers.multiply(values, 0..count_rows, &mut strip, &mut outs[0]);
                    assert!(
                        outs[0]
                            .iter()
                            .zip(&outs[1])
                            .all(|(a, b)| a.to_bits() == b.to_bits())
                    );
                    for (row, (x, line)) in
                        exact.chunks(dim).zip(outs[0].chunks(stride)).enumerate()
                    {
                        let written = classes.next_multiple_of(8);
                        assert!(line[classes..written].iter().all(|z| *z == 0.0));
                        assert!(line[written..].iter().all(|z| *z == GUARD));
                        if x.iter().any(|x| !x.is_finite()) {
                            continue;
                        }
                        let norm = (norm(x) as f32).next_up();
                        let left = strip.rows[row].left(norm, dim);
                        let most = f64::from(bound.of_row(norm, left));
                        for (class, z) in line[..classes].iter().enumerate() {
                            let weight = head.class_weight(class);
                            let off = (f64::from(*z) - definition::dot(x, weight)).abs();
                            assert!(off <= most, "{classes} {dim} row {row}: {off} > {most}");
                            let size = f64::from(norm) * crate::tolerance::norm(weight);
                            if size > 0.0 {
                                finest = finest.min(most / size);
                            }
                            count += 1;
                        }
                    }
                }
            }
        }
        // The bounds say something, too.
        assert!(finest < 4e-4 && count > 5000, "{finest} {count}");
    }
}
