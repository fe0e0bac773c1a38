// Embeddings stored as f32, WORDS at a time, for row_norms: as singly. A row begins with a load of its own, so that M
// has to be a multiple of WIDTH.

// Words of a load.
const WORDS: u32 = 4u;
const WIDTH: u32 = WORDS;

alias Load = vec4<f32>;

@group(0) @binding(1) var<storage, read> values: array<Load>;

fn largest_bits(at: u32) -> u32 {
    let load = values[at];
    var most = 0u;
    for (var k = 0u; k < WORDS; k++) {
        most = max(most, bitcast<u32>(load[k]) & 0x7fffffffu);
    }
    return most;
}

fn squares(at: u32, unit: f32) -> f32 {
    let load = values[at];
    var sum = 0.0;
    for (var k = 0u; k < WORDS; k++) {
        let x = load[k] / unit;
        sum += x * x;
    }
    return sum;
}
