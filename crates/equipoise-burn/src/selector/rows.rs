//! Tensors as rows of a pool: on a wgpu device where they are, from other backends in host memory.

use std::any::Any;
use std::borrow::Cow;
use std::panic::AssertUnwindSafe;

use burn::backend::Cube;
use burn::backend::wgpu::{AutoCompiler, CubeBackend, CubeTensor, into_contiguous};
use burn::cubecl::wgpu::WgpuServer;
use burn::tensor::{DType, FloatDType, Int, Tensor};
use equipoise_core::{Chunk, Engine, Pool};
use equipoise_gpu::{DevicePool, GpuEngine, Storage};

use super::host_pool::{HostPool, Numbers};
use super::{Kind, Selector};
use crate::Error;

/// From so many bytes on a batch stays where it is; smaller ones are put together by copies on the device.
const LARGE: u64 = 32 << 20;

/// A pool of tensors, (N, M) in all.
#[derive(Debug)]
pub struct TensorPool(pub(super) Place);

#[derive(Debug)]
pub(super) enum Place {
    Device(DevicePool),
    Host(HostPool),
}

impl TensorPool {
    /// Adds `tensor`, (n, M), to `pool`, made with the first: without a copy on a wgpu device.
    pub(super) fn bind(
        pool: &mut Option<Self>,
        selector: &Selector,
        tensor: Tensor<2>,
    ) -> Result<(), Error> {
        Self::add(pool, selector, tensor, true)
    }

    /// Adds `tensor`, (n, M), to `pool`: small ones behind each other, so that the memory of each is free again.
    pub(super) fn append(
        pool: &mut Option<Self>,
        selector: &Selector,
        tensor: Tensor<2>,
    ) -> Result<(), Error> {
        Self::add(pool, selector, tensor, false)
    }

    fn add(
        pool: &mut Option<Self>,
        selector: &Selector,
        tensor: Tensor<2>,
        in_place: bool,
    ) -> Result<(), Error> {
        let form = Form::of(selector, &tensor)?;
        let pool = match pool {
            Some(pool) => pool,
            None => pool.insert(Self::new(selector, form)?),
        };
        pool.form().takes(form)?;
        match (&mut pool.0, &selector.engine) {
            (Place::Device(pool), Kind::Gpu(engine)) => {
                let tensor = stored(engine.name(), tensor)?;
                let rows = tensor.dims()[0];
                let bytes =
                    tensor.dims().iter().product::<usize>() as u64 * tensor.dtype().size() as u64;
                let place = located(engine, tensor)?;
                let added = match in_place || bytes >= LARGE {
                    true => pool.bind(&place.buffer, place.offset, rows, place.keep),
                    false => pool.append(&place.buffer, place.offset, rows),
                };
                added.map_err(|error| error.into())
            }
            (Place::Host(pool), _) => {
                let device = format!("{:?}", selector.device);
                let tensor = stored(&device, tensor)?;
                pool.push(caught(&device, || numbers(tensor))?);
                Ok(())
            }
            // A pool is made for its selector's engine.
            (Place::Device(_), Kind::Cpu(_)) => Ok(()),
        }
    }

    fn new(selector: &Selector, Form { storage, dim }: Form) -> Result<Self, Error> {
        Ok(Self(match &selector.engine {
            Kind::Gpu(engine) => Place::Device(DevicePool::new(engine, storage, dim)?),
            Kind::Cpu(_) => Place::Host(HostPool::new(storage, dim)),
        }))
    }

    /// What its rows are like.
    fn form(&self) -> Form {
        let storage = match &self.0 {
            Place::Device(pool) => pool.stored_as(),
            Place::Host(pool) => pool.stored_as(),
        };
        let dim = self.dim();
        Form { storage, dim }
    }

    /// The pool behind it.
    fn inner(&self) -> &dyn Pool {
        match &self.0 {
            Place::Device(pool) => pool,
            Place::Host(pool) => pool,
        }
    }
}

impl Pool for TensorPool {
    fn rows(&self) -> usize {
        self.inner().rows()
    }

    fn dim(&self) -> usize {
        self.inner().dim()
    }

    fn chunk(&self, start: usize, max_rows: usize) -> equipoise_core::Result<Chunk<'_>> {
        self.inner().chunk(start, max_rows)
    }

    fn width(&self) -> equipoise_core::Result<usize> {
        self.inner().width()
    }

    fn embeddings(&self, rows: &[usize]) -> equipoise_core::Result<Vec<Cow<'_, [f32]>>> {
        self.inner().embeddings(rows)
    }

    fn storage(&self) -> Option<(&dyn Any, usize)> {
        self.inner().storage()
    }
}

/// What rows of a pool are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) storage: Storage,
    pub(super) dim: usize,
}

