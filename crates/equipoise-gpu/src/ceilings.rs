//! What a device can do at most, measured on it: what its kernels are held against.

use std::time::{Duration, Instant};

use bytemuck::bytes_of;
use equipoise_shaders::{
    PEAK_COPY, PEAK_FMA, PEAK_MATRIX_8, PEAK_MATRIX_16, PeakParameters, Shader, peak_copy,
    peak_fma, peak_matrix_8, peak_matrix_16,
};
use wgpu::{Buffer, BufferUsages, Features};

use crate::device::Context;
use crate::facts::Facts;
use crate::kernels::{Checks, Kernel, first_bytes};
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
pub struct Ceilings {
    /// f32 operations a second by the lanes, in 10⁹; a multiply-add is two.
    pub fma_gflops: f64,
    /// f16 operations with f32 sums by matrix cores, in 10⁹; none where there are no such cores, or
    /// their subgroups vary in size.
    pub matrix_gflops: Option<f64>,
    /// Bytes a second read plus written by a copy within the device's memory, in 10⁹.
    pub copy_gbytes: f64,
    /// Bytes a second from host memory to the device, in 10⁹, by the way that embeddings take.
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
        let context = Context::new(gpu.device.clone(), gpu.queue.clone());
        let facts = Facts::of(&gpu.adapter, &gpu.device);
        let limits = gpu.device.limits();
        let most = match facts.software {
            true => SOFTWARE_BYTES,
            false => BYTES,
        };
        let bytes = most
            .min(limits.max_storage_buffer_binding_size)
            .min(limits.max_buffer_size);
        let bench = Bench {
            timer: Timer::of(&context),
            parameters: context.buffer(
                "peak parameters",
                size_of::<PeakParameters>() as u64,
                BufferUsages::UNIFORM | BufferUsages::COPY_DST,
            ),
            context,
            budget: budget / 4,
            bytes: bytes & !15,
        };
        Ok(Self {
            fma_gflops: bench.fma()?,
            matrix_gflops: bench.matrices(&facts)?,
            copy_gbytes: bench.copy()?,
            upload_gbytes: bench.upload()?,
            device_clock: bench.timer.on_device(),
        })
    }
}

struct Bench {
    context: Context,
    timer: Timer,
    parameters: Buffer,
    /// Time for each ceiling.
    budget: Duration,
    bytes: u64,
}

impl Bench {
    fn storage(&self, label: &str, bytes: u64) -> Result<Buffer, GpuError> {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
        self.context
            .guarded(|| Ok(self.context.buffer(label, bytes, usage)))
    }

    fn kernel(&self, shader: &Shader) -> Result<Kernel, GpuError> {
        let compile = || Ok(Kernel::new(&self.context, shader, Checks::Proven));
        self.context.guarded(compile)
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
            self.timer.time(|encoder| {
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

    fn copy(&self) -> Result<f64, GpuError> {
        let kernel = self.kernel(&PEAK_COPY)?;
        let source = self.storage("copied", self.bytes)?;
        self.context.fill(&source);
        let target = self.storage("copy", self.bytes)?;
        let count = (self.bytes / 16) as u32;
        let parameters = PeakParameters {
            count,
            ..Default::default()
        };
        self.context.write(&self.parameters, bytes_of(&parameters));
        let groups = count.div_ceil(peak_copy::LANES * peak_copy::EACH);
        let resources = [
            self.parameters.as_entire_binding(),
            first_bytes(&source, self.bytes),
            first_bytes(&target, self.bytes),
        ];
        self.best(2.0 * self.bytes as f64, |rounds| {
            self.timer.time(|encoder| {
                for _ in 0..rounds {
                    kernel.record(&self.context, encoder, &resources, [groups, 1]);
                }
                Ok(())
            })
        })
    }

    fn upload(&self) -> Result<f64, GpuError> {
        let bytes = (self.bytes / 4) & !15;
        let target = self.storage("uploaded", bytes)?;
        let data: Vec<u8> = (0..bytes).map(|i| i as u8).collect();
        self.best(bytes as f64, |rounds| {
            let start = Instant::now();
            for _ in 0..rounds {
                self.context.guarded(|| {
                    self.context.write(&target, &data);
                    self.context.queue.submit([]);
                    self.context.wait(None)
                })?;
            }
            Ok(start.elapsed())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DeviceChoice;

    #[test]
    #[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
    fn every_ceiling_is_some_number() {
        let gpu = Gpu::open(&DeviceChoice::Any).expect("an adapter: see README, cargo xtask test");
        let found = Ceilings::measure(&gpu, Duration::from_millis(40)).expect("ceilings");
        let rates = [found.fma_gflops, found.copy_gbytes, found.upload_gbytes];
        let rates = rates.into_iter().chain(found.matrix_gflops);
        // From a processor's core to what no device reaches, 10¹⁷ a second.
        rates.for_each(|rate| assert!((1e-3..1e8).contains(&rate), "{found:?}"));
    }
}
