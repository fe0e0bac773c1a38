//! `bench`: how fast this machine's devices are, next to what they can do at most.

mod cases;
mod check;
mod compare;
mod kernels;
mod make_pool;
mod measure;
mod paths;
mod record;
mod session;
mod shape;
mod synthetic;
mod target;
mod text;

use std::path::PathBuf;
use std::time::Duration;

use crate::console::Console;
use crate::device::DeviceWish;
use crate::failure::Result;

pub(crate) use make_pool::MakePool;
pub(crate) use shape::Shape;

/// What `bench` may do.
#[derive(Debug, Clone)]
pub(crate) enum Job {
    Measure(Measure),
    MakePool(MakePool),
}

/// Measurements to make.
#[derive(Debug, Clone)]
pub(crate) struct Measure {
    /// Instead of the usual shapes.
    pub(crate) shapes: Vec<Shape>,
    pub(crate) full: bool,
    /// For each measurement.
    pub(crate) budget: Duration,
    pub(crate) check: bool,
    pub(crate) out: Option<PathBuf>,
    /// Whether stdout gets the table even with `--json`, whose JSON goes to `out`.
    pub(crate) table: bool,
    pub(crate) compare: Option<PathBuf>,
    pub(crate) force: bool,
}

/// Runs and prints.
///
/// # Errors
/// Where a file or a device fails, and where a check does not pass.
pub(crate) fn main(job: &Job, wish: &DeviceWish, console: Console) -> Result<()> {
    match job {
        Job::Measure(job) => session::run(job, wish, console),
        Job::MakePool(job) => make_pool::run(job, console),
    }
}
