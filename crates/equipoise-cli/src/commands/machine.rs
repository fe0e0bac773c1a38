//! What a scan runs on: devices, what they fall back on, how much memory they may take, and
//! whether the pool stays on them.

use equipoise::core::combined::WithFallback;
use equipoise::core::engine::Task;
use equipoise::core::memory::{MemoryPlan, Place, ScanShape};
use equipoise::core::strategies::MEMORY;
use equipoise::core::{Engine, Error, Pool};
use equipoise::gpu::{GpuEngine, ResidentPool};

use super::memory_plan::{Plan, print};
use crate::allocator;
use crate::console::Console;
use crate::device::{Device, DeviceWish, gpu_engine};
use crate::failure::{Failure, Result};

/// Whether a pool is sent to the device once and kept there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resident {
    /// Where it is used more than once and fits.
    Auto,
    /// In any case.
    Always,
    /// In none.
    Never,
}

/// How scans are made.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// Bytes that may be taken of the host's memory, beside mapped files, and of each device's.
    pub memory: Option<u64>,
    /// Plan, print the plan and stop.
    pub dry_run: bool,
    /// Where a scan goes on whose device fails.
    pub fallback: Option<DeviceWish>,
    pub resident: Resident,
}

/// What one scan needs.
#[derive(Debug, Clone)]
pub(crate) struct Need {
    pub shape: ScanShape,
    /// Bytes of lists and of float64, for each of [`Machine::allowances`].
    pub bytes: Vec<u64>,
}

/// The scans of one pool; `None` stands for a selection without one.
#[derive(Clone, Copy)]
pub(crate) struct Scans<'a> {
    pub pool: &'a dyn Pool,
    pub needs: &'a [Option<Need>],
}

/// What selections may take.
pub(crate) struct Granted {
    /// None where nothing is scanned.
    pub plan: Option<Plan>,
    /// What [`equipoise::core::Request::memory`] has to be for the plan to hold.
    pub memory: u64,
    /// Why devices were given up before the first scan.
    pub given_up: Vec<String>,
}

/// A way to divide the memory.
#[derive(Debug, Clone, Copy)]
struct Division {
    allowance: u64,
    /// Bytes of lists and of float64.
    lists: u64,
    /// Bytes of the pool, if it is to be on the device.
    pool: Option<u64>,
}

/// Bytes that are named beyond what is needed when a budget is too small: what has been read takes a little more or less
/// in each run.
const SPARE: u64 = 64 << 10;

/// Bytes of the host that wgpu, a device's shaders and what becomes of them are taken to need: on a software adapter half as many were
/// counted.
const OF_GPU: u64 = 8 << 20;

impl Machine {
    /// What the lists of selections may be told to do with, the most first: a part of the budget, or nothing beyond the least.
    pub(crate) fn allowances(&self) -> Vec<u64> {
        match self.memory {
            None => vec![MEMORY],
            Some(memory) => [MEMORY, memory / 4, memory / 16, memory / 64, 0]
                .into_iter()
                .filter(|allowance| *allowance <= MEMORY)
                .collect(),
        }
    }

    /// Plans the scans, says so, and has `work` done with the engine and what it may take; not in a dry run.
    ///
    /// # Errors
    /// Where a device is missing or fails and nothing falls back on another, or the memory budget is too small; whatever
    /// `work` says.
    pub(crate) fn with_engine(
        &self,
        wish: &DeviceWish,
        scans: Scans<'_>,
        console: Console,
        work: impl FnOnce(&dyn Engine, &Granted) -> Result<()>,
    ) -> Result<()> {
        let mut given_up = Vec::new();
        let (device, next) = match &self.fallback {
            None => (wish.resolve()?, None),
            Some(other) => {
                let other = other.resolve()?;
                // Whether it opens and is able, before anything is planned.
                let opened = |device: Device| {
                    let engine = device.engine(None)?;
                    for need in scans.needs.iter().flatten() {
                        if let Err(error @ Error::Device { .. }) = engine.plan(need.shape) {
                            return Err(error.into());
                        }
                    }
                    drop(engine);
                    Ok(device)
                };
                match wish.resolve().and_then(opened) {
                    Ok(device) => (device, Some(other)),
                    Err(failure) if failure.is_usage() => return Err(failure),
                    Err(failure) => {
                        given_up.push(failure.message());
                        (other, None)
                    }
                }
            }
        };
        let keeps_none = !matches!(device, Device::Gpu(_)) && given_up.is_empty();
        if self.resident == Resident::Always && keeps_none {
            return Err(Failure::usage("--resident always needs one GPU")
                .with_hint("name one with --device; the CPU reads the pool where it is"));
        }
        let read = allocator::restart() as u64;
        let mut refused = None;
        for division in self.divisions(&device, scans)? {
            let ready = Ready::new(self, (&device, next.as_ref()), scans, (division, read))?;
            match ready {
                Ok(ready) => {
                    let given_up = std::mem::take(&mut given_up);
                    return self.run(&ready, (scans, division), given_up, console, work);
                }
                Err(error) => refused = Some(error),
            }
        }
        // The last division is the one that takes least.
        Err(refused.map_or_else(
            || Failure::new("no way to divide the memory"),
            Failure::from,
        ))
    }

