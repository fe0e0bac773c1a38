//! The sums in float64 that a distance to one boundary takes: two logits, less their biases, and the square of the weights'
//! distance. Those of several embeddings run side by side, each in the order of [`crate::definition`].

/// An embedding, and the weights of the two classes of a boundary: as many numbers each.
pub(crate) type Lines<'a> = [&'a [f32]; 3];

/// ⟨x, W[p]⟩, ⟨x, W[c]⟩ and ‖W[p] − W[c]‖².
pub(crate) type Sums = [f64; 3];

/// The sums of each of some lines, all of `dim` numbers.
pub(crate) fn boundary_sums<const N: usize>(lines: [Lines<'_>; N], dim: usize) -> [Sums; N] {
    let lines = lines.map(|lines| lines.map(|line| &line[..dim]));
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        return simd.vectorize(
            #[inline(always)]
            || transposed(simd, lines),
        );
    }
    plain(lines)
}

/// What each pair of numbers adds to the sums.
#[inline(always)]
fn terms([x, w_p, w_c]: [f32; 3]) -> Sums {
    let [x, w_p, w_c] = [x, w_p, w_c].map(f64::from);
    let apart = w_p - w_c;
    [x * w_p, x * w_c, apart * apart]
}

/// For any processor: the terms of some numbers at once, which are then added one after the other.
fn plain<const N: usize>(lines: [Lines<'_>; N]) -> [Sums; N] {
    const STEP: usize = 32;
    let mut sums = [[0.0; 3]; N];
    let mut made = [[[0.0; STEP]; 3]; N];
    for first in (0..lines[0][0].len()).step_by(STEP) {
        let count = STEP.min(lines[0][0].len() - first);
        for (lines, made) in lines.iter().zip(&mut made) {
            let [x, w_p, w_c] = lines.map(|line| &line[first..first + count]);
            for at in 0..count {
                let [of_p, of_c, of_square] = terms([x[at], w_p[at], w_c[at]]);
                (made[0][at], made[1][at], made[2][at]) = (of_p, of_c, of_square);
            }
        }
        for at in 0..count {
            for (sums, made) in sums.iter_mut().zip(&made) {
                for (sum, made) in sums.iter_mut().zip(made) {
                    *sum += made[at];
                }
            }
        }
    }
    sums
}

/// For vectors of four: the terms of four numbers at once, turned so that those of one number are beside each other and
/// are added at once.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn transposed<const N: usize>(simd: pulp::x86::V3, lines: [Lines<'_>; N]) -> [Sums; N] {
    const LANES: usize = 4;
    /// Lower halves of two vectors, and upper ones.
    const LOWER: i32 = 0x20;
    const UPPER: i32 = 0x31;
    let avx = simd.avx;
    let steps = lines.map(|lines| lines.map(|line| line.as_chunks::<LANES>().0));
    let mut sums = [avx._mm256_setzero_pd(); N];
    for step in 0..steps[0][0].len() {
        for (steps, sums) in steps.iter().zip(&mut sums) {
            let [x, w_p, w_c] = steps.map(|line| avx._mm256_cvtps_pd(pulp::cast(line[step])));
            let (of_p, of_c) = (avx._mm256_mul_pd(x, w_p), avx._mm256_mul_pd(x, w_c));
            let apart = avx._mm256_sub_pd(w_p, w_c);
            let apart = avx._mm256_mul_pd(apart, apart);
            let logits = [
                avx._mm256_unpacklo_pd(of_p, of_c),
                avx._mm256_unpackhi_pd(of_p, of_c),
            ];
            let squares = [
                avx._mm256_unpacklo_pd(apart, apart),
                avx._mm256_unpackhi_pd(apart, apart),
            ];
            for half in 0..2 {
                let terms = avx._mm256_permute2f128_pd::<LOWER>(logits[half], squares[half]);
                *sums = avx._mm256_add_pd(*sums, terms);
            }
            for half in 0..2 {
                let terms = avx._mm256_permute2f128_pd::<UPPER>(logits[half], squares[half]);
                *sums = avx._mm256_add_pd(*sums, terms);
            }
        }
    }
    let mut each = [[0.0; 3]; N];
    for ((each, sums), lines) in each.iter_mut().zip(sums).zip(lines) {
        let [of_p, of_c, of_square, _]: [f64; LANES] = pulp::cast(sums);
        *each = [of_p, of_c, of_square];
        let [x, w_p, w_c] = lines.map(|line| line.as_chunks::<LANES>().1);
        for ((x, w_p), w_c) in x.iter().zip(w_p).zip(w_c) {
            for (sum, term) in each.iter_mut().zip(terms([*x, *w_p, *w_c])) {
                *sum += term;
            }
        }
    }
    each
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Philox, Purpose};

    #[test]
    fn sums_are_those_of_one_number_after_the_other() {
        let numbers = Philox::new(8, Purpose::Drawing, 0, 0);
        let number = |i: usize| {
            let scale = 10f64.powi((i % 11) as i32 - 5);
            ((numbers.uniform(i as u64) - 0.5) * scale) as f32
        };
        let numbers: Vec<f32> = (0..12 * 1000).map(number).collect();
        for dim in [1, 3, 4, 31, 32, 33, 70, 1000] {
            let line = |at: usize| &numbers[at * 1000..][..dim];
            let lines: [Lines<'_>; 4] =
                std::array::from_fn(|i| [line(3 * i), line(3 * i + 1), line(3 * i + 2)]);
            let expected = lines.map(|[x, w_p, w_c]| {
                let mut sums = [0.0f64; 3];
                for at in 0..dim {
                    let [x, w_p, w_c] = [x[at], w_p[at], w_c[at]].map(f64::from);
                    sums[0] += x * w_p;
                    sums[1] += x * w_c;
                    sums[2] += (w_p - w_c) * (w_p - w_c);
                }
                sums.map(f64::to_bits)
            });
            let bits = |sums: Sums| sums.map(f64::to_bits);
            assert_eq!(boundary_sums(lines, dim).map(bits), expected, "{dim}");
            assert_eq!(plain(lines).map(bits), expected, "{dim}");
            let [first, ..] = lines;
            assert_eq!(boundary_sums([first], dim).map(bits), [expected[0]]);
        }
    }
}
