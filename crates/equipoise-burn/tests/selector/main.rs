//! Picks for burn's tensors, on the CPU and on a wgpu device that burn and the engine share. `cargo xtask test` runs
//! them with SPIR-V (where the device takes it), and once more with burn's `fusion` and WGSL. The other two
//! combinations would compile burn twice more, and are left out.

mod handles;
mod lifetimes;
mod questions;
mod scores;

use std::process::Command;

use burn::backend::DispatchDevice;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use equipoise_burn::{ModelDevice, Selector, ToHead};
use equipoise_core::strategies::{Badge, Base, Coreset, Entropy, Margin, Mase};
use equipoise_core::{
    CpuEngine, Head, LabelledRow, MemoryPool, Request, RowSet, Selection, Strategy, Values,
};
use equipoise_gpu::{DeviceChoice, wgpu};
use half::f16;

/// Numbers in −1..1, the same for the same seed.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let number = |i: u32| {
        let mixed = (i ^ seed.wrapping_mul(0x9e37_79b9)).wrapping_mul(0x85eb_ca6b);
        let mixed = (mixed ^ (mixed >> 13)).wrapping_mul(0xc2b2_ae35);
        ((mixed ^ (mixed >> 16)) >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count as u32).map(number).collect()
}

const ROWS: usize = 300;
const DIM: usize = 24;
const CLASSES: usize = 5;
const BUDGET: usize = 40;

fn head() -> Head {
    let weight = numbers(CLASSES * DIM, 1);
    Head::new(weight, numbers(CLASSES, 2), DIM).expect("a head")
}

fn labelled() -> Vec<LabelledRow> {
    let class = |row: usize| Some((row % CLASSES) as u32);
    let rows = (3..ROWS).step_by(17);
    rows.map(|row| LabelledRow {
        row,
        class: class(row),
    })
    .collect()
}

/// What the CPU engine picks among rows in host memory.
fn expected(strategy: &dyn Strategy, values: Values<'_>, head: &Head) -> Selection {
    let pool = MemoryPool::new(values, DIM).expect("a pool");
    let mut available = RowSet::all(ROWS);
    let labelled = labelled();
    for row in &labelled {
        available.remove(row.row);
    }
    let request = Request {
        head: Some(head),
        labelled: &labelled,
        ..Request::new(&pool, &available, BUDGET)
    };
    let selection = strategy.select(&CpuEngine::new(), &request);
    selection.expect("a selection")
}

/// Tensors of the same numbers, (n, dim): as they were made, a slice at an odd offset, a transposed one, every second
/// column, a computed one, with autodiff.
fn forms(values: &[f32], dim: usize, device: &Device) -> Vec<(&'static str, Tensor<2>)> {
    let rows = values.len() / dim;
    let plain = || Tensor::<2>::from_data(TensorData::new(values.to_vec(), [rows, dim]), device);
    let around = Tensor::<2>::ones([7, dim], device);
    let long = Tensor::cat(vec![around.clone(), plain(), around], 0);
    let sliced = long.slice([7..7 + rows, 0..dim]);
    let transposed = plain().transpose() * 1.0;
    let doubled: Tensor<3> = Tensor::stack(vec![plain(), plain() * 3.0], 2);
    let spread = doubled.reshape([rows, 2 * dim]);
    let strided = spread.slice(burn::tensor::s![.., ..;2]);
    vec![
        ("plain", plain()),
        ("sliced", sliced),
        ("transposed", transposed.transpose()),
        ("strided", strided),
        ("computed", (plain() + 0.0) * 2.0 * 0.5),
        ("with autodiff", plain().autodiff().require_grad()),
    ]
}

