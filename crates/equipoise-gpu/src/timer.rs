//! How long work takes on a device.

use std::time::{Duration, Instant};

use wgpu::{BufferUsages, CommandEncoder, Features};

use crate::GpuError;
use crate::device::{Context, Growing};

/// What timing on the device needs.
const NEEDED: Features = Features::TIMESTAMP_QUERY.union(Features::TIMESTAMP_QUERY_INSIDE_ENCODERS);

/// Bytes of the two timestamps.
const BYTES: u64 = 16;

/// Times work by the device's own clock where it has one, by the host's otherwise: then the time
/// holds the submission too, so give it a few milliseconds of work.
#[derive(Debug)]
pub struct Timer {
    context: Context,
    queries: Option<Queries>,
}

#[derive(Debug)]
struct Queries {
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    /// Nanoseconds of a tick.
    period: f64,
}

/// How long work took, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkTime {
    /// From the submission until the host knew of its end.
    pub host: Duration,
    /// By the device's own clock; none where it has none, or where that stood still, ran backwards or told more than
    /// the host waited.
    pub device: Option<Duration>,
}

impl WorkTime {
    /// The device's time where it is known, the host's otherwise.
    pub fn best(&self) -> Duration {
        self.device.unwrap_or(self.host)
    }
}

impl Timer {
    /// A timer of a device.
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        Self::of(&Context::new(device.clone(), queue.clone()))
    }

    pub(crate) fn of(context: &Context) -> Self {
        let queries = || Queries {
            set: context.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("timestamps"),
                ty: wgpu::QueryType::Timestamp,
                count: 2,
            }),
            resolved: context.buffer(
                "timestamps",
                BYTES,
                BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC,
            ),
            period: context.queue.get_timestamp_period().into(),
        };
        let features = context.device.features();
        Self {
            queries: features.contains(NEEDED).then(queries),
            context: context.clone(),
        }
    }

    /// Whether the device's clock is read. What it says may still be of no use: [`Self::measure`] tells.
    pub fn on_device(&self) -> bool {
        self.queries.is_some()
    }

    /// Submits what `record` records, and returns how long it took, by the device's clock where that is of use.
    ///
    /// # Errors
    /// [`GpuError::Failed`] and [`GpuError::OutOfMemory`] where the work or the device fails.
    pub fn time(
        &self,
        record: impl FnOnce(&mut CommandEncoder) -> Result<(), GpuError>,
    ) -> Result<Duration, GpuError> {
        self.measure(record).map(|time| time.best())
    }

    /// As [`Self::time`], by both clocks.
    ///
    /// # Errors
    /// As [`Self::time`].
    pub fn measure(
        &self,
        record: impl FnOnce(&mut CommandEncoder) -> Result<(), GpuError>,
    ) -> Result<WorkTime, GpuError> {
        self.context.guarded(|| self.timed(record))
    }

    fn timed(
        &self,
        record: impl FnOnce(&mut CommandEncoder) -> Result<(), GpuError>,
    ) -> Result<WorkTime, GpuError> {
        // What was submitted before is none of this work's time.
        self.context.queue.submit([]);
        self.context.wait(None)?;
        let mut encoder = self.context.encoder("timed");
        let Some(queries) = &self.queries else {
            record(&mut encoder)?;
            let start = Instant::now();
            self.context.queue.submit([encoder.finish()]);
            self.context.wait(None)?;
            return Ok(WorkTime {
                host: start.elapsed(),
                device: None,
            });
        };
        encoder.write_timestamp(&queries.set, 0);
        record(&mut encoder)?;
        encoder.write_timestamp(&queries.set, 1);
        encoder.resolve_query_set(&queries.set, 0..2, &queries.resolved, 0);
        let mut ticks = [0u64; 2];
        let bytes = bytemuck::cast_slice_mut(&mut ticks);
        let start = Instant::now();
        let mut staging = Growing::staging("timestamps read");
        self.context
            .submit_and_read(encoder, &queries.resolved, &mut staging, bytes)?;
        let host = start.elapsed();
        let device = ticks[1].wrapping_sub(ticks[0]) as f64 * queries.period * 1e-9;
        // Clocks that stand still or run backwards exist: work takes some time, and no more than
        // the host waited.
        let sound = device > 0.0 && device <= host.as_secs_f64();
        Ok(WorkTime {
            host,
            device: sound.then(|| Duration::from_secs_f64(device)),
        })
    }
}
