//! What this machine's processor can do at most, measured on it: what the CPU engine is held against.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rayon::prelude::*;

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
        let rates = STEPS.iter().filter(|step| (step.is_able)());
        let rates = rates.map(|step| best(each / 2, |rounds| multiply_add(step, rounds)));
        Self {
            fma_gflops: rates.fold(0.0, f64::max),
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

/// A way to multiply and add.
struct Step {
    /// Whether this processor has it.
    is_able: fn() -> bool,
    /// Operations of one of the chains' steps.
    operations: usize,
    /// Runs so many steps of each chain.
    run: fn(usize),
}

/// Each way that there is: instructions by name, since compilers do not turn loops over arrays into them everywhere.
const STEPS: &[Step] = &[
    Step {
        is_able: || true,
        operations: 2 * 8,
        run: plain::run,
    },
    #[cfg(target_arch = "x86_64")]
    Step {
        is_able: || is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
        operations: 2 * 8,
        // SAFETY: only called where `is_able` says so.
        run: |steps| unsafe { x86::run_256(steps) },
    },
    #[cfg(target_arch = "x86_64")]
    Step {
        is_able: || is_x86_feature_detected!("avx512f"),
        operations: 2 * 16,
        // SAFETY: as above.
        run: |steps| unsafe { x86::run_512(steps) },
    },
];

/// Every thread multiplies and adds, `rounds` thousand times on each of the chains. Returns the operations of all.
fn multiply_add(step: &Step, rounds: usize) -> f64 {
    let steps = rounds * 1000;
    rayon::broadcast(|_| (step.run)(steps));
    (step.operations * CHAINS * steps * rayon::current_num_threads()) as f64
}

/// Numbers that the compiler does not know to be equal, nor to converge.
const FIRST: f32 = 0.5;
const FACTOR: f32 = 0.99;
const SUMMAND: f32 = 0.001;

mod plain {
    use super::*;

    /// Of vectors as the compiler makes them.
    pub(super) fn run(steps: usize) {
        let mut sums = black_box([[FIRST; 8]; CHAINS]);
        let (factor, summand) = black_box((FACTOR, SUMMAND));
        for _ in 0..steps {
            for sum in &mut sums {
                for lane in sum {
                    *lane = match cfg!(target_arch = "aarch64") {
                        // One instruction there; elsewhere it may be a library's function.
                        true => lane.mul_add(factor, summand),
                        false => *lane * factor + summand,
                    };
                }
            }
        }
        black_box(sums);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_set1_ps, _mm512_fmadd_ps, _mm512_set1_ps};

    use super::*;

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn run_256(steps: usize) {
        let mut sums = [_mm256_set1_ps(black_box(FIRST)); CHAINS];
        let factor = _mm256_set1_ps(black_box(FACTOR));
        let summand = _mm256_set1_ps(black_box(SUMMAND));
        for _ in 0..steps {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, factor, summand);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn run_512(steps: usize) {
        let mut sums = [_mm512_set1_ps(black_box(FIRST)); CHAINS];
        let factor = _mm512_set1_ps(black_box(FACTOR));
        let summand = _mm512_set1_ps(black_box(SUMMAND));
        for _ in 0..steps {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, factor, summand);
            }
        }
        black_box(sums);
    }
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
