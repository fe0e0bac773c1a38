//! Devices smaller than a head, lists that overflow, devices that fail.

use crate::common::{Case, candidates, engine, engine_with, gpu, sorted, statistics};
use equipoise_core::engine::{ACCEPT_ALL, Block};
use equipoise_core::{Candidate, Engine, Error, RowStatistics, Values};
use equipoise_gpu::{
    AdapterSummary, DeviceChoice, Gpu, GpuEngine, GpuError, adapters, real_gpu, wgpu,
};

/// Everything a scorer says of the case, in blocks of its own size.
fn in_blocks(engine: &GpuEngine, case: &Case) -> (Vec<RowStatistics>, Vec<Candidate>) {
    let (classes, dim) = (case.head.classes(), case.head.dim());
    let mut scorer = engine.scorer(&case.head).unwrap();
    let most = scorer.max_rows();
    let mut statistics = vec![bytemuck::Zeroable::zeroed(); case.rows()];
    let mut candidates = Vec::new();
    for start in (0..case.rows()).step_by(most) {
        let end = case.rows().min(start + most);
        let block = Block {
            values: Values::F32(&case.values[start * dim..end * dim]),
            tolerance: &case.tolerance[start..end],
        };
        scorer
            .row_statistics(block, &mut statistics[start..end])
            .unwrap();
        // A list may hold as little as one row.
        for row in start..end {
            let block = Block {
                values: Values::F32(case.embedding(row)),
                tolerance: &case.tolerance[row..row + 1],
            };
            let before = candidates.len();
            let all = vec![ACCEPT_ALL; classes];
            assert!(
                scorer
                    .class_candidates(block, &all, &mut candidates)
                    .unwrap()
            );
            candidates[before..]
                .iter_mut()
                .for_each(|c: &mut Candidate| c.row = row as u32);
        }
    }
    (statistics, sorted(candidates))
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn slices_change_nothing() {
    let case = Case::random(23, 13, 7, 6);
    let whole = engine();
    let expected = (
        statistics(&whole, &case, case.block()),
        candidates(&whole, &case, case.block(), &[ACCEPT_ALL; 13]),
    );
    // 260 bytes hold 9 classes' weights, 5 lines of the scale table, 5 rows of logits and the
    // 13 candidates of one row.
    let sliced = engine_with(|sizes| sizes.binding = 260);
    assert_eq!(sliced.scorer(&case.head).unwrap().max_rows(), 5);
    assert_eq!(in_blocks(&sliced, &case), expected);
    // Three workgroups a dimension: nine rows in two dimensions.
    let narrow = engine_with(|sizes| sizes.groups = 3);
    assert_eq!(narrow.scorer(&case.head).unwrap().max_rows(), 9);
    assert_eq!(in_blocks(&narrow, &case), expected);
    let one_row = engine_with(|sizes| (sizes.values, sizes.logits) = (1, 1));
    assert_eq!(one_row.scorer(&case.head).unwrap().max_rows(), 1);
    assert_eq!(in_blocks(&one_row, &case), expected);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_full_list_says_so_and_appends_nothing() {
    let case = Case::random(3, 5, 4, 7);
    let engine = engine_with(|sizes| sizes.candidates = 1);
    let mut scorer = engine.scorer(&case.head).unwrap();
    let mut out = vec![];
    let one = Block {
        values: Values::F32(case.embedding(0)),
        tolerance: &case.tolerance[..1],
    };
    assert!(
        scorer
            .class_candidates(one, &[ACCEPT_ALL; 5], &mut out)
            .unwrap()
    );
    assert_eq!(out.len(), 5);
    let before = out.clone();
    assert!(
        !scorer
            .class_candidates(case.block(), &[ACCEPT_ALL; 5], &mut out)
            .unwrap()
    );
    assert_eq!(out, before);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn blocks_of_wrong_shape_are_errors() {
    let case = Case::random(3, 2, 4, 8);
    let engine = engine();
    let mut scorer = engine.scorer(&case.head).unwrap();
    let short = Block {
        values: Values::F32(&case.values[1..]),
        tolerance: &case.tolerance,
    };
    let error = scorer.class_candidates(short, &[ACCEPT_ALL; 2], &mut vec![]);
    assert!(matches!(error, Err(Error::Shape { .. })), "{error:?}");
    let error = scorer.class_candidates(case.block(), &[ACCEPT_ALL], &mut vec![]);
    assert!(matches!(error, Err(Error::Shape { .. })), "{error:?}");
    let none = Block {
        values: Values::F32(&[]),
        tolerance: &[],
    };
    scorer.row_statistics(none, &mut []).unwrap();
    assert!(
        scorer
            .class_candidates(none, &[ACCEPT_ALL; 2], &mut vec![])
            .unwrap()
    );
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_head_too_large_for_the_device_is_an_error() {
    let case = Case::random(1, 3, 40, 9);
    let engine = engine_with(|sizes| sizes.binding = 100);
    let error = engine
        .scorer(&case.head)
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("an embedding of 40 numbers takes 160 bytes"),
        "{error}"
    );
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_missing_limit_is_named() {
    let Gpu { adapter, .. } = gpu();
    let descriptor = wgpu::DeviceDescriptor {
        required_limits: wgpu::Limits {
            max_storage_buffers_per_shader_stage: 4,
            ..adapter.limits()
        },
        ..Default::default()
    };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    let error = GpuEngine::from_device(adapter, device, queue).unwrap_err();
    assert!(
        matches!(&error, GpuError::Limit { limit, needed: 6, found: 4, .. }
            if *limit == "max_storage_buffers_per_shader_stage"),
        "{error}"
    );
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_lost_device_is_an_error() {
    let case = Case::random(3, 2, 4, 10);
    let gpu = gpu();
    let device = gpu.device.clone();
    let engine = GpuEngine::new(gpu).unwrap();
    let mut scorer = engine.scorer(&case.head).unwrap();
    device.destroy();
    let error = scorer.class_candidates(case.block(), &[ACCEPT_ALL; 2], &mut vec![]);
    assert!(matches!(error, Err(Error::Device { .. })), "{error:?}");
    let error = engine.scorer(&case.head).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Device { .. }), "{error:?}");
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn adapters_are_listed_real_ones_first() {
    let found = adapters();
    assert!(!found.is_empty());
    assert!(found.iter().map(|adapter| adapter.index).eq(0..found.len()));
    let software: Vec<bool> = found.iter().map(|adapter| adapter.software).collect();
    assert!(
        software.is_sorted(),
        "software adapters come last: {software:?}"
    );
    let real = real_gpu();
    assert!(real.is_none_or(|index| !found[index].software));
    let AdapterSummary { name, .. } = &found[0];
    let first = Gpu::open(&DeviceChoice::Index(0)).unwrap();
    assert_eq!(&first.adapter.get_info().name, name);
    let error = Gpu::open(&DeviceChoice::Index(99)).unwrap_err().to_string();
    assert!(error.starts_with("no adapter for gpu:99"), "{error}");
}

#[test]
fn engines_may_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<GpuEngine>();
}
