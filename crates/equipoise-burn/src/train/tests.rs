use super::*;
use crate::train::network::Network;
use crate::{Backbone, LoadOptions};

/// Images whose class is the half that is bright, amid noise.
fn halves(count: usize, side: usize) -> (Vec<f32>, Vec<u32>) {
    let random = Philox::new(5, Purpose::Drawing, 0, 0);
    let labels: Vec<u32> = (0..count).map(|i| (i % 2) as u32).collect();
    let mut values = Vec::new();
    for (image, label) in labels.iter().enumerate() {
        for place in 0..3 * side * side {
            let lower = place % (side * side) / side >= side / 2;
            let bright = if lower == (*label == 1) { 1.0 } else { -1.0 };
            let noise = random.uniform((image * 3 * side * side + place) as u64) - 0.5;
            values.push((bright + 2.0 * noise) as f32);
        }
    }
    (values, labels)
}

fn options() -> TrainOptions {
    TrainOptions {
        width: 4,
        epochs: 6,
        batch: 16,
        shift: 1,
        ..TrainOptions::default()
    }
}

#[test]
fn a_short_training_learns_and_its_weights_load_back() {
    let (values, labels) = halves(64, 12);
    let images = LabelledImages {
        values: &values,
        height: 12,
        width: 12,
        labels: &labels,
        classes: 2,
    };
    let device = ModelDevice::cpu();
    let mut losses = Vec::new();
    let trained = train(&images, &options(), &device, |now| losses.push(now.loss)).unwrap();
    assert_eq!(losses.len(), 24);
    let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
    assert!(mean(&losses[20..]) < 0.5 * mean(&losses[..4]), "{losses:?}");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.safetensors");
    trained.save(&path).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let (backbone, report) =
        Backbone::load("resnet20", &path, &LoadOptions::default(), &device).unwrap();
    assert_eq!(
        (report.prefix.as_str(), report.details.as_str()),
        ("", "width 4")
    );
    assert_eq!((backbone.dim(), report.classes), (16, Some(2)));
    assert!(report.unused.is_empty(), "{:?}", report.unused);
    let logits = backbone.logits(&values, 64, 12, 12).unwrap();
    let right = logits
        .chunks(2)
        .zip(&labels)
        .filter(|(z, label)| (z[1] > z[0]) == (**label == 1));
    assert!(right.count() >= 60);
    // A second run gives the same weights.
    assert_eq!(
        train(&images, &options(), &device, |_| ()).unwrap(),
        trained
    );
}

#[test]
fn the_network_that_learns_is_the_one_that_embeds() {
    let architecture = Shape::named("resnet20", 4).unwrap();
    let device = ModelDevice::cpu();
    // Without autodiff, normalisation takes its running statistics.
    let network = Network::random(&architecture, 3, 9, device.burn());
    let trained = Trained {
        model: "resnet20".into(),
        tensors: network.tensors(&architecture, &device).unwrap(),
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("random.safetensors");
    trained.save(&path).unwrap();
    let (backbone, _) =
        Backbone::load("resnet20", &path, &LoadOptions::default(), &device).unwrap();
    let (values, _) = halves(5, 9);
    let found = backbone.logits(&values, 5, 9, 9).unwrap();
    let input = Tensor::from_data(TensorData::new(values, [5, 3, 9, 9]), device.burn());
    let expected = network.logits(input).try_into_vec_as::<f32>().unwrap();
    for (found, expected) in found.iter().zip(&expected) {
        // Folding and the order of additions differ.
        assert!(
            (found - expected).abs() <= 1e-4 * expected.abs().max(1.0),
            "{found} {expected}"
        );
    }
}

#[test]
fn bad_input_is_an_error_that_says_where() {
    let (values, labels) = halves(4, 4);
    let images = LabelledImages {
        values: &values,
        height: 4,
        width: 4,
        labels: &labels,
        classes: 2,
    };
    let failed = |images: &LabelledImages<'_>, options: &TrainOptions| {
        let device = ModelDevice::cpu();
        train(images, options, &device, |_| ())
            .unwrap_err()
            .to_string()
    };
    let unknown = TrainOptions {
        model: "resnet7".into(),
        ..options()
    };
    assert!(failed(&images, &unknown).contains("resnet7"));
    let none = TrainOptions {
        batch: 0,
        ..options()
    };
    assert!(failed(&images, &none).contains("batch is 0"));
    let short = LabelledImages {
        height: 5,
        ..images
    };
    assert!(failed(&short, &options()).contains("4 of 3×5×4"));
    let few = LabelledImages {
        classes: 1,
        ..images
    };
    assert!(failed(&few, &options()).contains("label 1 of labelled row 1"));
    let empty = LabelledImages {
        values: &[],
        labels: &[],
        ..images
    };
    assert!(failed(&empty, &options()).contains("no labelled rows"));
}
