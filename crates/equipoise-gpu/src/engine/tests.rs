//! Engines on devices that are measured, and that bind less than a head.

use equipoise_core::random::{Philox, Purpose};
use equipoise_core::strategies::{Base, Margin};
use equipoise_core::{CpuEngine, MemoryPool, Request, RowSet, Strategy, Values as HostValues};

use super::*;
use crate::DeviceChoice;

/// An engine that binds at most `binding` bytes, of a device that refuses more, and whose variants are measured as those
/// of real GPUs are.
fn measured(binding: u64) -> GpuEngine {
    let gpu = Gpu::open(&DeviceChoice::Any).expect("an adapter: see README, cargo xtask test");
    // What is experimental has to be asked for in other ways.
    let experimental = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
    let descriptor = wgpu::DeviceDescriptor {
        required_features: gpu.device.features() - experimental,
        required_limits: wgpu::Limits {
            max_storage_buffer_binding_size: binding,
            ..gpu.device.limits()
        },
        ..Default::default()
    };
    let opened = pollster::block_on(gpu.adapter.request_device(&descriptor));
    let (device, queue) = opened.expect("a device");
    let mut facts = Facts::of(&gpu.adapter, &device);
    facts.software = false;
    let sizes = Sizes::of(&device.limits());
    let context = Context::new(device, queue);
    let choices = (&LogitsChoice::Auto, RowsChoice::Auto);
    GpuEngine {
        kernels: Kernels::new(&context, facts, Cache::none(), choices).expect("kernels"),
        name: "measured".into(),
        context,
        sizes,
    }
}

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let stream = Philox::new(seed, Purpose::Drawing, 0, 0);
    let number = |i| stream.uniform(i as u64) as f32 - 0.5;
    (0..count).map(number).collect()
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_part_may_have_more_norms_than_a_binding() {
    let (rows, classes, dim) = (3000, 5, 3);
    let engine = measured(4096);
    assert!(engine.gives(1 << 20) && engine.gives(0));
    let head = Head::new(numbers(classes * dim, 1), numbers(classes, 2), dim).expect("a head");
    let values = numbers(rows * dim, 3);
    let buffer = engine.context.buffer(
        "embeddings",
        size_of_val(&values[..]) as u64,
        BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
    );
    engine.context.write(&buffer, bytemuck::cast_slice(&values));
    let mut bound = DevicePool::new(&engine, Storage::F32, dim).expect("a pool");
    bound.bind(&buffer, 0, rows, ()).expect("one part");
    let host = MemoryPool::new(HostValues::F32(&values), dim).expect("a pool");
    let available = RowSet::all(rows);
    for strategy in [&Base as &dyn Strategy, &Margin] {
        let picks = |engine: &dyn Engine, pool: &dyn Pool| {
            let mut request = Request::new(pool, &available, 60);
            request.head = Some(&head);
            strategy.select(engine, &request).expect("picks").picks
        };
        assert_eq!(picks(&engine, &bound), picks(&CpuEngine::new(), &host));
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn variants_are_measured_within_what_the_device_binds() {
    // 15 classes of 68 columns at a time, 25 lines of scales and of logits.
    let (rows, classes, dim) = (150, 41, 68);
    let engine = measured(4096);
    let head = Head::new(numbers(classes * dim, 1), numbers(classes, 2), dim).expect("a head");
    let wide = numbers(rows * dim, 3);
    let half: Vec<f16> = wide.iter().map(|x| f16::from_f32(*x)).collect();
    for values in [HostValues::F32(&wide), HostValues::F16(&half)] {
        let pool = MemoryPool::new(values, dim).expect("a pool");
        let available = RowSet::all(rows);
        let mut request = Request::new(&pool, &available, 60);
        request.head = Some(&head);
        for strategy in [&Base as &dyn Strategy, &Margin] {
            let picks =
                |engine: &dyn Engine| strategy.select(engine, &request).expect("picks").picks;
            assert_eq!(picks(&engine), picks(&CpuEngine::new()));
        }
    }
}
