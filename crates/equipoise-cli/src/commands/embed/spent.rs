//! Where the time went.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::Serialize;

/// Time spent on something, on however many threads.
#[derive(Debug, Default)]
pub(super) struct Clock(AtomicU64);

impl Clock {
    /// Does `work` and adds the time it takes.
    pub(super) fn time<T>(&self, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let made = work();
        let nanoseconds = started.elapsed().as_nanos() as u64;
        self.0.fetch_add(nanoseconds, Ordering::Relaxed);
        made
    }

    fn seconds(&self) -> f64 {
        self.0.load(Ordering::Relaxed) as f64 / 1e9
    }
}

/// Time spent on each step.
#[derive(Debug, Default)]
pub(super) struct Spent {
    /// Reading files, on a thread of its own.
    pub(super) read: Clock,
    /// Decoding and making ready, summed over threads.
    pub(super) decode: Clock,
    pub(super) resize: Clock,
    /// The model waiting for images.
    pub(super) wait: Clock,
    /// The model at work, uploads included.
    pub(super) forward: Clock,
    pub(super) write: Clock,
}

/// The same in seconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Seconds {
    pub read: f64,
    pub decode: f64,
    pub resize: f64,
    pub wait: f64,
    pub upload: f64,
    pub forward: f64,
    pub write: f64,
}

impl Spent {
    /// In seconds, with what of the forward pass was uploading.
    pub(super) fn seconds(&self, upload: f64) -> Seconds {
        Seconds {
            read: self.read.seconds(),
            decode: self.decode.seconds(),
            resize: self.resize.seconds(),
            wait: self.wait.seconds(),
            upload,
            forward: self.forward.seconds() - upload,
            write: self.write.seconds(),
        }
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            read,
            decode,
            resize,
            wait,
            upload,
            forward,
            write,
        } = self;
        write!(
            f,
            "forward {forward:.1} s, upload {upload:.1} s, write {write:.1} s, waiting for images {wait:.1} s; \
             meanwhile read {read:.1} s, decode {decode:.1} s, resize {resize:.1} s of all threads"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_add_up() {
        let spent = Spent::default();
        let nap = || std::thread::sleep(std::time::Duration::from_millis(2));
        spent.forward.time(nap);
        spent.forward.time(nap);
        let seconds = spent.seconds(0.001);
        assert!(seconds.forward >= 0.003 && seconds.upload == 0.001 && seconds.write == 0.0);
        assert!(
            seconds
                .to_string()
                .starts_with("forward 0.0 s, upload 0.0 s")
        );
    }
}
