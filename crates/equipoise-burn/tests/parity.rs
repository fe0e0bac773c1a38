//! Embeddings and logits against PyTorch's, and accuracy on CIFAR-10's test images.

use std::path::{Path, PathBuf};

use equipoise_burn::{Backbone, Error, LoadOptions, ModelDevice};
use equipoise_gpu::{DeviceChoice, GpuEngine};
use safetensors::SafeTensors;

/// Largest difference allowed, relative to the largest value: sums of up to 576 products are
/// ordered differently here and there, and batch normalisation is folded.
const TOLERANCE: f32 = 1e-3;

fn shared(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared")
        .join(path)
}

/// A forward case: its input (n, 3, height, width) and what PyTorch made of it.
struct Case {
    input: Vec<f32>,
    shape: Vec<usize>,
    embedding: Vec<f32>,
    logits: Option<Vec<f32>>,
}

impl Case {
    fn read(name: &str) -> Self {
        let bytes = std::fs::read(shared("fixtures").join(name)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let values = |name: &str| -> Option<Vec<f32>> {
            let data = file.tensor(name).ok()?.data();
            Some(
                data.as_chunks()
                    .0
                    .iter()
                    .map(|b| f32::from_le_bytes(*b))
                    .collect(),
            )
        };
        Self {
            shape: file.tensor("input").unwrap().shape().to_vec(),
            input: values("input").unwrap(),
            embedding: values("embedding").unwrap(),
            logits: values("logits"),
        }
    }

    fn check(&self, backbone: &Backbone) {
        let [n, 3, h, w] = self.shape[..] else {
            panic!("shape {:?}", self.shape)
        };
        let embedding = backbone.embed(&self.input, n, h, w).unwrap();
        assert_close(&embedding, &self.embedding);
        if let Some(expected) = &self.logits {
            assert_close(&backbone.logits(&self.input, n, h, w).unwrap(), expected);
        }
    }
}

fn assert_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0f32, |m, x| m.max(x.abs()));
    let difference = std::iter::zip(found, expected).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
    println!("relative difference {}", difference / largest);
    assert!(
        difference <= TOLERANCE * largest,
        "{difference} of {largest}"
    );
}

#[test]
#[cfg_attr(not(shared), ignore = "needs ../shared, which is not here")]
fn supervised_resnet20_agrees_with_pytorch() {
    let weights = shared("weights/resnet20-cifar10-supervised.th");
    let (backbone, report) = Backbone::load(
        "resnet20",
        &weights,
        &LoadOptions::default(),
        &ModelDevice::cpu(),
    )
    .unwrap();
    assert_eq!(
        (report.prefix.as_str(), report.details.as_str()),
        ("state_dict.module.", "width 16")
    );
    assert_eq!(report.classes, Some(10));
    assert_eq!(backbone.dim(), 64);
    assert_eq!(backbone.head().unwrap().classes(), 10);
    Case::read("resnet20_forward.safetensors").check(&backbone);
}

#[test]
#[cfg_attr(not(shared), ignore = "needs ../shared, which is not here")]
fn simclr_resnet20_agrees_with_pytorch() {
    let weights = shared("weights/simclr-resnet20-cifar10.pth.tar");
    let (backbone, report) = Backbone::load(
        "resnet20",
        &weights,
        &LoadOptions::default(),
        &ModelDevice::cpu(),
    )
    .unwrap();
    assert_eq!(report.prefix, "state_dict.encoder.");
    let case = Case::read("simclr_resnet20_forward.safetensors");
    case.check(&backbone);
    assert!(backbone.head().is_none());
    let error = backbone.logits(&case.input, 32, 32, 32).unwrap_err();
    assert!(matches!(error, Error::NoClassifier { .. }), "{error}");
}

#[test]
#[cfg_attr(not(shared), ignore = "needs ../shared, which is not here")]
fn weights_of_another_depth_are_refused() {
    let weights = shared("weights/resnet20-cifar10-supervised.th");
    let error = Backbone::load(
        "resnet32",
        &weights,
        &LoadOptions::default(),
        &ModelDevice::cpu(),
    )
    .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("state_dict.module.layer1.3.conv1.weight: missing"),
        "{text}"
    );
    assert!(text.contains("more"), "{text}");
}

#[test]
#[cfg_attr(not(shared), ignore = "needs ../shared, which is not here")]
fn resnet50_of_moco_agrees_with_pytorch() {
    let weights = shared("weights/resnet50-moco-layout-random.pth.tar");
    let (backbone, report) = Backbone::load(
        "resnet50",
        &weights,
        &LoadOptions::default(),
        &ModelDevice::cpu(),
    )
    .unwrap();
    assert_eq!(
        (report.layout.as_str(), report.details.as_str()),
        ("MoCo v2", "ImageNet stem")
    );
    assert_eq!((backbone.dim(), report.classes), (2048, None));
    assert!(report.unused.iter().any(|name| name.ends_with("queue")));
    Case::read("resnet50_forward.safetensors").check(&backbone);
}

#[test]
#[cfg_attr(not(shared), ignore = "needs ../shared, which is not here")]
fn resnet18_with_the_cifar_stem_agrees_with_pytorch() {
    let weights = shared("weights/resnet18-cifar-simclr-layout-random.pth.tar");
    let (backbone, report) = Backbone::load(
        "resnet18",
        &weights,
        &LoadOptions::default(),
        &ModelDevice::cpu(),
    )
    .unwrap();
    assert_eq!(
        (report.layout.as_str(), report.details.as_str()),
        ("SimCLR", "CIFAR stem")
    );
    assert_eq!((backbone.dim(), report.classes), (512, Some(10)));
    Case::read("resnet18_cifar_forward.safetensors").check(&backbone);
}

/// On the adapter that burn and the engine share.
#[test]
#[cfg_attr(not(shared), ignore = "needs ../shared, which is not here")]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn on_the_gpu_too_and_the_engine_shares_its_device() {
    let device = ModelDevice::gpu(&DeviceChoice::Any).unwrap();
    let again = ModelDevice::gpu(&DeviceChoice::Index(0)).unwrap();
    let gpu = device.shared().unwrap();
    assert_eq!(gpu.device, again.shared().unwrap().device);
    let weights = shared("weights/resnet20-cifar10-supervised.th");
    let (backbone, _) =
        Backbone::load("resnet20", &weights, &LoadOptions::default(), &device).unwrap();
    Case::read("resnet20_forward.safetensors").check(&backbone);
    GpuEngine::new(gpu).unwrap();
}
