//! What this machine's processor can do at most, measured on it: what the CPU engine is held against.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use crate::vectorised::vectorised;

/// Chains of multiply-adds that do not wait for each other: more than two units of a latency of five
/// cycles keep busy, and as many as registers hold.
const CHAINS: usize = 12;

/// Bytes copied at a time: twice that is beyond the caches of most processors.
const BYTES: usize = 256 << 20;

/// Most times that work is repeated in one measurement.
const MOST_ROUNDS: usize = 1 << 40;

/// A processor's ceilings, of all threads of rayon's current pool together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CpuCeilings {
    /// f32 operations a second, in 10⁹; a multiply-add is two.
    pub fma_gflops: f64,
    /// Bytes a second read plus written by a copy from memory to memory, in 10⁹.
    pub copy_gbytes: f64,
}

impl CpuCeilings {
    /// Measures them, for about `budget` in all. Takes half a gigabyte of memory meanwhile.
    pub fn measure(budget: Duration) -> Self {
        let each = budget / 3;
        let narrow = best(each, multiply_add::<8>);
        let wide = best(each, multiply_add::<16>);
        Self {
            fma_gflops: narrow.max(wide),
            copy_gbytes: copy(each),
        }
    }
}

/// The most that `run` does a second, in 10⁹. It is told how often to repeat its work, more until a run
/// takes an eighth of the budget, and returns how much that was.
fn best(budget: Duration, mut run: impl FnMut(usize) -> f64) -> f64 {
    let start = Instant::now();
    let (mut rounds, mut best) = (1, 0.0f64);
    // The first wakes threads and pages up.
    run(rounds);
    loop {
        let began = Instant::now();
        let amount = run(rounds);
        let took = began.elapsed();
        best = best.max(1e-9 * amount / took.as_secs_f64().max(1e-9));
        if start.elapsed() >= budget {
            return best;
        }
        if took < budget / 8 {
            rounds = (rounds * 4).min(MOST_ROUNDS);
        }
    }
}

/// Every thread multiplies and adds, `rounds` thousand times on each of the chains' vectors of `LANES`
/// numbers. Returns the operations of all.
fn multiply_add<const LANES: usize>(rounds: usize) -> f64 {
    let steps = rounds * 1000;
    let fused = is_fused();
    rayon::broadcast(|_| {
        vectorised(
            #[inline(always)]
            || match fused {
                true => chains::<LANES>(steps, |x, a, b| x.mul_add(a, b)),
                false => chains::<LANES>(steps, |x, a, b| x * a + b),
            },
        )
    });
    2.0 * (LANES * CHAINS * steps * rayon::current_num_threads()) as f64
}

/// Whether a multiply-add is one instruction; where it is not, a library's function is far slower than
/// two instructions.
fn is_fused() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    return cfg!(target_arch = "aarch64");
}

#[inline(always)]
fn chains<const LANES: usize>(steps: usize, step: impl Fn(f32, f32, f32) -> f32) {
    // Numbers that the compiler does not know to be equal, nor to converge.
    let mut sums = black_box([[0.5f32; LANES]; CHAINS]);
    let (factor, summand) = black_box((0.99f32, 0.001f32));
    for _ in 0..steps {
        for sum in &mut sums {
            for lane in sum {
                *lane = step(*lane, factor, summand);
            }
        }
    }
    black_box(sums);
}

fn copy(budget: Duration) -> f64 {
    let source: Vec<u8> = (0..BYTES).into_par_iter().map(|i| i as u8).collect();
    let mut target = vec![0u8; BYTES];
    let piece = BYTES.div_ceil(rayon::current_num_threads());
    best(budget, |rounds| {
        let pieces = target.par_chunks_mut(piece).zip(source.par_chunks(piece));
        pieces.for_each(|(target, source)| {
            for _ in 0..rounds {
                target.copy_from_slice(source);
                black_box(&mut *target);
            }
        });
        2.0 * (BYTES * rounds) as f64
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ceilings_are_some_number() {
        let found = CpuCeilings::measure(Duration::from_millis(30));
        // From one slow core to what no machine reaches, 10¹⁵ a second.
        for rate in [found.fma_gflops, found.copy_gbytes] {
            assert!((0.05..1e6).contains(&rate), "{found:?}");
        }
    }
}
