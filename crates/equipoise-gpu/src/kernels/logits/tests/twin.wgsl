
// What the matrix variants' tests put in place of matrix cores. A matrix of rows or classes is where it
// begins in its tile; a matrix of sums is spread over the 32 lanes of a subgroup, number i with lane
// i mod 32.

const LOW: u32 = 0x80000000u;

fn twin_left(at: u32) -> u32 {
    return at;
}

fn twin_right(at: u32) -> u32 {
    return at;
}

fn twin_low(at: u32) -> u32 {
    return at | LOW;
}

fn twin_sum(lane: u32, matrix: u32) -> mat2x4<f32> {
    var sum = mat2x4<f32>();
    for (var i = lane % SUBGROUP; i < SIZE * SIZE; i += SUBGROUP) {
        let e = i / SUBGROUP;
        sum[e / 4u][e % 4u] = staging[matrix + i];
    }
    return sum;
}

fn twin_store(lane: u32, value: mat2x4<f32>, matrix: u32) {
    var sum = value;
    for (var i = lane % SUBGROUP; i < SIZE * SIZE; i += SUBGROUP) {
        let e = i / SUBGROUP;
        staging[matrix + i] = sum[e / 4u][e % 4u];
    }
}

// A matrix of rows lies line by line, one of classes column by column.
fn twin_multiply_add(lane: u32, left: u32, right: u32, value: mat2x4<f32>) -> mat2x4<f32> {
    var sum = value;
    for (var i = lane % SUBGROUP; i < SIZE * SIZE; i += SUBGROUP) {
        let e = i / SUBGROUP;
        var products = 0.0;
        for (var k = 0u; k < SIZE; k += 4u) {
            let x = twin_row((left + i / SIZE * PITCH) * PACK + k);
            products += dot(x, twin_class(right, (i % SIZE) * PITCH * PACK + k));
        }
        sum[e / 4u][e % 4u] += products;
    }
    return sum;
}

fn twin_row(at: u32) -> vec4<f32> {
    return ROW_AT;
}

fn twin_class(right: u32, offset: u32) -> vec4<f32> {
    let at = (right & ~LOW) * PACK + offset;
    if (right & LOW) != 0u {
        return LOW_AT;
    }
    return CLASS_AT;
}
