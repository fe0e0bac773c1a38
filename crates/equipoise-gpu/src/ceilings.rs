//! What a device can do at most, measured on it: what its kernels are held against.

use std::cell::Cell;
use std::time::{Duration, Instant};

use bytemuck::bytes_of;
use equipoise_shaders::{
    Feature, PEAK_COPY, PEAK_FMA, PEAK_MATRIX_8, PEAK_MATRIX_16, PeakParameters, Shader, peak_copy,
    peak_fma, peak_matrix_8, peak_matrix_16,
};
use wgpu::{Buffer, BufferUsages, CommandEncoder, Features, SubmissionIndex};

use crate::device::Context;
use crate::facts::Facts;
use crate::kernels::{Checks, Kernel, first_bytes};
use crate::scorer::DEPTH;
use crate::upload::Upload;
use crate::{Gpu, GpuError, Timer};

/// Workgroups that keep any device busy: eight for each of some 130 processors.
const GROUPS: u32 = 1024;

/// Bytes copied in a dispatch, and sent at a time: several times what caches hold.
const BYTES: u64 = 256 << 20;

/// As `BYTES` on a software adapter.
const SOFTWARE_BYTES: u64 = 8 << 20;

/// Most times that work is repeated in one measurement.
const MOST_ROUNDS: u32 = 1 << 20;

/// A device's ceilings.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Ceilings {
    /// f32 operations a second by the lanes, in 10⁹; a multiply-add is two.
    pub fma_gflops: f64,
    /// f16 operations with f32 sums by matrix cores, in 10⁹; none where there are no such cores, or
    /// their subgroups vary in size.
    pub matrix_gflops: Option<f64>,
    /// Bytes a second read plus written by a copy within the device's memory, in 10⁹.
    pub copy_gbytes: f64,
    /// Bytes a second from host memory to the device, in 10⁹, by the way that a scan's embeddings take.
    pub upload_gbytes: f64,
    /// Whether the first three were timed by the device's clock, and not the host's.
    pub device_clock: bool,
}

impl Ceilings {
    /// Measures `gpu`, for about `budget` in all (on a software adapter, longer).
    ///
    /// # Errors
    /// [`GpuError::OutOfMemory`] and [`GpuError::Failed`] where the device fails.
    pub fn measure(gpu: &Gpu, budget: Duration) -> Result<Self, GpuError> {
        let facts = Facts::of(&gpu.adapter, &gpu.device);
        let bench = Bench::new(gpu, &facts, budget / 4);
        Ok(Self {
            fma_gflops: bench.fma()?,
            matrix_gflops: bench.matrices(&facts)?,
            copy_gbytes: bench.copy(WIDEST)?,
            upload_gbytes: bench.upload()?,
            device_clock: !bench.by_host.get(),
        })
    }
}

/// Bytes that a lane loads and stores at once in the copy that is a ceiling.
const WIDEST: u64 = 16;

/// How fast `gpu` copies its own memory by loads and stores of 4, 8 and 16 bytes a lane, each for about `budget`: bytes of
/// a load, and bytes a second read plus written, in 10⁹.
///
/// # Errors
/// [`GpuError::OutOfMemory`] and [`GpuError::Failed`] where the device fails.
pub fn copy_by_width(gpu: &Gpu, budget: Duration) -> Result<Vec<(u64, f64)>, GpuError> {
    let bench = Bench::new(gpu, &Facts::of(&gpu.adapter, &gpu.device), budget);
    let widths = [4, 8, WIDEST].into_iter();
    widths
        .map(|width| Ok((width, bench.copy(width)?)))
        .collect()
}

struct Bench {
    context: Context,
    timer: Timer,
    /// Whether the device's clock was of no use for some of what has been timed.
    by_host: Cell<bool>,
    parameters: Buffer,
    /// Time for each ceiling.
    budget: Duration,
    bytes: u64,
    /// Most workgroups in one dimension.
    groups: u32,
}

impl Bench {
    fn new(gpu: &Gpu, facts: &Facts, budget: Duration) -> Self {
        let context = Context::new(gpu.device.clone(), gpu.queue.clone());
        let limits = gpu.device.limits();
        let most = match facts.software {
            true => SOFTWARE_BYTES,
            false => BYTES,
        };
        let bytes = most
            .min(limits.max_storage_buffer_binding_size)
            .min(limits.max_buffer_size);
        Self {
            timer: Timer::of(&context),
            by_host: Cell::new(false),
            parameters: context.buffer(
                "peak parameters",
                size_of::<PeakParameters>() as u64,
                BufferUsages::UNIFORM | BufferUsages::COPY_DST,
            ),
            context,
            budget,
            bytes: bytes & !15,
            groups: limits.max_compute_workgroups_per_dimension,
        }
    }

    fn storage(&self, label: &str, bytes: u64) -> Result<Buffer, GpuError> {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
        self.context
            .guarded(|| Ok(self.context.buffer(label, bytes, usage)))
    }

