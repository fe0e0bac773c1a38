//! Images, decoding, checkpoint and backbone together reach the accuracy that PyTorch measures.

use equipoise_burn::{Backbone, LoadOptions, ModelDevice};
use equipoise_core::definition;
use equipoise_pool::{Preprocess, Source};
use equipoise_tests::fixtures::shared;

/// What PyTorch measures with these weights on these images, in percent.
const PYTORCH: f64 = 81.0;

/// Decoders differ by a level or so of a pixel, and sums by their order.
const WITHIN: f64 = 0.3;

/// The head over embeddings against the network's own logits: float32 against float64.
const RELATIVE: f64 = 1e-3;

/// Images a batch.
const BATCH: usize = 1000;

#[test]
#[cfg_attr(not(shared), ignore = "needs ../shared, which is not here")]
fn resnet20_reaches_its_accuracy_on_cifar10() {
    let weights = shared().join("weights/resnet20-cifar10-supervised.th");
    let (backbone, _) = Backbone::load(
        "resnet20",
        &weights,
        &LoadOptions::default(),
        &ModelDevice::cpu(),
    )
    .unwrap();
    let head = backbone.head().expect("the checkpoint has a classifier");
    let images = shared().join("data/cifar10/test.tar");
    let source = Source::open(&images.to_string_lossy(), None).unwrap();
    let preprocess = Preprocess::IMAGENET.unresized();

    let (mut right, mut seen) = (0, 0);
    let mut read = source.stream(0).peekable();
    while read.peek().is_some() {
        let mut pixels = Vec::new();
        let mut labels = Vec::new();
        for item in read.by_ref().take(BATCH) {
            let (index, bytes) = item.unwrap();
            let image = preprocess.apply(&bytes.unwrap()).unwrap();
            pixels.extend(image.values);
            labels.push(class_of(&source, index));
        }
        let embeddings = backbone.embed(&pixels, labels.len(), 32, 32).unwrap();
        let logits: Vec<Vec<f64>> = embeddings
            .chunks(backbone.dim())
            .map(|x| definition::logits(x, head))
            .collect();
        if seen == 0 {
            let own = backbone.logits(&pixels, labels.len(), 32, 32).unwrap();
            agree(&logits.concat(), &own);
        }
        let predicted = logits.iter().map(|logits| definition::predicted(logits));
        right += predicted
            .zip(&labels)
            .filter(|(p, label)| p == *label)
            .count();
        seen += labels.len();
    }
    assert_eq!(seen, 10_000);
    let accuracy = 100.0 * right as f64 / seen as f64;
    println!("accuracy {accuracy}%");
    assert!((accuracy - PYTORCH).abs() <= WITHIN, "{accuracy}%");
}

/// The index of an entry's class folder.
fn class_of(source: &Source, index: usize) -> usize {
    let label = source.entries()[index].label.as_ref();
    let label = label.expect("the images lie in class folders");
    let classes = source.classes().iter();
    let index = classes.enumerate().find(|(_, class)| *class == label);
    index.expect("a class folder").0
}

fn agree(found: &[f64], own: &[f32]) {
    assert_eq!(found.len(), own.len());
    let largest = own.iter().map(|z| f64::from(z.abs())).fold(0.0, f64::max);
    let difference = found.iter().zip(own);
    let difference = difference.map(|(a, b)| (a - f64::from(*b)).abs());
    let difference = difference.fold(0.0, f64::max);
    assert!(
        difference <= RELATIVE * largest,
        "{difference} of {largest}"
    );
}
