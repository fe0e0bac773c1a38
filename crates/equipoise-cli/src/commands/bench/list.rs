//! `--list`: what there is to measure.

use equipoise::gpu::shaders::{ALL, Backend, Feature, Shader};
use equipoise::report::Table;
use serde::Serialize;

use super::target::{self, Target};
use super::{paths, peers};
use crate::console::Console;
use crate::device::DeviceWish;
use crate::failure::{Failure, Result};

/// All of it.
#[derive(Debug, Serialize)]
struct Listed {
    kernels: Vec<Kernel>,
    /// Names of what is measured as a whole.
    selections: Vec<String>,
    /// And by burn's own operations.
    peers: Vec<String>,
}

/// A shader.
#[derive(Debug, Serialize)]
struct Kernel {
    kernel: &'static str,
    variant: &'static str,
    workgroup_size: [u32; 3],
    workgroup_bytes: u32,
    storage_buffers: u32,
    needs: Vec<String>,
    backends: Vec<String>,
    /// Per GPU that was asked for, its name and what it lacks.
    devices: Vec<(String, Option<String>)>,
}

/// Lists shaders, and whether the devices run them.
///
/// # Errors
/// Where no device opens.
pub(super) fn run(wish: &DeviceWish, console: Console) -> Result<()> {
    let targets = target::open(wish)?;
    let kernels = ALL.iter().map(|shader| Kernel::of(shader, &targets));
    let listed = Listed {
        kernels: kernels.collect(),
        selections: paths::names().collect(),
        peers: peers::names().collect(),
    };
    console.report(&listed, text)
}

/// Where names are.
pub(super) const HINT: &str = "`equipoise bench --list` says what there is";

/// Checks names that are asked for, before anything is measured. Of those with a variant (`/NAME/VARIANT`), devices have
/// their own; peers have the names of what they are measured beside.
///
/// # Errors
/// Where nothing has one of them.
pub(super) fn check_names(only: &[String]) -> Result<()> {
    let kernels = ALL.iter().map(|shader| shader.kernel.to_owned());
    let names: Vec<String> = kernels.chain(paths::names()).collect();
    let is_known =
        |part: &String| part.contains('/') || names.iter().any(|name| name.contains(part));
    match only.iter().find(|part| !is_known(part)) {
        Some(part) => Err(Failure::usage(format!("nothing is called {part}")).with_hint(HINT)),
        None => Ok(()),
    }
}

impl Kernel {
    fn of(shader: &'static Shader, targets: &[Target]) -> Self {
        let devices = targets.iter().filter_map(|target| match target {
            Target::Cpu(_) => None,
            Target::Gpu { gpu, .. } => Some((gpu.adapter.get_info().name, gpu.lacks(shader))),
        });
        let need = |feature: &Feature| match feature {
            Feature::F16 => "f16",
            Feature::Matrices => "matrix cores",
            Feature::Subgroups => "subgroups",
        };
        Self {
            kernel: shader.kernel,
            variant: shader.variant,
            workgroup_size: shader.workgroup_size,
            workgroup_bytes: shader.workgroup_bytes,
            storage_buffers: shader.storage_buffers,
            needs: shader
                .features
                .iter()
                .map(|feature| need(feature).into())
                .collect(),
            backends: shader
                .backends
                .iter()
                .map(|backend| format!("{backend:?}"))
                .collect(),
            devices: devices.collect(),
        }
    }

    /// Where it runs of the devices that were asked for.
    fn here(&self) -> String {
        let said = self.devices.iter().map(|(name, lacks)| match lacks {
            None => format!("runs on {name}"),
            Some(lacks) => format!("not on {name}: {lacks}"),
        });
        said.collect::<Vec<_>>().join("; ")
    }
}

fn text(listed: &Listed) -> String {
    let mut table = Table::new([
        "kernel",
        "variant",
        "workgroup",
        "memory",
        "buffers",
        "needs",
        "backends",
        "here",
    ]);
    for kernel in &listed.kernels {
        let sizes = kernel.workgroup_size.iter().filter(|size| **size > 1);
        let sizes: Vec<String> = sizes.map(u32::to_string).collect();
        let backends = match kernel.backends.len() == Backend::ALL.len() {
            true => "all".into(),
            false => kernel.backends.join(", "),
        };
        table.row([
            kernel.kernel.into(),
            kernel.variant.into(),
            sizes.join("x"),
            format!("{} B", kernel.workgroup_bytes),
            kernel.storage_buffers.to_string(),
            kernel.needs.join(", "),
            backends,
            kernel.here(),
        ]);
    }
    format!(
        "{table}\nwhole selections: {}\nby burn's own operations: {}\n\
         --only takes a part of a kernel's or selection's name, or of /NAME/VARIANT.\n",
        listed.selections.join(", "),
        listed.peers.join(", ")
    )
}