fn agrees(selector: &Selector, device: &Device) {
    let (values, head) = (numbers(ROWS * DIM, 3), head());
    let half: Vec<f16> = values.iter().map(|x| f16::from_f32(*x)).collect();
    let widened: Vec<f32> = half.iter().map(|x| x.to_f32()).collect();
    let strategies: [&dyn Strategy; 5] = [&Base, &Mase, &Entropy, &Coreset, &Badge];
    for strategy in strategies {
        let name = strategy.name();
        let ask = || {
            selector
                .strategy(strategy)
                .budget(BUDGET)
                .labelled(labelled())
        };
        let of_f32 = expected(strategy, Values::F32(&values), &head);
        for (form, tensor) in forms(&values, DIM, device) {
            let found = ask().select(tensor, &head).expect(form);
            assert_eq!(found.picks, of_f32.picks, "{name} {form}");
        }
        let of_f16 = expected(strategy, Values::F16(&half), &head);
        for (form, tensor) in forms(&widened, DIM, device) {
            let found = ask()
                .select(tensor.cast(FloatDType::F16), &head)
                .expect(form);
            assert_eq!(found.picks, of_f16.picks, "{name} {form} f16");
        }
        // In batches of uneven lengths, one of them empty.
        let whole = forms(&values, DIM, device).swap_remove(0).1;
        let halved = forms(&widened, DIM, device).swap_remove(0).1;
        let halved = halved.cast(FloatDType::F16);
        for (rows, wanted) in [(whole, &of_f32), (halved, &of_f16)] {
            let mut scan = ask().scan(&head).expect("a scan");
            for (first, end) in [(0, 70), (70, 71), (71, 71), (71, 200), (200, ROWS)] {
                scan.push(rows.clone().slice([first..end, 0..DIM]))
                    .expect("a batch");
            }
            assert_eq!(scan.rows(), ROWS);
            let found = scan.finish().expect("picks");
            assert_eq!(found.picks, wanted.picks, "{name} in batches");
        }
    }
}

/// Tells a test that it runs in a process of its own, and which it is.
const ALONE: &str = "EQUIPOISE_TEST_ALONE";

/// What such a process says at its end.
const DONE: &str = "all of it was done";

/// Does `work`, the test called `test`, in a process of its own: burn has one device a process, which other tests need, and
/// what its engine moved counts for all of them.
fn alone(test: &str, work: fn()) {
    if std::env::var_os(ALONE).is_some_and(|running| running == test) {
        work();
        done();
    }
    let this = std::env::current_exe().expect("this program");
    let output = Command::new(this)
        .args(["--exact", test, "--nocapture"])
        .env(ALONE, test)
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(DONE), "{:?}: {said}", output.status);
}

/// Ends a process of a test's own.
fn done() -> ! {
    println!("{DONE}");
    std::process::exit(0)
}

fn gpu() -> (Selector, Device) {
    Selector::gpu(&DeviceChoice::Any).expect("an adapter: see README, cargo xtask test")
}

