//! The same by burn's own tensor operations, on the same adapter: what a user would write without us.

use std::panic::AssertUnwindSafe;
use std::str::FromStr;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use equipoise::burn::ModelDevice;
use equipoise::core::engine::{BoundaryScales, NO_BOUNDARY, Task};
use equipoise::core::{Head, Values};
use equipoise::pool::Dtype;

use super::measure::median;
use super::row::{Row, Work};
use super::setting::{Found, Setting};
use super::target::Target;
use crate::failure::{Failure, Result};

/// Most bytes of a pool that is made a tensor.
const MOST_BYTES: u64 = 8 << 30;

/// Farther than any boundary.
const FAR: f32 = 1e30;

/// What is measured, as tables call it.
const PEERS: [(&str, &str); 3] = [
    ("logits", "burn matmul"),
    ("row_statistics", "burn topk"),
    ("select mase", "burn matmul, topk"),
];

/// Names of the peers, with their variants.
pub(super) fn names() -> impl Iterator<Item = String> {
    PEERS
        .iter()
        .map(|(name, variant)| format!("{name}/{variant}"))
}

/// When peers are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Peers {
    /// But on software adapters: Mesa's crashes in burn's products.
    #[default]
    Auto,
    Always,
    Never,
}

impl FromStr for Peers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            _ => Err("one of auto, always, never".into()),
        }
    }
}

impl Setting<'_> {
    /// Every peer that was asked for.
    ///
    /// # Errors
    /// Where burn's device does not open.
    pub(super) fn peers(&self) -> Result<Option<Found>> {
        let wanted = PEERS
            .iter()
            .filter(|(name, variant)| self.wants(name, variant));
        let wanted: Vec<_> = wanted.collect();
        let mut found = Found::default();
        let reason = match (self.peers, self.target.is_software()) {
            _ if wanted.is_empty() => return Ok(Some(found)),
            (Peers::Never, _) => return Ok(Some(found)),
            (Peers::Auto, true) => {
                "burn's products crash some software drivers: --peers always tries them"
            }
            _ if self.shape.dtype == Dtype::F16 => "burn's peers are measured in f32",
            _ if self.shape.bytes() > MOST_BYTES => "too large for one tensor",
            _ => "",
        };
        if !reason.is_empty() {
            found.left_out.push(("peers".into(), reason.into()));
            return Ok(Some(found));
        }
        let device = match self.target {
            Target::Cpu(_) => Device::flex(),
            Target::Gpu { choice, .. } => ModelDevice::gpu(choice)?.burn().clone(),
        };
        for (name, variant) in wanted {
            // burn panics where memory or the device fails.
            let measured = std::panic::catch_unwind(AssertUnwindSafe(|| {
                Peer::new(self, &device)?.measure(name, variant)
            }));
            match measured.unwrap_or_else(|_| Err(Failure::new("burn failed"))) {
                Ok(row) => found.rows.push(row),
                Err(failure) => found
                    .failed
                    .push((format!("{name} {variant}"), failure.message())),
            }
        }
        Ok(Some(found))
    }
}

/// The pool and the head as tensors.
struct Peer<'a> {
    setting: &'a Setting<'a>,
    device: &'a Device,
    /// Rows of a block: as many as our kernels go over.
    block: usize,
    /// (N, M).
    embeddings: Tensor<2>,
    /// (M, C) and (1, C).
    weight: Tensor<2>,
    bias: Tensor<2>,
}

