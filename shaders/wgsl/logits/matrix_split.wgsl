// Logits by matrix cores, from f16 embeddings and a head of two f16 parts, weight + low. Import
// cores_16, matrix_16 and split_16, or cores_8, matrix_8 and split_8; logits and matrix.
//
// Each matrix of rows meets both parts. After a block of columns the sums go to totals, since matrix
// cores may truncate what they add, relative to the largest so far.

// Columns of a block; each makes two products.
const BLOCK: u32 = 256u;

@group(0) @binding(5) var<storage, read> low: array<vec4<f16>>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first_class = group.x * TILE_CLASSES;
    let first_row = group.y * TILE_ROWS;
    let part = lane / SUBGROUP;
    let rows = part_row(part);
    let classes = part_class(part);
    let matrix = part * SIZE * SIZE;
    clear_staging(lane);
    put_row(four_at(0u, lane), row_four(first_row, 0u, lane));
    put_row(four_at(0u, lane + LANES), row_four(first_row, 0u, lane + LANES));
    put_class(four_at(0u, lane), weight[class_four_at(first_class, 0u, lane)]);
    put_class(four_at(0u, lane + LANES), weight[class_four_at(first_class, 0u, lane + LANES)]);
    put_low(four_at(0u, lane), low[class_four_at(first_class, 0u, lane)]);
    put_low(four_at(0u, lane + LANES), low[class_four_at(first_class, 0u, lane + LANES)]);
    workgroupBarrier();
    var total_00 = no_total(lane, matrix);
    var total_01 = no_total(lane, matrix);
    var total_10 = no_total(lane, matrix);
    var total_11 = no_total(lane, matrix);
    var total_20 = no_total(lane, matrix);
    var total_21 = no_total(lane, matrix);
    var total_30 = no_total(lane, matrix);
    var total_31 = no_total(lane, matrix);
    var stage = 0u;
    for (var block = 0u; block < parameters.dim; block += BLOCK) {
        var sum_00 = coopLoadT<Sum>(&staging[matrix], SIZE);
        var sum_01 = coopLoadT<Sum>(&staging[matrix], SIZE);
        var sum_10 = coopLoadT<Sum>(&staging[matrix], SIZE);
        var sum_11 = coopLoadT<Sum>(&staging[matrix], SIZE);
        var sum_20 = coopLoadT<Sum>(&staging[matrix], SIZE);
        var sum_21 = coopLoadT<Sum>(&staging[matrix], SIZE);
        var sum_30 = coopLoadT<Sum>(&staging[matrix], SIZE);
        var sum_31 = coopLoadT<Sum>(&staging[matrix], SIZE);
        for (var depth = block; depth < min(block + BLOCK, parameters.dim); depth += DEPTH) {
            // The next stage is under way while this one is multiplied. After the last, it is this one again.
            let next = select(depth, depth + DEPTH, depth + DEPTH < parameters.dim);
            let row_0 = row_four(first_row, next, lane);
            let row_1 = row_four(first_row, next, lane + LANES);
            let class_0 = weight[class_four_at(first_class, next, lane)];
            let class_1 = weight[class_four_at(first_class, next, lane + LANES)];
            let low_0 = low[class_four_at(first_class, next, lane)];
            let low_1 = low[class_four_at(first_class, next, lane + LANES)];
            for (var k = 0u; k < DEPTH; k += SIZE) {
                let left_0 = coopLoadT<Left>(&row_tile[tile_at(stage, rows, k)], PITCH);
                let left_1 = coopLoadT<Left>(&row_tile[tile_at(stage, rows + SIZE, k)], PITCH);
                let left_2 = coopLoadT<Left>(&row_tile[tile_at(stage, rows + 2u * SIZE, k)], PITCH);
                let left_3 = coopLoadT<Left>(&row_tile[tile_at(stage, rows + 3u * SIZE, k)], PITCH);
                let right_0 = coopLoad<Right>(&class_tile[tile_at(stage, classes, k)], PITCH);
                let right_1 = coopLoad<Right>(&class_tile[tile_at(stage, classes + SIZE, k)], PITCH);
                sum_00 = coopMultiplyAdd(left_0, right_0, sum_00);
                sum_10 = coopMultiplyAdd(left_1, right_0, sum_10);
                sum_20 = coopMultiplyAdd(left_2, right_0, sum_20);
                sum_30 = coopMultiplyAdd(left_3, right_0, sum_30);
                sum_01 = coopMultiplyAdd(left_0, right_1, sum_01);
                sum_11 = coopMultiplyAdd(left_1, right_1, sum_11);
                sum_21 = coopMultiplyAdd(left_2, right_1, sum_21);
                sum_31 = coopMultiplyAdd(left_3, right_1, sum_31);
                let low_right_0 = coopLoad<Right>(&low_tile[tile_at(stage, classes, k)], PITCH);
                let low_right_1 = coopLoad<Right>(&low_tile[tile_at(stage, classes + SIZE, k)], PITCH);
                sum_00 = coopMultiplyAdd(left_0, low_right_0, sum_00);
                sum_10 = coopMultiplyAdd(left_1, low_right_0, sum_10);
                sum_20 = coopMultiplyAdd(left_2, low_right_0, sum_20);
                sum_30 = coopMultiplyAdd(left_3, low_right_0, sum_30);
                sum_01 = coopMultiplyAdd(left_0, low_right_1, sum_01);
                sum_11 = coopMultiplyAdd(left_1, low_right_1, sum_11);
                sum_21 = coopMultiplyAdd(left_2, low_right_1, sum_21);
                sum_31 = coopMultiplyAdd(left_3, low_right_1, sum_31);
            }
            stage = 1u - stage;
            put_row(four_at(stage, lane), row_0);
            put_row(four_at(stage, lane + LANES), row_1);
            put_class(four_at(stage, lane), class_0);
            put_class(four_at(stage, lane + LANES), class_1);
            put_low(four_at(stage, lane), low_0);
            put_low(four_at(stage, lane + LANES), low_1);
            workgroupBarrier();
        }
        total_00 = added(lane, matrix, total_00, sum_00);
        total_01 = added(lane, matrix, total_01, sum_01);
        total_10 = added(lane, matrix, total_10, sum_10);
        total_11 = added(lane, matrix, total_11, sum_11);
        total_20 = added(lane, matrix, total_20, sum_20);
        total_21 = added(lane, matrix, total_21, sum_21);
        total_30 = added(lane, matrix, total_30, sum_30);
        total_31 = added(lane, matrix, total_31, sum_31);
    }
    let row = first_row + rows;
    let slot = first_class + classes;
    finish(lane, matrix, row, slot, total_00);
    finish(lane, matrix, row, slot + SIZE, total_01);
    finish(lane, matrix, row + SIZE, slot, total_10);
    finish(lane, matrix, row + SIZE, slot + SIZE, total_11);
    finish(lane, matrix, row + 2u * SIZE, slot, total_20);
    finish(lane, matrix, row + 2u * SIZE, slot + SIZE, total_21);
    finish(lane, matrix, row + 3u * SIZE, slot, total_30);
    finish(lane, matrix, row + 3u * SIZE, slot + SIZE, total_31);
}
