//! The same by burn's own tensor operations, on the same adapter: what a user would write without us.

use std::panic::AssertUnwindSafe;
use std::str::FromStr;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use equipoise::burn::ModelDevice;
use equipoise::core::engine::{BoundaryScales, NO_BOUNDARY, Task};
use equipoise::core::strategies::Mase;
use equipoise::core::{Head, Request, RowSet, Strategy, Values};
use equipoise::pool::Dtype;

use super::agreement;
use super::measure::median;
use super::memory::numbers;
use super::row::{Row, Timing, Work};
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
            found.leave_out("peers", reason);
            return Ok(Some(found));
        }
        let wanted: Vec<_> = wanted
            .into_iter()
            .filter(|(name, variant)| {
                let lacking = self.lacks_memory_for(name);
                let fits = lacking.is_none();
                lacking
                    .into_iter()
                    .for_each(|reason| found.leave_out(format!("{name} {variant}"), reason));
                fits
            })
            .collect();
        if wanted.is_empty() {
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

impl Setting<'_> {
    /// Why the peer of that name is not measured: its tensors do not fit the machine's memory.
    fn lacks_memory_for(&self, name: &str) -> Option<String> {
        let classes = self.head.classes();
        self.lacks_memory(Task::Boundaries, |planned| {
            // On their way to a tensor, and in it; a few of a block's size at a time.
            let pool = self.shape.bytes();
            let block = self.on_host(planned.logits.saturating_mul(6));
            let tables = match name {
                "select mase" => numbers(classes, classes).saturating_mul(5),
                _ => 0,
            };
            let tensors = [pool, self.on_host(pool), block, tables];
            tensors.into_iter().fold(0, u64::saturating_add)
        })
    }
}

/// The pool and the head as tensors.
struct Peer<'a> {
    setting: &'a Setting<'a>,
    device: &'a Device,
    /// Rows of a block: as many as our kernels go over.
    block: usize,
    /// The first of them, of which what is computed is compared.
    rows: &'a [f32],
    /// (N, M).
    embeddings: Tensor<2>,
    /// (M, C) and (1, C).
    weight: Tensor<2>,
    bias: Tensor<2>,
}

impl<'a> Peer<'a> {
    fn new(setting: &'a Setting<'a>, device: &'a Device) -> Result<Self> {
        let (pool, head) = (setting.pool, setting.head);
        let Values::F32(values) = pool.chunk(0, pool.rows())?.values else {
            return Err(Failure::new("burn's peers are measured in f32"));
        };
        let (dim, classes) = (head.dim(), head.classes());
        let block = setting.planned(Task::Boundaries)?.rows;
        let tensor = |values: &[f32], shape: [usize; 2]| {
            Tensor::<2>::from_data(
                TensorData::new(values.to_vec(), shape),
                (device, DType::F32),
            )
        };
        Ok(Self {
            setting,
            device,
            block,
            rows: &values[..dim * block.min(agreement::ROWS)],
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

    /// Compares what an operation computes with the definition, or with our picks, and times it.
    fn measure(&self, name: &str, variant: &str) -> Result<Row> {
        let timing = match name {
            "logits" => self.time_logits()?,
            "row_statistics" => self.time_tops()?,
            _ => return self.select_mase(name, variant),
        };
        let names = (name, variant);
        Ok(self.setting.row(names, self.block, false, &timing))
    }

    fn time_logits(&self) -> Result<Timing> {
        let head = self.setting.head;
        let found = self
            .logits(0, self.block)
            .narrow(0, 0, self.rows.len() / head.dim());
        agreement::logits_agree(&read(found.try_into_vec_as())?, self.rows, head)?;
        median(self.setting.budget, false, || {
            let logits = self.logits(0, self.block);
            self.idle()?;
            drop(logits);
            Ok(())
        })
    }

    fn time_tops(&self) -> Result<Timing> {
        let head = self.setting.head;
        let logits = self.logits(0, self.block);
        let top = || logits.clone().topk(2.min(head.classes()), 1);
        let found = top().narrow(0, 0, self.rows.len() / head.dim());
        agreement::tops_agree(&read(found.try_into_vec_as())?, self.rows, head)?;
        median(self.setting.budget, false, || {
            let top = top();
            self.idle()?;
            drop(top);
            Ok(())
        })
    }

    fn select_mase(&self, name: &str, variant: &str) -> Result<Row> {
        let (setting, shape) = (self.setting, self.setting.shape);
        let (scales, budget) = (self.scales(setting.head), shape.picks());
        let available = RowSet::all(setting.pool.rows());
        let request = Request {
            head: Some(setting.head),
            ..Request::new(setting.pool, &available, budget)
        };
        let ours = Mase.select(setting.target.engine(), &request)?.picks;
        let picks = self.nearest(&scales, budget).try_into_vec_as();
        agreement::picks_agree(&read(picks)?, &ours)?;
        let timing = median(setting.budget, false, || {
            let picks = self.nearest(&scales, budget);
            // They come to the host, as ours do.
            read(picks.try_into_data()).map(drop)
        })?;
        let work = Work {
            name,
            variant,
            shape,
            budget: Some(budget),
            operations: Some(shape.products(shape.rows)),
            bytes: shape.bytes() as f64,
            matrices: false,
            streamed: false,
        };
        Ok(setting.device.row(work, &timing))
    }

    /// Waits until the device has done everything.
    fn idle(&self) -> Result<()> {
        read(self.device.sync())
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

/// What burn computed.
fn read<T, E: std::fmt::Debug>(found: std::result::Result<T, E>) -> Result<T> {
    found.map_err(|error| Failure::new(format!("burn: {error:?}")))
}