    /// Without checks, but for shaders of matrix cores: a test may have none to prove them on, and their loop reads no memory.
    fn kernel(&self, shader: &Shader) -> Result<Kernel, GpuError> {
        let checks = match shader.features.contains(&Feature::Matrices) {
            true => Checks::Full,
            false => Checks::Proven,
        };
        let compile = || Ok(Kernel::new(&self.context, shader, checks));
        self.context.guarded(compile)
    }

    fn time(
        &self,
        record: impl FnOnce(&mut CommandEncoder) -> Result<(), GpuError>,
    ) -> Result<Duration, GpuError> {
        let time = self.timer.measure(record)?;
        self.by_host
            .set(self.by_host.get() || time.device.is_none());
        Ok(time.best())
    }

    /// The most of `amount` a second, in 10⁹, of work that `run` does as often as it is told. It is
    /// told more until a run takes an eighth of the budget.
    fn best(
        &self,
        amount: f64,
        mut run: impl FnMut(u32) -> Result<Duration, GpuError>,
    ) -> Result<f64, GpuError> {
        let start = Instant::now();
        let (mut rounds, mut best) = (1, 0.0f64);
        // The first wakes the device up.
        run(rounds)?;
        loop {
            let took = run(rounds)?;
            best = best.max(1e-9 * amount * f64::from(rounds) / took.as_secs_f64());
            if start.elapsed() >= self.budget {
                return Ok(best);
            }
            if took < self.budget / 8 {
                rounds = (rounds * 4).min(MOST_ROUNDS);
            }
        }
    }

    /// As `best`, for a kernel that repeats the work itself.
    fn best_of_kernel(&self, shader: &Shader, amount: f64) -> Result<f64, GpuError> {
        let kernel = self.kernel(shader)?;
        let results = self.storage("peak results", 4 * u64::from(shader.workgroup_size[0]))?;
        self.best(amount * f64::from(GROUPS), |rounds| {
            self.context.write(
                &self.parameters,
                bytes_of(&PeakParameters {
                    rounds,
                    // Sums stay small.
                    factor: 0.99,
                    summand: 0.001,
                    ..Default::default()
                }),
            );
            let resources = [
                self.parameters.as_entire_binding(),
                results.as_entire_binding(),
            ];
            self.time(|encoder| {
                kernel.record(&self.context, encoder, &resources, [GROUPS, 1]);
                Ok(())
            })
        })
    }

    fn fma(&self) -> Result<f64, GpuError> {
        let operations = 2 * peak_fma::LANES * peak_fma::CHAINS * peak_fma::STEPS;
        self.best_of_kernel(&PEAK_FMA, operations.into())
    }

    fn matrices(&self, facts: &Facts) -> Result<Option<f64>, GpuError> {
        let features = Features::SHADER_F16 | Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        if !facts.features.contains(features) || facts.subgroup != Some(peak_matrix_16::SUBGROUP) {
            return Ok(None);
        }
        let (shader, size, backends) = match facts.multiplies(peak_matrix_16::SIZE) {
            true => (
                &PEAK_MATRIX_16,
                peak_matrix_16::SIZE,
                PEAK_MATRIX_16.backends,
            ),
            false => (&PEAK_MATRIX_8, peak_matrix_8::SIZE, PEAK_MATRIX_8.backends),
        };
        if !facts.multiplies(size) || !facts.runs(backends) {
            return Ok(None);
        }
        let subgroups = peak_matrix_16::LANES / peak_matrix_16::SUBGROUP;
        let operations = 2 * size.pow(3) * subgroups * peak_matrix_16::PRODUCTS;
        self.best_of_kernel(shader, operations.into()).map(Some)
    }

    /// By loads and stores of `width` bytes.
    fn copy(&self, width: u64) -> Result<f64, GpuError> {
        let kernel = match width {
            WIDEST => self.kernel(&PEAK_COPY)?,
            narrower => {
                let word = if narrower == 4 { "u32" } else { "vec2<u32>" };
                let source = PEAK_COPY.source.replace("vec4<u32>", word);
                let compile = || {
                    let (entry, checks) = (PEAK_COPY.entry, Checks::Full);
                    let label = "peak copy";
                    Ok(Kernel::of_source(
                        &self.context,
                        label,
                        &source,
                        entry,
                        checks,
                    ))
                };
                self.context.guarded(compile)?
            }
        };
        let of_group = width * u64::from(peak_copy::LANES * peak_copy::EACH);
        let bytes = self.bytes.min(of_group * u64::from(self.groups));
        let source = self.storage("copied", bytes)?;
        self.context.guarded(|| self.context.fill(&source))?;
        let target = self.storage("copy", bytes)?;
        let parameters = PeakParameters {
            count: (bytes / width) as u32,
            ..Default::default()
        };
        self.context.write(&self.parameters, bytes_of(&parameters));
        let groups = bytes.div_ceil(of_group) as u32;
        let resources = [
            self.parameters.as_entire_binding(),
            first_bytes(&source, bytes),
            first_bytes(&target, bytes),
        ];
        self.best(2.0 * bytes as f64, |rounds| {
            self.time(|encoder| {
                for _ in 0..rounds {
                    kernel.record(&self.context, encoder, &resources, [groups, 1]);
                }
                Ok(())
            })
        })
    }

