//! Whose wgpu handles a selector works with. burn opens a device once a process, so that each of these is one.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use burn::tensor::{Device, DeviceKind, Tensor, TensorData};
use equipoise_burn::{Error, Selector};
use equipoise_core::Values;
use equipoise_core::strategies::Base;
use equipoise_gpu::wgpu::{self, BufferUsages};
use equipoise_gpu::{DeviceChoice, Gpu};

use super::{BUDGET, DIM, ROWS, alone, expected, head, labelled, numbers};

/// The selector picks what the CPU engine does among rows of host memory.
fn picks(selector: &Selector, device: &Device) {
    let (values, head) = (numbers(ROWS * DIM, 3), head());
    let rows = Tensor::<2>::from_data(TensorData::new(values.clone(), [ROWS, DIM]), device);
    let query = selector.strategy(Base).budget(BUDGET).labelled(labelled());
    let found = query.select(rows, &head).expect("a selection");
    assert!(selector.transfers().is_some(), "not the CPU engine");
    let wanted = expected(&Base, Values::F32(&values), &head);
    assert_eq!(found.picks, wanted.picks);
}

/// What a future that has nothing to wait for comes to.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits"),
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn handles_of_another_device_are_refused_and_may_be_corrected() {
    alone(
        "handles::handles_of_another_device_are_refused_and_may_be_corrected",
        give_wrong_handles,
    );
}

fn give_wrong_handles() {
    let (device, setup) = Device::wgpu_options()
        .init_with_setup()
        .expect("a device of burn's");
    let refused = |gpu: Gpu| {
        let failed = Selector::with_handles(&device, gpu).unwrap_err();
        assert!(matches!(failed, Error::Handles { .. }), "{failed:?}");
        let said = failed.to_string();
        assert!(
            said.contains("those given are another device's") && said.contains("; hint: "),
            "{said}"
        );
    };
    let other = || Gpu::open(&DeviceChoice::Any).expect("an adapter");
    refused(other());
    // Whatever number burn's buffer has, here is a buffer of that number.
    let gpu = other();
    let buffer = |_| {
        gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("somebody else's"),
            size: 1 << 16,
            usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    };
    let buffers: Vec<wgpu::Buffer> = (0..64).map(buffer).collect();
    refused(gpu);
    drop(buffers);
    // A second device of burn's instance.
    let second = setup.adapter.request_device(&wgpu::DeviceDescriptor {
        required_limits: setup.adapter.limits(),
        ..Default::default()
    });
    let (second, queue) = ready(second).expect("a second device");
    refused(Gpu {
        instance: setup.instance.clone(),
        adapter: setup.adapter.clone(),
        device: second,
        queue,
    });
    let gpu = Gpu {
        instance: setup.instance,
        adapter: setup.adapter,
        device: setup.device,
        queue: setup.queue,
    };
    picks(
        &Selector::with_handles(&device, gpu).expect("a selector"),
        &device,
    );
    // Known by now.
    picks(&Selector::new(&device).expect("a selector"), &device);
    picks(
        &Selector::with_handles(&device, other()).expect("a selector"),
        &device,
    );
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_selector_opens_a_device_that_nobody_did() {
    alone("handles::a_selector_opens_a_device_that_nobody_did", || {
        let device = Device::wgpu(DeviceKind::DefaultDevice);
        picks(&Selector::new(&device).expect("a selector"), &device);
    });
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_device_in_use_has_no_handles_to_give() {
    alone("handles::a_device_in_use_has_no_handles_to_give", || {
        let device = Device::wgpu(DeviceKind::DefaultDevice);
        let rows = Tensor::<2>::ones([4, DIM], &device);
        let failed = Selector::new(&device).unwrap_err();
        assert!(matches!(failed, Error::Handles { .. }), "{failed:?}");
        let said = failed.to_string();
        assert!(said.contains("; hint: make the selector before"), "{said}");
        drop(rows);
    });
}
