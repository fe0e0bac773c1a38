//! Buffers and submissions on one device, with its failures turned into errors.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use wgpu::{Buffer, BufferUsages, CommandEncoder, ErrorFilter, SubmissionIndex};

use crate::GpuError;

/// How long memory may take to be mapped when nothing is in flight that uses it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of what is sent whole that wait in the host's memory at a time.
pub(crate) const SENT: usize = 4 << 20;

/// How long to wait before looking at the device once more.
const GLANCE: Duration = Duration::from_micros(200);

/// A device and its queue.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    counts: Arc<Counts>,
}

/// Bytes that went between host and device.
#[derive(Debug, Default)]
struct Counts {
    to_device: AtomicU64,
    to_host: AtomicU64,
}

/// Bytes that an engine moved between the host's memory and the device's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transfers {
    /// From the host to the device.
    pub to_device: u64,
    /// From the device to the host.
    pub to_host: u64,
}

impl Context {
    pub(crate) fn new(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        Self {
            device,
            queue,
            counts: Arc::default(),
        }
    }

    /// Whether this and `other` are clones of one context. Devices of two instances may compare equal in wgpu.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.counts, &other.counts)
    }

    /// What this context and its clones moved so far.
    pub(crate) fn transfers(&self) -> Transfers {
        Transfers {
            to_device: self.counts.to_device.load(Ordering::Relaxed),
            to_host: self.counts.to_host.load(Ordering::Relaxed),
        }
    }

    /// Counts bytes that are sent to the device.
    pub(crate) fn count_sent(&self, bytes: u64) {
        self.counts.to_device.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Runs `work`, and returns the errors that wgpu reports meanwhile on this thread, which
    /// would otherwise panic.
    pub(crate) fn guarded<T>(
        &self,
        work: impl FnOnce() -> Result<T, GpuError>,
    ) -> Result<T, GpuError> {
        let internal = self.device.push_error_scope(ErrorFilter::Internal);
        let validation = self.device.push_error_scope(ErrorFilter::Validation);
        let memory = self.device.push_error_scope(ErrorFilter::OutOfMemory);
        let result = work();
        // Innermost first. Without memory, validation complains of what could not be made.
        let memory = pollster::block_on(memory.pop());
        let validation = pollster::block_on(validation.pop());
        let internal = pollster::block_on(internal.pop());
        match memory.or(validation).or(internal) {
            Some(error) => Err(described(&error)),
            None => result,
        }
    }

    /// As [`Self::guarded`], for work with buffers that somebody else made. wgpu reports those of another device. With
    /// those of another instance it panics, or, as ids are numbers, takes a buffer of this one.
    pub(crate) fn guarded_foreign<T>(
        &self,
        work: impl FnOnce() -> Result<T, GpuError>,
    ) -> Result<T, GpuError> {
        let unfit = |why: &str| GpuError::Rows {
            reason: format!("{why} (hint: buffers have to be of the device that the engine is on)"),
        };
        match std::panic::catch_unwind(AssertUnwindSafe(|| self.guarded(work))) {
            Ok(Err(GpuError::Failed { message })) => Err(unfit(&message)),
            Ok(done) => done,
            Err(_) => Err(unfit("their buffer is of another wgpu instance")),
        }
    }

    /// Has wgpu look at commands with somebody else's buffers, and with a word of ours. They are not submitted.
    pub(crate) fn try_foreign(
        &self,
        record: impl FnOnce(&mut CommandEncoder, &Buffer),
    ) -> Result<(), GpuError> {
        self.guarded_foreign(|| {
            let usage = BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
            let word = self.buffer("a word", 4, usage);
            let mut encoder = self.encoder("commands that are not submitted");
            record(&mut encoder, &word);
            drop(encoder.finish());
            Ok(())
        })
    }

    /// A buffer of `bytes`, rounded up to whole words.
    pub(crate) fn buffer(&self, label: &str, bytes: u64, usage: BufferUsages) -> Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes.next_multiple_of(4).max(4),
            usage,
            mapped_at_creation: false,
        })
    }

    /// Writes `bytes` to the beginning of `buffer`; a last part of a word is filled with zeros. wgpu keeps a copy of them
    /// in the host's memory until commands that were submitted later are done.
    pub(crate) fn write(&self, buffer: &Buffer, bytes: &[u8]) {
        self.write_at(buffer, 0, bytes);
    }

    /// [`Self::write`], from a multiple of 4 bytes of `buffer` on.
    fn write_at(&self, buffer: &Buffer, offset: u64, bytes: &[u8]) {
        self.count_sent(bytes.len() as u64);
        let (words, rest) = bytes.split_at(bytes.len() & !3);
        if !words.is_empty() {
            self.queue.write_buffer(buffer, offset, words);
        }
        if !rest.is_empty() {
            let mut word = [0; 4];
            word[..rest.len()].copy_from_slice(rest);
            let offset = offset + words.len() as u64;
            self.queue.write_buffer(buffer, offset, &word);
        }
    }

    /// Writes `bytes` to `buffer` from a multiple of 4 bytes on, piece by piece, and waits for each, so that no more than
    /// [`SENT`] bytes of them are in the host's memory twice.
    pub(crate) fn send(&self, buffer: &Buffer, offset: u64, bytes: &[u8]) -> Result<(), GpuError> {
        let pieces = (offset..).step_by(SENT).zip(bytes.chunks(SENT));
        for (offset, piece) in pieces {
            self.write_at(buffer, offset, piece);
            let submission = self.queue.submit([]);
            self.wait(Some(submission))?;
        }
        Ok(())
    }

    /// A uniform buffer that holds `bytes`.
    pub(crate) fn uniform(&self, label: &str, bytes: &[u8]) -> Buffer {
        let buffer = self.buffer(
            label,
            bytes.len() as u64,
            BufferUsages::UNIFORM | BufferUsages::COPY_DST,
        );
        self.write(&buffer, bytes);
        buffer
    }

    /// Fills the buffer with numbers of which no two neighbours are equal: hardware may save power, and
    /// gain speed, on zeros.
    pub(crate) fn fill(&self, buffer: &Buffer) -> Result<(), GpuError> {
        // As f32 between 2⁻⁹ and 2⁻⁸; as f16, in either half, between a half and 1.
        let words: Vec<u32> = (0..1u32 << 16)
            .map(|i| 0x3b00_3800 | (i.wrapping_mul(0x9e37_79b9) >> 9 & 0x007f_03ff))
            .collect();
        let bytes: &[u8] = bytemuck::cast_slice(&words);
        let usage = BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let piece = self.buffer("numbers to fill with", bytes.len() as u64, usage);
        self.send(&piece, 0, bytes)?;
        let mut encoder = self.encoder("fill");
        for start in (0..buffer.size()).step_by(bytes.len()) {
            let bytes = piece.size().min(buffer.size() - start);
            encoder.copy_buffer_to_buffer(&piece, 0, buffer, start, bytes);
        }
        self.queue.submit([encoder.finish()]);
        Ok(())
    }

    pub(crate) fn encoder(&self, label: &str) -> CommandEncoder {
        self.device
            .create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some(label) })
    }

    /// Asks for the first `bytes` of `buffer`, which the host reads: [`Mapping::finish`] waits for
    /// everything submitted before.
    pub(crate) fn map(&self, buffer: &Buffer, bytes: u64, mode: wgpu::MapMode) -> Mapping {
        if mode == wgpu::MapMode::Read {
            self.counts.to_host.fetch_add(bytes, Ordering::Relaxed);
        }
        let (sender, receiver) = mpsc::channel();
        buffer.map_async(mode, ..bytes.max(4), move |result| {
            // The receiver is gone only if nobody waits any more.
            let _ = sender.send(result);
        });
        Mapping { receiver }
    }

    /// Submits `encoder`, followed by a copy of the first `out.len()` bytes of `source` to `out`.
    pub(crate) fn submit_and_read(
        &self,
        mut encoder: CommandEncoder,
        source: &Buffer,
        staging: &mut Growing,
        out: &mut [u8],
    ) -> Result<(), GpuError> {
        let bytes = out.len() as u64;
        let target = staging.at_least(self, bytes).clone();
        encoder.copy_buffer_to_buffer(source, 0, &target, 0, bytes);
        let submission = self.queue.submit([encoder.finish()]);
        let mapping = self.map(&target, bytes, wgpu::MapMode::Read);
        mapping.finish(self, Some(submission))?;
        let view = target.get_mapped_range(..bytes).map_err(|_| unreadable())?;
        out.copy_from_slice(&view);
        drop(view);
        target.unmap();
        Ok(())
    }

    /// Waits for one submission, or for everything submitted.
    pub(crate) fn wait(&self, submission: Option<SubmissionIndex>) -> Result<(), GpuError> {
        self.poll(wgpu::PollType::Wait {
            submission_index: submission,
            timeout: None,
        })
    }

    /// Has the device say what is done, without waiting for anything.
    pub(crate) fn look(&self) -> Result<(), GpuError> {
        self.poll(wgpu::PollType::Poll)
    }

    fn poll(&self, what: wgpu::PollType) -> Result<(), GpuError> {
        // wgpu panics here where the device is lost; a lost device is an error of ours.
        let poll = || self.device.poll(what);
        let lost = |_| GpuError::Failed {
            message: "the device is lost".into(),
        };
        let polled = std::panic::catch_unwind(AssertUnwindSafe(poll)).map_err(lost)?;
        polled.map(drop).map_err(|error| GpuError::Failed {
            message: error.to_string(),
        })
    }
}

