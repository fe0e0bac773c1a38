//! Centres among gradient embeddings on the device, and a block's rows scored against them.

use equipoise_core::Head;
use equipoise_core::engine::{GradientCentres, GradientTolerance, LogitError, Task};
use wgpu::{Buffer, BufferUsages, CommandEncoder};

use crate::device::{Context, Growing};
use crate::head::HeadBuffers;
use crate::kernels::logits::{Arguments, LogitBound, Path};
use crate::kernels::nearest_gradient::Products;
use crate::kernels::row_statistics::Rows;
use crate::kernels::{Storage, Values};
use crate::plan::Plan;
use crate::row_variants::RowKernels;
use crate::{GpuEngine, GpuError};

/// The relative error of an operation in WGSL.
const UNIT: f64 = 1.0 / (1 << 23) as f64;

/// A matrix of centres, and how products with it are made.
#[derive(Debug)]
struct Matrix {
    count: usize,
    path: Path,
    buffers: HeadBuffers,
}

impl Matrix {
    /// Records the products of `values` with it, (rows, centres).
    fn multiply(
        &self,
        context: &Context,
        encoder: &mut CommandEncoder,
        values: Values<'_>,
        logits: &Buffer,
    ) {
        for weights in &self.buffers.head {
            let arguments = Arguments {
                values,
                classes: self.count as u32,
                logits,
            };
            self.path.record(context, encoder, weights, arguments);
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Centres {
    count: usize,
    tolerance: GradientTolerance,
    embeddings: Matrix,
    gradients: Matrix,
    bias: Buffer,
    /// Gradients of a block's rows, and products with both matrices: only the device sees them.
    of_rows: Growing,
    of_embeddings: Growing,
    of_gradients: Growing,
}

impl Centres {
    /// Copies centres that fit the head to the device.
    pub(crate) fn new(
        engine: &GpuEngine,
        centres: &GradientCentres,
        storage: Storage,
        plan: &Plan,
    ) -> Result<Self, GpuError> {
        let context = &engine.context;
        let matrix = |head: &Head, storage| {
            let path = engine.path(head, storage, plan)?;
            let buffers = HeadBuffers::new(context, head, plan, &path, Task::Nearest)?;
            let bound = path.bound(head.dim());
            let count = head.classes();
            Ok::<_, GpuError>((
                bound,
                Matrix {
                    count,
                    path,
                    buffers,
                },
            ))
        };
        let count = centres.embeddings.classes();
        let (of_x, embeddings) = matrix(&centres.embeddings, storage)?;
        let (of_g, gradients) = matrix(&centres.gradients, Storage::F32)?;
        let error = |bound: LogitBound| LogitError {
            gamma: bound.gamma,
            flushed: bound.flushed,
        };
        let bias = context.guarded(|| {
            let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
            let buffer = context.buffer("biases of centres", 4 * count as u64, usage);
            context.write(&buffer, bytemuck::cast_slice(&centres.bias));
            Ok(buffer)
        })?;
        Ok(Self {
            count,
            tolerance: GradientTolerance::new(centres, (error(of_x), error(of_g)), UNIT),
            embeddings,
            gradients,
            bias,
            of_rows: Growing::storage("gradients"),
            of_embeddings: Growing::storage("products with centres"),
            of_gradients: Growing::storage("products with gradients"),
        })
    }

    /// Records what is nearest to every row of a block with embeddings `values`, to `found`.
    pub(crate) fn record(
        &mut self,
        engine: &GpuEngine,
        kernels: &RowKernels,
        encoder: &mut CommandEncoder,
        (values, rows): (Values<'_>, Rows<'_>),
        found: &Buffer,
    ) {
        let context = &engine.context;
        let bytes = |columns: usize| 4 * u64::from(rows.rows) * columns as u64;
        let made = self.of_rows.at_least(context, bytes(rows.classes as usize));
        let made = made.clone();
        let kernel = &kernels.gradients;
        kernel.record(context, encoder, rows, &self.tolerance, (&made, found));
        let gradients = Values {
            rows: rows.rows,
            dim: rows.classes,
            storage: Storage::F32,
            buffer: &made,
            offset: 0,
        };
        let products = bytes(self.count);
        let of_embeddings = self.of_embeddings.at_least(context, products);
        self.embeddings
            .multiply(context, encoder, values, of_embeddings);
        let of_gradients = self.of_gradients.at_least(context, products);
        self.gradients
            .multiply(context, encoder, gradients, of_gradients);
        let products = Products {
            rows: rows.rows,
            centres: self.count as u32,
            groups: rows.groups,
            of_embeddings,
            of_gradients,
            bias: &self.bias,
        };
        let kernel = &kernels.nearest_gradient;
        kernel.record(context, encoder, products, found);
    }
}
