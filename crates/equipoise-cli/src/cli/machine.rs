//! Arguments about what a scan runs on, which `select` and `scan` share.

use clap::Args;

use crate::commands::machine::{Machine, Resident, parse_bytes};
use crate::device::DeviceWish;

/// How a scan is made.
#[derive(Debug, Args)]
pub(crate) struct MachineArgs {
    /// Take at most so much of the host's memory (beside the pool, which is mapped) and of each
    /// device's: 512MiB, 2GiB. The result does not depend on it
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    memory: Option<u64>,
    /// Print what memory the scan would take, and stop
    #[arg(long)]
    dry_run: bool,
    /// Go on with this device where the other one does not open, or fails
    #[arg(long, value_name = "DEVICE")]
    fallback: Option<DeviceWish>,
}

impl MachineArgs {
    /// What was meant, with the pool on the device or not.
    pub(super) fn meant(self, resident: Resident) -> Machine {
        Machine {
            memory: self.memory,
            dry_run: self.dry_run,
            fallback: self.fallback,
            resident,
        }
    }
}
