// An upper bound on each row's Euclidean norm, or NONFINITE_NORM; one workgroup a row. Import singly, wide_f32 or
// wide_f16.
//
// Two passes, the second over cached values: dividing by the largest keeps squares within range.

struct NormsParameters {
    // Rows of the block.
    rows: u32,
    // Columns, M.
    dim: u32,
    padding_0: u32,
    padding_1: u32,
}

const LANES: u32 = 64u;
// Of a row with a NaN or an infinity.
const NONFINITE_NORM: f32 = -2.0;
// Above it, whatever the norm, no logit is known.
const HUGE: f32 = 0x1p100;
// Added to every norm: more than flushed denormals can take away.
const TINY: f32 = 0x1p-110;
// Of one operation, and of division, which WGSL lets be off by 2.5 units.
const ROUNDING: f32 = 0x1p-21;

@group(0) @binding(0) var<uniform> parameters: NormsParameters;
// binding 1: values, (rows, M), imported
@group(0) @binding(2) var<storage, read_write> norms: array<f32>;

var<workgroup> largest: array<u32, LANES>;
var<workgroup> sums: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.y * groups.x + group.x;
    if row >= parameters.rows {
        return;
    }
    let loads = parameters.dim / WIDTH;
    let start = row * loads;
    var most = 0u;
    for (var i = lane; i < loads; i += LANES) {
        most = max(most, largest_bits(start + i));
    }
    largest[lane] = most;
    workgroupBarrier();
    for (var width = LANES / 2u; width > 0u; width >>= 1u) {
        if lane < width {
            largest[lane] = max(largest[lane], largest[lane + width]);
        }
        workgroupBarrier();
    }
    most = workgroupUniformLoad(&largest[0]);
    if most >= 0x7f800000u {
        if lane == 0u {
            norms[row] = NONFINITE_NORM;
        }
        return;
    }
    // A normal number at least, whatever the device does with denormals.
    let unit = bitcast<f32>(max(most, 0x00800000u));
    if unit >= HUGE {
        if lane == 0u {
            norms[row] = HUGE;
        }
        return;
    }
    var sum = 0.0;
    for (var i = lane; i < loads; i += LANES) {
        sum += squares(start + i, unit);
    }
    sums[lane] = sum;
    workgroupBarrier();
    for (var width = LANES / 2u; width > 0u; width >>= 1u) {
        if lane < width {
            sums[lane] += sums[lane + width];
        }
        workgroupBarrier();
    }
    if lane == 0u {
        let rounding = 1.0 + f32(parameters.dim + 16u) * ROUNDING;
        norms[row] = unit * sqrt(sums[0]) * rounding + TINY;
    }
}
