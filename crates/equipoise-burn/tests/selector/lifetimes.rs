//! Tensors that are dropped, and devices that are lost, while a selection still needs them.

use burn::nn::LinearConfig;
use burn::tensor::{FloatDType, Tensor, TensorData};
use equipoise_burn::{Error, ModelDevice, Selector};
use equipoise_core::Values;
use equipoise_core::strategies::{Base, Coreset};
use equipoise_gpu::DeviceChoice;

use super::{BUDGET, CLASSES, DIM, ROWS, alone, done, expected, gpu, head, labelled, numbers};

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn the_memory_of_a_dropped_tensor_is_kept_as_long_as_a_pool_reads_it() {
    let (selector, device) = gpu();
    let (values, head) = (numbers(ROWS * DIM, 3), head());
    let tensor = |values: &[f32]| {
        Tensor::<2>::from_data(TensorData::new(values.to_vec(), [ROWS, DIM]), &device)
    };
    // A result of burn's own, whose memory burn would use again at once.
    let mut pools = Vec::new();
    for _ in 0..3 {
        let rows = (tensor(&values) * 2.0) / 2.0;
        pools.push(selector.pool(vec![rows]).expect("a pool"));
    }
    let others: Vec<Tensor<2>> = (0..8)
        .map(|k| tensor(&numbers(ROWS * DIM, 50 + k)) * 3.0)
        .collect();
    device.sync().expect("an idle device");
    let wanted = expected(&Base, Values::F32(&values), &head);
    for pool in pools {
        let query = selector.strategy(Base).budget(BUDGET).labelled(labelled());
        let found = query.select_from(&pool, Some(&head)).expect("a selection");
        assert_eq!(found.picks, wanted.picks);
    }
    drop(others);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_device_lost_in_the_middle_is_an_error() {
    alone(
        "lifetimes::a_device_lost_in_the_middle_is_an_error",
        lose_the_device,
    );
}

fn lose_the_device() {
    let model =
        ModelDevice::gpu(&DeviceChoice::Any).expect("an adapter: see README, cargo xtask test");
    let (device, head) = (model.burn(), head());
    let layer = LinearConfig::new(DIM, CLASSES).init(device);
    let selector = Selector::new(device).expect("a selector");
    let data = TensorData::new(numbers(ROWS * DIM, 3), [ROWS, DIM]);
    let rows = Tensor::<2>::from_data(data, device) * 2.0;
    let pool = selector.pool(vec![rows.clone()]).expect("a pool");
    let mut scan = selector
        .strategy(Base)
        .budget(4)
        .scan(&head)
        .expect("a scan");
    scan.push(rows.clone()).expect("a batch");
    let mut kept = selector
        .strategy(Coreset)
        .budget(4)
        .scan_without_head()
        .expect("a scan");
    kept.push(rows.clone()).expect("a batch");
    let half = rows.clone().cast(FloatDType::BF16);
    model.shared().expect("handles").device.destroy();
    let name = |error: Error| {
        assert!(
            matches!(error, Error::Device { .. } | Error::Core(_)),
            "{error:?}"
        );
        error.to_string()
    };
    let ask = || selector.strategy(Base).budget(4);
    // A lost device takes commands and does nothing: a batch may be taken, the scan does not end well.
    let _ = scan.push(rows.clone());
    let said = [
        name(scan.finish().unwrap_err()),
        name(kept.finish().unwrap_err()),
        name(ask().select(rows.clone(), &head).unwrap_err()),
        name(ask().select_from(&pool, Some(&head)).unwrap_err()),
        name(ask().select(rows.clone(), &layer).unwrap_err()),
        name(ask().select(half, &head).unwrap_err()),
        name(selector.scores(rows, &head).unwrap_err()),
    ];
    println!("every call said so: {said:#?}");
    // Nothing of burn's is dropped: it would wait for the device.
    done()
}
