// Embeddings stored as f16, two to a word, the first in the low half.
//
// Widened with integers: `unpack2x16float` may flush subnormals to zero, and every f16 is a normal
// f32.

@group(0) @binding(1) var<storage, read> values: array<u32>;

fn load_value(index: u32) -> f32 {
    return bitcast<f32>(value_bits(index));
}

// The bits of a value as an f32's.
fn value_bits(index: u32) -> u32 {
    return widen((values[index >> 1u] >> (16u * (index & 1u))) & 0xffffu);
}

// The bits of the f32 equal to the f16 with these bits.
fn widen(half: u32) -> u32 {
    let sign = (half & 0x8000u) << 16u;
    let exponent = (half >> 10u) & 0x1fu;
    let fraction = half & 0x3ffu;
    if exponent == 31u {
        return sign | 0x7f800000u | (fraction << 13u);
    }
    if exponent != 0u {
        // 127 − 15: the difference of the biases.
        return sign | ((exponent + 112u) << 23u) | (fraction << 13u);
    }
    if fraction == 0u {
        return sign;
    }
    // fraction · 2⁻²⁴; its leading one becomes the hidden bit.
    let leading = firstLeadingBit(fraction);
    return sign | ((leading + 103u) << 23u) | ((fraction << (23u - leading)) & 0x7fffffu);
}