/// A buffer on its way to the host.
#[derive(Debug)]
pub(crate) struct Mapping {
    receiver: mpsc::Receiver<Result<(), wgpu::BufferAsyncError>>,
}

impl Mapping {
    /// Waits for `submission`, after which the buffer is mapped.
    pub(crate) fn finish(
        self,
        context: &Context,
        submission: Option<SubmissionIndex>,
    ) -> Result<(), GpuError> {
        context.wait(submission)?;
        self.finish_soon(context)
    }

    /// Waits until the buffer is mapped, of which nothing is in flight. Whichever thread looked at the device last
    /// says so: another one's may be about to.
    pub(crate) fn finish_soon(self, context: &Context) -> Result<(), GpuError> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            match self.receiver.recv_timeout(GLANCE) {
                Ok(mapped) => return mapped.map_err(|_| unreadable()),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(unreadable()),
                Err(mpsc::RecvTimeoutError::Timeout) => context.look()?,
            }
        }
        Err(unreadable())
    }
}

/// The error of memory that should be mapped and is not.
pub(crate) fn unreadable() -> GpuError {
    GpuError::Failed {
        message: "its memory cannot be mapped: the device may be lost".into(),
    }
}

fn described(error: &wgpu::Error) -> GpuError {
    // wgpu draws its causes over several lines.
    let text = error.to_string();
    let message = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match error {
        wgpu::Error::OutOfMemory { .. } => GpuError::OutOfMemory { message },
        _ => GpuError::Failed { message },
    }
}

