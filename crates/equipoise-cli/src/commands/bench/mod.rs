//! `bench`: how fast this machine's devices are, next to what they can do at most.

mod agreement;
mod cases;
mod check;
mod compare;
mod date;
mod dump;
mod kernels;
mod list;
mod make_pool;
mod measure;
mod memory;
mod own;
mod paths;
mod patience;
mod peers;
mod record;
mod roofline;
mod row;
mod session;
mod setting;
mod shape;
mod significance;
mod sweep;
mod synthetic;
mod target;
mod text;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use crate::console::Console;
use crate::device::DeviceWish;
use crate::failure::Result;

pub(crate) use dump::Dump;
pub(crate) use make_pool::MakePool;
pub(crate) use own::OwnKernel;
pub(crate) use peers::Peers;
pub(crate) use shape::Shape;
pub(crate) use sweep::Axis;

/// What `bench` may do.
#[derive(Debug, Clone)]
pub(crate) enum Job {
    Measure(Box<Measure>),
    MakePool(MakePool),
    /// What there is to measure.
    List,
    Dump(Dump),
    /// An earlier run and a later one.
    Compare(PathBuf, PathBuf),
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
    /// Parts of names, of which one must be in what is measured; none means all.
    pub(crate) only: Vec<String>,
    pub(crate) own: Vec<OwnKernel>,
    /// Whether they are measured again whenever their files change.
    pub(crate) watch: bool,
    /// How long a kernel of one's own may take.
    pub(crate) patience: Duration,
    pub(crate) sweep: Vec<Axis>,
    pub(crate) peers: Peers,
    pub(crate) roofline: Option<PathBuf>,
    pub(crate) force: bool,
}

impl Measure {
    /// Whether it is about kernels one by one.
    fn of_kernels(&self) -> bool {
        !self.own.is_empty() || !self.sweep.is_empty()
    }
}

/// Runs and prints.
///
/// # Errors
/// Where a file or a device fails, and where a check does not pass.
pub(crate) fn main(job: &Job, wish: &DeviceWish, console: Console) -> Result<()> {
    match job {
        Job::Measure(job) => session::run(job, wish, console),
        Job::MakePool(job) => make_pool::run(job, console),
        Job::List => list::run(wish, console),
        Job::Dump(dump) => dump::run(dump, console),
        Job::Compare(old, new) => compare::run(old, new, console),
    }
}
