// What a split head adds for matrices of 16×16: its low part, and totals that are matrices as sums are. Import
// matrix_16 and matrix.

alias Total = Sum;

var<workgroup> low_tile: array<Element, STAGES * STAGE>;

fn put_low(at: u32, four: vec4<f16>) {
    low_tile[at] = four;
}

// While the staged matrix is zeros.
fn no_total(lane: u32, matrix: u32) -> Total {
    return coopLoadT<Sum>(&staging[matrix], SIZE);
}

fn added(lane: u32, matrix: u32, total: Total, sum: Sum) -> Total {
    return total + sum;
}

// Stores the logits of a matrix. All lanes must call it.
fn finish(lane: u32, matrix: u32, row: u32, slot: u32, total: Total) {
    coopStoreT(total, &staging[matrix], SIZE);
    drain(lane, row, slot);
}
