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
