// Entry point and reductions of the row kernels, by a tree in workgroup memory: for every device.

var<workgroup> tops: array<Top, LANES>;
var<workgroup> bounds: array<Bounds, LANES>;
var<workgroup> counts: array<vec2<u32>, LANES>;
var<workgroup> sums: array<vec2<f32>, LANES>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    judge_row(row_of(group, groups), lane);
}

// All lanes must call these. A barrier comes first: the last result may still be read.

fn reduce_top(top: Top, lane: u32) -> Top {
    workgroupBarrier();
    tops[lane] = top;
    workgroupBarrier();
    for (var width = LANES / 2u; width > 0u; width >>= 1u) {
        if lane < width {
            tops[lane] = join_tops(tops[lane], tops[lane + width]);
        }
        workgroupBarrier();
    }
    return workgroupUniformLoad(&tops[0]);
}

fn reduce_bounds(found: Bounds, lane: u32) -> Bounds {
    workgroupBarrier();
    bounds[lane] = found;
    workgroupBarrier();
    for (var width = LANES / 2u; width > 0u; width >>= 1u) {
        if lane < width {
            bounds[lane] = join_bounds(bounds[lane], bounds[lane + width]);
        }
        workgroupBarrier();
    }
    return workgroupUniformLoad(&bounds[0]);
}

// The sum of the first parts and the least of the second.
fn reduce_counts(found: vec2<u32>, lane: u32) -> vec2<u32> {
    workgroupBarrier();
    counts[lane] = found;
    workgroupBarrier();
    for (var width = LANES / 2u; width > 0u; width >>= 1u) {
        if lane < width {
            counts[lane] = join_counts(counts[lane], counts[lane + width]);
        }
        workgroupBarrier();
    }
    return workgroupUniformLoad(&counts[0]);
}

fn reduce_sums(found: vec2<f32>, lane: u32) -> vec2<f32> {
    workgroupBarrier();
    sums[lane] = found;
    workgroupBarrier();
    for (var width = LANES / 2u; width > 0u; width >>= 1u) {
        if lane < width {
            sums[lane] += sums[lane + width];
        }
        workgroupBarrier();
    }
    return workgroupUniformLoad(&sums[0]);
}
