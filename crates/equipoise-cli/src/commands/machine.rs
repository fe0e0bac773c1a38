//! What a scan runs on: devices, what they fall back on, how much memory they may take, and
//! whether the pool stays on them.

use equipoise::core::combined::WithFallback;
use equipoise::core::engine::Task;
use equipoise::core::memory::{MemoryPlan, Place, ScanShape};
use equipoise::core::{Engine, Error, Pool};
use equipoise::gpu::{GpuEngine, ResidentPool};
use equipoise::report::Table;
use serde::Serialize;

use crate::console::{Console, grouped};
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
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    pub shape: ScanShape,
    /// Bytes of lists and of float64.
    pub bytes: u64,
}

/// The scans of one pool; `None` stands for a selection without one.
#[derive(Clone, Copy)]
pub(crate) struct Scans<'a> {
    pub pool: &'a dyn Pool,
    pub needs: &'a [Option<Need>],
}

/// A plan as it is printed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Plan {
    pub device: String,
    /// Most rows of a block.
    pub rows: usize,
    /// Blocks in flight.
    pub depth: usize,
    pub host_bytes: u64,
    pub device_bytes: u64,
    pub parts: Vec<Part>,
}

/// One use of memory.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Part {
    pub what: String,
    pub place: &'static str,
    pub bytes: u64,
}

impl Machine {
    /// Plans the scans, says so, and has `work` done with the engine and the plan; not in a dry run.
    ///
    /// # Errors
    /// Where a device is missing or fails, or the memory budget is too small; whatever `work` says.
    pub(crate) fn with_engine(
        &self,
        wish: &DeviceWish,
        scans: Scans<'_>,
        console: Console,
        work: impl FnOnce(&dyn Engine, Option<&Plan>) -> Result<()>,
    ) -> Result<()> {
        let lists = scans.needs.iter().flatten().map(|need| need.bytes);
        let lists = lists.max().unwrap_or(0);
        // What the lists leave.
        let budget = self.memory.map(|memory| memory.saturating_sub(lists));
        let device = wish.resolve()?;
        let next = match &self.fallback {
            Some(wish) => Some(wish.resolve()?.engine(budget)?),
            None => None,
        };
        let keep = match self.resident {
            Resident::Auto => {
                let needs = || scans.needs.iter().flatten();
                // Some make many passes over the pool.
                needs().count() > 1 || needs().any(|need| need.shape.task != Task::Boundaries)
            }
            Resident::Always => true,
            Resident::Never => false,
        };
        if let (Device::Gpu(choice), true) = (&device, keep) {
            // A pool that has to be there comes first, and blocks take what it leaves.
            let first = match self.resident {
                Resident::Always => ResidentPool::bytes(scans.pool)?,
                _ => 0,
            };
            let engine = gpu_engine(choice, budget.map(|budget| budget.saturating_sub(first)))?;
            return self.with_resident(&engine, scans, (lists, first), console, |engine, plan| {
                with_fallback(engine, next.as_deref(), |engine| work(engine, plan))
            });
        }
        if self.resident == Resident::Always {
            return Err(Failure::usage("--resident always needs one GPU")
                .with_hint("name one with --device; the CPU reads the pool where it is"));
        }
        let engine = device.engine(budget)?;
        let plan = self.plan(engine.as_ref(), scans, (lists, 0), console)?;
        match self.dry_run {
            true => print(plan.as_ref(), console),
            false => with_fallback(engine.as_ref(), next.as_deref(), |engine| {
                work(engine, plan.as_ref())
            }),
        }
    }

