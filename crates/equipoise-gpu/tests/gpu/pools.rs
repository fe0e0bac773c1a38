//! Pools in buffers of the device: the same picks as from host memory, and no embeddings on their way.

use equipoise_core::strategies::{Badge, Base, Coreset, Entropy, Margin, Mase};
use equipoise_core::{
    CpuEngine, Engine, Error, Operations, Pool, Request, RowOrder, RowScore, RowSet, Selection,
    Strategy,
};
use equipoise_gpu::wgpu::util::DeviceExt;
use equipoise_gpu::wgpu::{self, BufferUsages};
use equipoise_gpu::{DevicePool, GpuEngine, GpuError, ScoreTargets, Storage, Target};

use crate::common::{self, Case, gpu};

pub(crate) const USAGE: BufferUsages = BufferUsages::STORAGE.union(BufferUsages::COPY_SRC);

/// What is stored of rows of a case.
pub(crate) fn bytes(case: &Case, rows: std::ops::Range<usize>) -> Vec<u8> {
    let dim = case.head.dim();
    let range = rows.start * dim..rows.end * dim;
    match &case.half {
        Some(half) => bytemuck::cast_slice(&half[range]).to_vec(),
        None => bytemuck::cast_slice(&case.values[range]).to_vec(),
    }
}

/// A buffer of the device that holds `offset` bytes of rubbish, then `contents`.
pub(crate) fn buffer(
    device: &wgpu::Device,
    offset: usize,
    contents: &[u8],
    usage: BufferUsages,
) -> wgpu::Buffer {
    let mut all = vec![0xff; offset];
    all.extend_from_slice(contents);
    all.resize(all.len().next_multiple_of(4), 0xff);
    device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: Some("an application's embeddings"),
        contents: &all,
        usage,
    })
}

pub(crate) fn storage(case: &Case) -> Storage {
    match case.half {
        Some(_) => Storage::F16,
        None => Storage::F32,
    }
}

/// An engine and the device it is on.
fn shared() -> (GpuEngine, wgpu::Device) {
    let gpu = gpu();
    let device = gpu.device.clone();
    let made = GpuEngine::from_device(gpu.adapter, gpu.device, gpu.queue);
    (made.expect("an engine"), device)
}

