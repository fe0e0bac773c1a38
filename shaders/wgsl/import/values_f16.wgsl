// Embeddings stored as f16, two to a word, the first in the low half. Import widen before it.

@group(0) @binding(1) var<storage, read> values: array<u32>;

fn load_value(index: u32) -> f32 {
    return widen(half_bits(index));
}

fn half_bits(index: u32) -> u32 {
    return (values[index >> 1u] >> (16u * (index & 1u))) & 0xffffu;
}

// The bits of a value as an f32's; those of an infinity where it is not finite.
fn value_bits(index: u32) -> u32 {
    return widened_bits(half_bits(index));
}
