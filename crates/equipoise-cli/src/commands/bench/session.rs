//! One run: everything is measured, noted and kept.

use std::io::IsTerminal;

use equipoise::core::{CpuEngine, Head, MemoryPool};
use equipoise::pool::{self, Dtype, OutputFile};
use indicatif::ProgressBar;

use super::own::OwnKernel;
use super::record::{DeviceRecord, Omission, Record};
use super::row::Row;
use super::setting::{Found, Own, Setting};
use super::sweep::{self, Axis};
use super::synthetic::{Stored, Synthetic};
use super::target::{self, Target};
use super::watch::{self, Watched};
use super::{Measure, Shape, check, compare, list, memory, roofline, shape, text};
use crate::console::{Console, print};
use crate::device::DeviceWish;
use crate::failure::{Failure, Result};

/// Measures, writes and prints.
///
/// # Errors
/// Where a file fails, no device opens, or a check or a measurement fails.
pub(super) fn run(job: &Measure, wish: &DeviceWish, console: Console) -> Result<()> {
    let old = job.compare.as_deref().map(Record::read).transpose()?;
    let own = read(&job.own, job.watch)?;
    let targets = target::open(wish)?;
    let figures = job.roofline.iter();
    let figures = figures.flat_map(|first| (0..targets.len()).map(|n| roofline::path(first, n)));
    for out in job.out.iter().cloned().chain(figures) {
        pool::check_output(&out, job.force)?;
    }
    if !job.own.is_empty()
        && !targets
            .iter()
            .any(|target| matches!(target, Target::Gpu { .. }))
    {
        let failure = Failure::usage("a kernel of one's own runs on a GPU");
        return Err(failure.with_hint("--device gpu takes a software adapter, too"));
    }
    list::check_names(&job.only)?;
    let mut session = Session {
        job,
        own,
        console,
        progress: console.spinner("measuring"),
        record: Record::begin(),
        saved: false,
    };
    session.measure(&targets)?;
    session.progress.finish_and_clear();
    let record = &mut session.record;
    if record.rows.is_empty() && record.omitted.is_empty() && record.checks.is_empty() {
        let failure = Failure::usage(format!("nothing here is called {}", job.only.join(", ")));
        return Err(failure.with_hint(list::HINT));
    }
    record.comparison = old.map(|old| compare::compare(&old, record));
    record.complete = true;
    session.save()?;
    session.show()?;
    session.own_were_for_something()?;
    match job.watch {
        true => session.watch(&targets),
        false => verdict(&session.record),
    }
}

