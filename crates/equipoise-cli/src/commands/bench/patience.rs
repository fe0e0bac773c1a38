//! Kernels that do not end.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

/// Ends the program with an error where a kernel takes longer than this lives: no device can be told to stop.
pub(super) struct Patience {
    /// Dropped where it ends in time.
    _ended: Sender<()>,
}

impl Patience {
    /// For checking and timing a version of a kernel.
    pub(super) fn for_kernel(kernel: &str, variant: &str, longest: Duration) -> Self {
        let what = format!("`{kernel}` {variant}");
        let (ended, waits) = mpsc::channel();
        std::thread::spawn(move || {
            if waits.recv_timeout(longest) == Err(RecvTimeoutError::Timeout) {
                eprintln!("error: {what} has not ended after {} s", longest.as_secs());
                eprintln!(
                    "hint: if all its loops end, --patience S gives it longer; no device can be told to stop"
                );
                std::process::exit(1);
            }
        });
        Self { _ended: ended }
    }
}