impl<'a> Peer<'a> {
    fn new(setting: &'a Setting<'a>, device: &'a Device) -> Result<Self> {
        let (pool, head) = (setting.pool, setting.head);
        let engine = setting.target.engine();
        let block = engine.scorer(head, pool, Task::Boundaries)?.max_rows();
        let Values::F32(values) = pool.chunk(0, pool.rows())?.values else {
            return Err(Failure::new("burn's peers are measured in f32"));
        };
        let (dim, classes) = (head.dim(), head.classes());
        let tensor = |values: &[f32], shape: [usize; 2]| {
            Tensor::<2>::from_data(
                TensorData::new(values.to_vec(), shape),
                (device, DType::F32),
            )
        };
        Ok(Self {
            setting,
            device,
            block: block.min(pool.rows()),
            embeddings: tensor(values, [pool.rows(), dim]),
            weight: tensor(head.weight(), [classes, dim]).transpose(),
            bias: tensor(head.bias(), [1, classes]),
        })
    }

    fn logits(&self, first: usize, rows: usize) -> Tensor<2> {
        let dim = self.setting.head.dim();
        let rows = self.embeddings.clone().slice([first..first + rows, 0..dim]);
        rows.matmul(self.weight.clone()) + self.bias.clone()
    }

    fn measure(&self, name: &str, variant: &str) -> Result<Row> {
        let budget = self.setting.budget;
        let idle = || {
            let done = self.device.sync();
            done.map_err(|error| Failure::new(format!("burn: {error:?}")))
        };
        match name {
            "logits" => {
                let timing = median(budget, false, || {
                    let logits = self.logits(0, self.block);
                    idle()?;
                    drop(logits);
                    Ok(())
                })?;
                Ok(self.setting.row(name, variant, self.block, &timing))
            }
            "row_statistics" => {
                let logits = self.logits(0, self.block);
                let timing = median(budget, false, || {
                    let top = logits.clone().topk(2.min(self.setting.head.classes()), 1);
                    idle()?;
                    drop(top);
                    Ok(())
                })?;
                Ok(self.setting.row(name, variant, self.block, &timing))
            }
            _ => {
                let scales = self.scales(self.setting.head);
                let budget_of_picks = self.setting.shape.picks();
                let timing = median(budget, false, || {
                    let picks = self.nearest(&scales, budget_of_picks);
                    // They come to the host, as ours do.
                    let read = picks.try_into_data();
                    read.map(drop)
                        .map_err(|error| Failure::new(format!("burn: {error:?}")))
                })?;
                let shape = self.setting.shape;
                let work = Work {
                    name,
                    variant,
                    shape,
                    budget: Some(budget_of_picks),
                    operations: Some(shape.products(shape.rows)),
                    bytes: shape.bytes() as f64,
                    matrices: false,
                    streamed: false,
                };
                Ok(self.setting.device.row(work, &timing))
            }
        }
    }

    /// 1/‖W[p] − W[c]‖, and what is added where there is no boundary, (C, C) both.
    fn scales(&self, head: &Head) -> [Tensor<2>; 2] {
        let classes = head.classes();
        let scales = BoundaryScales::new(head).table(head, classes, NO_BOUNDARY);
        let far: Vec<f32> = scales
            .iter()
            .map(|scale| if *scale > 0.0 { 0.0 } else { FAR })
            .collect();
        let scales: Vec<f32> = scales.iter().map(|scale| scale.max(0.0)).collect();
        [scales, far].map(|values| {
            Tensor::from_data(
                TensorData::new(values, [classes, classes]),
                (self.device, DType::F32),
            )
        })
    }

    /// The rows nearest to a boundary.
    fn nearest(&self, [scales, far]: &[Tensor<2>; 2], budget: usize) -> Tensor<2, Int> {
        let rows = self.setting.pool.rows();
        let blocks = (0..rows).step_by(self.block).map(|first| {
            let logits = self.logits(first, self.block.min(rows - first));
            let (top, predicted) = logits.clone().max_dim_with_indices(1);
            let predicted = predicted.flatten::<1>(0, 1);
            let distances = (top - logits) * scales.clone().select(0, predicted.clone())
                + far.clone().select(0, predicted);
            distances.min_dim(1)
        });
        let distances = Tensor::cat(blocks.collect(), 0);
        let (_, picks) = distances.neg().topk_with_indices(budget, 0);
        picks
    }
}
