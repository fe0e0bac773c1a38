//! What is read and written: the logits asked for, from the numbers given, and nothing else. This is what
//! `Checks::Proven` rests on.

use half::f16;
use wgpu::{Buffer, BufferUsages};

use super::{context, head, plain};
use crate::device::{Context, Growing};
use crate::kernels::Values as DeviceValues;
use crate::kernels::logits::trial::random;
use crate::kernels::logits::variants::{Arithmetic, Matrices, Variant};
use crate::kernels::logits::{Arguments, LogitBound, Path, Storage, Weights, split};
use crate::kernels::{Checks, Kernel};

/// What lies where nothing may be written, or behind what may be read: a NaN.
const GARBAGE: u32 = 0x7fc1_2345;

/// Words of it behind each range.
pub(super) const ZONE: usize = 512;

fn words(context: &Context, words: &[u32]) -> Buffer {
    let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
    let buffer = context.buffer("guarded", 4 * words.len() as u64, usage);
    context.write(&buffer, bytemuck::cast_slice(words));
    buffer
}

/// The numbers with `zone` words of garbage behind them.
fn guarded(context: &Context, bytes: &[u8], zone: usize) -> Buffer {
    let mut guarded = bytes.to_vec();
    guarded.resize(bytes.len().next_multiple_of(4), 0xff);
    guarded.extend(std::iter::repeat_n(GARBAGE.to_le_bytes(), zone).flatten());
    words(context, bytemuck::cast_slice(&guarded))
}

/// A block of rows and a slice of classes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) rows: usize,
    pub(super) classes: usize,
    pub(super) dim: usize,
}

