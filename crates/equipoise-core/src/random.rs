//! Counter-based random numbers: Philox4x32-10 (Salmon et al., *Parallel random numbers: as easy as
//! 1, 2, 3*, SC 2011), keyed by the seed and counted by purpose, round, step and row, so that a
//! number does not depend on which were drawn before it, nor where.

/// What the numbers are for: each purpose has a stream of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// Random picks.
    Picks = 1,
    /// Splitting labelled rows into training and validation.
    Validation = 2,
    /// Order and augmentation of training batches.
    Training = 3,
    /// Images the program draws.
    Drawing = 4,
    /// Initial weights.
    Weights = 5,
    /// Picks of BADGE.
    Badge = 6,
    /// Partitions.
    Partitions = 7,
    /// Picks that are random within a class.
    BalancedPicks = 8,
    /// Which rows are clustered, of too many.
    Clustering = 9,
    /// Picks while the labelled set is balanced enough.
    Balancing = 10,
    /// Which rows of a simulation are labelled at first.
    Initial = 11,
    /// Which rows of a simulation are held out to choose the best epoch.
    Evaluation = 12,
    /// Which rows stay in a pool that is made uneven.
    Imbalance = 13,
    /// How images are changed at random while a network learns.
    Augmentation = 14,
    /// In which order VAAL sees images.
    Vaal = 15,
    /// The noise of VAAL's autoencoder.
    VaalNoise = 16,
}

/// A stream of random numbers for one seed, purpose, round and step.
#[derive(Debug, Clone, Copy)]
pub struct Philox {
    key: [u32; 2],
    stream: [u32; 2],
}

impl Philox {
    /// The stream of `purpose` in `round` (its low 24 bits count) and `step`.
    pub fn new(seed: u64, purpose: Purpose, round: u32, step: u32) -> Self {
        Self {
            key: [seed as u32, (seed >> 32) as u32],
            stream: [step, (purpose as u32) << 24 | (round & 0x00FF_FFFF)],
        }
    }

    /// Four random words for `row`.
    pub fn words(&self, row: u64) -> [u32; 4] {
        let counter = [
            row as u32,
            (row >> 32) as u32,
            self.stream[0],
            self.stream[1],
        ];
        philox4x32(counter, self.key)
    }

    /// 64 random bits for `row`.
    pub fn bits(&self, row: u64) -> u64 {
        let [low, high, ..] = self.words(row);
        u64::from(high) << 32 | u64::from(low)
    }

    /// [`Philox::bits`] of [`TOGETHER`] consecutive rows, `first` a multiple of it.
    #[inline(always)]
    pub(crate) fn bits_of(&self, first: u64, out: &mut [u64; TOGETHER]) {
        let mut counters = [[0u32; TOGETHER]; 4];
        for (lane, low) in (0..).zip(&mut counters[0]) {
            *low = first as u32 | lane;
        }
        counters[1] = [(first >> 32) as u32; TOGETHER];
        counters[2] = [self.stream[0]; TOGETHER];
        counters[3] = [self.stream[1]; TOGETHER];
        let mut key = self.key;
        for _ in 0..ROUNDS {
            let [a, b, c, d] = counters;
            for lane in 0..TOGETHER {
                let product = u64::from(MULTIPLIERS[0]) * u64::from(a[lane]);
                let other = u64::from(MULTIPLIERS[1]) * u64::from(c[lane]);
                counters[0][lane] = (other >> 32) as u32 ^ b[lane] ^ key[0];
                counters[1][lane] = other as u32;
                counters[2][lane] = (product >> 32) as u32 ^ d[lane] ^ key[1];
                counters[3][lane] = product as u32;
            }
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        for (lane, out) in out.iter_mut().enumerate() {
            *out = u64::from(counters[1][lane]) << 32 | u64::from(counters[0][lane]);
        }
    }

    /// A number in [0, 1) for `row`, a multiple of 2⁻⁵³.
    pub fn uniform(&self, row: u64) -> f64 {
        (self.bits(row) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// 0..n in random order: sorted by 64 random bits, ties by number.
    pub fn permutation(&self, n: usize) -> Vec<usize> {
        let mut keyed: Vec<(u64, usize)> = (0..n).map(|i| (self.bits(i as u64), i)).collect();
        keyed.sort_unstable();
        keyed.into_iter().map(|(_, i)| i).collect()
    }
}

/// Rows whose numbers are made side by side.
pub(crate) const TOGETHER: usize = 16;

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// The block function.
fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    let wide = |a: u32, b: u32| {
        let product = u64::from(a) * u64::from(b);
        ((product >> 32) as u32, product as u32)
    };
    for _ in 0..ROUNDS {
        let (high0, low0) = wide(MULTIPLIERS[0], counter[0]);
        let (high1, low1) = wide(MULTIPLIERS[1], counter[2]);
        counter = [
            high1 ^ counter[1] ^ key[0],
            low1,
            high0 ^ counter[3] ^ key[1],
            low0,
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers published with Random123 (kat_vectors, philox4x32 10).
    #[test]
    fn philox_gives_the_published_answers() {
        assert_eq!(
            philox4x32([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox4x32([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox4x32(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn several_at_a_time_are_the_same() {
        let stream = Philox::new(0x1234_5678_9abc, Purpose::Badge, 3, 77);
        for first in [0u64, 16, (1 << 32) - 16, 1 << 33] {
            let mut found = [0; TOGETHER];
            stream.bits_of(first, &mut found);
            let expected: Vec<u64> = (first..first + 16).map(|row| stream.bits(row)).collect();
            assert_eq!(found[..], expected);
        }
    }

    #[test]
    fn streams_differ_and_permutations_hold_every_number() {
        let a = Philox::new(1, Purpose::Picks, 0, 0);
        let b = Philox::new(1, Purpose::Picks, 1, 0);
        assert_ne!(a.words(5), b.words(5));
        let mut order = a.permutation(100);
        assert_ne!(order, (0..100).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }
}
