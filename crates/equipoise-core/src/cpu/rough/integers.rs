//! Kernel `logits` in 16-bit integers.
//!
//! Every slice of a row, and of a class's weights, is rounded to integers times a number of its own, so small that no sum of a
//! slice's products overflows 32 bits: by Cauchy and Schwarz it is at most the product of two norms.

use std::ops::Range;

use rayon::prelude::*;

use super::rounding::{RoundedRows, round};
use super::tile::{self, Instructions, LANES, Pairs, Plain, ROWS, SLICE, VECTORS, WIDTH, pair};
use crate::Values;
use crate::cpu;
use crate::cpu::logits::{self, STRIP_ROWS};
use crate::cpu::strip::{Ahead, prefetch_share};
use crate::tolerance::RoundedError;
use crate::vectorised::vectorised;

// Of both products, the same columns are written, and the same slices fetched.
const _: () = assert!(LANES == logits::TOGETHER && SLICE == cpu::tile::SLICE);

/// A head's weights, rounded to 16-bit integers, as products read them. Their bounds are the engine's own affair: see
/// `docs/exactness.md`, section 1.
#[derive(Debug, Clone)]
pub struct Integers {
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
    ///
    /// # Panics
    /// Where `stride` is no such multiple.
    pub fn new(weight: &[f32], dim: usize, stride: usize) -> Self {
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
                vectorised(
                    #[inline(always)]
                    || {
                        let slices = weights.chunks_exact(dim);
                        let slices = slices.map(|weights| &weights[first..first + depth]);
                        let mut lines = [[0; SLICE]; WIDTH];
                        let classes = slices.zip(&mut lines).zip(scales).zip(squares);
                        for (((weights, line), scale), squares) in classes {
                            (*scale, _) = round(weights, line);
                            let of_slice = self::squares(weights, line, *scale);
                            squares.0 += of_slice.0;
                            squares.1 += of_slice.1;
                        }
                        for (index, pairs) in panel.iter_mut().enumerate() {
                            let numbers = pairs.0.as_flattened_mut();
                            for (number, line) in numbers.iter_mut().zip(&lines) {
                                *number = pair(line[2 * index], line[2 * index + 1]);
                            }
                        }
                    },
                );
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
    ///
    /// # Panics
    /// Where there are more rows, or `out` is too short.
    #[inline(always)]
    pub fn multiply(
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
        strip.begin(count);
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
                let next = &self.panels[begin + (panel + 1) * pairs..];
                let next = &next[..pairs.min(next.len())];
                let scales = &self.scales[slice * self.classes + column..][..WIDTH];
                for (group, x) in strip.lines.as_chunks().0[..groups].iter().enumerate() {
                    ahead.fetch();
                    prefetch_share(next, 1, (group, groups));
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
}

/// The sum of the squares of some weights, and of what rounding took away from them.
#[inline(always)]
fn squares(weights: &[f32], integers: &[i16; SLICE], scale: f32) -> (f64, f64) {
    // Zeros behind them add nothing.
    let mut padded = [0.0; SLICE];
    padded[..weights.len()].copy_from_slice(weights);
    let scale = f64::from(scale);
    let (mut squares, mut left) = ([0.0f64; LANES], [0.0f64; LANES]);
    let (weights, _) = padded.as_chunks::<LANES>();
    for (weights, integers) in weights.iter().zip(integers.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            let weight = f64::from(weights[lane]);
            let missing = weight - scale * f64::from(integers[lane]);
            squares[lane] += weight * weight;
            left[lane] += missing * missing;
        }
    }
    (squares.iter().sum(), left.iter().sum())
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
                    integers.multiply(values, 1..1, &mut strip, &mut []);
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
