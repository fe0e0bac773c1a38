//! The engine inside an application that has a wgpu device of its own: a compute shader makes embeddings, and the engine
//! picks among them where they are.
//!
//! `cargo run --release -p equipoise --example plain_wgpu`

use std::error::Error;

use equipoise::core::{CpuEngine, Head, Request, RowSet, Strategy};
use equipoise::gpu::wgpu::{self, BufferUsages};
use equipoise::gpu::{DevicePool, GpuEngine, Storage};
use equipoise::strategies::Base;

const ROWS: u32 = 100_000;
const DIM: u32 = 64;
const CLASSES: usize = 4;

/// What the application does with its GPU.
const EMBED: &str = "
@group(0) @binding(0) var<storage, read_write> embeddings: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = f32(id.x);
    for (var m = 0u; m < 64u && id.x < 100000u; m += 1u) {
        embeddings[id.x * 64u + m] = sin(row * 0.37 + f32(m) * row * 0.011) + cos(row * 0.07);
    }
}";

fn main() -> Result<(), Box<dyn Error>> {
    let instance = wgpu::Instance::default();
    let adapter = pollster::block_on(instance.request_adapter(&Default::default()))?;
    let descriptor = wgpu::DeviceDescriptor {
        required_limits: adapter.limits(),
        ..Default::default()
    };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))?;
    let embeddings = embed(&device, &queue);

    // The engine shares device and queue; what is submitted to the queue before is done before.
    let engine = GpuEngine::from_device(adapter, device, queue)?;
    let mut pool = DevicePool::new(&engine, Storage::F32, DIM as usize)?;
    pool.bind(&embeddings, 0, ROWS as usize, ())?;

    let weight = (0..CLASSES * DIM as usize).map(|i| ((i * 7 % 13) as f32 - 6.0) / 6.0);
    let head = Head::new(weight.collect(), vec![0.0; CLASSES], DIM as usize)?;
    let available = RowSet::all(ROWS as usize);
    let mut request = Request::new(&pool, &available, 12);
    request.head = Some(&head);
    let picks = Base.select(&engine, &request)?.picks;
    for pick in &picks {
        let (row, class) = (pick.row, pick.class.unwrap_or_default());
        let score = pick.score.unwrap_or_default();
        println!("row {row} for class {class}, distance {score:.5}");
    }
    let moved = engine.transfers();
    println!("{moved:?}, of {} bytes of embeddings", ROWS * DIM * 4);
    // The CPU engine reads them back, and picks the same.
    assert_eq!(Base.select(&CpuEngine::new(), &request)?.picks, picks);
    Ok(())
}

/// Embeddings in a buffer: the engine wants to bind it and to copy single rows.
fn embed(device: &wgpu::Device, queue: &wgpu::Queue) -> wgpu::Buffer {
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("embeddings"),
        size: u64::from(ROWS * DIM * 4),
        usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    });
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some("embed"),
        source: wgpu::ShaderSource::Wgsl(EMBED.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some("embed"),
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: Default::default(),
        cache: None,
    });
    let resource = buffer.as_entire_binding();
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry {
            binding: 0,
            resource,
        }],
    });
    let mut encoder = device.create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &group, &[]);
    pass.dispatch_workgroups(ROWS.div_ceil(64), 1, 1);
    drop(pass);
    queue.submit([encoder.finish()]);
    buffer
}