#[test]
fn tensors_of_a_cpu_backend_give_the_picks_of_host_memory() {
    let device = Device::flex();
    agrees(&Selector::new(&device).expect("a selector"), &device);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn tensors_on_a_gpu_give_the_picks_of_host_memory() {
    let (selector, device) = gpu();
    agrees(&selector, &device);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn embeddings_on_a_gpu_do_not_travel() {
    alone("embeddings_on_a_gpu_do_not_travel", || {
        const ROWS: usize = 1500;
        const DIM: usize = 256;
        let (selector, device) = gpu();
        let head = Head::new(numbers(3 * DIM, 1), vec![0.0; 3], DIM).expect("a head");
        let values = numbers(ROWS * DIM, 5);
        // Bytes that work moves, of `stored` bytes of embeddings.
        let moved = |what: &str, stored: usize, work: &dyn Fn() -> Selection| {
            let before = selector.transfers().expect("a GPU's");
            assert_eq!(work().picks.len(), 10);
            let after = selector.transfers().expect("a GPU's");
            let sent = after.to_device - before.to_device;
            let received = after.to_host - before.to_host;
            assert!(sent < 32 << 10, "{what}: {sent}");
            assert!(received < stored as u64 / 4, "{what}: {received}");
        };
        for (form, tensor) in forms(&values, DIM, &device) {
            let half = tensor.clone().cast(FloatDType::F16);
            for (tensor, width) in [(tensor, 4), (half, 2)] {
                let stored = ROWS * DIM * width;
                moved(&format!("{form}, {width} bytes"), stored, &|| {
                    let query = selector.strategy(Base).budget(10);
                    query.select(tensor.clone(), &head).expect("a selection")
                });
                if !["plain", "strided"].contains(&form) {
                    continue;
                }
                moved(&format!("{form}, {width} bytes, batches"), stored, &|| {
                    let query = selector.strategy(Margin).budget(10);
                    let mut scan = query.scan(&head).expect("a scan");
                    for first in (0..ROWS).step_by(500) {
                        let batch = tensor.clone().slice([first..first + 500, 0..DIM]);
                        scan.push(batch).expect("a batch");
                    }
                    scan.finish().expect("a selection")
                });
            }
        }
    });
}

/// What `cargo xtask test` says that it runs.
#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn fusion_and_compiler_are_those_of_the_features() {
    let (_, device) = gpu();
    let DispatchDevice::Cube(cube) = device.as_dispatch() else {
        panic!("{device:?}");
    };
    let compiler = cube.client().name();
    let shared = ModelDevice::gpu(&DeviceChoice::Any).expect("an adapter");
    let api = shared.shared().expect("handles").adapter.get_info().backend;
    match cfg!(feature = "vulkan") && api == wgpu::Backend::Vulkan {
        true => assert_eq!(compiler, "wgpu<spirv>"),
        false => assert_eq!(compiler, "wgpu<wgsl>"),
    }
    let backend = std::any::type_name::<burn::backend::Cube>();
    assert_eq!(
        backend.contains("Fusion"),
        cfg!(feature = "fusion"),
        "{backend}"
    );
}

#[test]
fn heads_come_from_layers_and_tensors() {
    let device = Device::flex();
    let layer: Linear = LinearConfig::new(DIM, CLASSES).init(&device);
    let of_layer = layer.to_head().expect("a head");
    assert_eq!((of_layer.classes(), of_layer.dim()), (CLASSES, DIM));
    // burn's own logits are those of the head.
    let x = numbers(DIM, 8);
    let input = Tensor::<1>::from_floats(&x[..], &device).unsqueeze::<2>();
    let logits: Vec<f32> = layer.forward(input).into_data().try_into_vec().unwrap();
    for (class, logit) in logits.into_iter().enumerate() {
        let weight = of_layer.class_weight(class);
        let sum: f32 = weight.iter().zip(&x).map(|(w, x)| w * x).sum();
        assert!((sum + of_layer.bias()[class] - logit).abs() < 1e-5);
    }
    let plain = LinearConfig::new(DIM, CLASSES)
        .with_bias(false)
        .init(&device);
    assert_eq!(plain.to_head().expect("a head").bias(), [0.0; CLASSES]);

    let weight = Tensor::<2>::from_data(TensorData::new(numbers(6, 1), [3, 2]), &device);
    let bias = Tensor::<1>::from_floats([1.0, 2.0, 3.0], &device);
    let head = (weight.clone(), bias.clone()).to_head().expect("a head");
    assert_eq!(
        (head.weight(), head.bias()),
        (&numbers(6, 1)[..], &[1.0, 2.0, 3.0][..])
    );
    let short = (weight.clone(), bias.slice(burn::tensor::s![0..2]))
        .to_head()
        .unwrap_err();
    assert!(
        short
            .to_string()
            .contains("biases of the head: 3 expected, 2 found"),
        "{short}"
    );
    let none = weight.clone().slice([0..0, 0..2]).to_head();
    assert!(none.is_err(), "{none:?}");
    let infinite = (weight * f32::INFINITY).to_head().unwrap_err();
    assert!(
        infinite.to_string().contains("NaN or an infinity"),
        "{infinite}"
    );
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn two_selectors_of_one_device_work_from_two_threads() {
    let (_, device) = gpu();
    let (values, head) = (numbers(ROWS * DIM, 3), head());
    let wanted = expected(&Base, Values::F32(&values), &head);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let selector = Selector::new(&device).expect("a selector");
                for _ in 0..3 {
                    let tensor = forms(&values, DIM, &device).swap_remove(4).1;
                    let query = selector.strategy(Base).budget(BUDGET).labelled(labelled());
                    let found = query.select(tensor, &head).expect("a selection");
                    assert_eq!(found.picks, wanted.picks);
                }
            });
        }
    });
}
