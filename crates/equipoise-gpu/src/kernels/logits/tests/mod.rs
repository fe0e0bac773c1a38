//! Every variant within its bound, at every edge of its tiles and of its numbers; and the choice among
//! them.

mod bounds;
mod choice;
mod matrices;
mod ranges;

use equipoise_core::{Head, Values};
use half::f16;

use super::trial::{largest_error, random};
use super::variants::VARIANTS;
use super::*;
use crate::facts::Facts;
use crate::{DeviceChoice, Gpu};

fn context() -> Context {
    let gpu = Gpu::open(&DeviceChoice::Any).expect("an adapter: see README, cargo xtask test");
    Context::new(gpu.device, gpu.queue)
}

fn facts() -> (Context, Facts) {
    let gpu = Gpu::open(&DeviceChoice::Any).expect("an adapter: see README, cargo xtask test");
    let facts = Facts::of(&gpu.adapter, &gpu.device);
    let (device, queue) = (gpu.device, gpu.queue);
    (Context::new(device, queue), facts)
}

/// Every variant that runs everywhere, for both storages.
fn plain(context: &Context) -> Vec<Path> {
    let plain = VARIANTS.iter().filter(|variant| !variant.needs_trial());
    let both = plain.flat_map(|variant| [Storage::F32, Storage::F16].map(|s| (variant, s)));
    both.map(|(variant, storage)| Path::new(context, variant, storage).expect("a path"))
        .collect()
}

/// The case's largest error, in units of the bound, in the path's storage.
fn error(context: &Context, path: &Path, values: &[f32], head: &Head) -> f64 {
    let half: Vec<f16> = values.iter().map(|x| f16::from_f32(*x)).collect();
    let values = match path.storage {
        Storage::F32 => Values::F32(values),
        Storage::F16 => Values::F16(&half),
    };
    largest_error(context, path, values, head).expect("logits")
}

fn head(classes: usize, dim: usize, scale: f32) -> Head {
    let weight = random(classes * dim, 5).iter().map(|w| w * scale).collect();
    Head::new(weight, random(classes, 6), dim).expect("a head")
}
