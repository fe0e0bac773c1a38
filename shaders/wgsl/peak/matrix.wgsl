// How fast matrix cores multiply f16 and add in f32: eight products a round and subgroup that do not
// wait for each other. Subgroups must have 32 lanes. Import cores_16 or cores_8, and peak.

const SUBGROUP: u32 = 32u;
// Products of a subgroup in a round.
const PRODUCTS: u32 = 8u;

@group(0) @binding(1) var<storage, read_write> results: array<f32>;

var<workgroup> left_tile: array<f16, SIZE * SIZE>;
var<workgroup> right_tile: array<f16, SIZE * SIZE>;
var<workgroup> staging: array<f32, LANES / SUBGROUP * SIZE * SIZE>;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
    for (var i = lane; i < SIZE * SIZE; i += LANES) {
        left_tile[i] = f16(parameters.factor);
        right_tile[i] = f16(parameters.summand);
    }
    for (var i = lane; i < LANES / SUBGROUP * SIZE * SIZE; i += LANES) {
        staging[i] = f32(i);
    }
    workgroupBarrier();
    let matrix = lane / SUBGROUP * (SIZE * SIZE);
    let left = coopLoadT<Left>(&left_tile[0], SIZE);
    let right = coopLoadT<Right>(&right_tile[0], SIZE);
    var sum_0 = coopLoadT<Sum>(&staging[matrix], SIZE);
    var sum_1 = coopLoadT<Sum>(&staging[matrix], SIZE);
    var sum_2 = coopLoadT<Sum>(&staging[matrix], SIZE);
    var sum_3 = coopLoadT<Sum>(&staging[matrix], SIZE);
    var sum_4 = coopLoadT<Sum>(&staging[matrix], SIZE);
    var sum_5 = coopLoadT<Sum>(&staging[matrix], SIZE);
    var sum_6 = coopLoadT<Sum>(&staging[matrix], SIZE);
    var sum_7 = coopLoadT<Sum>(&staging[matrix], SIZE);
    for (var round = 0u; round < parameters.rounds; round++) {
        sum_0 = coopMultiplyAdd(left, right, sum_0);
        sum_1 = coopMultiplyAdd(left, right, sum_1);
        sum_2 = coopMultiplyAdd(left, right, sum_2);
        sum_3 = coopMultiplyAdd(left, right, sum_3);
        sum_4 = coopMultiplyAdd(left, right, sum_4);
        sum_5 = coopMultiplyAdd(left, right, sum_5);
        sum_6 = coopMultiplyAdd(left, right, sum_6);
        sum_7 = coopMultiplyAdd(left, right, sum_7);
    }
    var result = 0.0;
    coopStoreT(sum_0, &staging[matrix], SIZE);
    workgroupBarrier();
    result += staging[lane];
    workgroupBarrier();
    coopStoreT(sum_1, &staging[matrix], SIZE);
    workgroupBarrier();
    result += staging[lane];
    workgroupBarrier();
    coopStoreT(sum_2, &staging[matrix], SIZE);
    workgroupBarrier();
    result += staging[lane];
    workgroupBarrier();
    coopStoreT(sum_3, &staging[matrix], SIZE);
    workgroupBarrier();
    result += staging[lane];
    workgroupBarrier();
    coopStoreT(sum_4, &staging[matrix], SIZE);
    workgroupBarrier();
    result += staging[lane];
    workgroupBarrier();
    coopStoreT(sum_5, &staging[matrix], SIZE);
    workgroupBarrier();
    result += staging[lane];
    workgroupBarrier();
    coopStoreT(sum_6, &staging[matrix], SIZE);
    workgroupBarrier();
    result += staging[lane];
    workgroupBarrier();
    coopStoreT(sum_7, &staging[matrix], SIZE);
    workgroupBarrier();
    result += staging[lane];
    workgroupBarrier();
    results[lane] = result;
}
