// What the variants of `logits` share that multiply f32 lane by lane. Import one of values_f32 and
// values_f16 for `load_value`.

// Products of a block.
const BLOCK: u32 = 64u;

@group(0) @binding(2) var<storage, read> weight: array<f32>;

// The sums, as numbers of which the compiler does not know that they are sums: WGSL lets it regroup
// additions, and it would join the block's with the total's.
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