fn rows(engine: &dyn Engine, strategy: &dyn Strategy, case: &Case, pool: &dyn Pool) -> Vec<usize> {
    let mut request = Request::new(pool, &case.available, case.rows() / 5);
    request.head = Some(&case.head);
    let selection = strategy.select(engine, &request).expect("a selection");
    selection.picks.iter().map(|pick| pick.row).collect()
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn picks_are_those_of_host_memory_wherever_the_rows_are() {
    let (engine, device) = shared();
    let least = device.limits().min_storage_buffer_offset_alignment as usize;
    for (half, dim) in [(false, 5), (false, 8), (true, 7), (true, 12)] {
        let case = Case::random(230, 6, dim, 77);
        let mut case = if half { case.halved() } else { case };
        (0..230).step_by(9).for_each(|row| {
            case.available.remove(row);
        });
        let mut pool = DevicePool::new(&engine, storage(&case), dim).unwrap();
        // Where they can be bound, where they cannot, and in batches behind each other.
        for (range, offset) in [(0..61, least), (61..90, 4), (90..90, 0), (90..133, 0)] {
            let count = range.len();
            let from = buffer(&device, offset, &bytes(&case, range), USAGE);
            pool.bind(&from, offset as u64, count, ()).unwrap();
        }
        for first in (133..230).step_by(10) {
            let range = first..230.min(first + 10);
            let count = range.len();
            let from = buffer(&device, 8, &bytes(&case, range), USAGE);
            pool.append(&from, 8, count).unwrap();
        }
        assert_eq!((pool.rows(), pool.dim()), (230, dim));
        let host = case.pool();
        let strategies: [&dyn Strategy; 6] = [&Base, &Mase, &Margin, &Entropy, &Coreset, &Badge];
        for strategy in strategies {
            let expected = rows(&CpuEngine::new(), strategy, &case, &host);
            let name = strategy.name();
            let on_device = rows(&engine, strategy, &case, &pool);
            assert_eq!(on_device, expected, "{name} {half} {dim}");
            // The CPU engine reads the rows back, and so does the engine of another device.
            let read_back = rows(&CpuEngine::new(), strategy, &case, &pool);
            assert_eq!(read_back, expected, "{name} {half} {dim}");
        }
        let elsewhere = rows(&common::engine(), &Base, &case, &pool);
        assert_eq!(elsewhere, rows(&engine, &Base, &case, &host));
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn parts_and_blocks_of_any_size_give_the_same_picks() {
    let case = Case::random(700, 5, 17, 5);
    let expected = rows(&CpuEngine::new(), &Base, &case, &case.pool());
    let gpu = gpu();
    let mut sizes = equipoise_gpu::Sizes::of(&gpu.device.limits());
    // Blocks of 40 rows, and norms in pieces of 128.
    (sizes.logits, sizes.binding) = (40 * 20, 200 * 17 * 4);
    let device = gpu.device.clone();
    let engine = GpuEngine::with_sizes(gpu.adapter, gpu.device, gpu.queue, sizes).unwrap();
    let mut pool = DevicePool::new(&engine, Storage::F32, 17).unwrap();
    for range in [0..500, 500..501, 501..700] {
        let count = range.len();
        let from = buffer(&device, 0, &bytes(&case, range), USAGE);
        pool.bind(&from, 0, count, ()).unwrap();
    }
    assert_eq!(rows(&engine, &Base, &case, &pool), expected);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn embeddings_stay_on_the_device() {
    let (engine, device) = shared();
    let case = Case::random(4000, 3, 256, 8);
    let stored = bytes(&case, 0..4000);
    let from = buffer(&device, 0, &stored, USAGE);
    let mut pool = DevicePool::new(&engine, Storage::F32, 256).unwrap();
    pool.bind(&from, 0, 4000, ()).unwrap();
    let mut request = Request::new(&pool, &case.available, 30);
    request.head = Some(&case.head);
    let before = engine.transfers();
    let selection = Base.select(&engine, &request).unwrap();
    let after = engine.transfers();
    let (sent, received) = (
        after.to_device - before.to_device,
        after.to_host - before.to_host,
    );
    // The head, its scales, thresholds and masks; lists of candidates and the rows that float64 looked at.
    let head = 4 * 3 * (256 + 1 + 3);
    assert!((head..head + (16 << 10)).contains(&sent), "{sent}");
    let settled = selection.settled * 256 * 4;
    let candidates = 4000 * 3 * size_of::<equipoise_core::Candidate>() as u64;
    assert!(
        received <= settled + candidates + (4 << 10),
        "{received} {settled} {candidates} {}",
        selection.picks.len()
    );
    assert!(
        sent + received < stored.len() as u64 / 4,
        "{sent} + {received}"
    );
    // From host memory every embedding is sent.
    let host = case.pool();
    request.pool = &host;
    let before = engine.transfers();
    Base.select(&engine, &request).unwrap();
    let streamed = engine.transfers().to_device - before.to_device;
    assert!(streamed >= stored.len() as u64, "{streamed}");
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn what_cannot_be_read_is_refused_by_name() {
    let (engine, device) = shared();
    let mut pool = DevicePool::new(&engine, Storage::F32, 4).unwrap();
    let good = buffer(&device, 0, &[0; 64], USAGE);
    let reason = |result: Result<(), GpuError>| match result {
        Err(GpuError::Rows { reason }) => reason,
        other => panic!("{other:?}"),
    };
    let bound = buffer(&device, 0, &[0; 64], BufferUsages::STORAGE);
    assert!(reason(pool.bind(&bound, 0, 4, ())).contains("COPY_SRC"));
    assert!(reason(pool.append(&bound, 0, 4)).contains("COPY_SRC"));
    assert!(reason(pool.bind(&good, 2, 1, ())).contains("multiple of 4"));
    assert!(reason(pool.bind(&good, 4, 4, ())).contains("byte 68 of a buffer of 64"));
    assert!(reason(pool.bind(&good, u64::MAX - 3, 4, ())).contains("a buffer of 64"));
    assert!(DevicePool::new(&engine, Storage::F32, 0).is_err());
    // More bytes than 64 bits count.
    for many in [usize::MAX, 1 << 60, 1 << 62] {
        assert!(reason(pool.bind(&good, 0, many, ())).contains("of a buffer of 64"));
        assert!(reason(pool.append(&good, 8, many)).contains("of a buffer of 64"));
        let wide = DevicePool::new(&engine, Storage::F16, many).unwrap_err();
        assert!(matches!(wide, GpuError::TooLarge { .. }), "{wide}");
    }
    assert_eq!(pool.rows(), 0);
    // A pool without rows has nothing to pick.
    let case = Case::random(1, 2, 4, 1);
    let mut request = Request::new(&pool, &case.available, 1);
    request.head = Some(&case.head);
    assert!(Base.select(&engine, &request).is_err());
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn buffers_of_another_device_are_refused() {
    let gpu = gpu();
    let device = gpu.device.clone();
    let second = gpu.adapter.request_device(&Default::default());
    let (second, _queue) = pollster::block_on(second).expect("a second device");
    let engine = GpuEngine::new(gpu).unwrap();
    let elsewhere = common::gpu().device;
    let usage = USAGE | BufferUsages::COPY_DST;
    // Of the other instance there are more buffers than of the engine's, so that the last one's number means nothing there.
    let many: Vec<wgpu::Buffer> = (0..3000)
        .map(|_| buffer(&elsewhere, 0, &[0; 1024], usage))
        .collect();
    let of_second = buffer(&second, 0, &[0; 1024], usage);
    let case = Case::random(3, 2, 4, 1);
    let mut pool = DevicePool::new(&engine, Storage::F32, 4).unwrap();
    for foreign in [&of_second, &many[2999]] {
        for refused in [
            pool.bind(foreign, 0, 3, ()),
            pool.bind(foreign, 4, 3, ()),
            pool.append(foreign, 0, 3),
        ] {
            let Err(GpuError::Rows { reason }) = refused else {
                panic!("{refused:?}");
            };
            assert!(reason.contains("hint: buffers have to be of"), "{reason}");
        }
    }
    assert_eq!(pool.rows(), 0);
    // Nor do scores go there, and the engine goes on.
    let good = buffer(&device, 0, &bytes(&case, 0..3), USAGE);
    pool.bind(&good, 0, 3, ()).unwrap();
    let own = buffer(&device, 0, &[0; 1024], usage);
    for (to, fits) in [(&of_second, false), (&many[2999], false), (&own, true)] {
        let targets = ScoreTargets {
            margin: Some(Target {
                buffer: to,
                offset: 0,
            }),
            ..ScoreTargets::default()
        };
        let written = engine.write_scores(&case.head, &pool, &targets);
        match written {
            Ok(()) => assert!(fits),
            Err(failed) => assert!(!fits && failed.to_string().contains("hint:"), "{failed}"),
        }
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_buffer_destroyed_in_use_is_an_error() {
    let (engine, device) = shared();
    let case = Case::random(50, 3, 8, 2);
    let from = buffer(&device, 0, &bytes(&case, 0..50), USAGE);
    let mut pool = DevicePool::new(&engine, Storage::F32, 8).unwrap();
    pool.bind(&from, 0, 50, ()).unwrap();
    from.destroy();
    let mut request = Request::new(&pool, &case.available, 5);
    request.head = Some(&case.head);
    let failed = Base.select(&engine, &request).unwrap_err();
    assert!(failed.to_string().contains("destroyed"), "{failed}");
    // The engine goes on.
    let host = case.pool();
    request.pool = &host;
    assert_eq!(Base.select(&engine, &request).unwrap().picks.len(), 5);
}

/// Takes the rows nearest to a boundary, loses the device, and asks once more.
struct Losing(wgpu::Device);

impl Strategy for Losing {
    fn name(&self) -> &'static str {
        "losing"
    }

    fn needs_head(&self) -> bool {
        true
    }

    fn select(
        &self,
        engine: &dyn Engine,
        request: &Request<'_>,
    ) -> equipoise_core::Result<Selection> {
        let mut operations = Operations::new(engine, request, self.name())?;
        let order = RowOrder::Score(RowScore::Mase);
        assert_eq!(operations.best_rows(order, request.available, 3)?.len(), 3);
        self.0.destroy();
        operations.best_rows(order, request.available, 3)?;
        Ok(operations.finish(Vec::new()))
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_device_lost_in_the_middle_is_an_error() {
    let (engine, device) = shared();
    let case = Case::random(60, 4, 8, 12);
    let from = buffer(&device, 0, &bytes(&case, 0..60), USAGE);
    let mut pool = DevicePool::new(&engine, Storage::F32, 8).unwrap();
    pool.bind(&from, 0, 60, ()).unwrap();
    let mut request = Request::new(&pool, &case.available, 5);
    request.head = Some(&case.head);
    let failed = Losing(device).select(&engine, &request).unwrap_err();
    assert!(matches!(failed, Error::Device { .. }), "{failed:?}");
    // Nor can it be read back, by any engine.
    let failed = Base.select(&CpuEngine::new(), &request).unwrap_err();
    assert!(
        matches!(failed, Error::Read { .. } | Error::Device { .. }),
        "{failed:?}"
    );
    // A lost device takes commands and does nothing: further rows show when they are asked for.
    let _ = pool.append(&from, 0, 8);
    let available = RowSet::all(pool.rows());
    let mut request = Request::new(&pool, &available, 5);
    request.head = Some(&case.head);
    assert!(Base.select(&engine, &request).is_err());
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn the_owner_of_the_memory_is_told_when_it_is_free() {
    let (engine, device) = shared();
    let owner = std::sync::Arc::new(());
    let from = buffer(&device, 0, &[0; 64], USAGE);
    let mut pool = DevicePool::new(&engine, Storage::F16, 4).unwrap();
    pool.bind(&from, 0, 8, owner.clone()).unwrap();
    assert_eq!(std::sync::Arc::strong_count(&owner), 2);
    drop(pool);
    assert_eq!(std::sync::Arc::strong_count(&owner), 1);
}
