// Embeddings stored as f16, WORDS of two at a time, for row_norms: as singly. A row begins with a load of its own, so
// that M has to be a multiple of WIDTH. Import widen before it.

// Words of a load.
const WORDS: u32 = 4u;
const WIDTH: u32 = 2u * WORDS;

alias Load = vec4<u32>;

@group(0) @binding(1) var<storage, read> values: array<Load>;

fn largest_bits(at: u32) -> u32 {
    let load = values[at];
    var most = 0u;
    for (var k = 0u; k < WORDS; k++) {
        let low = widened_bits(load[k] & 0xffffu) & 0x7fffffffu;
        let high = widened_bits(load[k] >> 16u) & 0x7fffffffu;
        most = max(most, max(low, high));
    }
    return most;
}

fn squares(at: u32, unit: f32) -> f32 {
    let load = values[at];
    var sum = 0.0;
    for (var k = 0u; k < WORDS; k++) {
        let low = widen(load[k] & 0xffffu) / unit;
        let high = widen(load[k] >> 16u) / unit;
        sum += low * low + high * high;
    }
    return sum;
}
