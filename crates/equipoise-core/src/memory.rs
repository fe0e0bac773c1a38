//! What a scan will take, known before anything is allocated.

use crate::Head;
use crate::engine::Task;

/// Where memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The host's, beside the pages of memory-mapped files.
    Host,
    /// A device's own.
    Device,
}

/// One use of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPart {
    /// What it is for.
    pub what: String,
    /// Where it is.
    pub place: Place,
    /// How much at most.
    pub bytes: u64,
}

/// What an engine will take for one head and pool, and how it goes over the rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemoryPlan {
    /// Most rows of a block.
    pub rows: usize,
    /// Blocks in flight.
    pub depth: usize,
    /// Every use of memory that grows with head, pool or block.
    pub parts: Vec<MemoryPart>,
}

impl MemoryPlan {
    /// Bytes in one place.
    pub fn bytes(&self, place: Place) -> u64 {
        let parts = self.parts.iter().filter(|part| part.place == place);
        parts.map(|part| part.bytes).sum()
    }

    /// Adds a use of memory, unless it is none.
    pub fn add(&mut self, place: Place, what: impl Into<String>, bytes: u64) {
        if bytes > 0 {
            self.parts.push(MemoryPart {
                what: what.into(),
                place,
                bytes,
            });
        }
    }
}

/// Bytes of host memory that a scan takes of each row of a block, beside an engine's answer, where `task` makes lists: engines
/// plan them.
pub fn scanned_row_bytes(task: Task) -> u64 {
    match task {
        Task::Boundaries => crate::known::Known::block_bytes(1),
        Task::Nearest | Task::NearestGradient { .. } => 0,
    }
}

/// What a scan's memory depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanShape {
    /// Rows of the pool, N.
    pub rows: usize,
    /// Numbers per embedding, M.
    pub dim: usize,
    /// Classes of the head, C.
    pub classes: usize,
    /// Bytes of a stored number: 4 or 2.
    pub width: usize,
    /// What is asked of the rows.
    pub task: Task,
}

impl ScanShape {
    /// The shape of a scan of `pool` against `head` for `task`.
    ///
    /// # Errors
    /// [`crate::Error::Read`] where the pool cannot be read.
    pub fn of(head: &Head, pool: &dyn crate::Pool, task: Task) -> crate::Result<Self> {
        Self::of_classes(head.classes(), pool, task)
    }

    /// The shape of a scan of `pool` against so many classes, or centres.
    ///
    /// # Errors
    /// As [`ScanShape::of`].
    pub fn of_classes(classes: usize, pool: &dyn crate::Pool, task: Task) -> crate::Result<Self> {
        Ok(Self {
            rows: pool.rows(),
            dim: pool.dim(),
            classes,
            width: pool.width()?,
            task,
        })
    }
}

/// Whether the system gives so many bytes, asked for at once: an allocation that is refused later ends the process.
pub(crate) fn gives(bytes: u64) -> bool {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    Vec::<u8>::new().try_reserve_exact(bytes).is_ok()
}

/// The first of `tries`, each a plan with its bytes in the place that counts, that is within `budget`;
/// otherwise the least bytes of them all.
///
/// # Errors
/// The least bytes.
pub fn within<T>(budget: Option<u64>, tries: impl IntoIterator<Item = (T, u64)>) -> Result<T, u64> {
    let mut least = u64::MAX;
    for (plan, bytes) in tries {
        if budget.is_none_or(|budget| bytes <= budget) {
            return Ok(plan);
        }
        least = least.min(bytes);
    }
    Err(least)
}

/// Binary units, the largest first.
const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

/// So many bytes, in the largest binary unit that says exactly that: `10 KiB`, `1000 bytes`.
pub fn exactly(bytes: u64) -> String {
    let whole = |(_, shift): &&(&str, u32)| bytes >> shift << shift == bytes && bytes > 0;
    match UNITS.iter().find(whole) {
        Some((unit, shift)) => format!("{} {unit}", bytes >> shift),
        None => format!("{bytes} bytes"),
    }
}

/// So many bytes, rounded up by a tenth at most: `4743 KiB`.
pub fn rounded_up(bytes: u64) -> String {
    let near = |(_, shift): &&(&str, u32)| bytes >> shift >= 10;
    let (unit, shift) = UNITS.iter().find(near).unwrap_or(&("KiB", 10));
    format!("{} {unit}", bytes.div_ceil(1 << shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_said_in_units() {
        for (bytes, said) in [
            (0, "0 bytes"),
            (1000, "1000 bytes"),
            (1024, "1 KiB"),
            (10240, "10 KiB"),
            (10241, "10241 bytes"),
            (3 << 29, "1536 MiB"),
            (2 << 30, "2 GiB"),
        ] {
            assert_eq!(exactly(bytes), said);
        }
        for (bytes, said) in [
            (1, "1 KiB"),
            (4_856_576, "4743 KiB"),
            (10 << 20, "10 MiB"),
            ((10 << 20) + 1, "11 MiB"),
            (u64::MAX, "16777216 TiB"),
        ] {
            assert_eq!(rounded_up(bytes), said);
        }
    }
}