/// Runs the path between guarded zones, and checks that it wrote the logits of a slice of classes
/// and nothing else, from what it may read and nothing else: `zone` words lie behind what is bound.
pub(super) fn check_zones(context: &Context, path: &Path, shape: Shape, zone: usize) {
    let Shape { rows, classes, dim } = shape;
    const FIRST: usize = 3;
    let all = FIRST + classes + 2;
    let what = format!("{} {:?} {shape:?}", path.variant.name, path.storage);
    let head = head(classes, dim, 1.0);
    let x: Vec<f32> = random(rows * dim, 10)
        .iter()
        .map(|x| f16::from_f32(*x).to_f32())
        .collect();
    let half: Vec<f16> = x.iter().map(|x| f16::from_f32(*x)).collect();
    let values = match path.storage {
        Storage::F32 => guarded(context, bytemuck::cast_slice(&x), zone),
        Storage::F16 => guarded(context, bytemuck::cast_slice(&half), zone),
    };
    let parts = match path.variant.arithmetic {
        Arithmetic::Lanes { .. } => {
            vec![guarded(context, bytemuck::cast_slice(head.weight()), zone)]
        }
        Arithmetic::Matrices(Matrices { parts, depth, .. }) => {
            let scale = split::scale(head.weight()).expect("a scale");
            let padding = [path.variant.tile[1], depth];
            let split = split::split(head.weight(), dim, scale, parts, padding);
            let parts = split.parts.iter();
            parts
                .map(|part| guarded(context, bytemuck::cast_slice(part), zone))
                .collect()
        }
    };
    let weights = Weights {
        classes: FIRST..FIRST + classes,
        parts,
        bias: guarded(context, bytemuck::cast_slice(head.bias()), zone),
        ..path.weights(context, &head, 0..classes).expect("weights")
    };
    let logits = words(context, &vec![GARBAGE; rows * all + ZONE]);
    let arguments = Arguments {
        values: DeviceValues {
            rows: rows as u32,
            dim: dim as u32,
            storage: path.storage,
            buffer: &values,
            offset: 0,
        },
        classes: all as u32,
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

/// Shapes around the edges of the path's tiles, depths and blocks, with the columns given.
pub(super) fn edges(path: &Path, dims: &[usize]) -> Vec<Shape> {
    let [rows, classes] = path.variant.tile.map(|tile| tile as usize);
    let dim = dims[0];
    let mut shapes = vec![Shape {
        rows: rows + 1,
        classes: classes + 1,
        dim: dims[dims.len() / 2],
    }];
    shapes.extend([1, rows - 1, rows].map(|rows| Shape {
        rows,
        classes: 2,
        dim,
    }));
    shapes.extend([1, classes - 1, classes].map(|classes| Shape {
        rows: 2,
        classes,
        dim,
    }));
    shapes.extend(dims.iter().map(|dim| Shape {
        rows: 3,
        classes: 3,
        dim: *dim,
    }));
    shapes
}

/// Around the depths and blocks of the plain variants.
const DIMS: &[usize] = &[5, 1, 7, 8, 9, 15, 16, 65, 17, 63, 64, 127, 129];

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn nothing_beyond_the_ranges_is_read_or_written() {
    let context = context();
    for path in plain(&context) {
        for shape in edges(&path, DIMS) {
            check_zones(&context, &path, shape, ZONE);
        }
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn every_index_is_within_its_array() {
    let context = context();
    for path in plain(&context) {
        let shader = path.variant.shader(path.storage).expect("a shader");
        let path = with_source(&context, path.variant, path.storage, indexed(shader.source));
        for shape in edges(&path, DIMS) {
            check_zones(&context, &path, shape, 0);
        }
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
#[should_panic(expected = "small F32 Shape { rows: 3, classes: 3, dim: 5 }: row 0, place 0")]
fn an_index_beyond_its_array_is_found() {
    let context = context();
    let path = &plain(&context)[0];
    let shader = path.variant.shader(path.storage).expect("a shader");
    let wrong = shader.source.replace("min(m, parameters.dim - 1u)", "m");
    assert_ne!(wrong, shader.source);
    let shape = Shape {
        rows: 3,
        classes: 3,
        dim: 5,
    };
    let path = with_source(&context, path.variant, path.storage, indexed(&wrong));
    check_zones(&context, &path, shape, 0);
}

/// The variant with another text for its shader.
pub(super) fn with_source(
    context: &Context,
    variant: &'static Variant,
    storage: Storage,
    source: String,
) -> Path {
    let shader = equipoise_shaders::Shader {
        source: source.leak(),
        ..*variant.shader(storage).expect("a shader")
    };
    let kernel = context.guarded(|| Ok(Kernel::new(context, &shader, Checks::Full)));
    Path {
        variant,
        storage,
        kernel: kernel.unwrap_or_else(|e| panic!("{}: {e}\n{}", variant.name, shader.source)),
        tile: variant.tile,
        arithmetic: variant.arithmetic,
    }
}

/// The shader with every index into bound and workgroup arrays compared with the array's length. One
/// beyond it changes the first of the logits, which is of no class of the slice.
pub(super) fn indexed(source: &str) -> String {
    let mut text = source.to_owned();
    for line in source.lines() {
        let Some((_, declared)) = line.split_once("var<") else {
            continue;
        };
        let Some((space, named)) = declared.split_once("> ") else {
            continue;
        };
        let Some((name, array)) = named.split_once(": array<") else {
            continue;
        };
        let length = match space {
            "workgroup" => {
                let (_, length) = array.rsplit_once(", ").expect("a length");
                length.trim_end_matches(">;").to_owned()
            }
            _ => format!("arrayLength(&{name})"),
        };
        text = wrapped(&text, name, &length);
    }
    text.push_str(
        "\nfn within(index: u32, length: u32) -> u32 {
            if index >= length { logits[0] = 1.0; return 0u; }
            return index;
        }\n",
    );
    text
}

/// `name[index]` as `name[within(index, length)]`, everywhere.
fn wrapped(text: &str, name: &str, length: &str) -> String {
    let opening = format!("{name}[");
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(&opening) {
        let (before, from) = rest.split_at(at + opening.len());
        out.push_str(before);
        let whole_word = !before[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        rest = from;
        if whole_word {
            let close = closing(from);
            let index = wrapped(&from[..close], name, length);
            out.push_str(&format!("within({index}, {length})"));
            rest = &from[close..];
        }
    }
    out + rest
}

/// Where the bracket closes that was opened before `text`.
fn closing(text: &str) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' if depth == 0 => return at,
            ']' => depth -= 1,
            _ => {}
        }
    }
    panic!("a bracket is not closed in {text}");
}
