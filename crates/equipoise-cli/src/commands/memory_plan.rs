//! What a scan is planned to take, as it is printed.

use equipoise::core::memory::{MemoryPlan, Place};
use equipoise::report::Table;
use serde::Serialize;

use crate::console::{Console, grouped};
use crate::failure::Result;

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

/// Prints the plan alone.
pub(super) fn print(plan: Option<&Plan>, console: Console) -> Result<()> {
    match plan {
        Some(plan) => console.report(plan, Plan::table),
        None => console.report(&serde_json::json!({}), |_| {
            "nothing is scanned: no memory worth a plan\n".into()
        }),
    }
}

impl Plan {
    pub(super) fn of(device: &str, plan: &MemoryPlan) -> Self {
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

    pub(super) fn line(&self) -> String {
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
