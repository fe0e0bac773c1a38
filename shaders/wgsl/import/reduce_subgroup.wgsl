// Entry point and reductions of the row kernels by subgroup operations: a subgroup of any size joins what
// its lanes found without workgroup memory, then the subgroups' results are joined, one barrier each.

// As many as there may be: subgroups have at least 4 lanes.
const SUBGROUPS: u32 = LANES / 4u;

var<private> lane_of_subgroup: u32;
var<private> subgroup: u32;
var<private> subgroups: u32;

var<workgroup> tops: array<Top, SUBGROUPS>;
var<workgroup> bounds: array<Bounds, SUBGROUPS>;
var<workgroup> counts: array<vec2<u32>, SUBGROUPS>;
var<workgroup> sums: array<vec2<f32>, SUBGROUPS>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
    @builtin(subgroup_id) subgroup_index: u32,
    @builtin(num_subgroups) subgroup_count: u32,
) {
    lane_of_subgroup = subgroup_lane;
    subgroup = subgroup_index;
    subgroups = subgroup_count;
    judge_row(row_of(group, groups), lane);
}

// All lanes must call these. A barrier comes first: the last result may still be read.

fn reduce_top(top: Top, lane: u32) -> Top {
    let value = subgroupMax(top.value);
    let class_id = subgroupMin(select(NO_CLASS, top.class_id, top.value == value));
    // The best of the others: a lane's second if the top is its own, else its top.
    let second = subgroupMax(select(top.value, top.second, top.class_id == class_id));
    workgroupBarrier();
    if lane_of_subgroup == 0u {
        tops[subgroup] = Top(value, class_id, second);
    }
    workgroupBarrier();
    var joined = tops[0];
    for (var i = 1u; i < subgroups; i++) {
        joined = join_tops(joined, tops[i]);
    }
    return joined;
}

fn reduce_bounds(found: Bounds, lane: u32) -> Bounds {
    let least = subgroupMin(found.least);
    let joined_subgroup = Bounds(
        least,
        subgroupMin(select(NO_CLASS, found.nearest, found.least == least)),
        subgroupAdd(found.plausible),
        subgroupMin(found.other),
        subgroupOr(found.unscaled),
    );
    workgroupBarrier();
    if lane_of_subgroup == 0u {
        bounds[subgroup] = joined_subgroup;
    }
    workgroupBarrier();
    var joined = bounds[0];
    for (var i = 1u; i < subgroups; i++) {
        joined = join_bounds(joined, bounds[i]);
    }
    return joined;
}

// The sum of the first parts and the least of the second.
fn reduce_counts(found: vec2<u32>, lane: u32) -> vec2<u32> {
    let joined_subgroup = vec2<u32>(subgroupAdd(found.x), subgroupMin(found.y));
    workgroupBarrier();
    if lane_of_subgroup == 0u {
        counts[subgroup] = joined_subgroup;
    }
    workgroupBarrier();
    var joined = counts[0];
    for (var i = 1u; i < subgroups; i++) {
        joined = join_counts(joined, counts[i]);
    }
    return joined;
}

fn reduce_sums(found: vec2<f32>, lane: u32) -> vec2<f32> {
    let joined_subgroup = vec2<f32>(subgroupAdd(found.x), subgroupAdd(found.y));
    workgroupBarrier();
    if lane_of_subgroup == 0u {
        sums[subgroup] = joined_subgroup;
    }
    workgroupBarrier();
    var joined = sums[0];
    for (var i = 1u; i < subgroups; i++) {
        joined += sums[i];
    }
    return joined;
}
