// Embeddings stored as f32.

@group(0) @binding(1) var<storage, read> values: array<f32>;

fn load_value(index: u32) -> f32 {
    return values[index];
}

// The bits of a value as an f32's.
fn value_bits(index: u32) -> u32 {
    return bitcast<u32>(values[index]);
}