/// A buffer that is made anew, larger, when it is too small.
#[derive(Debug)]
pub(crate) struct Growing {
    label: &'static str,
    usage: BufferUsages,
    buffer: Option<Buffer>,
}

impl Growing {
    /// A buffer that shaders use and copies read and write.
    pub(crate) fn storage(label: &'static str) -> Self {
        Self {
            label,
            usage: BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC,
            buffer: None,
        }
    }

    /// A buffer that the host reads.
    pub(crate) fn staging(label: &'static str) -> Self {
        Self {
            label,
            usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
            buffer: None,
        }
    }

    /// The buffer, of at least `bytes`; what it held is lost if it has to grow.
    pub(crate) fn at_least(&mut self, context: &Context, bytes: u64) -> &Buffer {
        if self.buffer.as_ref().is_some_and(|has| has.size() < bytes) {
            // Freed first: both may not fit.
            self.buffer = None;
        }
        let (label, usage) = (self.label, self.usage);
        self.buffer
            .get_or_insert_with(|| context.buffer(label, bytes, usage))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeviceChoice, Gpu};

    #[test]
    #[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
    fn what_is_sent_in_pieces_arrives_whole() {
        let gpu = Gpu::open(&DeviceChoice::Any).expect("an adapter: see README, cargo xtask test");
        let context = Context::new(gpu.device, gpu.queue);
        for length in [0, 3, SENT, 2 * SENT + 6] {
            let bytes: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            let usage = BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
            let buffer = context.buffer("target", 12 + length as u64, usage);
            let mut found = vec![0xff; buffer.size() as usize];
            let read = context.guarded(|| {
                context.send(&buffer, 8, &bytes)?;
                let (encoder, mut staging) = (context.encoder("read"), Growing::staging("read"));
                context.submit_and_read(encoder, &buffer, &mut staging, &mut found)
            });
            read.expect("what was sent");
            let (before, rest) = found.split_at(8);
            let (sent, after) = rest.split_at(length);
            assert!(sent == bytes, "{length} bytes");
            assert!(
                before.iter().chain(after).all(|byte| *byte == 0),
                "{length} bytes"
            );
        }
    }
}
