//! Every variant within its bound, at every edge of its tiles and of its numbers; and the choice among
//! them.

use equipoise_core::{Head, Values};
use half::f16;
use wgpu::{Buffer, BufferUsages};

use super::choice::{Logits, LogitsChoice, Request};
use super::measure::fastest;
use super::trial::{largest_error, random};
use super::variants::{Arithmetic, Matrices, VARIANTS};
use super::*;
use crate::device::Growing;
use crate::{DeviceChoice, Gpu};

/// What lies where nothing may be written, or behind what may be read: a NaN.
const GARBAGE: u32 = 0x7fc1_2345;

/// Words of it behind each range.
const ZONE: usize = 512;

fn context() -> Context {
    let gpu = Gpu::open(&DeviceChoice::Any).expect("an adapter: see README, cargo xtask test");
    Context {
        device: gpu.device,
        queue: gpu.queue,
    }
}

fn facts() -> (Context, Facts) {
    let gpu = Gpu::open(&DeviceChoice::Any).expect("an adapter: see README, cargo xtask test");
    let facts = Facts::of(&gpu.adapter, &gpu.device);
    let (device, queue) = (gpu.device, gpu.queue);
    (Context { device, queue }, facts)
}

/// Every variant that runs everywhere, for both storages.
fn plain(context: &Context) -> Vec<Path> {
    let plain = VARIANTS.iter().filter(|variant| !variant.needs_trial());
    let both = plain.flat_map(|variant| [Storage::F32, Storage::F16].map(|s| (variant, s)));
    both.map(|(variant, storage)| Path::new(context, variant, storage).expect("a path"))
        .collect()
}

/// The case's largest error, in units of the bound, in the path's storage.
fn error(context: &Context, path: &Path, values: &[f32], head: &Head) -> f64 {
    let half: Vec<f16> = values.iter().map(|x| f16::from_f32(*x)).collect();
    let values = match path.storage {
        Storage::F32 => Values::F32(values),
        Storage::F16 => Values::F16(&half),
    };
    largest_error(context, path, values, head).expect("logits")
}