impl Form {
    /// That of a tensor's rows in a pool of `selector`, if they can be in one. The device is not asked.
    pub(super) fn of(selector: &Selector, tensor: &Tensor<2>) -> Result<Self, Error> {
        let found = tensor.device().inner();
        if found != selector.device {
            return Err(Error::OtherDevice {
                what: "embeddings",
                expected: format!("{:?}", selector.device),
                found: format!("{found:?}"),
            });
        }
        let storage = match tensor.dtype() {
            DType::F16 => Storage::F16,
            DType::F32 | DType::BF16 | DType::F64 | DType::Flex32 => Storage::F32,
            other => {
                let (expected, found) = ("f32, f16, bf16 or f64".into(), format!("{other:?}"));
                return Err(misshapen("type of the embeddings", expected, found));
            }
        };
        match tensor.dims()[1] {
            0 => Err(misshapen(
                "numbers of an embedding",
                "at least one".into(),
                "none".into(),
            )),
            dim => Ok(Self { storage, dim }),
        }
    }

    /// Whether rows like `found` fit among rows like these.
    pub(super) fn takes(self, found: Self) -> Result<(), Error> {
        if found.dim != self.dim {
            let (expected, found) = (self.dim.to_string(), found.dim.to_string());
            return Err(misshapen("columns of the embeddings", expected, found));
        }
        if found.storage != self.storage {
            let (expected, found) = (
                format!("{:?}", self.storage),
                format!("{:?}", found.storage),
            );
            return Err(misshapen("type of the embeddings", expected, found));
        }
        Ok(())
    }
}

fn misshapen(what: &'static str, expected: String, found: String) -> Error {
    Error::Shape {
        what,
        expected,
        found,
    }
}

/// The tensor as it is stored, in f32 or f16: bf16 is widened exactly, f64 rounded.
fn stored(device: &str, tensor: Tensor<2>) -> Result<Tensor<2>, Error> {
    caught(device, || {
        let tensor = tensor.without_autodiff();
        Ok(match tensor.dtype() {
            DType::F32 | DType::F16 => tensor,
            _ => tensor.cast(FloatDType::F32),
        })
    })
}

/// Where a tensor is in device memory.
pub(super) struct Located {
    pub(super) buffer: wgpu::Buffer,
    pub(super) offset: u64,
    /// Keeps burn from using the memory for something else.
    pub(super) keep: Box<dyn Any + Send + Sync>,
}

/// Finds the buffer of a tensor, made contiguous on the device if it is not. Whatever burn was to do with it is
/// submitted.
pub(super) fn located<const D: usize>(
    engine: &GpuEngine,
    tensor: Tensor<D>,
) -> Result<Located, Error> {
    caught(engine.name(), || {
        let primitive = tensor.try_into_primitive::<Cube>();
        let primitive = primitive.map_err(|error| format!("{error:?}"))?;
        // With burn's `fusion` this is the fusion client's own method, which does what was put off; without, it is
        // that of `Resolve`.
        let client = primitive.client.clone();
        resource(client.resolve_tensor_float::<CubeBackend>(primitive))
    })
}

/// As [`located`].
pub(super) fn located_int<const D: usize>(
    engine: &GpuEngine,
    tensor: Tensor<D, Int>,
) -> Result<Located, Error> {
    caught(engine.name(), || {
        let primitive = tensor.try_into_primitive::<Cube>();
        let primitive = primitive.map_err(|error| format!("{error:?}"))?;
        let client = primitive.client.clone();
        resource(client.resolve_tensor_int::<CubeBackend>(primitive))
    })
}

fn resource(tensor: CubeTensor) -> Result<Located, String> {
    let tensor = into_contiguous(tensor);
    let handle = tensor.handle.clone();
    let found = tensor
        .client
        .get_resource::<WgpuServer<AutoCompiler>>(handle);
    let found = found.map_err(|error| error.to_string())?;
    let resource = found.resource();
    Ok(Located {
        buffer: resource.buffer.clone(),
        offset: resource.offset,
        keep: Box::new((found, tensor.handle)),
    })
}

/// What burn does on `device`, its panics where the device is lost caught.
pub(super) fn caught<T>(
    device: &str,
    work: impl FnOnce() -> Result<T, String>,
) -> Result<T, Error> {
    let done = std::panic::catch_unwind(AssertUnwindSafe(work));
    let done = done.unwrap_or_else(|_| Err("burn failed: the device may be lost".into()));
    done.map_err(|reason| Error::Device {
        device: device.into(),
        reason,
    })
}

/// What a fusion client does for its tensors, for those that need no such thing.
#[allow(
    dead_code,
    reason = "with burn's `fusion` its client's own methods come first"
)]
trait Resolve {
    fn resolve_tensor_float<B>(&self, tensor: CubeTensor) -> CubeTensor;
    fn resolve_tensor_int<B>(&self, tensor: CubeTensor) -> CubeTensor;
}

impl Resolve for burn::cubecl::client::Client {
    fn resolve_tensor_float<B>(&self, tensor: CubeTensor) -> CubeTensor {
        tensor
    }

    fn resolve_tensor_int<B>(&self, tensor: CubeTensor) -> CubeTensor {
        tensor
    }
}

/// A tensor's numbers in host memory.
fn numbers(tensor: Tensor<2>) -> Result<Numbers, String> {
    let data = tensor.try_into_data();
    let data = data.map_err(|error| format!("{error:?}"))?;
    let found = match data.dtype() {
        DType::F16 => data.try_into_vec().map(Numbers::F16),
        _ => data.try_into_vec().map(Numbers::F32),
    };
    found.map_err(|error| format!("{error:?}"))
}
