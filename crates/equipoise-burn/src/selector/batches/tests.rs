use burn::tensor::{Device, FloatDType, Tensor};
use equipoise_core::strategies::{Coreset, Margin};

use super::*;
use crate::Selector;

fn head() -> Head {
    Head::new(vec![1.0, 0.0, -0.5, 0.25, 0.0, 1.0], vec![0.0; 3], 2).expect("a head")
}

/// The rows (1, 0.1), (2, 0.1), …
fn rows(first: usize, count: usize) -> Tensor<2> {
    let device = Device::flex();
    let numbers: Vec<f32> = (first..first + count)
        .flat_map(|row| [row as f32 + 1.0, 0.1])
        .collect();
    Tensor::<1>::from_floats(&numbers[..], &device).reshape([count, 2])
}

fn message(pushed: Result<(), Error>) -> String {
    pushed.unwrap_err().to_string()
}

#[test]
fn batches_are_of_the_first_ones_type_wherever_blocks_end() {
    let (device, head) = (Device::flex(), head());
    let selector = Selector::new(&device).expect("a selector");
    let half = |first, count| rows(first, count).cast(FloatDType::F16);
    let whole = selector.strategy(Margin).budget(4);
    let whole = whole.select(half(0, 9), &head).expect("picks");
    for first in [0, 3] {
        for flushed in [false, true] {
            let query = selector.strategy(Margin).budget(4);
            let mut scan = query.scan(&head).expect("a scan");
            // The first may be empty.
            scan.push(half(0, first)).expect("a batch");
            if flushed {
                scan.flush().expect("a block");
            }
            let other = message(scan.push(rows(first, 2)));
            assert!(other.contains("F16 expected, F32 found"), "{other}");
            let narrow = Tensor::<2>::ones([1, 1], &device).cast(FloatDType::F16);
            let narrow = message(scan.push(narrow));
            assert!(narrow.contains("has 2 columns"), "{narrow}");
            scan.push(half(0, 0)).expect("an empty batch");
            if flushed {
                scan.flush().expect("a block");
            }
            scan.push(half(first, 9 - first)).expect("a batch");
            assert_eq!(scan.rows(), 9);
            assert_eq!(scan.finish().expect("picks").picks, whole.picks);
        }
    }
    // Without a head, where batches are kept.
    let query = selector.strategy(Coreset).budget(2);
    let mut scan = query.scan_without_head().expect("a scan");
    scan.push(rows(0, 0)).expect("an empty batch");
    let other = message(scan.push(half(0, 2)));
    assert!(other.contains("F32 expected, F16 found"), "{other}");
    let narrow = message(scan.push(Tensor::<2>::ones([1, 1], &device)));
    assert!(narrow.contains("2 expected, 1 found"), "{narrow}");
    scan.push(rows(0, 5)).expect("a batch");
    assert_eq!(scan.finish().expect("picks").picks.len(), 2);
}

#[test]
fn a_scan_is_of_no_use_after_a_batch_that_failed() {
    let (device, head) = (Device::flex(), head());
    let selector = Selector::new(&device).expect("a selector");
    for with_head in [true, false] {
        let query = || selector.strategy(Margin).budget(2);
        let scan = match with_head {
            true => query().scan(&head),
            false => selector.strategy(Coreset).budget(2).scan_without_head(),
        };
        let mut scan = scan.expect("a scan");
        scan.push(rows(0, 4)).expect("a batch");
        // What fails after the checks, as burn and devices do.
        let failed = scan.take(rows(4, 4).cast(FloatDType::F16));
        assert!(failed.is_err());
        let broken = message(scan.push(rows(4, 4)));
        assert!(broken.contains("begin another"), "{broken}");
        let broken = scan.finish().unwrap_err();
        assert!(
            matches!(broken, Error::Core(equipoise_core::Error::Broken)),
            "{broken:?}"
        );
    }
}
