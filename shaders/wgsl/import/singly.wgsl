// Embeddings a number at a time, for row_norms. Import values_f32 or values_f16.

// Numbers of a load.
const WIDTH: u32 = 1u;

// The largest of a load's numbers, by bits without the sign: they are ordered as magnitudes are, and those of
// NaN and infinity come last.
fn largest_bits(at: u32) -> u32 {
    return value_bits(at) & 0x7fffffffu;
}

// The sum of its squares, each divided by `unit`.
fn squares(at: u32, unit: f32) -> f32 {
    let x = load_value(at) / unit;
    return x * x;
}