    /// [`Machine::with_engine`], with the pool on the device if it fits.
    fn with_resident(
        &self,
        engine: &GpuEngine,
        scans: Scans<'_>,
        beside: (u64, u64),
        console: Console,
        work: impl FnOnce(&dyn Engine, Option<&Plan>) -> Result<()>,
    ) -> Result<()> {
        let streamed = self.plan(engine, scans, beside, console)?;
        let pool_bytes = ResidentPool::bytes(scans.pool)?;
        let device_bytes = streamed.as_ref().map_or(0, |plan| plan.device_bytes);
        let fits = self
            .memory
            .is_none_or(|memory| pool_bytes + device_bytes <= memory);
        if self.dry_run {
            let plan = streamed.map(|plan| {
                if fits {
                    plan.with_pool(pool_bytes)
                } else {
                    plan
                }
            });
            return print(plan.as_ref(), console);
        }
        let bar = console.bar(scans.pool.rows() as u64, "sending");
        let sent = match fits {
            true => ResidentPool::new(engine, scans.pool, &|rows| bar.inc(rows)),
            false => Err(Error::MemoryBudget {
                device: engine.name().into(),
                budget: self.memory.unwrap_or_default(),
                needed: pool_bytes + device_bytes,
            }),
        };
        bar.finish_and_clear();
        match (sent, self.resident) {
            (Ok(resident), _) => {
                let plan = streamed.map(|plan| plan.with_pool(pool_bytes));
                work(&resident, plan.as_ref())
            }
            (Err(Error::OutOfMemory { .. } | Error::MemoryBudget { .. }), Resident::Auto) => {
                console.note("the pool does not fit the device: it is streamed each time");
                work(engine, streamed.as_ref())
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    /// The plan of the scan that takes the most; beside the engine's bytes, the budget has to hold those of `lists`
    /// and of a `pool` on the device.
    fn plan(
        &self,
        engine: &dyn Engine,
        scans: Scans<'_>,
        (lists, pool): (u64, u64),
        console: Console,
    ) -> Result<Option<Plan>> {
        let total = |plan: &MemoryPlan| plan.bytes(Place::Host) + plan.bytes(Place::Device);
        let mut largest: Option<MemoryPlan> = None;
        // What would do for every scan.
        let mut short: Option<(String, u64)> = None;
        for need in scans.needs.iter().flatten() {
            let plan = match engine.plan(need.shape) {
                Ok(plan) => plan,
                Err(Error::MemoryBudget { device, needed, .. }) => {
                    if short.as_ref().is_none_or(|(_, most)| needed > *most) {
                        short = Some((device, needed));
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if largest
                .as_ref()
                .is_none_or(|largest| total(&plan) > total(largest))
            {
                largest = Some(plan);
            }
        }
        if let Some((device, needed)) = short {
            let (budget, needed) = (self.memory.unwrap_or_default(), needed + lists + pool);
            let error = Error::MemoryBudget {
                device,
                budget,
                needed,
            };
            return Err(error.into());
        }
        let plan = largest.map(|mut plan| {
            plan.add(Place::Host, "lists and float64", lists);
            Plan::of(engine.name(), &plan)
        });
        if let (Some(plan), false) = (&plan, self.dry_run) {
            console.note(plan.line());
        }
        Ok(plan)
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

/// Prints the plan alone.
fn print(plan: Option<&Plan>, console: Console) -> Result<()> {
    match plan {
        Some(plan) => console.report(plan, Plan::table),
        None => console.report(&serde_json::json!({}), |_| {
            "nothing is scanned: no memory worth a plan\n".into()
        }),
    }
}

impl Plan {
    fn of(device: &str, plan: &MemoryPlan) -> Self {
        let parts = plan.parts.iter().map(|part| Part {
            what: part.what.clone(),
            place: match part.place {
                Place::Host => "host",
                Place::Device => "device",
            },
            bytes: part.bytes,
        });
        Self {
            device: device.into(),
            rows: plan.rows,
            depth: plan.depth,
            host_bytes: plan.bytes(Place::Host),
            device_bytes: plan.bytes(Place::Device),
            parts: parts.collect(),
        }
    }

    fn with_pool(mut self, bytes: u64) -> Self {
        self.device_bytes += bytes;
        self.parts.push(Part {
            what: "pool".into(),
            place: "device",
            bytes,
        });
        self
    }

    fn line(&self) -> String {
        let device = match self.device_bytes {
            0 => String::new(),
            bytes => format!(", of the device {}", mebibytes(bytes)),
        };
        format!(
            "{}: blocks of up to {} rows, {} in flight; memory of the host {}{device} at most",
            self.device,
            grouped(self.rows),
            self.depth,
            mebibytes(self.host_bytes)
        )
    }

    fn table(&self) -> String {
        let mut table = Table::new(["memory", "of", "MiB"]);
        for part in &self.parts {
            let bytes = format!("{:.1}", part.bytes as f64 / f64::from(1 << 20));
            table.row([part.what.clone(), part.place.into(), bytes]);
        }
        format!("{table}\n{}\n", self.line())
    }
}

fn mebibytes(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{} KiB", grouped(bytes.div_ceil(1 << 10) as usize)),
        _ => format!("{} MiB", grouped(bytes.div_ceil(1 << 20) as usize)),
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
