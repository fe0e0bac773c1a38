//! Errors on numbers of every magnitude.

use equipoise_core::Head;

use super::{context, error, head, plain};
use crate::kernels::logits::trial::random;

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn errors_stay_within_the_bound() {
    let context = context();
    let (rows, classes) = (66, 67);
    for path in plain(&context) {
        for (dim, values, weights) in [
            (1, 1.0, 1.0),
            (130, 1.0, 1.0),
            (200, 60000.0, 1e12),
            (100, 1e-6, 1e-30),
            (65, 6e-8, 1e-4),
        ] {
            let x: Vec<f32> = random(rows * dim, 7).iter().map(|x| x * values).collect();
            let error = error(&context, &path, &x, &head(classes, dim, weights));
            let what = format!("{} {:?}", path.variant.name, path.storage);
            assert!(
                error <= 1.0,
                "{what}: {error} of the bound at {dim} {values} {weights}"
            );
        }
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn large_sums_do_not_drown_the_bound() {
    // The worst for a sum in one level: every product positive.
    let context = context();
    let dim = 2048;
    let x: Vec<f32> = random(3 * dim, 8).iter().map(|x| x.abs()).collect();
    let weight = random(2 * dim, 9).iter().map(|w| w.abs()).collect();
    let head = Head::new(weight, vec![0.0; 2], dim).expect("a head");
    for path in plain(&context) {
        let error = error(&context, &path, &x, &head);
        assert!(error <= 1.0, "{}: {error} of the bound", path.variant.name);
        // 64 products of a block, 32 blocks: not 2048 products.
        let gamma = path.bound(dim).gamma;
        assert!(gamma < 97.0 / f64::from(1 << 23), "{gamma}");
    }
}
