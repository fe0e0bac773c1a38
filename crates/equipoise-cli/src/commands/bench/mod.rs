//! `bench`: how fast this machine's devices are, next to what they can do at most.

mod cases;
mod check;
mod compare;
mod kernels;
mod make_pool;
mod measure;
mod paths;
mod record;
mod shape;
mod synthetic;
mod target;
mod text;

use std::path::PathBuf;
use std::time::Duration;

use equipoise::core::{CpuEngine, MemoryPool};
use equipoise::pool::{self, OutputFile};
use indicatif::ProgressBar;

use crate::console::{Console, print};
use crate::device::DeviceWish;
use crate::failure::{Failure, Result};
use kernels::Setting;
use record::{Check, DeviceRecord, Omission, Record, Row};
use synthetic::Synthetic;
use target::Target;

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
        Job::Measure(job) => run(job, wish, console),
        Job::MakePool(job) => make_pool::run(job, console),
    }
}

fn run(job: &Measure, wish: &DeviceWish, console: Console) -> Result<()> {
    let old = job.compare.as_deref().map(Record::read).transpose()?;
    if let Some(out) = &job.out {
        pool::check_output(out, job.force)?;
    }
    let targets = target::open(wish)?;
    let mut record = Record::begin();
    let progress = console.spinner("measuring");
    fill(&mut record, job, &targets, &progress)?;
    progress.finish_and_clear();
    record.comparison = old.map(|old| compare::compare(&old, &record));
    if let Some(out) = &job.out {
        let json = serde_json::to_vec_pretty(&record)?;
        OutputFile::write_all_to(out, job.force, &json)?;
        console.note(format!("wrote {}", out.display()));
    }
    match job.table {
        true => print(&text::text(&record))?,
        false => console.report(&record, text::text)?,
    }
    verdict(&record)
}

/// Measures everything. A failure is noted, and the rest measured all the same.
fn fill(
    record: &mut Record,
    job: &Measure,
    targets: &[Target],
    progress: &ProgressBar,
) -> Result<()> {
    for target in targets {
        progress.set_message("measuring ceilings");
        let mut device = target.describe(&record.cpu, &record.devices);
        match target.ceilings(job.budget) {
            Ok(ceilings) => device.ceilings = Some(ceilings),
            Err(failure) => record.omitted.push(Omission {
                device: device.device.clone(),
                what: "ceilings".into(),
                reason: failure.message(),
                failed: true,
            }),
        }
        record.devices.push(device);
    }
    if job.check {
        record.checks = checks(targets, &record.devices, progress)?;
    }
    for (target, device) in targets.iter().zip(&record.devices) {
        for shape in shape::grid(&job.shapes, job.full, target.is_software()) {
            let mut found = Found {
                device,
                shape,
                rows: &mut record.rows,
                omitted: &mut record.omitted,
            };
            found.measure(target, job.budget, progress);
        }
    }
    Ok(())
}

/// Checks the CPU, whatever is measured, and the other devices.
fn checks(
    targets: &[Target],
    devices: &[DeviceRecord],
    progress: &ProgressBar,
) -> Result<Vec<Check>> {
    let note = |what: &str| progress.set_message(format!("checking {what}"));
    let cpu = Target::Cpu(CpuEngine::new());
    let mut checks = check::run(&cpu, "cpu", &note)?;
    for (target, device) in targets.iter().zip(devices) {
        if let Target::Gpu { .. } = target {
            checks.extend(check::run(target, &device.device, &note)?);
        }
    }
    Ok(checks)
}

/// What is found about one device and shape.
struct Found<'a> {
    device: &'a DeviceRecord,
    shape: Shape,
    rows: &'a mut Vec<Row>,
    omitted: &'a mut Vec<Omission>,
}

impl Found<'_> {
    fn omit(&mut self, what: &str, reason: String, failed: bool) {
        self.omitted.push(Omission {
            device: self.device.device.clone(),
            what: format!("{what} {} {}", self.shape, self.shape.dtype),
            reason,
            failed,
        });
    }

    /// Keeps rows; none means that the device's memory does not hold the pool.
    fn keep(&mut self, what: &str, rows: Result<Option<Vec<Row>>>) {
        match rows {
            Ok(Some(rows)) => self.rows.extend(rows),
            Ok(None) => self.omit(what, "it does not fit the device's memory".into(), false),
            Err(failure) => self.omit(what, failure.message(), true),
        }
    }

    fn measure(&mut self, target: &Target, budget: Duration, progress: &ProgressBar) {
        let (shape, device) = (self.shape, self.device);
        let (needed, free) = (shape.bytes(), free_memory());
        if needed > free / 5 * 4 {
            let reason = format!("{needed} bytes do not fit the {free} of free memory");
            return self.omit("everything", reason, false);
        }
        let note = |what: &str| {
            let (name, dtype) = (&device.device, shape.dtype);
            progress.set_message(format!("{name}: {what} {shape} {dtype}"));
        };
        note("making");
        let synthetic = Synthetic::new(shape);
        let stored = synthetic.rows(0..shape.rows);
        let made = synthetic
            .head()
            .and_then(|head| Ok((head, MemoryPool::new(stored.values(), shape.dim)?)));
        let (head, pool) = match made {
            Ok(made) => made,
            Err(failure) => return self.omit("everything", failure.message(), true),
        };
        let setting = Setting {
            target,
            device,
            shape,
            pool: &pool,
            head: &head,
            budget,
        };
        note("kernels");
        self.keep("kernels", setting.kernels().map(Some));
        note("selections");
        self.keep("streamed selections", setting.streamed().map(Some));
        note("resident selections");
        self.keep("resident selections", setting.resident());
    }
}

/// Bytes of memory that are free, as far as the system tells.
fn free_memory() -> u64 {
    /// Where it does not: enough for the usual shapes.
    const UNKNOWN: u64 = 4 << 30;
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.map_or(UNKNOWN, |kibibytes| kibibytes << 10)
}

/// Fails where something did.
fn verdict(record: &Record) -> Result<()> {
    let wrong = record.checks.iter();
    let wrong = wrong.filter(|check| check.passed == Some(false)).count();
    let failed = record.omitted.iter().filter(|omission| omission.failed);
    match (wrong, failed.count()) {
        (0, 0) => Ok(()),
        (wrong, failed) => Err(Failure::new(format!(
            "{wrong} of {} checks and {failed} measurements failed",
            record.checks.len()
        ))
        .with_hint("they are listed on stdout, and in the JSON")),
    }
}
