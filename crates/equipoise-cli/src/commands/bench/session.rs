//! One run: everything is measured, noted and kept.

use std::io::IsTerminal;

use equipoise::core::{CpuEngine, MemoryPool};
use equipoise::pool::{self, OutputFile};
use indicatif::ProgressBar;

use super::kernels::Setting;
use super::record::{Omission, Record, Row};
use super::synthetic::Synthetic;
use super::target::{self, Target};
use super::{Measure, Shape, check, compare, shape, text};
use crate::console::{Console, print};
use crate::device::DeviceWish;
use crate::failure::{Failure, Result};

/// Measures, writes and prints.
///
/// # Errors
/// Where a file fails, no device opens, or a check or a measurement fails.
pub(super) fn run(job: &Measure, wish: &DeviceWish, console: Console) -> Result<()> {
    let old = job.compare.as_deref().map(Record::read).transpose()?;
    if let Some(out) = &job.out {
        pool::check_output(out, job.force)?;
    }
    let targets = target::open(wish)?;
    let mut session = Session {
        job,
        console,
        progress: console.spinner("measuring"),
        record: Record::begin(),
        saved: false,
    };
    session.measure(&targets)?;
    session.progress.finish_and_clear();
    let record = &mut session.record;
    record.comparison = old.map(|old| compare::compare(&old, record));
    record.complete = true;
    session.save()?;
    if let Some(out) = &job.out {
        console.note(format!("wrote {}", out.display()));
    }
    let record = session.record;
    match job.table {
        true => print(&text::text(&record))?,
        false => console.report(&record, text::text)?,
    }
    verdict(&record)
}

/// A part of what is measured of a shape; it gives nothing where the device's memory does not hold the pool.
type Part = (&'static str, fn(&Setting<'_>) -> Result<Option<Vec<Row>>>);

const PARTS: [Part; 3] = [
    ("kernels", |setting| setting.kernels().map(Some)),
    ("selections", |setting| setting.streamed().map(Some)),
    ("selections, resident,", |setting| setting.resident()),
];

struct Session<'a> {
    job: &'a Measure,
    console: Console,
    progress: ProgressBar,
    record: Record,
    /// Whether the output is this run's.
    saved: bool,
}

impl Session<'_> {
    /// Says what is done next: a run in a log should tell where it is, too.
    fn say(&self, what: String) {
        if !std::io::stderr().is_terminal() {
            self.console.note(&what);
        }
        self.progress.set_message(what);
    }

    /// Writes what there is by now, so that a run that is stopped leaves it.
    fn save(&mut self) -> Result<()> {
        if let Some(out) = &self.job.out {
            let json = serde_json::to_vec_pretty(&self.record)?;
            OutputFile::write_all_to(out, self.job.force || self.saved, &json)?;
            self.saved = true;
        }
        Ok(())
    }

    /// Measures everything. A failure is noted, and the rest measured all the same.
    fn measure(&mut self, targets: &[Target]) -> Result<()> {
        for target in targets {
            let mut device = target.describe(&self.record.cpu, &self.record.devices);
            self.say(format!("{}: ceilings", device.device));
            match target.ceilings(self.job.budget) {
                Ok(ceilings) => device.ceilings = Some(ceilings),
                Err(failure) => self.record.omitted.push(Omission {
                    device: device.device.clone(),
                    what: "ceilings".into(),
                    reason: failure.message(),
                    failed: true,
                }),
            }
            self.record.devices.push(device);
        }
        if self.job.check {
            self.check(&Target::Cpu(CpuEngine::new()), "cpu")?;
            for (index, target) in targets.iter().enumerate() {
                if let Target::Gpu { .. } = target {
                    let device = self.record.devices[index].device.clone();
                    self.check(target, &device)?;
                }
            }
        }
        for (index, target) in targets.iter().enumerate() {
            for shape in shape::grid(&self.job.shapes, self.job.full, target.is_software()) {
                self.shape(target, index, shape);
                self.save()?;
            }
        }
        Ok(())
    }

    fn check(&mut self, target: &Target, device: &str) -> Result<()> {
        let note = |what: &str| self.say(format!("{device}: checking {what}"));
        let checks = check::run(target, device, &note)?;
        self.record.checks.extend(checks);
        self.save()
    }

    fn omit(&mut self, device: usize, what: &str, shape: Shape, reason: String, failed: bool) {
        self.record.omitted.push(Omission {
            device: self.record.devices[device].device.clone(),
            what: format!("{what} {shape} {}", shape.dtype),
            reason,
            failed,
        });
    }

    /// Measures a shape on the device of that number.
    fn shape(&mut self, target: &Target, device: usize, shape: Shape) {
        let (needed, free) = (shape.bytes(), free_memory());
        if needed > free / 5 * 4 {
            let reason = format!("{needed} bytes do not fit the {free} of free memory");
            return self.omit(device, "everything", shape, reason, false);
        }
        let synthetic = Synthetic::new(shape);
        let stored = synthetic.rows(0..shape.rows);
        let made = synthetic
            .head()
            .and_then(|head| Ok((head, MemoryPool::new(stored.values(), shape.dim)?)));
        let (head, pool) = match made {
            Ok(made) => made,
            Err(failure) => return self.omit(device, "everything", shape, failure.message(), true),
        };
        let record = self.record.devices[device].clone();
        let setting = Setting {
            target,
            device: &record,
            shape,
            pool: &pool,
            head: &head,
            budget: self.job.budget,
        };
        // A CPU has no other memory.
        let parts = match target {
            Target::Cpu(_) => &PARTS[..2],
            Target::Gpu { .. } => &PARTS[..],
        };
        for (what, measure) in parts {
            self.say(format!("{}: {what} {shape} {}", record.device, shape.dtype));
            match measure(&setting) {
                Ok(Some(rows)) => self.record.rows.extend(rows),
                Ok(None) => {
                    let reason = "it does not fit the device's memory".into();
                    self.omit(device, what, shape, reason, false);
                }
                Err(failure) => self.omit(device, what, shape, failure.message(), true),
            }
        }
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
