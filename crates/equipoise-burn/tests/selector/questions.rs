//! What is wrong with questions, and with rows.

use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use equipoise_burn::{Error, Selector, ToHead};
use equipoise_core::strategies::{Base, Coreset, Margin, Mase, Nonfinite, Random};
use equipoise_core::{CpuEngine, MemoryPool, Request, RowSet, Selection, Strategy, Values};
use equipoise_gpu::DeviceChoice;

use super::{BUDGET, DIM, ROWS, gpu, head, numbers};

/// What is wrong with a question about tensors on `device`.
fn refuses(selector: &Selector, device: &Device) {
    let head = head();
    let tensor = |rows, dim| Tensor::<2>::ones([rows, dim], device);
    let message = |result: Result<Selection, Error>| result.unwrap_err().to_string();
    let ask = |strategy: &'static dyn Strategy| selector.strategy(strategy).budget(2);
    let narrow = message(ask(&Base).select(tensor(5, DIM - 1), &head));
    assert!(
        narrow.contains("24 columns") && narrow.contains("have 23"),
        "{narrow}"
    );
    let empty = message(ask(&Base).select(tensor(0, DIM), &head));
    assert!(empty.contains("none of the pool's 0 rows"), "{empty}");
    let without = message(ask(&Base).select_without_head(tensor(5, DIM)));
    assert!(without.contains("needs a head"), "{without}");
    let zero = message(selector.strategy(Base).select(tensor(5, DIM), &head));
    assert!(zero.contains("budget is 0"), "{zero}");
    let beyond = message(ask(&Base).exclude([5]).select(tensor(5, DIM), &head));
    assert!(
        beyond.contains("rows below 5") && beyond.contains("5 found"),
        "{beyond}"
    );
    let bad = tensor(5, DIM) / tensor(5, DIM).slice_assign([3..4, 0..1], tensor(1, 1) * 0.0);
    let bad = message(ask(&Mase).select(bad, &head));
    assert!(
        bad.contains("row 3 of the pool holds a NaN or an infinity"),
        "{bad}"
    );

    let mut scan = ask(&Base).scan(&head).expect("a scan");
    let odd = scan.push(tensor(2, DIM + 1)).unwrap_err().to_string();
    assert!(odd.contains("have 25"), "{odd}");
    scan.push(tensor(4, DIM)).expect("the scan goes on");
    let other = scan.push(tensor(4, DIM).cast(FloatDType::F16)).unwrap_err();
    assert!(
        other.to_string().contains("F32 expected, F16 found"),
        "{other}"
    );
    assert_eq!(scan.finish().expect("picks").picks.len(), 2);
    let classless = tensor(0, DIM).to_head().unwrap_err().to_string();
    assert!(
        classless.contains("weight of 0×24, both at least 1"),
        "{classless}"
    );
    let widthless = message(ask(&Random).select_without_head(tensor(5, 0)));
    assert!(
        widthless.contains("numbers of an embedding: at least one expected"),
        "{widthless}"
    );
    let none = ask(&Base)
        .scan(&head)
        .expect("a scan")
        .finish()
        .unwrap_err();
    assert!(none.to_string().contains("0 rows"), "{none}");
    let random = ask(&Random)
        .select_without_head(tensor(9, DIM))
        .expect("picks");
    assert_eq!(random.picks.len(), 2);
    // A process that ends while Mesa compiles a kernel may crash.
    device.sync().expect("an idle device");
}

#[test]
fn bad_questions_are_errors() {
    let device = Device::flex();
    refuses(&Selector::new(&device).expect("a selector"), &device);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn bad_questions_are_errors_on_a_gpu() {
    let (selector, device) = gpu();
    refuses(&selector, &device);
    // Tensors on two devices.
    let elsewhere = Tensor::<2>::ones([4, DIM], &Device::flex());
    let failed = selector.strategy(Base).budget(1).select(elsewhere, &head());
    let failed = failed.unwrap_err();
    assert!(matches!(failed, Error::OtherDevice { .. }), "{failed}");
    assert!(failed.to_string().contains("Flex"), "{failed}");
    // A device that is no wgpu device has no handles.
    let handles = equipoise_gpu::Gpu::open(&DeviceChoice::Any).expect("an adapter");
    let failed = Selector::with_handles(&Device::flex(), handles).unwrap_err();
    assert!(failed.to_string().contains("no wgpu device"), "{failed}");
}

/// Rows that are not finite are left out and named, if that is what is asked for.
fn skips(selector: &Selector, device: &Device) {
    let (mut values, head) = (numbers(ROWS * DIM, 3), head());
    let bad = [0, 41, ROWS - 1];
    for (row, x) in bad.into_iter().zip([f32::NAN, f32::INFINITY, f32::NAN]) {
        values[row * DIM + row % DIM] = x;
    }
    let rows = Tensor::<2>::from_data(TensorData::new(values.clone(), [ROWS, DIM]), device);
    let strategies: [&dyn Strategy; 3] = [&Base, &Margin, &Coreset];
    for strategy in strategies {
        let ask = || {
            let query = selector.strategy(strategy).budget(BUDGET);
            query.nonfinite(Nonfinite::Skip)
        };
        let pool = MemoryPool::new(Values::F32(&values), DIM).expect("a pool");
        let available = RowSet::all(ROWS);
        let request = Request {
            head: Some(&head),
            nonfinite: Nonfinite::Skip,
            ..Request::new(&pool, &available, BUDGET)
        };
        let wanted = strategy.select(&CpuEngine::new(), &request).expect("picks");
        let whole = ask().select(rows.clone(), &head).expect("picks");
        let mut scan = ask().scan(&head).expect("a scan");
        for first in (0..ROWS).step_by(100) {
            let batch = rows.clone().slice([first..first + 100, 0..DIM]);
            scan.push(batch).expect("a batch");
        }
        for found in [whole, scan.finish().expect("picks")] {
            let left_out: Vec<usize> = found.nonfinite.iter().collect();
            assert_eq!(left_out, bad, "{}", strategy.name());
            assert_eq!(found.picks, wanted.picks, "{}", strategy.name());
        }
    }
}

#[test]
fn rows_that_are_not_finite_are_skipped() {
    let device = Device::flex();
    skips(&Selector::new(&device).expect("a selector"), &device);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn rows_that_are_not_finite_are_skipped_on_a_gpu() {
    let (selector, device) = gpu();
    skips(&selector, &device);
}