/// Kernels of somebody's own, as their files are now; with `watch` without those that are none, which may become some.
fn read(files: &[OwnKernel], watch: bool) -> Result<Vec<Own>> {
    let mut read = Vec::new();
    for (index, own) in files.iter().enumerate() {
        let label = own.label();
        if files[..index].iter().any(|other| other.label() == label) {
            let failure = Failure::usage(format!("two kernels are called {label}"));
            return Err(failure.with_hint("tables tell them by their files' names: rename one"));
        }
        match own.read() {
            Ok(shader) => read.push(Own { label, shader }),
            // What is wrong is said when the watch begins.
            Err(_) if watch => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(read)
}

/// A part of what is measured of a shape; it gives nothing where the device's memory does not hold the pool.
type Part = (&'static str, fn(&Setting<'_>) -> Result<Option<Found>>);

/// The part that only `--full` asks for.
const BY_VARIANT: &str = "selections by variant of logits,";

/// What is about kernels one by one comes first.
const PARTS: [Part; 5] = [
    ("kernels", |setting| setting.kernels()),
    ("selections", |setting| setting.streamed()),
    ("selections, resident,", |setting| setting.resident()),
    (BY_VARIANT, |setting| setting.by_variant()),
    ("peers", |setting| setting.peers()),
];

struct Session<'a> {
    job: &'a Measure,
    own: Vec<Own>,
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

    /// Draws, and prints all of it.
    fn show(&self) -> Result<()> {
        let figures = roofline::figures(&self.record);
        let drawn = match &self.job.roofline {
            Some(first) => roofline::write(&figures, first, self.job.force),
            None => Ok(Vec::new()),
        };
        let written = self.job.out.iter().chain(drawn.iter().flatten());
        for file in written {
            self.console.note(format!("wrote {}", file.display()));
        }
        let text = |record: &Record| {
            let mut text = text::text(record) + &sweep::text(record, &self.job.sweep);
            if self.job.roofline.is_some() {
                figures
                    .iter()
                    .for_each(|figure| text += &format!("\n{}", figure.text()));
            }
            text
        };
        match self.job.table {
            true => print(&text(&self.record)),
            false => self.console.report(&self.record, text),
        }?;
        drawn.map(drop)
    }

    /// Fails where one of somebody's own kernels was left out of every shape.
    fn own_were_for_something(&self) -> Result<()> {
        for own in &self.own {
            let name = format!("{} {}", own.shader.kernel, own.label);
            let rows = &self.record.rows;
            let measured = rows.iter().any(|row| row.variant == own.label);
            let mut omitted = self.record.omitted.iter();
            let omitted = omitted.find(|omission| omission.what.starts_with(&format!("{name} ")));
            if let (false, Some(omission)) = (measured, omitted)
                && !omission.failed
            {
                let failure =
                    Failure::usage(format!("{name} was not measured: {}", omission.reason));
                return Err(failure.with_hint(
                    "--shape N,M,C,f16 measures f16 embeddings, without f16 they are f32",
                ));
            }
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
            if self.job.of_kernels() && !self.job.own.is_empty() && matches!(target, Target::Cpu(_))
            {
                continue;
            }
            for shape in self.shapes(target) {
                self.shape(target, index, shape);
                self.save()?;
            }
        }
        Ok(())
    }

    /// The shapes to measure on a device.
    fn shapes(&self, target: &Target) -> Vec<Shape> {
        let software = target.is_software();
        match self.job.sweep.is_empty() {
            true => shape::grid(&self.job.shapes, self.job.full, software),
            false => {
                let around = match self.job.shapes.is_empty() {
                    true => vec![shape::middle(software)],
                    false => self.job.shapes.clone(),
                };
                sweep::shapes(&self.job.sweep, &around)
            }
        }
    }

    /// What is measured of a shape, with a pool and a head of it.
    fn setting<'a>(
        &'a self,
        target: &'a Target,
        device: &'a DeviceRecord,
        shape: Shape,
        (pool, head): (&'a MemoryPool<'a>, &'a Head),
    ) -> Setting<'a> {
        Setting {
            target,
            device,
            shape,
            pool,
            head,
            budget: self.job.budget,
            only: &self.job.only,
            own: &self.own,
            patience: self.job.patience,
            peers: self.job.peers,
            tuned: self.job.sweep.contains(&Axis::Constants),
        }
    }

    /// Measures kernels in files again as they change, on the first GPU and the first shape that they are for.
    fn watch(&self, targets: &[Target]) -> Result<()> {
        let gpus = targets.iter().zip(&self.record.devices);
        let mut gpus = gpus.filter(|(target, _)| matches!(target, Target::Gpu { .. }));
        let Some((target, device)) = gpus.next() else {
            return Ok(());
        };
        let shapes = self.shapes(target);
        // Of both types: an edit may change which one a kernel reads.
        let first = |dtype| shapes.iter().find(move |shape| shape.dtype == dtype);
        let shapes = [Dtype::F32, Dtype::F16].into_iter().filter_map(first);
        let fits = |shape: &&Shape| memory::lacking(memory::of_data(**shape)).is_none();
        let pools = shapes.filter(fits).map(|shape| {
            let synthetic = Synthetic::new(*shape);
            Ok((*shape, synthetic.head()?, synthetic.rows(0..shape.rows)))
        });
        let pools = pools.collect::<Result<Vec<_>>>()?;
        let rows = self.record.rows.iter();
        let rows: Vec<Row> = rows
            .filter(|row| row.device == device.device)
            .cloned()
            .collect();
        let is_read = |file: &OwnKernel| self.own.iter().any(|own| own.label == file.label());
        let own = self.job.own.iter();
        let mut watched: Vec<Watched<'_>> = own
            .map(|own| Watched::new(own, is_read(own), &rows))
            .collect();
        let mut reopened = None;
        watch::run(&mut watched, self.console, |file| {
            let target = reopened.as_ref().unwrap_or(target);
            let measured = self.measure_file(target, device, file, &pools);
            match measured {
                Err(reason) if target.is_lost() => {
                    let again = target.reopened().map_err(|failure| {
                        let failure = failure.message();
                        Failure::new(format!("the device is lost, and does not open: {failure}"))
                    })?;
                    reopened = Some(again);
                    Ok(Err(format!(
                        "{reason}; the device was lost, and is open again"
                    )))
                }
                measured => Ok(measured),
            }
        })
    }

    /// Checks and times the kernel in a file on the first of the pools that it is for.
    fn measure_file(
        &self,
        target: &Target,
        device: &DeviceRecord,
        file: &OwnKernel,
        pools: &[(Shape, Head, Stored)],
    ) -> std::result::Result<Row, String> {
        let shader = file.read().map_err(|failure| failure.message())?;
        let label = file.label();
        let own = Own { label, shader };
        let pool = pools.iter().find(|(shape, ..)| own.suits(shape.dtype));
        let (shape, head, stored) =
            pool.ok_or_else(|| format!("no shape is measured that it is for: {}", own.reads()))?;
        let pool = MemoryPool::new(stored.values(), shape.dim);
        let pool = pool.map_err(|error| error.to_string())?;
        let setting = self.setting(target, device, *shape, (&pool, head));
        setting.own_kernel(&own)
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
        if let Some(reason) = memory::lacking(memory::of_data(shape)) {
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
        // A CPU has no other memory.
        let on_gpu = matches!(target, Target::Gpu { .. });
        let parts = PARTS.iter().filter(|(what, _)| match *what {
            "kernels" => true,
            _ if self.job.of_kernels() => false,
            BY_VARIANT => on_gpu && self.job.full,
            what => on_gpu || !what.contains("resident"),
        });
        for (what, measure) in parts {
            self.say(format!("{}: {what} {shape} {}", record.device, shape.dtype));
            let measured = measure(&self.setting(target, &record, shape, (&pool, &head)));
            match measured {
                Ok(Some(found)) => {
                    self.record.rows.extend(found.rows);
                    let all = [(found.failed, true), (found.left_out, false)];
                    for (reasons, failed) in all {
                        for (what, reason) in reasons {
                            self.omit(device, &what, shape, reason, failed);
                        }
                    }
                }
                Ok(None) => {
                    let reason = "it does not fit the device's memory".into();
                    self.omit(device, what, shape, reason, false);
                }
                Err(failure) => self.omit(device, what, shape, failure.message(), true),
            }
        }
    }
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
