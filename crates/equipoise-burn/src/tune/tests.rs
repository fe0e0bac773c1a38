use super::*;
use crate::{LabelledImages, Schedule, TrainOptions, train};

/// Images whose class is the half that is bright, or dark.
struct Halves {
    side: usize,
}

impl Halves {
    fn label(row: usize) -> u32 {
        (row % 2) as u32
    }

    fn image(&self, row: usize) -> Vec<f32> {
        let side = self.side;
        let random = Philox::new(row as u64, Purpose::Drawing, 0, 0);
        let value = |place: usize| {
            let lower = place % (side * side) / side >= side / 2;
            let bright = if lower == (row % 2 == 1) { 1.0 } else { -1.0 };
            (bright + 3.0 * (random.uniform(place as u64) - 0.5)) as f32
        };
        (0..3 * side * side).map(value).collect()
    }
}

impl Images for Halves {
    fn batch(&self, rows: &[usize], _: Option<Change>) -> Result<ImageBatch, Error> {
        Ok(ImageBatch {
            values: rows.iter().flat_map(|row| self.image(*row)).collect(),
            height: self.side,
            width: self.side,
        })
    }
}

fn options() -> Sgd {
    Sgd {
        epochs: 4,
        batch: 8,
        learning_rate: 0.02,
        schedule: Schedule::Cosine,
        momentum: 0.9,
        weight_decay: 1e-4,
        patience: None,
        class_weights: true,
        seed: 1,
        round: 0,
    }
}

fn labelled(rows: std::ops::Range<usize>) -> Vec<(usize, u32)> {
    rows.map(|row| (row, Halves::label(row))).collect()
}

/// A checkpoint of a network that has seen a few images.
fn checkpoint(folder: &Path, images: &Halves) -> std::path::PathBuf {
    let rows: Vec<usize> = (1000..1048).collect();
    let values = images.batch(&rows, None).unwrap().values;
    let labels: Vec<u32> = rows.iter().map(|row| Halves::label(*row)).collect();
    let images = LabelledImages {
        values: &values,
        height: images.side,
        width: images.side,
        labels: &labels,
        classes: 2,
    };
    let options = TrainOptions {
        width: 4,
        epochs: 5,
        batch: 8,
        ..TrainOptions::default()
    };
    let trained = train(&images, &options, &ModelDevice::cpu(), |_| ()).unwrap();
    let path = folder.join("start.safetensors");
    trained.save(&path).unwrap();
    path
}

#[test]
fn a_network_is_tuned_remembered_and_tuned_the_same_again() {
    let folder = tempfile::tempdir().unwrap();
    let (images, device) = (Halves { side: 12 }, ModelDevice::cpu());
    let start = checkpoint(folder.path(), &images);
    let load = || {
        Tuner::load("resnet20", &start, &LoadOptions::default(), &device)
            .unwrap()
            .0
    };
    let (tuner, unseen) = (load(), labelled(100..140));
    let tune = |tuner: &Tuner| {
        tuner
            .tune(&images, &labelled(0..48), &unseen, 2, &options())
            .unwrap()
    };
    let tuned = tune(&tuner);
    assert!(
        tuned.evaluation_accuracy.unwrap() > 0.85,
        "{:?}",
        tuned.evaluation_accuracy
    );
    // From the checkpoint again, not from where the last one ended.
    let again = tune(&tuner);
    assert_eq!(again.weights, tuned.weights);
    assert_eq!((again.best_epoch, again.epochs), (tuned.best_epoch, 4));
    // The convolutions learn, the normalisations stay.
    let (untouched, _) =
        Backbone::load("resnet20", &start, &LoadOptions::default(), &device).unwrap();
    let path = folder.path().join("tuned.safetensors");
    tuned.weights.save(&path).unwrap();
    let (read, _) = Backbone::load("resnet20", &path, &LoadOptions::default(), &device).unwrap();
    assert_eq!(read.head(), Some(&tuned.head));
    let batch = images.batch(&[100, 101, 102], None).unwrap();
    let embedded = |backbone: &Backbone| backbone.embed(&batch.values, 3, 12, 12).unwrap();
    assert_eq!(embedded(&read), embedded(&tuned.backbone));
    assert_ne!(embedded(&read), embedded(&untouched));
    let norms = |trained: &Trained| -> Vec<Vec<f32>> {
        let tensors = trained.tensors.iter();
        let norms = tensors.filter(|(name, ..)| name.contains("bn"));
        norms.map(|(.., values)| values.clone()).collect()
    };
    let first = &norms(&tuned.weights)[0];
    assert_eq!(first, tuner.values.get("bn1.weight"));
}

/// The gradient of a kernel's entry and of the head's, against differences of the loss.
#[test]
fn steps_follow_the_gradient() {
    let folder = tempfile::tempdir().unwrap();
    let (images, device) = (Halves { side: 8 }, ModelDevice::cpu());
    let start = checkpoint(folder.path(), &images);
    let (tuner, _) = Tuner::load("resnet20", &start, &LoadOptions::default(), &device).unwrap();
    let batch = images.batch(&[0, 1, 2, 3], None).unwrap();
    let labels = [0, 1, 0, 1];
    let plain = Sgd {
        momentum: 0.0,
        weight_decay: 0.0,
        ..options()
    };
    let loss_after = |rate: f64| {
        let mut learning = Learning::new(&tuner, 2, None);
        // The head leaves zero first, so that gradients reach the convolutions.
        learning.step(&batch, &labels, 0.1, &plain).unwrap();
        let before = learning.step(&batch, &labels, rate, &plain).unwrap();
        let (kernels, _) = learning.read().unwrap();
        (
            before,
            learning.step(&batch, &labels, 0.0, &plain).unwrap(),
            kernels,
        )
    };
    let (before, still, kept) = loss_after(0.0);
    assert_eq!(before, still);
    // Down the gradient the loss falls by rate · ‖gradient‖², as long as the rate is small.
    let rate = 1e-3;
    let (_, after, moved) = loss_after(rate);
    let squares: f64 = std::iter::zip(kept.iter().flatten(), moved.iter().flatten())
        .map(|(a, b)| f64::from(a - b).powi(2))
        .sum();
    assert!(squares > 0.0);
    let fall = f64::from(before - after);
    // The head's part comes on top of the kernels'.
    let of_kernels = squares / rate;
    assert!(fall > 0.9 * of_kernels, "{fall} {of_kernels}");
    let slow = f64::from(before - loss_after(rate / 2.0).1);
    assert!((fall / slow - 2.0).abs() < 0.1, "{fall} {slow}");
}

#[test]
fn what_cannot_be_tuned_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (images, device) = (Halves { side: 8 }, ModelDevice::cpu());
    let start = checkpoint(folder.path(), &images);
    let (tuner, _) = Tuner::load("resnet20", &start, &LoadOptions::default(), &device).unwrap();
    let refused = |rows: &[(usize, u32)]| {
        let failed = tuner.tune(&images, rows, &[], 2, &options());
        failed.unwrap_err().to_string()
    };
    assert!(refused(&[]).contains("no labelled rows"));
    assert!(refused(&[(0, 2)]).contains("label 2"));
}
