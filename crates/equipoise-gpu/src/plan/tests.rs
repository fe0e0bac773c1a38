//! Plans within limits, without a device.

use super::*;
use crate::kernels::group_per_row;
use crate::kernels::logits::tiles;
use crate::kernels::row_scores::COLUMNS;

/// ImageNet-22k's classes and a ResNet-50's numbers, of more rows than any device holds.
const LARGE: ScanShape = ScanShape {
    rows: 100_000_000,
    dim: 2048,
    classes: 21_841,
    width: 4,
    task: Task::Boundaries,
};

fn sizes(memory: Option<u64>) -> Sizes {
    Sizes {
        memory,
        ..Sizes::of(&wgpu::Limits::default())
    }
}

fn needed(shape: ScanShape, sizes: &Sizes) -> u64 {
    match Plan::new(shape, sizes) {
        Err(GpuError::MemoryBudget { needed, .. }) => needed,
        other => panic!("{other:?}"),
    }
}

/// Everything that a scan of `shape` binds and dispatches is within `limits`.
fn check(shape: ScanShape, limits: &wgpu::Limits) {
    let plan = Plan::new(shape, &Sizes::of(limits)).expect("a plan");
    let what = format!("{shape:?} {plan:?}");
    let binding = limits.max_storage_buffer_binding_size;
    let binding = binding.min(limits.max_buffer_size);
    let rows = plan.max_rows as u64;
    assert!(rows > 0, "{what}");
    let (classes, dim) = (shape.classes as u64, shape.dim as u64);
    let centres = match shape.task {
        Task::NearestGradient { centres } => centres as u64,
        _ => 0,
    };
    let (widest, longest) = (classes.max(centres), dim.max(classes * centres.min(1)));
    let slice = plan.head_slice as u64;
    let record = size_of::<RowStatistics>();
    let record = record.max(size_of::<NearestGradient>());
    let bindings = [
        ("embeddings", rows * dim * shape.width as u64),
        ("logits and products", 4 * rows * widest),
        ("gradients", 4 * rows * classes),
        ("candidates", list_bytes(plan.capacity)),
        ("a slice of weights", 4 * slice * longest),
        ("an f16 part of it", matrix(slice, dim, shape.width) / 2),
        ("a slice of scales", 4 * plan.scale_slice as u64 * classes),
        ("records", rows * record as u64),
        ("columns of scores", 4 * rows * COLUMNS as u64),
        ("thresholds", 4 * widest),
    ];
    for (of, bytes) in bindings {
        assert!(bytes <= binding, "{of}, {bytes} bytes: {what}");
        // What shaders index by 32 bits are words.
        assert!(bytes / 4 < 1 << 32, "{of}, {bytes} bytes: {what}");
    }
    assert!(slice > 0 && plan.scale_slice > 0, "{what}");
    let most = limits.max_compute_workgroups_per_dimension;
    let rows = u32::try_from(plan.max_rows).expect("rows of 32 bits");
    for groups in group_per_row(rows, most) {
        assert!(groups <= most, "{groups} workgroups: {what}");
    }
    for [tile_rows, tile_classes] in tiles() {
        let groups = [
            rows.div_ceil(tile_rows),
            (plan.head_slice as u32).div_ceil(tile_classes),
        ];
        assert!(groups.iter().all(|groups| *groups <= most), "{what}");
    }
}

#[test]
fn everything_is_within_the_limits() {
    let limits = wgpu::Limits::default();
    assert_eq!(limits.max_storage_buffer_binding_size, 128 << 20);
    assert_eq!(limits.max_compute_workgroups_per_dimension, 65_535);
    let roomy = wgpu::Limits {
        max_storage_buffer_binding_size: (1 << 31) - 1,
        max_buffer_size: 1 << 40,
        ..limits.clone()
    };
    let tasks = [
        Task::Boundaries,
        Task::Nearest,
        Task::NearestGradient { centres: 4096 },
    ];
    for limits in [&limits, &roomy] {
        for (classes, dim) in [
            (21_841, 2048),
            (1, 1),
            (2, 100_000),
            (1_000_000, 4),
            (1000, 513),
        ] {
            for (task, width) in tasks.iter().flat_map(|task| [(*task, 4), (*task, 2)]) {
                let shape = ScanShape {
                    classes,
                    dim,
                    width,
                    task,
                    ..LARGE
                };
                check(shape, limits);
            }
        }
    }
}

