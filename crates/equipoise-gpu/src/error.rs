//! What can go wrong on a device.

use equipoise_core::memory::{exactly, rounded_up};

use crate::DeviceChoice;

/// Errors of adapters and devices.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
    /// No adapter fits the choice.
    #[error(
        "no adapter for {choice} among the {found} found (hint: `equipoise devices` lists them; \
         `--device cpu` needs none)"
    )]
    NoAdapter {
        /// What was asked for.
        choice: DeviceChoice,
        /// How many adapters there are.
        found: usize,
    },
    /// The adapter refused to make a device.
    #[error("adapter {adapter} makes no device: {message}")]
    Request {
        /// The adapter's name.
        adapter: String,
        /// What it said.
        message: String,
    },
    /// The device lacks something that the kernels need.
    #[error("adapter {adapter}: {limit} is {found}, the kernels need {needed}")]
    Limit {
        /// The adapter's name.
        adapter: String,
        /// The limit, as wgpu calls it.
        limit: &'static str,
        /// What the kernels need.
        needed: u64,
        /// What the device has.
        found: u64,
    },
    /// Something that does not fit the device.
    #[error("{what} takes {needed} bytes, the device binds at most {limit}")]
    TooLarge {
        /// What does not fit.
        what: String,
        /// Its bytes.
        needed: u64,
        /// The device's limit.
        limit: u64,
    },
    /// Sums longer than a software adapter makes them.
    #[error(
        "sums of {length} numbers, of which a software adapter adds up {most} at most (hint: the CPU takes any; `--device cpu`)"
    )]
    TooLong {
        /// Numbers of an embedding, or of a gradient.
        length: usize,
        /// The most that are right.
        most: usize,
    },
    /// No variant of kernel `logits` has that name.
    #[error("no variant of logits is called {name} (hint: there are {known})")]
    UnknownLogits {
        /// What was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// What the environment says of the row kernels means nothing.
    #[error("{variable}: expected auto, 0 or 1, found {found}")]
    UnknownRowKernels {
        /// The environment variable.
        variable: &'static str,
        /// What it says.
        found: String,
    },
    /// The variant of kernel `logits` that was asked for cannot be used.
    #[error("variant {name} of logits cannot be used: {reason}")]
    LogitsUnfit {
        /// The variant.
        name: &'static str,
        /// What is in the way.
        reason: String,
    },
    /// WGSL that is not valid in its place.
    #[error("the WGSL of {of}: {message}")]
    Wgsl {
        /// Whose it is.
        of: String,
        /// Where and what.
        message: String,
    },
    /// A kernel that does not compute what its CPU twin does.
    #[error("`{kernel}` {variant} is not what its CPU twin computes: {what}")]
    Differs {
        /// Which.
        kernel: &'static str,
        /// Which version of it.
        variant: String,
        /// Where, and by how much.
        what: String,
    },
    /// Rows in a buffer that cannot be a pool's.
    #[error("the embeddings cannot be read where they are: {reason}")]
    Rows {
        /// What is in the way.
        reason: String,
    },
    /// Numbers that are too few or too many.
    #[error("{what}: {expected} expected, {found} found")]
    Shape {
        /// What they are.
        what: &'static str,
        /// How many would have been right.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A memory budget that not even blocks of one row fit.
    #[error(
        "{} of memory are too few: it takes at least {} ({needed} bytes)",
        exactly(*.budget), rounded_up(*.needed)
    )]
    MemoryBudget {
        /// The budget.
        budget: u64,
        /// The least that works.
        needed: u64,
    },
    /// The device's memory does not suffice.
    #[error("the device is out of memory: {message}")]
    OutOfMemory {
        /// What wgpu said.
        message: String,
    },
    /// The device failed, or is lost.
    #[error("{message}")]
    Failed {
        /// What wgpu said.
        message: String,
    },
}

impl GpuError {
    /// As the engine's callers see it.
    pub(crate) fn on(self, device: &str) -> equipoise_core::Error {
        let device = device.into();
        match self {
            GpuError::OutOfMemory { message } => {
                equipoise_core::Error::OutOfMemory { device, message }
            }
            GpuError::MemoryBudget { budget, needed } => equipoise_core::Error::MemoryBudget {
                device,
                budget,
                needed,
            },
            error => equipoise_core::Error::Device {
                device,
                message: error.to_string(),
            },
        }
    }
}