    /// The ways to divide the memory, the best first.
    fn divisions(&self, device: &Device, scans: Scans<'_>) -> Result<Vec<Division>> {
        let lists = |at: usize| {
            let needs = scans.needs.iter().flatten();
            needs.map(|need| need.bytes[at]).max().unwrap_or(0)
        };
        let allowances = self.allowances();
        let last = allowances.len() - 1;
        // Lists have a quarter, if they do with that; the least leaves most to the engine.
        let quarter = self.memory.map_or(u64::MAX, |memory| memory / 4);
        let first = (0..last).find(|at| lists(*at) <= quarter).unwrap_or(last);
        let pool = match self.keeps(device, scans) {
            true => Some(ResidentPool::bytes(scans.pool)?),
            false => None,
        };
        let mut pools = vec![pool];
        if pool.is_some() && self.resident == Resident::Auto && self.memory.is_some() {
            pools.push(None);
        }
        let divided = pools.into_iter().flat_map(|pool| {
            let mut places = vec![first, last];
            places.dedup();
            let division = move |at: usize| (at, pool);
            places.into_iter().map(division)
        });
        Ok(divided
            .map(|(at, pool)| Division {
                allowance: allowances[at],
                lists: lists(at),
                pool,
            })
            .collect())
    }

    /// Whether the pool is to be on the device, if it fits.
    fn keeps(&self, device: &Device, scans: Scans<'_>) -> bool {
        let needs = || scans.needs.iter().flatten();
        matches!(device, Device::Gpu(_))
            && match self.resident {
                // Some make many passes over the pool.
                Resident::Auto => {
                    needs().count() > 1 || needs().any(|need| need.shape.task != Task::Boundaries)
                }
                Resident::Always => true,
                Resident::Never => false,
            }
    }

