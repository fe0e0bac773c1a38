//! The variants for matrix cores: everything but the cores in plain WGSL, and all of it where there are
//! some.

use super::ranges::{ZONE, check_zones, edges, indexed, with_source};
use super::{context, error, facts, head as scaled_head};
use crate::device::SENT;
use crate::garbage::garbled;
use crate::kernels::logits::trial::{self, random};
use crate::kernels::logits::variants::{Arithmetic, VARIANTS, Variant};
use crate::kernels::logits::{Path, Storage};

/// The shader of a matrix variant with the matrix cores' part played in plain WGSL, by the lanes of each
/// subgroup: see `twin.wgsl`. Everything else is the variant's own text.
fn twin(variant: &Variant) -> String {
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
    // The twin's own indices are left: they say where the cores read, and the logits tell.
    let source = indexed(&source);
    let four = |tile: &str| match size {
        8 => format!("vec4({tile}[at], {tile}[at + 1u], {tile}[at + 2u], {tile}[at + 3u])"),
        _ => format!("{tile}[at / PACK]"),
    };
    let low = match source.contains("low_tile") {
        true => four("low_tile"),
        false => "vec4<f16>()".into(),
    };
    let twin = include_str!("twin.wgsl")
        .replace("ROW_AT", &format!("vec4<f32>({})", four("row_tile")))
        .replace("CLASS_AT", &format!("vec4<f32>({})", four("class_tile")))
        .replace("LOW_AT", &format!("vec4<f32>({low})"));
    source + &twin
}

/// Around the depths and blocks of the variants, which take multiples of four.
const DIMS: &[usize] = &[4, 12, 16, 20, 36, 260];

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn but_for_the_cores_indices_and_bounds_are_right() {
    let context = context();
    for variant in VARIANTS.iter().filter(|variant| variant.needs_trial()) {
        let path = with_source(&context, variant, Storage::F16, twin(variant));
        for shape in edges(&path, DIMS) {
            check_zones(&context, &path, shape, 0);
        }
        trial::passes(&context, &path).unwrap_or_else(|error| panic!("{error}"));
        let path = with_source(&context, variant, Storage::F16, garbled(&twin(variant)));
        check_zones(&context, &path, edges(&path, DIMS)[0], 0);
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn cores_that_lose_more_than_the_bound_allows_do_not_pass() {
    let context = context();
    for variant in VARIANTS.iter().filter(|variant| variant.needs_trial()) {
        let (sum, added) = (
            "sum[e / 4u][e % 4u] += products;",
            "sum[e / 4u][e % 4u] + products",
        );
        let exact = twin(variant);
        assert!(exact.contains(sum), "{exact}");
        // Sums of 13 bits.
        let rough =
            format!("sum[e / 4u][e % 4u] = bitcast<f32>(bitcast<u32>({added}) & 0xfffffc00u);");
        let source = exact.replace(sum, &rough);
        let path = with_source(&context, variant, Storage::F16, source);
        let error = trial::passes(&context, &path).expect_err(variant.name);
        let error = error.to_string();
        assert!(error.contains("of its bound"), "{}: {error}", variant.name);
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_head_that_is_sent_in_pieces_is_whole() {
    let context = context();
    let mut variants = VARIANTS.iter();
    let variant = variants.find(|variant| variant.name == "matrix8-split");
    let variant = variant.expect("a variant");
    let path = with_source(&context, variant, Storage::F16, twin(variant));
    // 512 classes are as much as is sent at a time.
    let dim = SENT / size_of::<u16>() / 512;
    let head = scaled_head(515, dim, 1.0);
    let error = error(&context, &path, &random(dim, 12), &head);
    assert!(error <= 1.0, "{error} of the bound");
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
#[should_panic(expected = "row 0, place 3: NaN")]
fn memory_that_is_read_before_it_is_written_is_found() {
    let context = context();
    let mut variants = VARIANTS.iter().filter(|variant| variant.needs_trial());
    let variant = variants.next().expect("one");
    let wrong = twin(variant).replace("    clear_staging(lane);\n", "");
    let path = with_source(&context, variant, Storage::F16, garbled(&wrong));
    check_zones(&context, &path, edges(&path, DIMS)[0], 0);
}

#[test]
#[cfg_attr(
    not(matrix_cores),
    ignore = "no matrix cores here: EQUIPOISE_TEST_MATRICES=1 says there are"
)]
fn on_matrix_cores_bounds_and_ranges_are_kept() {
    let (context, facts) = facts();
    let head = scaled_head(67, 700, 1.0);
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
            let error = error(&context, &path, &x, &scaled_head(67, dim, weights));
            assert!(error <= 1.0, "{}: {error} of the bound", variant.name);
        }
        for shape in edges(&path, DIMS) {
            check_zones(&context, &path, shape, ZONE);
        }
    }
    assert!(tried > 0, "no variant fits: {facts:?}");
}
