// What the variants of `logits` share: Z = X Wᵀ + b for one slice of classes.
//
// Sums are made in blocks: within one, products are added to a sum; the sums of the blocks are added
// to a total. The error bound counts the longest block and the number of blocks instead of all
// products (see equipoise_gpu's kernels/logits). WGSL lets a compiler regroup additions: `opaque`
// keeps it from joining the two levels.

struct LogitsParameters {
    // Rows of the block.
    rows: u32,
    // Columns of X and W, M.
    dim: u32,
    // Classes of the head, C: the row stride of Z.
    classes: u32,
    // First class of the slice.
    first: u32,
    // Classes of the slice.
    count: u32,
    // 0, which the compiler cannot know.
    zero: u32,
    // What the matrix variants multiply their sums by: they scale the head to fit f16.
    unscale: f32,
    padding: u32,
}

// Products of a block.
const BLOCK: u32 = 64u;

@group(0) @binding(0) var<uniform> parameters: LogitsParameters;
// binding 1: values, (rows, M), imported
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> logits: array<f32>;

// The sums, as numbers of which the compiler does not know that they are sums.
fn opaque(sums: vec4<f32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(sums) ^ vec4<u32>(parameters.zero));
}

// X at (row, m); 0 beyond the columns, and some row beyond the rows, whose logits are not stored.
fn value_at(row: u32, m: u32) -> f32 {
    let value = load_value(min(row, parameters.rows - 1u) * parameters.dim + min(m, parameters.dim - 1u));
    return select(0.0, value, m < parameters.dim);
}

// W at a class of the slice, as `value_at`.
fn weight_at(slot: u32, m: u32) -> f32 {
    let value = weight[min(slot, parameters.count - 1u) * parameters.dim + min(m, parameters.dim - 1u)];
    return select(0.0, value, m < parameters.dim);
}

fn store(row: u32, slot: u32, total: f32) {
    if row < parameters.rows && slot < parameters.count {
        logits[row * parameters.classes + parameters.first + slot] = total + bias[slot];
    }
}