fn head(classes: usize, dim: usize, scale: f32) -> Head {
    let weight = random(classes * dim, 5).iter().map(|w| w * scale).collect();
    Head::new(weight, random(classes, 6), dim).expect("a head")
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn errors_stay_within_the_bound() {
    let context = context();
    let (rows, classes) = (66, 67);
    for path in plain(&context) {
        for (dim, values, weights) in [
            (1, 1.0, 1.0),
            (130, 1.0, 1.0),
            (200, 60000.0, 1e12),
            (100, 1e-6, 1e-30),
            (65, 6e-8, 1e-4),
        ] {
            let x: Vec<f32> = random(rows * dim, 7).iter().map(|x| x * values).collect();
            let error = error(&context, &path, &x, &head(classes, dim, weights));
            let what = format!("{} {:?}", path.variant.name, path.storage);
            assert!(
                error <= 1.0,
                "{what}: {error} of the bound at {dim} {values} {weights}"
            );
        }
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn large_sums_do_not_drown_the_bound() {
    // The worst for a sum in one level: every product positive.
    let context = context();
    let dim = 2048;
    let x: Vec<f32> = random(3 * dim, 8).iter().map(|x| x.abs()).collect();
    let weight = random(2 * dim, 9).iter().map(|w| w.abs()).collect();
    let head = Head::new(weight, vec![0.0; 2], dim).expect("a head");
    for path in plain(&context) {
        let error = error(&context, &path, &x, &head);
        assert!(error <= 1.0, "{}: {error} of the bound", path.variant.name);
        // 64 products of a block, 32 blocks: not 2048 products.
        let gamma = path.bound(dim).gamma;
        assert!(gamma < 97.0 / f64::from(1 << 23), "{gamma}");
    }
}

fn words(context: &Context, words: &[u32]) -> Buffer {
    let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
    let buffer = context.buffer("guarded", 4 * words.len() as u64, usage);
    context.write(&buffer, bytemuck::cast_slice(words));
    buffer
}

/// The numbers with garbage behind them.
fn guarded(context: &Context, bytes: &[u8]) -> Buffer {
    let mut guarded = bytes.to_vec();
    guarded.resize(bytes.len().next_multiple_of(4), 0xff);
    guarded.extend(std::iter::repeat_n(GARBAGE.to_le_bytes(), ZONE).flatten());
    words(context, bytemuck::cast_slice(&guarded))
}

/// Runs the path on the classes from `first` on, between guarded zones, and checks that it wrote the
/// logits of those classes and nothing else, from what it may read and nothing else.
fn check_zones(context: &Context, path: &Path, rows: usize, classes: usize, dim: usize) {
    const FIRST: usize = 3;
    let all = FIRST + classes + 2;
    let what = format!(
        "{} {:?} {rows}×{dim}×{classes}",
        path.variant.name, path.storage
    );
    let head = head(classes, dim, 1.0);
    let x: Vec<f32> = random(rows * dim, 10)
        .iter()
        .map(|x| f16::from_f32(*x).to_f32())
        .collect();
    let half: Vec<f16> = x.iter().map(|x| f16::from_f32(*x)).collect();
    let values = match path.storage {
        Storage::F32 => guarded(context, bytemuck::cast_slice(&x)),
        Storage::F16 => guarded(context, bytemuck::cast_slice(&half)),
    };
    let parts = match path.variant.arithmetic {
        Arithmetic::Lanes { .. } => vec![guarded(context, bytemuck::cast_slice(head.weight()))],
        Arithmetic::Matrices(Matrices { parts, depth, .. }) => {
            let scale = split::scale(head.weight()).expect("a scale");
            let padding = [path.variant.tile[1], depth];
            let split = split::split(head.weight(), dim, scale, parts, padding);
            let parts = split.parts.iter();
            parts
                .map(|part| guarded(context, bytemuck::cast_slice(part)))
                .collect()
        }
    };
    let weights = Weights {
        classes: FIRST..FIRST + classes,
        parts,
        bias: guarded(context, bytemuck::cast_slice(head.bias())),
        ..path.weights(context, &head, 0..classes)
    };
    let logits = words(context, &vec![GARBAGE; rows * all + ZONE]);
    let arguments = Arguments {
        rows: rows as u32,
        dim: dim as u32,
        classes: all as u32,
        values: &values,
        logits: &logits,
    };
    let mut found = vec![0u32; rows * all + ZONE];
    let read = context.guarded(|| {
        let mut encoder = context.encoder("guarded");
        path.record(context, &mut encoder, &weights, arguments);
        let out = bytemuck::cast_slice_mut(&mut found);
        context.submit_and_read(encoder, &logits, &mut Growing::staging("read"), out)
    });
    read.expect("a product");
    for (row, found) in found.chunks(all).enumerate() {
        let exact = match row < rows {
            true => equipoise_core::definition::logits(&x[row * dim..(row + 1) * dim], &head),
            false => vec![],
        };
        for (place, found) in found.iter().enumerate() {
            match place.checked_sub(FIRST).and_then(|slot| exact.get(slot)) {
                Some(exact) => {
                    let off = (f64::from(f32::from_bits(*found)) - exact).abs();
                    // All numbers are below 1: Σ|x w| + |b| ≤ M + 1.
                    let LogitBound { gamma, flushed } = path.bound(dim);
                    let allowed = (gamma + flushed) * (dim + 1) as f64;
                    assert!(off <= allowed, "{what}: row {row}, place {place}: {off}");
                }
                None => assert_eq!(*found, GARBAGE, "{what}: row {row}, place {place}"),
            }
        }
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn nothing_beyond_the_ranges_is_read_or_written() {
    let context = context();
    for path in plain(&context) {
        let [rows, classes] = path.variant.tile.map(|tile| tile as usize);
        let edges = |tile: usize| [1, tile - 1, tile, tile + 1];
        for rows in edges(rows) {
            check_zones(&context, &path, rows, 2, 5);
        }
        for classes in edges(classes) {
            check_zones(&context, &path, 2, classes, 5);
        }
        // Around the depths and the blocks of both variants.
        for dim in [1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 129] {
            check_zones(&context, &path, 3, 3, dim);
        }
        check_zones(&context, &path, rows + 1, classes + 1, 65);
    }
}

/// The path of a matrix variant with the matrix cores' part played in plain WGSL, by the lanes of each
/// subgroup: see `twin.wgsl`. Everything else is the variant's own text.
fn twin(context: &Context, variant: &'static Variant) -> Path {
    let shader = variant.shader(Storage::F16).expect("a shader");
    let size = match variant.arithmetic {
        Arithmetic::Matrices(matrices) => matrices.size,
        Arithmetic::Lanes { .. } => panic!("no matrices"),
    };
    let mut source = shader.source.to_owned();
    for (from, to) in [
        ("enable wgpu_cooperative_matrix;", ""),
        (&*format!("coop_mat{size}x{size}<f16, A>"), "u32"),
        (&*format!("coop_mat{size}x{size}<f16, B>"), "u32"),
        (&*format!("coop_mat{size}x{size}<f32, C>"), "mat2x4<f32>"),
        ("coopLoadT<Left>(&row_tile[", "twin_left("),
        ("coopLoad<Right>(&class_tile[", "twin_right("),
        ("], PITCH)", ")"),
        (
            "coopLoadT<Sum>(&staging[matrix], SIZE)",
            "twin_sum(lane, matrix)",
        ),
        ("coopMultiplyAdd(", "twin_multiply_add(lane, "),
        ("coopStoreT(", "twin_store(lane, "),
        ("&staging[matrix], SIZE)", "matrix)"),
    ] {
        assert!(source.contains(from), "{}: no {from}", variant.name);
        source = source.replace(from, to);
    }
    source = source.replace("coopLoad<Right>(&low_tile[", "twin_low(");
    source.push_str(include_str!("twin.wgsl"));
    let at = |tile: &str, at: &str| match size {
        8 => format!("f32({tile}[{at}])"),
        _ => format!("f32({tile}[({at}) / PACK][({at}) % PACK])"),
    };
    source = source.replace("ROW_AT", &at("row_tile", "at"));
    source = source.replace("CLASS_AT", &at("class_tile", "at"));
    let low = match source.contains("low_tile") {
        true => at("low_tile", "at"),
        false => "0.0".into(),
    };
    source = source.replace("LOW_AT", &low);
    let plain = equipoise_shaders::Shader {
        source: source.leak(),
        ..*shader
    };
    let kernel = context.guarded(|| Ok(Kernel::new(context, &plain, Checks::Proven)));
    Path {
        variant,
        storage: Storage::F16,
        kernel: kernel.unwrap_or_else(|error| panic!("{}: {error}", variant.name)),
    }
}

fn twins(context: &Context) -> Vec<Path> {
    let matrices = VARIANTS.iter().filter(|variant| variant.needs_trial());
    matrices.map(|variant| twin(context, variant)).collect()
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn matrix_variants_but_for_their_cores_stay_within_ranges_and_bounds() {
    let context = context();
    for path in twins(&context) {
        let [rows, classes] = path.variant.tile.map(|tile| tile as usize);
        for rows in [1, rows - 1, rows, rows + 1] {
            check_zones(&context, &path, rows, 2, 4);
        }
        for classes in [1, classes - 1, classes, classes + 1] {
            check_zones(&context, &path, 2, classes, 4);
        }
        for dim in [4, 12, 16, 20, 28, 32, 36, 256, 260] {
            check_zones(&context, &path, 3, 3, dim);
        }
        check_zones(&context, &path, rows + 1, classes + 1, 68);
        trial::passes(&context, &path).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
#[cfg_attr(
    not(matrix_cores),
    ignore = "no matrix cores here: EQUIPOISE_TEST_MATRICES=1 says there are"
)]
fn matrix_variants_keep_their_bounds_on_matrix_cores() {
    let (context, facts) = facts();
    let head = head(67, 700, 1.0);
    let mut tried = 0;
    for variant in VARIANTS.iter().filter(|variant| variant.needs_trial()) {
        if variant.lacks(&facts, Storage::F16, &head).is_some() {
            continue;
        }
        tried += 1;
        let path = Path::new(&context, variant, Storage::F16).expect("a path");
        trial::passes(&context, &path).unwrap_or_else(|error| panic!("{error}"));
        for (dim, values, weights) in [(700, 1.0, 1.0), (2048, 60000.0, 1e12), (100, 1e-6, 1e-29)] {
            let x: Vec<f32> = random(66 * dim, 7).iter().map(|x| x * values).collect();
            let error = error(&context, &path, &x, &self::head(67, dim, weights));
            assert!(error <= 1.0, "{}: {error} of the bound", variant.name);
        }
        check_zones(&context, &path, 129, 129, 68);
    }
    assert!(tried > 0, "no variant fits: {facts:?}");
}

fn request(head: &Head) -> Request<'_> {
    Request {
        head,
        storage: Storage::F16,
        rows: 100,
        most: LogitBound::ANY,
    }
}

fn logits(choice: LogitsChoice, cache: Cache, software: bool) -> Result<Logits, GpuError> {
    let (context, mut facts) = facts();
    facts.software = software;
    Logits::new(&context, facts, &choice, cache)
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_name_decides_and_an_unknown_one_is_an_error() {
    let head = head(3, 5, 1.0);
    let named = |name: &str| {
        let choice = LogitsChoice::Named(name.into());
        logits(choice, Cache::at(None), false)
    };
    for name in ["small", "large"] {
        let path = named(name).and_then(|logits| logits.path(request(&head)));
        assert_eq!(path.expect("a path").variant.name, name);
    }
    let error = named("tiny").unwrap_err().to_string();
    assert!(
        error.starts_with("no variant of logits is called tiny (hint: there are small, large"),
        "{error}"
    );
    let narrow = Request {
        most: LogitBound {
            gamma: 1e-9,
            flushed: 1.0,
        },
        ..request(&head)
    };
    let error = named("small").and_then(|logits| logits.path(narrow));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("error bound"), "{error}");
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_software_adapter_takes_the_first_unmeasured() {
    let head = head(3, 5, 1.0);
    let logits = logits(LogitsChoice::Auto, Cache::at(None), true).expect("logits");
    let path = logits.path(request(&head)).expect("a path");
    assert_eq!(path.variant.name, VARIANTS[0].name);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn the_fastest_is_measured_once_and_remembered() {
    let head = head(3, 5, 1.0);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("deep").join("logits.json");
    let auto = || logits(LogitsChoice::Auto, Cache::at(Some(file.clone())), false);
    let first = auto().and_then(|logits| logits.path(request(&head)));
    let first = first.expect("a path").variant.name;
    let text = std::fs::read_to_string(&file).expect("a cache");
    assert!(
        text.contains("\"version\": 1") && text.contains(first),
        "{text}"
    );
    // What the file says is taken, not measured.
    let other = match first {
        "small" => "large",
        _ => "small",
    };
    std::fs::write(&file, text.replace(first, other)).expect("a cache");
    let path = auto().and_then(|logits| logits.path(request(&head)));
    assert_eq!(path.expect("a path").variant.name, other);
    for broken in [
        "",
        "{",
        "{\"version\": 0}",
        &text.replace("\"version\": 1", "\"version\": 2"),
    ] {
        std::fs::write(&file, broken).expect("a cache");
        assert!(
            auto()
                .and_then(|logits| logits.path(request(&head)))
                .is_ok()
        );
    }
    // A folder in the file's place can be neither read nor written.
    let cache = Cache::at(Some(folder.path().into()));
    let path = logits(LogitsChoice::Auto, cache, false).and_then(|l| l.path(request(&head)));
    assert!(path.is_ok(), "{path:?}");
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn measurements_are_of_every_variant_that_fits() {
    let head = head(3, 5, 1.0);
    let logits = logits(LogitsChoice::Auto, Cache::at(None), false).expect("logits");
    let measured = logits.measured(request(&head)).expect("measurements");
    let names: Vec<_> = measured.iter().map(|found| found.variant).collect();
    assert!(names.starts_with(&["small", "large"]), "{names:?}");
    assert!(
        measured
            .iter()
            .all(|found| found.seconds > 0.0 && found.gflops > 0.0)
    );
    let best = fastest(&measured).expect("one");
    assert!(names.contains(&best));
}
