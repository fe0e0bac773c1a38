// How fast a device copies its own memory, 16 bytes a lane at a time. Import peak.

// Elements of a lane.
const EACH: u32 = 4u;

@group(0) @binding(1) var<storage, read> source: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> results: array<vec4<u32>>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = group.x * (LANES * EACH) + lane;
    for (var i = 0u; i < EACH; i++) {
        let at = first + i * LANES;
        if at < parameters.count {
            results[at] = source[at];
        }
    }
}