#[test]
fn a_large_head_takes_slices() {
    let plan = Plan::new(LARGE, &sizes(None)).expect("a plan");
    // 128 MiB of 8 KiB lines, and of 85 KiB lines.
    assert_eq!((plan.head_slice, plan.scale_slice), (16_384, 1536));
    // 64 MiB of logits.
    assert_eq!(plan.max_rows, 768);
}

#[test]
fn the_smallest_blocks_begin_with_a_whole_word() {
    for (dim, width, rows) in [(7, 4, 1), (6, 2, 1), (7, 2, 2)] {
        let shape = ScanShape {
            classes: 10,
            dim,
            width,
            ..LARGE
        };
        let least = needed(shape, &sizes(Some(1)));
        let plan = Plan::new(shape, &sizes(Some(least))).expect("a plan");
        assert_eq!(plan.max_rows, rows, "{shape:?}");
        let narrow = Sizes {
            binding: 4 * dim as u64 * rows as u64 - 1,
            ..sizes(None)
        };
        let refused = Plan::new(shape, &narrow).expect_err("too wide").to_string();
        let what = ["an embedding of", "two embeddings of"][rows - 1];
        assert!(refused.starts_with(what), "{refused}");
    }
}

#[test]
fn engines_that_share_the_host_take_a_part_of_it_each() {
    let budget = 4 << 30;
    for engines in [0, 1, 2, 5] {
        let sizes = Sizes {
            sharing: engines,
            ..sizes(Some(budget))
        };
        let plan = Plan::new(LARGE, &sizes).expect("a plan").memory(LARGE);
        let (host, device) = (plan.bytes(Place::Host), plan.bytes(Place::Device));
        assert!(host * engines.max(1) <= budget, "{engines}: {host}");
        // The device is each engine's own.
        assert!(
            device > budget / 5 && device <= budget,
            "{engines}: {device}"
        );
    }
    let alone = sizes(Some(1));
    let shared = Sizes {
        sharing: 1000,
        ..alone
    };
    let least = needed(LARGE, &shared);
    // Of 1000 engines it is the host that is short.
    let enough = Sizes {
        memory: Some(least),
        ..shared
    };
    let smallest = Plan::new(LARGE, &enough);
    let host = smallest.expect("a plan").memory(LARGE).bytes(Place::Host);
    assert_eq!(host * 1000, least);
    assert!(needed(LARGE, &alone) < least / 100);
}

#[test]
fn the_host_has_room_for_what_goes_through_it() {
    for width in [2, 4] {
        let shape = ScanShape { width, ..LARGE };
        let plan = Plan::new(shape, &sizes(None)).expect("a plan");
        let memory = plan.memory(shape);
        let of = |what: &str| {
            let mut parts = memory.parts.iter();
            let part = parts.find(|part| part.place == Place::Host && part.what == what);
            part.map_or(0, |part| part.bytes)
        };
        let (classes, dim) = (shape.classes as u64, shape.dim as u64);
        assert_eq!(of("head"), 4 * classes * dim);
        // Weights by columns, lines of scales that are made, and those that are sent.
        let lines = plan.scale_lines(shape.classes) as u64;
        assert!(of("scales on their way") >= 4 * classes * (dim + lines));
        let sent = SENT as u64 * if width == 2 { 3 } else { 1 };
        assert_eq!(of("head on its way"), sent);
        let values = (plan.max_rows * shape.dim * width) as u64;
        assert_eq!(of("embeddings on their way"), DEPTH as u64 * values);
    }
}