    /// Says the plan, and has `work` done; with the pool on the device where it is to be there.
    fn run(
        &self,
        ready: &Ready,
        (scans, division): (Scans<'_>, Division),
        given_up: Vec<String>,
        console: Console,
        work: impl FnOnce(&dyn Engine, &Granted) -> Result<()>,
    ) -> Result<()> {
        for why in &given_up {
            console.warn(format!("{why}: went on with another device"));
        }
        if self.dry_run {
            return print(ready.plan.as_ref(), console);
        }
        if let Some(plan) = &ready.plan {
            console.note(plan.line());
        }
        let granted = Granted {
            plan: ready.plan.clone(),
            memory: division.allowance,
            given_up,
        };
        let next = ready.next.as_deref();
        let (engine, Some(_)) = (&ready.engine, division.pool) else {
            return with_fallback(ready.engine.as_dyn(), next, |engine| work(engine, &granted));
        };
        let Opened::Gpu(gpu) = engine else {
            return with_fallback(engine.as_dyn(), next, |engine| work(engine, &granted));
        };
        let bar = console.bar(scans.pool.rows() as u64, "sending");
        let sent = ResidentPool::new(gpu, scans.pool, &|rows| bar.inc(rows));
        bar.finish_and_clear();
        let fits = match &sent {
            // Scans need room, too.
            Ok(_) => gpu.gives(ready.beside_pool),
            Err(error) => !matches!(error, Error::OutOfMemory { .. }),
        };
        if !fits && self.resident == Resident::Auto {
            drop(sent);
            console.note("the pool does not fit the device: it is streamed each time");
            return with_fallback(engine.as_dyn(), next, |engine| work(engine, &granted));
        }
        match (sent, next) {
            (Ok(resident), _) => with_fallback(&resident, next, |engine| work(engine, &granted)),
            (Err(error @ (Error::OutOfMemory { .. } | Error::Device { .. })), Some(next)) => {
                console.warn(format!("{error}: went on with another device"));
                let mut granted = granted;
                granted.given_up.push(error.to_string());
                work(next, &granted)
            }
            (Err(error), _) => Err(error.into()),
        }
    }
}

/// An engine that was opened.
enum Opened {
    /// One that can keep a pool.
    Gpu(Box<GpuEngine>),
    Other(Box<dyn Engine>),
}

impl Opened {
    fn as_dyn(&self) -> &dyn Engine {
        match self {
            Opened::Gpu(engine) => engine.as_ref(),
            Opened::Other(engine) => engine.as_ref(),
        }
    }
}

/// Engines whose budgets suffice, and the plan of the scan that takes the most.
struct Ready {
    engine: Opened,
    next: Option<Box<dyn Engine>>,
    plan: Option<Plan>,
    /// Bytes of the first engine's device that the scan which takes the most of it takes beside the pool.
    beside_pool: u64,
}

impl Ready {
    /// Engines within what `division` and what has been `read` leave of the memory.
    ///
    /// # Errors
    /// Where a device is missing or fails; within, where the budget is too small.
    fn new(
        machine: &Machine,
        (device, next): (&Device, Option<&Device>),
        scans: Scans<'_>,
        (division, read): (Division, u64),
    ) -> Result<Result<Self, Error>> {
        let gpus = device.gpus() + next.map_or(0, Device::gpus);
        let kernels = OF_GPU * gpus as u64;
        let beside = read + division.lists + kernels;
        let left = |beside| machine.memory.map(|memory| memory.saturating_sub(beside));
        let engine = match (device, division.pool) {
            (Device::Gpu(choice), Some(pool)) => {
                Opened::Gpu(Box::new(gpu_engine(choice, left(beside + pool))?))
            }
            _ => Opened::Other(device.engine(left(beside))?),
        };
        let next = next.map(|next| next.engine(left(beside))).transpose()?;
        let mut largest: Option<MemoryPlan> = None;
        let total = |plan: &MemoryPlan| plan.bytes(Place::Host) + plan.bytes(Place::Device);
        // What would do for every scan.
        let mut short: Option<Error> = None;
        let mut most = 0;
        let mut beside_pool = 0;
        for need in scans.needs.iter().flatten() {
            if let Ok(alone) = engine.as_dyn().plan(need.shape) {
                beside_pool = beside_pool.max(alone.bytes(Place::Device));
            }
            let mut planned = Err(Error::Broken);
            with_fallback(engine.as_dyn(), next.as_deref(), |engine| {
                planned = engine.plan(need.shape);
                Ok(())
            })?;
            match planned {
                Ok(plan)
                    if largest
                        .as_ref()
                        .is_none_or(|other| total(&plan) > total(other)) =>
                {
                    largest = Some(plan);
                }
                Ok(_) => {}
                Err(Error::MemoryBudget { device, needed, .. }) => {
                    if short.is_none() || needed > most {
                        most = needed;
                        short = Some(Error::MemoryBudget {
                            device,
                            budget: machine.memory.unwrap_or_default(),
                            needed: needed + beside + division.pool.unwrap_or(0) + SPARE,
                        });
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(error) = short {
            return Ok(Err(error));
        }
        if let Some(plan) = &mut largest {
            plan.add(Place::Host, "lists and float64", division.lists);
            if let Some(pool) = division.pool {
                plan.add(Place::Device, "pool", pool);
                // Before there are blocks and lists.
                let sent = ResidentPool::host_bytes(scans.pool)?;
                let more = sent.saturating_sub(plan.bytes(Place::Host));
                plan.add(Place::Host, "more, while the pool is sent", more);
            }
            plan.add(Place::Host, "wgpu and kernels", kernels);
            plan.add(Place::Host, "what has been read", read);
            let needed = plan.bytes(Place::Host);
            if let Some(budget) = machine.memory.filter(|budget| needed > *budget) {
                let device = engine.as_dyn().name().into();
                return Ok(Err(Error::MemoryBudget {
                    device,
                    budget,
                    needed: needed + SPARE,
                }));
            }
        }
        let plan = largest.map(|plan| Plan::of(engine.as_dyn().name(), &plan));
        Ok(Ok(Self {
            engine,
            next,
            plan,
            beside_pool,
        }))
    }
}

fn with_fallback(
    engine: &dyn Engine,
    next: Option<&dyn Engine>,
    work: impl FnOnce(&dyn Engine) -> Result<()>,
) -> Result<()> {
    match next {
        Some(next) => work(&WithFallback::new(engine, next)),
        None => work(engine),
    }
}

/// Bytes, from `512MiB`, `2G`, `1.5GB` or a plain number; decimal units are powers of 1000, others of 1024.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(split.unwrap_or(text.len()));
    let factor: f64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024f64.powi(2),
        "g" | "gib" => 1024f64.powi(3),
        "t" | "tib" => 1024f64.powi(4),
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        _ => return Err("a number of bytes, like 512MiB, 2GiB or 1GB".into()),
    };
    match number.parse::<f64>() {
        Ok(number) if number * factor >= 1.0 => Ok((number * factor) as u64),
        _ => Err("a number of bytes, like 512MiB, 2GiB or 1GB".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_with_their_units() {
        for (text, bytes) in [
            ("1", 1),
            ("1024", 1024),
            ("2k", 2048),
            ("512MiB", 512 << 20),
            ("1.5 GiB", 3 << 29),
            ("1GB", 1_000_000_000),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "-1", "MiB", "1.2.3", "1 parsec", "nan"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}
