//! Scores as tensors on the device of the embeddings.

use burn::tensor::{Device, Tensor, TensorData};
use equipoise_burn::{Scores, Selector};
use equipoise_core::cpu::{RowScores, row_scores};
use equipoise_core::{MemoryPool, Values};

use super::{CLASSES, DIM, ROWS, alone, forms, gpu, head, numbers};

fn on_host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("f32")
}

fn near(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (x, y) in found.iter().zip(expected) {
        assert!((x - y).abs() <= 2e-5 * (1.0 + y.abs()), "{what}: {x} {y}");
    }
}

fn agrees(scores: Scores, expected: &RowScores, form: &str) {
    let classes =
        |tensor: Tensor<1, _>| -> Vec<i32> { tensor.into_data().try_into_vec().expect("i32") };
    assert_eq!(classes(scores.predicted), expected.predicted, "{form}");
    assert_eq!(classes(scores.runner_up), expected.runner_up, "{form}");
    near(&on_host(scores.distance), &expected.distance, form);
    near(&on_host(scores.confidence), &expected.confidence, form);
    near(&on_host(scores.entropy), &expected.entropy, form);
    // Tensors like others: burn computes with them.
    let doubled: Vec<f32> = expected
        .margin
        .iter()
        .map(|margin| margin * 2.0 + 1.0)
        .collect();
    near(&on_host(scores.margin * 2.0 + 1.0), &doubled, form);
}

fn scores_on(selector: &Selector, device: &Device) {
    let (values, head) = (numbers(ROWS * DIM, 3), head());
    let pool = MemoryPool::new(Values::F32(&values), DIM).expect("a pool");
    let expected = row_scores(&pool, &head).expect("scores");
    for (form, tensor) in forms(&values, DIM, device) {
        let scores = selector.scores(tensor.clone(), &head).expect(form);
        assert_eq!(&scores.distance.device(), selector.device());
        agrees(scores, &expected, form);
        let distances = selector.distances(tensor, &head).expect(form);
        assert_eq!(distances.dims(), [ROWS, CLASSES]);
        near(&on_host(distances), &expected.distances, form);
    }
    let none = Tensor::<2>::empty([0, DIM], device);
    let scores = selector.scores(none.clone(), &head).expect("no scores");
    assert_eq!(scores.margin.dims(), [0]);
    assert_eq!(
        selector.distances(none, &head).expect("none").dims(),
        [0, CLASSES]
    );
    let narrow = Tensor::<2>::ones([2, DIM - 1], device);
    let failed = selector.scores(narrow, &head).unwrap_err().to_string();
    assert!(
        failed.contains("24 columns") && failed.contains("have 23"),
        "{failed}"
    );
    let mut spoilt = numbers(4 * DIM, 6);
    spoilt[2 * DIM + 1] = f32::NAN;
    let spoilt = Tensor::<2>::from_data(TensorData::new(spoilt, [4, DIM]), device);
    let scores = selector.scores(spoilt, &head).expect("scores");
    let entropy = on_host(scores.entropy);
    assert_eq!(
        [0, 1, 2, 3].map(|row: usize| entropy[row].is_nan()),
        [false, false, true, false]
    );
    device.sync().expect("an idle device");
}

#[test]
fn scores_of_a_cpu_backend_are_the_definition() {
    let device = Device::flex();
    scores_on(&Selector::new(&device).expect("a selector"), &device);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn scores_on_a_gpu_are_near_the_definition() {
    let (selector, device) = gpu();
    scores_on(&selector, &device);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn scores_on_a_gpu_do_not_travel() {
    alone("scores::scores_on_a_gpu_do_not_travel", || {
        let (selector, device) = gpu();
        let tensor = Tensor::<2>::ones([4096, DIM], &device) * 0.5;
        let head = head();
        let before = selector.transfers().expect("a GPU's");
        let scores = selector.scores(tensor, &head).expect("scores");
        let after = selector.transfers().expect("a GPU's");
        // The head, a bit a row and some parameters go there; nothing comes back.
        assert!(after.to_device - before.to_device < 16 << 10);
        assert_eq!(after.to_host, before.to_host);
        assert_eq!(on_host(scores.margin).len(), 4096);
    });
}
