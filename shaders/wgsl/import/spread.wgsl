// What probabilities are made of. Import row before it.

// Beyond this the exponential is below 1e-34: taken as 0, lest it depend on denormals.
const NEGLIGIBLE: f32 = 80.0;

// Σ e^{z−z₂} and Σ (z₂−z) e^{z−z₂} over all c ≠ p. All lanes must call it.
fn find_spread(start: u32, top: Top, lane: u32) -> vec2<f32> {
    var spread = vec2<f32>(0.0);
    for (var c = lane; c < parameters.classes; c += LANES) {
        let below = top.second - logits[start + c];
        if c != top.class_id && below < NEGLIGIBLE {
            let term = exp(-below);
            spread += vec2<f32>(term, below * term);
        }
    }
    return reduce_sums(spread, lane);
}
