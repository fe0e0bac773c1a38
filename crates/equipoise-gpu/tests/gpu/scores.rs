//! Scores written to buffers of the device: those of the CPU twin, wherever blocks and slices end.

use std::collections::BTreeMap;

use equipoise_core::cpu::{RowScores, row_scores};
use equipoise_core::{Error, Head};
use equipoise_gpu::wgpu::{self, Buffer, BufferUsages, Device, Queue};
use equipoise_gpu::{DevicePool, GpuEngine, ScoreTargets, Sizes, Storage, Target};

use crate::common::{Case, gpu};
use crate::pools::{USAGE, buffer, bytes, storage};

/// An engine of blocks of a few rows and tables in slices, and what it is on.
fn small() -> (GpuEngine, Device, Queue) {
    let gpu = gpu();
    let (device, queue) = (gpu.device.clone(), gpu.queue.clone());
    let mut sizes = Sizes::of(&device.limits());
    (sizes.logits, sizes.binding) = (20 * 40 * 4, 4096);
    let engine = GpuEngine::with_sizes(gpu.adapter, gpu.device, gpu.queue, sizes);
    (engine.expect("an engine"), device, queue)
}

fn target(device: &Device, count: usize) -> Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("an application's scores"),
        size: 4 * count as u64,
        usage: BufferUsages::COPY_DST | BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    })
}

/// What a buffer holds.
fn read(device: &Device, queue: &Queue, buffer: &Buffer) -> Vec<f32> {
    let staging = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("staging"),
        size: buffer.size(),
        usage: BufferUsages::COPY_DST | BufferUsages::MAP_READ,
        mapped_at_creation: false,
    });
    let mut encoder = device.create_command_encoder(&Default::default());
    encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
    queue.submit([encoder.finish()]);
    staging.slice(..).map_async(wgpu::MapMode::Read, |_| ());
    device
        .poll(wgpu::PollType::wait_indefinitely())
        .expect("a device");
    let view = staging.slice(..).get_mapped_range().expect("a mapping");
    bytemuck::pod_collect_to_vec(&view)
}

/// The device's scores of a case, in two buffers: distances, and all columns behind each other.
fn written(case: &Case) -> RowScores {
    let (engine, device, queue) = small();
    let (rows, classes) = (case.rows(), case.head.classes());
    let mut pool = DevicePool::new(&engine, storage(case), case.head.dim()).unwrap();
    let cut = rows / 3;
    for range in [0..cut, cut..rows] {
        let count = range.len();
        let from = buffer(&device, 8, &bytes(case, range), USAGE);
        pool.bind(&from, 8, count, ()).unwrap();
    }
    let (distances, columns) = (target(&device, rows * classes), target(&device, 6 * rows));
    let at = |column: usize| {
        Some(Target {
            buffer: &columns,
            offset: 4 * (rows * column) as u64,
        })
    };
    let targets = ScoreTargets {
        predicted: at(0),
        runner_up: at(1),
        distance: at(2),
        margin: at(3),
        confidence: at(4),
        entropy: at(5),
        distances: Some(Target {
            buffer: &distances,
            offset: 0,
        }),
    };
    engine.write_scores(&case.head, &pool, &targets).unwrap();
    let columns = read(&device, &queue, &columns);
    let column = |k: usize| columns[rows * k..rows * (k + 1)].to_vec();
    let classes = |k: usize| column(k).iter().map(|x| x.to_bits() as i32).collect();
    RowScores {
        predicted: classes(0),
        runner_up: classes(1),
        distance: column(2),
        margin: column(3),
        confidence: column(4),
        entropy: column(5),
        distances: read(&device, &queue, &distances),
    }
}

/// As good as f32 can tell: sums of some products between −1 and 1.
fn assert_near(found: &RowScores, expected: &RowScores) {
    assert_eq!(found.predicted, expected.predicted);
    assert_eq!(found.runner_up, expected.runner_up);
    let columns = BTreeMap::from([
        ("distance", (&found.distance, &expected.distance)),
        ("margin", (&found.margin, &expected.margin)),
        ("confidence", (&found.confidence, &expected.confidence)),
        ("entropy", (&found.entropy, &expected.entropy)),
        ("distances", (&found.distances, &expected.distances)),
    ]);
    for (name, (found, expected)) in columns {
        assert_eq!(found.len(), expected.len(), "{name}");
        for (row, (x, y)) in found.iter().zip(expected).enumerate() {
            let same = x == y || x.is_nan() && y.is_nan();
            assert!(
                same || (x - y).abs() <= 2e-5 * (1.0 + y.abs()),
                "{name} {row}: {x} {y}"
            );
        }
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn scores_are_those_of_the_twin() {
    let mut case = Case::random(150, 40, 7, 21);
    case.values[7 * 60] = f32::NAN;
    case.values[7 * 149 + 3] = f32::INFINITY;
    for case in [
        case,
        Case::random(90, 40, 9, 4).halved(),
        Case::random(33, 2, 5, 9),
    ] {
        let expected = row_scores(&case.pool(), &case.head).unwrap();
        assert_near(&written(&case), &expected);
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn one_class_and_equal_classes_have_no_boundary() {
    let alone = Case::random(20, 1, 4, 3);
    let mut twins = Case::random(20, 3, 4, 3);
    let weight = [
        twins.head.class_weight(0).to_vec(),
        twins.head.class_weight(0).to_vec(),
    ];
    let bias = vec![0.5, 0.25];
    twins.head = Head::new(weight.concat(), bias, 4).unwrap();
    for case in [alone, twins] {
        let expected = row_scores(&case.pool(), &case.head).unwrap();
        assert!(expected.distance.iter().all(|d| *d == f32::INFINITY));
        assert_near(&written(&case), &expected);
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn what_does_not_fit_is_said() {
    let (engine, device, _queue) = small();
    let case = Case::random(10, 3, 4, 1);
    let mut pool = DevicePool::new(&engine, Storage::F32, 4).unwrap();
    let from = buffer(&device, 0, &bytes(&case, 0..10), USAGE);
    pool.bind(&from, 0, 10, ()).unwrap();
    let short = target(&device, 9);
    let able = target(&device, 10);
    let to = |buffer, offset| ScoreTargets {
        margin: Some(Target { buffer, offset }),
        ..ScoreTargets::default()
    };
    for (targets, said) in [
        (
            to(&short, 0),
            "10 scores do not go to byte 0 of a buffer of 36",
        ),
        (
            to(&able, 4),
            "10 scores do not go to byte 4 of a buffer of 40",
        ),
        (to(&from, 0), "usages"),
    ] {
        let error = engine
            .write_scores(&case.head, &pool, &targets)
            .unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
    let (elsewhere, _, _) = small();
    let error = elsewhere
        .write_scores(&case.head, &pool, &to(&able, 0))
        .unwrap_err();
    assert!(error.to_string().contains("another engine"), "{error}");
    let wide = Case::random(1, 3, 5, 1).head;
    let error = engine
        .write_scores(&wide, &pool, &to(&able, 0))
        .unwrap_err();
    assert!(
        matches!(error, Error::Dimension { head: 5, pool: 4 }),
        "{error}"
    );
}
