// What the variants of `logits` share: Z = X Wᵀ + b for one slice of classes.
//
// Sums are made in blocks: within one, products are added to a sum; the sums of the blocks are added
// to a total. The error bound counts the longest block and the number of blocks instead of all
// products (see equipoise_gpu's kernels/logits).

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

@group(0) @binding(0) var<uniform> parameters: LogitsParameters;
// binding 1: values, (rows, M), imported
// binding 2: weight, (count, M), imported
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> logits: array<f32>;

fn store(row: u32, slot: u32, total: f32) {
    if row < parameters.rows && slot < parameters.count {
        logits[row * parameters.classes + parameters.first + slot] = total + bias[slot];
    }
}
