//! The wgpu handles behind burn's devices, and an engine on each.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::DispatchDevice;
use burn::backend::wgpu::graphics::AutoGraphicsApi;
use burn::backend::wgpu::{RuntimeOptions, WgpuDevice, try_init_setup};
use burn::cubecl;
use burn::tensor::{Device, Tensor, TensorData};
use equipoise_core::{Engine, Pool};
use equipoise_gpu::{DevicePool, Gpu, GpuEngine, GpuError, Storage};

use super::rows::{caught, located};
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

/// Notes the handles of a wgpu device that burn gave away; of others there are none.
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

/// The engine on a device whose handles the application has, unless they are known already: a tensor that burn made has
/// to be what is read through them.
pub(super) fn engine_by(
    device: &Device,
    of: &WgpuDevice,
    gpu: Gpu,
) -> Result<Arc<GpuEngine>, Error> {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if known.iter().any(|(known, ..)| known == of) {
        drop(known);
        return engine(of);
    }
    let made = Arc::new(GpuEngine::new(gpu.clone())?);
    // Buffers have numbers, which mean another buffer, or none, on another instance.
    read_through(&made, device).map_err(|reason| Error::Handles {
        device: format!("{device:?}"),
        reason: format!("those given are another device's: {reason}"),
    })?;
    known.push((of.clone(), gpu, Some(made.clone())));
    Ok(made)
}

/// Reads a tensor of `device` through the engine, and says how it differs.
fn read_through(engine: &GpuEngine, device: &Device) -> Result<(), String> {
    let wanted = arbitrary_numbers();
    let data = TensorData::new(wanted.clone(), [1, PROBED]);
    let place = caught(engine.name(), || Ok(Tensor::<2>::from_data(data, device)))
        .and_then(|tensor| located(engine, tensor))
        .map_err(|error| error.to_string())?;
    let read = || {
        let mut pool = DevicePool::new(engine, Storage::F32, PROBED)?;
        pool.append(&place.buffer, place.offset, 1)?;
        Ok(pool)
    };
    let pool = read().map_err(|error: GpuError| error.to_string())?;
    let found = pool.embeddings(&[0]).map_err(|error| error.to_string())?;
    match found[0][..] == wanted[..] {
        true => Ok(()),
        false => Err("a tensor reads otherwise through them".into()),
    }
}

/// Numbers of the tensor that is read to try handles.
const PROBED: usize = 64;

/// Numbers in 1..2 that no buffer holds by chance, nor from the last time.
fn arbitrary_numbers() -> Vec<f32> {
    let keys = RandomState::new();
    let bits = (0..PROBED).map(|i| keys.hash_one(i) as u32 >> 9);
    bits.map(|bits| f32::from_bits(1f32.to_bits() | bits))
        .collect()
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