    /// As a scan sends blocks: several in flight, each through memory of its own that all threads fill.
    fn upload(&self) -> Result<f64, GpuError> {
        let bytes = (self.bytes / 4) & !15;
        let data: Vec<u8> = (0..bytes).map(|i| i as u8).collect();
        let slots = (0..DEPTH).map(|_| Ok((Upload::default(), self.storage("uploaded", bytes)?)));
        let mut slots = slots.collect::<Result<Vec<_>, GpuError>>()?;
        self.best(bytes as f64, |rounds| {
            let start = Instant::now();
            self.context.guarded(|| {
                let mut submitted = Vec::new();
                for round in 0..rounds as usize {
                    if let Some(last) = round.checked_sub(DEPTH) {
                        self.context
                            .wait(Some(SubmissionIndex::clone(&submitted[last])))?;
                    }
                    let (upload, target) = &mut slots[round % DEPTH];
                    let mut encoder = self.context.encoder("upload");
                    upload.record(&self.context, &mut encoder, &data, target)?;
                    submitted.push(self.context.queue.submit([encoder.finish()]));
                }
                self.context.wait(None)
            })?;
            Ok(start.elapsed())
        })
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::{cast_slice, cast_slice_mut};

    use super::*;
    use crate::DeviceChoice;
    use crate::device::Growing;

    #[test]
    #[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
    fn every_ceiling_is_some_number() {
        let gpu = Gpu::open(&DeviceChoice::Any).expect("an adapter: see README, cargo xtask test");
        let found = Ceilings::measure(&gpu, Duration::from_millis(40)).expect("ceilings");
        let rates = [found.fma_gflops, found.copy_gbytes, found.upload_gbytes];
        let rates = rates.into_iter().chain(found.matrix_gflops);
        let widths = copy_by_width(&gpu, Duration::from_millis(10)).expect("rates");
        let bytes: Vec<u64> = widths.iter().map(|(width, _)| *width).collect();
        assert_eq!(bytes, [4, 8, 16]);
        let rates = rates.chain(widths.into_iter().map(|(_, rate)| rate));
        // From a processor's core to what no device reaches, 10¹⁷ a second.
        rates.for_each(|rate| assert!((1e-3..1e8).contains(&rate), "{found:?}"));
    }

    /// What their checks are left out on.
    #[test]
    #[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
    fn peak_kernels_write_their_results_and_nothing_else() {
        const GARBAGE: u32 = 0x7fc1_2345;
        const ZONE: usize = 4096;
        let gpu = Gpu::open(&DeviceChoice::Any).expect("an adapter: see README, cargo xtask test");
        let facts = Facts::of(&gpu.adapter, &gpu.device);
        let bench = Bench::new(&gpu, &facts, Duration::ZERO);
        let context = &bench.context;
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
        let run =
            |shader, parameters: PeakParameters, given: Option<&[u32]>, words: usize, groups| {
                let kernel = bench.kernel(shader).expect("a kernel");
                context.write(&bench.parameters, bytes_of(&parameters));
                let results = context.buffer("results", 4 * (words + ZONE) as u64, usage);
                let mut found = vec![GARBAGE; words + ZONE];
                context.write(&results, cast_slice(&found));
                let mut resources = vec![bench.parameters.as_entire_binding()];
                let source = given.map(|given| {
                    let buffer = context.buffer("source", 4 * (given.len() + ZONE) as u64, usage);
                    context.write(&buffer, cast_slice(given));
                    buffer
                });
                resources.extend(source.iter().map(Buffer::as_entire_binding));
                resources.push(results.as_entire_binding());
                let read = context.guarded(|| {
                    let mut encoder = context.encoder("peak");
                    kernel.record(context, &mut encoder, &resources, [groups, 1]);
                    let out = cast_slice_mut(&mut found);
                    context.submit_and_read(encoder, &results, &mut Growing::staging("read"), out)
                });
                read.expect("results");
                let (found, zone) = found.split_at(words);
                assert!(
                    zone.iter().all(|word| *word == GARBAGE),
                    "{}",
                    shader.name()
                );
                found.to_vec()
            };
        for count in [1, 255, 256, 257, 1024, 1025] {
            let given: Vec<u32> = (0..4 * count).collect();
            let parameters = PeakParameters {
                count,
                ..Default::default()
            };
            let found = run(&PEAK_COPY, parameters, Some(&given), given.len(), 3);
            assert_eq!(found, given);
        }
        let rounds = |rounds| PeakParameters {
            rounds,
            factor: 0.99,
            summand: 0.001,
            ..Default::default()
        };
        let lanes = peak_fma::LANES as usize;
        let some = facts.multiplies(peak_matrix_16::SIZE);
        let matrices =
            (bench.matrices(&facts).expect("a rate").is_some() && some).then_some(&PEAK_MATRIX_16);
        for shader in std::iter::once(&PEAK_FMA).chain(matrices) {
            for count in [0, 1, 3] {
                let found = run(shader, rounds(count), None, lanes, 3);
                assert!(found.iter().all(|word| *word != GARBAGE));
            }
        }
    }
}
