//! Equipoise: a GPU-native selection engine for active learning.
//!
//! It decides which rows of a pool of embeddings are worth a label. The picks are those of a float64 definition,
//! whatever device runs the scan. In a burn project (feature `burn`):
//!
//! ```
//! # #[cfg(feature = "burn")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use burn::{nn::LinearConfig, tensor::{Device, Distribution, Tensor}};
//! use equipoise::{Selector, strategies::Base};
//!
//! # let device = Device::flex();
//! # let embeddings = Tensor::<2>::random([100, 8], Distribution::Default, &device);
//! # let head = LinearConfig::new(8, 3).init(&device);
//! let selector = Selector::new(&device)?;
//! let selection = selector.strategy(Base).budget(10).select(embeddings, &head)?;
//! let rows: Vec<usize> = selection.rows().collect();
//! # assert_eq!(rows.len(), 10);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "burn"))]
//! # fn main() {}
//! ```
//!
//! Without burn, on any [`Engine`](core::Engine) and [`Pool`](core::Pool):
//!
//! ```
//! use equipoise::core::{CpuEngine, Head, MemoryPool, Request, RowSet, Strategy, Values};
//! use equipoise::strategies::Margin;
//!
//! let embeddings = [0.0, 1.0, 1.0, 0.1, 0.5, 0.4];
//! let head = Head::new(vec![1.0, 0.0, 0.0, 1.0], vec![0.0, 0.0], 2)?;
//! let pool = MemoryPool::new(Values::F32(&embeddings), 2)?;
//! let available = RowSet::all(3);
//! let mut request = Request::new(&pool, &available, 1);
//! request.head = Some(&head);
//! let selection = Margin.select(&CpuEngine::new(), &request)?;
//! assert_eq!(selection.picks[0].row, 2);
//! # Ok::<(), equipoise::core::Error>(())
//! ```
//!
//! # Features
//!
//! | feature | what it adds | crates in the tree |
//! |---|---|---|
//! | none, or `cpu` | [`core`]: types, definitions, strategies, the CPU engine | about 35 |
//! | `gpu` | `gpu`: the GPU engine on wgpu; pools in buffers of an application's own device | about 90 |
//! | `burn` | [`Selector`] for burn's tensors; `burn`: backbones, training | about 300 |
//! | `vulkan` (default) | burn compiles to SPIR-V on Vulkan | about 305 |
//! | `pool` | `pool`: embedding stores, heads and labels in files, image sources, exports | about 100 |
//! | `report` | `report`: class counts, tables, figures | about 40 |
//! | `rounds` (default) | `rounds`: rounds of select, label and train; turns on all but `parquet` and `vulkan` | about 335 |
//! | `parquet` | Parquet files as a source of images | |
//!
//! `examples/` has a loop around a training loop, a stream, a strategy of one's own and plain wgpu.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "burn")]
pub use equipoise_burn as burn;
#[cfg(feature = "burn")]
pub use equipoise_burn::Selector;
pub use equipoise_core as core;
pub use equipoise_core::strategies;
#[cfg(feature = "gpu")]
pub use equipoise_gpu as gpu;
#[cfg(feature = "pool")]
pub use equipoise_pool as pool;
#[cfg(feature = "report")]
pub use equipoise_report as report;
#[cfg(feature = "rounds")]
pub use equipoise_rounds as rounds;

/// The examples of the documents, tested.
#[cfg(all(doctest, feature = "burn"))]
#[doc = include_str!("../../../README.md")]
#[doc = include_str!("../../../docs/adding-a-strategy.md")]
#[doc = include_str!("../../../docs/adding-a-kernel.md")]
struct Documents;

#[cfg(test)]
mod tests {
    fn is_shared<T: Send + Sync>() {}

    fn is_sent<T: Send>() {}

    #[test]
    fn what_threads_may_share() {
        is_shared::<crate::core::CpuEngine>();
        is_shared::<crate::core::Error>();
        is_shared::<crate::core::Head>();
        is_shared::<crate::core::Request<'_>>();
        is_shared::<Box<dyn crate::core::Engine>>();
        is_shared::<Box<dyn crate::core::Strategy>>();
        is_sent::<crate::core::Stream<'_>>();
        #[cfg(feature = "gpu")]
        {
            is_shared::<crate::gpu::GpuEngine>();
            is_shared::<crate::gpu::GpuError>();
            is_shared::<crate::gpu::DevicePool>();
            is_shared::<crate::gpu::KernelBench<'_>>();
            is_shared::<crate::gpu::ResidentPool<'_>>();
        }
        #[cfg(feature = "burn")]
        {
            is_shared::<crate::Selector>();
            is_shared::<crate::burn::TensorPool>();
            is_shared::<crate::burn::Error>();
            is_shared::<crate::burn::Query<'_>>();
            is_shared::<crate::burn::Scores>();
            is_sent::<crate::burn::BatchScan<'_>>();
        }
    }

    #[cfg(all(feature = "burn", feature = "pool"))]
    #[test]
    fn a_head_in_a_file_picks_as_its_tensors_do() {
        use ::burn::tensor::{Device, Distribution, Tensor};

        use crate::burn::ToHead;
        use crate::pool::HeadFile;

        let device = Device::flex();
        let random = |shape| Tensor::<2>::random(shape, Distribution::Default, &device);
        let (embeddings, weight) = (random([60, 8]), random([3, 8]));
        let name = format!("equipoise-head-{}.safetensors", std::process::id());
        let path = std::env::temp_dir().join(name);
        let file = HeadFile::of(weight.to_head().expect("a head"));
        file.write(&path, true).expect("a file");
        let read = HeadFile::read(&path).expect("a head");
        std::fs::remove_file(&path).expect("a file to remove");
        let selector = crate::Selector::new(&device).expect("a selector");
        let ask = || selector.strategy(crate::strategies::Base).budget(9);
        let of_file = ask().select(embeddings.clone(), &read.head).expect("picks");
        let of_tensor = ask().select(embeddings, &weight).expect("picks");
        assert_eq!(of_file.picks.len(), 9);
        assert_eq!(of_file.picks, of_tensor.picks);
    }
}
