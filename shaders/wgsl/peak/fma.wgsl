// How many f32 multiply-adds a device does: CHAINS independent ones a lane, so that none waits for the
// one before, each on what came of the last, so that none can be left out. Import peak.

// Eight vectors of four.
const CHAINS: u32 = 32u;
// Multiply-adds of a chain in a round.
const STEPS: u32 = 2u;

@group(0) @binding(1) var<storage, read_write> results: array<f32>;

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let factor = vec4<f32>(parameters.factor);
    let summand = vec4<f32>(parameters.summand);
    var x_0 = vec4<f32>(f32(id.x));
    var x_1 = x_0 + 1.0;
    var x_2 = x_0 + 2.0;
    var x_3 = x_0 + 3.0;
    var x_4 = x_0 + 4.0;
    var x_5 = x_0 + 5.0;
    var x_6 = x_0 + 6.0;
    var x_7 = x_0 + 7.0;
    for (var round = 0u; round < parameters.rounds; round++) {
        x_0 = fma(x_0, factor, summand);
        x_1 = fma(x_1, factor, summand);
        x_2 = fma(x_2, factor, summand);
        x_3 = fma(x_3, factor, summand);
        x_4 = fma(x_4, factor, summand);
        x_5 = fma(x_5, factor, summand);
        x_6 = fma(x_6, factor, summand);
        x_7 = fma(x_7, factor, summand);
        x_0 = fma(x_0, factor, summand);
        x_1 = fma(x_1, factor, summand);
        x_2 = fma(x_2, factor, summand);
        x_3 = fma(x_3, factor, summand);
        x_4 = fma(x_4, factor, summand);
        x_5 = fma(x_5, factor, summand);
        x_6 = fma(x_6, factor, summand);
        x_7 = fma(x_7, factor, summand);
    }
    let all = (x_0 + x_1) + (x_2 + x_3) + (x_4 + x_5) + (x_6 + x_7);
    results[id.x % LANES] = dot(all, vec4<f32>(1.0, 2.0, 3.0, 4.0));
}
