// f16 by their bits, as f32.
//
// Widened with integers: `unpack2x16float` and `enable f16` may flush subnormals to zero, and every
// f16 is a normal f32. NaN and infinities come out finite: their rows have no answer.

// The f16 with these bits. Exact: the difference below is a multiple of 2⁻²⁴ less than 2⁻¹⁴.
fn widen(half: u32) -> f32 {
    let magnitude = (half & 0x7fffu) << 13u;
    // 112 = 127 − 15: the difference of the biases. A subnormal is read as 1.fraction · 2⁻¹⁴.
    let normal = bitcast<f32>(magnitude + (112u << 23u));
    let subnormal = bitcast<f32>(magnitude + (113u << 23u)) - 0x1p-14;
    let value = select(normal, subnormal, magnitude < (1u << 23u));
    return bitcast<f32>(bitcast<u32>(value) | ((half & 0x8000u) << 16u));
}

// Its bits as an f32's; those of an infinity where it is not finite.
fn widened_bits(half: u32) -> u32 {
    return select(bitcast<u32>(widen(half)), 0x7f800000u, (half & 0x7c00u) == 0x7c00u);
}
