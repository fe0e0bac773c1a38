// Logits by matrix cores, from f16 embeddings and a head rounded to f16. Import cores_16 and
// matrix_16, or cores_8 and matrix_8; logits and matrix.

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
    workgroupBarrier();
    var sum_00 = coopLoadT<Sum>(&staging[matrix], SIZE);
    var sum_01 = coopLoadT<Sum>(&staging[matrix], SIZE);
    var sum_10 = coopLoadT<Sum>(&staging[matrix], SIZE);
    var sum_11 = coopLoadT<Sum>(&staging[matrix], SIZE);
    var sum_20 = coopLoadT<Sum>(&staging[matrix], SIZE);
    var sum_21 = coopLoadT<Sum>(&staging[matrix], SIZE);
    var sum_30 = coopLoadT<Sum>(&staging[matrix], SIZE);
    var sum_31 = coopLoadT<Sum>(&staging[matrix], SIZE);
    var stage = 0u;
    for (var depth = 0u; depth < parameters.dim; depth += DEPTH) {
        // The next stage is under way while this one is multiplied. After the last, it is this one again.
        let next = select(depth, depth + DEPTH, depth + DEPTH < parameters.dim);
        let row_0 = row_four(first_row, next, lane);
        let row_1 = row_four(first_row, next, lane + LANES);
        let class_0 = weight[class_four_at(first_class, next, lane)];
        let class_1 = weight[class_four_at(first_class, next, lane + LANES)];
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
        }
        stage = 1u - stage;
        put_row(four_at(stage, lane), row_0);
        put_row(four_at(stage, lane + LANES), row_1);
        put_class(four_at(stage, lane), class_0);
        put_class(four_at(stage, lane + LANES), class_1);
        workgroupBarrier();
    }
    let row = first_row + rows;
    let slot = first_class + classes;
    coopStoreT(sum_00, &staging[matrix], SIZE);
    drain(lane, row, slot);
    coopStoreT(sum_01, &staging[matrix], SIZE);
    drain(lane, row, slot + SIZE);
    coopStoreT(sum_10, &staging[matrix], SIZE);
    drain(lane, row + SIZE, slot);
    coopStoreT(sum_11, &staging[matrix], SIZE);
    drain(lane, row + SIZE, slot + SIZE);
    coopStoreT(sum_20, &staging[matrix], SIZE);
    drain(lane, row + 2u * SIZE, slot);
    coopStoreT(sum_21, &staging[matrix], SIZE);
    drain(lane, row + 2u * SIZE, slot + SIZE);
    coopStoreT(sum_30, &staging[matrix], SIZE);
    drain(lane, row + 3u * SIZE, slot);
    coopStoreT(sum_31, &staging[matrix], SIZE);
    drain(lane, row + 3u * SIZE, slot + SIZE);
}
