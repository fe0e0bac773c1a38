// What a split head adds for matrices of 8×8: its low part, and totals of which each lane keeps two numbers, as Metal
// adds no matrices. Import matrix_8 and matrix.

alias Total = vec2<f32>;

var<workgroup> low_tile: array<Element, STAGES * STAGE>;

fn put_low(at: u32, four: vec4<f16>) {
    low_tile[at] = four.x;
    low_tile[at + 1u] = four.y;
    low_tile[at + 2u] = four.z;
    low_tile[at + 3u] = four.w;
}

fn no_total(lane: u32, matrix: u32) -> Total {
    return Total();
}

// By way of the staged matrix, which is zeros again. All lanes must call it.
fn added(lane: u32, matrix: u32, total: Total, sum: Sum) -> Total {
    coopStoreT(sum, &staging[matrix], SIZE);
    workgroupBarrier();
    let at = matrix + lane % SUBGROUP;
    let sums = Total(staging[at], staging[at + SUBGROUP]);
    staging[at] = 0.0;
    staging[at + SUBGROUP] = 0.0;
    workgroupBarrier();
    return total + sums;
}

// Stores the logits of a matrix.
fn finish(lane: u32, matrix: u32, row: u32, slot: u32, total: Total) {
    let i = lane % SUBGROUP;
    let j = i + SUBGROUP;
    store(row + i / SIZE, slot + i % SIZE, total.x * parameters.unscale);
    store(row + j / SIZE, slot + j % SIZE, total.y * parameters.unscale);
}
