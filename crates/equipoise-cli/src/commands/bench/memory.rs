//! What measurements take of the machine's memory, known before they are begun.

use equipoise::core::engine::Task;
use equipoise::core::memory::{Place, ScanShape};

use super::Shape;
use super::setting::Setting;
use super::target::Target;
use crate::commands::devices::bytes;
use crate::failure::Result;
use crate::free_memory::free_memory;

/// Bytes of f32 numbers, so many times so many.
pub(super) fn numbers(count: usize, each: usize) -> u64 {
    4u64.saturating_mul(count as u64)
        .saturating_mul(each as u64)
}

/// Bytes of a shape's pool, and of its head as it is made and as it is handed on.
pub(super) fn of_data(shape: Shape) -> u64 {
    let head = numbers(shape.classes, shape.dim);
    shape.bytes().saturating_add(head.saturating_mul(2))
}

/// What is taken to be free where the system does not tell: enough for the usual shapes.
const UNKNOWN: u64 = 4 << 30;

/// Why what takes so many bytes of the machine's memory is not measured; none where they are free.
pub(super) fn lacking(needed: u64) -> Option<String> {
    let free = free_memory().unwrap_or(UNKNOWN);
    // The rest is for the system, and for what is not counted.
    (needed > free / 5 * 4).then(|| {
        let (needed, free) = (bytes(needed), bytes(free));
        format!("it takes {needed} of memory, of which {free} are free")
    })
}

/// What an engine takes for a scan.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planned {
    /// Most rows of a block.
    pub(super) rows: usize,
    /// Bytes of the machine's memory.
    bytes: u64,
    /// Bytes of a block's logits, wherever they are.
    pub(super) logits: u64,
}

impl Setting<'_> {
    /// What the engine takes for `task`.
    ///
    /// # Errors
    /// Where the device cannot do it at all.
    pub(super) fn planned(&self, task: Task) -> Result<Planned> {
        let shape = ScanShape::of(self.head, self.pool, task)?;
        let plan = self.target.engine().plan(shape)?;
        let (host, device) = (plan.bytes(Place::Host), plan.bytes(Place::Device));
        let rows = plan.rows.min(self.pool.rows());
        Ok(Planned {
            rows,
            bytes: host.saturating_add(self.on_host(device)),
            logits: numbers(rows, self.head.classes()),
        })
    }

    /// Bytes of the device's memory, where that is the machine's.
    pub(super) fn on_host(&self, bytes: u64) -> u64 {
        match self.target {
            Target::Gpu { .. } if !self.target.is_software() => 0,
            _ => bytes,
        }
    }

    /// Why what the engine takes for `task`, and what is needed `beside`, is not measured; none where there is memory
    /// for it.
    pub(super) fn lacks_memory(
        &self,
        task: Task,
        beside: impl FnOnce(Planned) -> u64,
    ) -> Option<String> {
        match self.planned(task) {
            Ok(planned) => lacking(planned.bytes.saturating_add(beside(planned))),
            Err(failure) => Some(failure.message()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_machine_holds_is_said_to_lack() {
        let shape: Shape = "9,4,200000".parse().unwrap();
        assert_eq!(of_data(shape), 9 * 4 * 4 + 2 * 4 * 4 * 200_000);
        assert_eq!(lacking(0), None);
        let said = lacking(numbers(1 << 40, 1 << 40)).unwrap();
        assert!(
            said.contains("of memory") && said.contains("free"),
            "{said}"
        );
    }
}
