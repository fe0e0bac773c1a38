//! The wgpu handles behind burn's devices, and an engine on each.

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::DispatchDevice;
use burn::backend::wgpu::graphics::AutoGraphicsApi;
use burn::backend::wgpu::{RuntimeOptions, WgpuDevice, try_init_setup};
use burn::cubecl;
use burn::tensor::Device;
use equipoise_gpu::{Gpu, GpuEngine};

use crate::Error;

/// A device of burn's, its handles, and the engine once somebody wants one.
type Known = (WgpuDevice, Gpu, Option<Arc<GpuEngine>>);

/// burn registers a device once a process, and so do we.
static KNOWN: Mutex<Vec<Known>> = Mutex::new(Vec::new());

/// The wgpu device that `device` is.
pub(super) fn wgpu_device(device: &Device) -> Option<WgpuDevice> {
    match device.as_dispatch() {
        DispatchDevice::Cube(cubecl::Device::Wgpu(device)) => Some(device.clone()),
        _ => None,
    }
}

/// Notes the handles of a wgpu device; of others there are none.
pub(crate) fn remember(device: &Device, gpu: &Gpu) {
    let Some(device) = wgpu_device(device) else {
        return;
    };
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if known.iter().all(|(of, ..)| *of != device) {
        known.push((device, gpu.clone(), None));
    }
}

/// The engine on a device, which is opened if nobody did.
pub(super) fn engine(device: &WgpuDevice) -> Result<Arc<GpuEngine>, Error> {
    // Held while opening and compiling: whoever asks for the same device meanwhile gets the same engine.
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let place = match known.iter().position(|(of, ..)| of == device) {
        Some(place) => place,
        None => {
            known.push((device.clone(), open(device)?, None));
            known.len() - 1
        }
    };
    let (_, gpu, engine) = &mut known[place];
    if let Some(engine) = engine {
        return Ok(engine.clone());
    }
    let made = Arc::new(GpuEngine::new(gpu.clone())?);
    *engine = Some(made.clone());
    Ok(made)
}

/// Opens a device for burn and us.
fn open(device: &WgpuDevice) -> Result<Gpu, Error> {
    let options = RuntimeOptions::try_default();
    let setup = options.and_then(|options| try_init_setup::<AutoGraphicsApi>(device, options));
    let setup = setup.map_err(|error| Error::Handles {
        device: format!("{device:?}"),
        reason: error.to_string(),
    })?;
    Ok(Gpu {
        instance: setup.instance,
        adapter: setup.adapter,
        device: setup.device,
        queue: setup.queue,
    })
}
