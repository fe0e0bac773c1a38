//! Networks against torchvision's and timm's: golden/generate.py wrote what those make of weights
//! and images that a formula gives.

use std::collections::BTreeMap;
use std::path::Path;

use equipoise_burn::{Backbone, KeyMap, LoadOptions, LoadReport, ModelDevice, Pooling};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// Largest difference allowed, relative to the largest value.
const TOLERANCE: f32 = 1e-3;

/// Numbers in −½..½: a hash of the name and the place.
fn uniform(name: &str, count: usize) -> Vec<f32> {
    let seed = name.bytes().fold(2_166_136_261u32, |seed, byte| {
        (seed ^ u32::from(byte)).wrapping_mul(16_777_619)
    });
    let number = |i: usize| {
        let mut x = (i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed);
        x ^= x >> 15;
        x = x.wrapping_mul(0x2C1B_3C6D);
        x ^= x >> 12;
        x = x.wrapping_mul(0x297A_2D39);
        x ^= x >> 15;
        (f64::from(x) / 2f64.powi(32) - 0.5) as f32
    };
    (0..count).map(number).collect()
}

fn values(name: &str, shape: &[usize]) -> Vec<f32> {
    let u = uniform(name, shape.iter().product());
    let scaled = |base: f32, scale: f32| u.iter().map(|u| base + scale * u).collect();
    let is_vector = shape.len() == 1;
    if name.ends_with("gamma") {
        scaled(0.5, 0.5)
    } else if is_vector && (name.ends_with(".weight") || name.ends_with("running_var")) {
        scaled(1.0, 0.5)
    } else if is_vector {
        scaled(0.0, 0.2)
    } else if name.contains("token") || name.contains("pos_embed") {
        u
    } else {
        let inputs: usize = shape[1..].iter().product();
        scaled(0.0, (12.0 / inputs as f64).sqrt() as f32)
    }
}

/// Writes the weights of `case`, each name after `prefix`.
fn write(case: &str, prefix: &str, path: &Path) {
    let golden = golden();
    let (_, metadata) = SafeTensors::read_metadata(&golden).unwrap();
    let shapes = &metadata.metadata().as_ref().unwrap()[case];
    let shapes: BTreeMap<String, Vec<usize>> = serde_json::from_str(shapes).unwrap();
    let bytes: BTreeMap<&String, Vec<u8>> = shapes
        .iter()
        .map(|(name, shape)| {
            let values = values(name, shape);
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            (name, bytes.collect())
        })
        .collect();
    let tensors = bytes.iter().map(|(name, bytes)| {
        let view = TensorView::new(Dtype::F32, shapes[*name].clone(), bytes).unwrap();
        (format!("{prefix}{name}"), view)
    });
    safetensors::serialize_to_file(tensors, None, path).unwrap();
}

fn golden() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/embeddings.safetensors");
    std::fs::read(path).unwrap()
}

/// Loads the weights of `case` and compares the embeddings of images with sides of `side`.
fn check(case: &str, prefix: &str, side: usize, options: &LoadOptions) -> LoadReport {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("weights.safetensors");
    write(case, prefix, &weights);
    let model = case.split(',').next().unwrap();
    let (backbone, report) = Backbone::load(model, &weights, options, &ModelDevice::cpu()).unwrap();
    let images = uniform("images", 2 * 3 * side * side);
    let images: Vec<f32> = images.iter().map(|value| 2.0 * value).collect();
    let found = backbone.embed(&images, 2, side, side).unwrap();
    let golden = golden();
    let golden = SafeTensors::deserialize(&golden).unwrap();
    let expected = golden.tensor(case).unwrap();
    assert_eq!(expected.shape(), [2, backbone.dim()]);
    let expected = expected.data().as_chunks().0;
    let expected: Vec<f32> = expected.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let largest = expected.iter().fold(0f32, |m, x| m.max(x.abs()));
    let pairs = std::iter::zip(&found, &expected);
    let difference = pairs.fold(0f32, |m, (a, b)| m.max((a - b).abs()));
    println!("{case}: relative difference {}", difference / largest);
    assert!(
        difference <= TOLERANCE * largest,
        "{case}: {difference} of {largest}"
    );
    report
}

fn options() -> LoadOptions {
    LoadOptions::default()
}

#[test]
fn residual_networks_agree_with_torchvision() {
    let report = check("resnet34", "", 64, &options());
    assert_eq!(report.layout, "torchvision");
    assert_eq!(report.details, "ImageNet stem");
    let report = check("wide_resnet50_2", "module.", 64, &options());
    assert_eq!(report.prefix, "module.");
    assert!(report.unused.is_empty());
}

#[test]
fn vision_transformers_agree_with_timm_at_any_size() {
    let report = check("vit_small_patch16", "", 224, &options());
    assert_eq!(report.layout, "timm");
    assert_eq!(report.details, "6 heads, class token");
    check("vit_small_patch16, smaller image", "model.", 80, &options());
    check("vit_small_patch16, larger image", "", 256, &options());
    check("vit_small_patch8", "teacher.backbone.", 64, &options());
}

#[test]
fn means_of_patches_agree_with_timm() {
    let mut mean = options();
    mean.pooling = Some(Pooling::MeanOfPatches);
    check("vit_small_patch16, mean", "", 80, &mean);
    // The normalisation of the mean tells that there is one.
    let report = check("vit_small_patch16, mean normalised", "", 80, &options());
    assert_eq!(report.details, "6 heads, mean of patches");
}

#[test]
fn heads_are_the_layouts_or_the_users() {
    let mut twelve = options();
    twelve.heads = Some(12);
    check("vit_small_patch16, 12 heads", "", 80, &twelve);
    let prefix = "module.base_encoder.";
    let report = check("vit_small_patch16, 12 heads", prefix, 80, &options());
    assert_eq!(
        (report.layout.as_str(), report.prefix.as_str()),
        ("MoCo v3", prefix)
    );
}

#[test]
fn registers_and_layer_scale_agree_with_timm() {
    check("vit_small_patch14, registers", "", 98, &options());
}

#[test]
fn a_vision_transformer_of_torchvision_is_read() {
    let report = check("vit_small_patch16, torchvision", "", 80, &options());
    assert_eq!(report.layout, "torchvision");
}

#[test]
fn key_maps_rename_what_no_layout_knows() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("weights.safetensors");
    write("resnet34", "trunk/", &weights);
    let load =
        |options: &LoadOptions| Backbone::load("resnet34", &weights, options, &ModelDevice::cpu());
    let error = load(&options()).unwrap_err().to_string();
    assert!(
        error.contains("no tensor is called conv1.weight"),
        "{error}"
    );
    let mut renamed = options();
    renamed.key_map = KeyMap::from_iter(["^trunk/=".parse().unwrap()]);
    let (backbone, report) = load(&renamed).unwrap();
    assert_eq!(report.prefix, "");
    // Other rules could have made another network of the same file.
    let plain = folder.path().join("plain.safetensors");
    write("resnet34", "", &plain);
    let (other, _) = Backbone::load("resnet34", &plain, &options(), &ModelDevice::cpu()).unwrap();
    assert_ne!(backbone.weights_digest(), other.weights_digest());
    let error = {
        let mut both = options();
        both.key_map = KeyMap::from_iter(["^trunk/.*=conv1.weight".parse().unwrap()]);
        load(&both).unwrap_err().to_string()
    };
    assert!(error.contains("would both be conv1.weight"), "{error}");
}

#[test]
fn an_image_of_broken_patches_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("weights.safetensors");
    write("vit_small_patch16", "", &weights);
    let (backbone, _) = Backbone::load(
        "vit_small_patch16",
        &weights,
        &options(),
        &ModelDevice::cpu(),
    )
    .unwrap();
    let error = backbone
        .embed(&[0.0; 3 * 30 * 32], 1, 30, 32)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("patches of 16") && error.contains("30×32"),
        "{error}"
    );
}

#[test]
fn another_network_is_refused_with_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("weights.safetensors");
    write("resnet34", "", &weights);
    for (model, wrong) in [
        // Deeper, shallower, of other blocks, of another kind.
        (
            "resnet101",
            "layer1.0.conv1.weight: shape [64, 64, 3, 3], not [64, 64, 1, 1]",
        ),
        ("resnet18", "layer1.2.bn1.bias: the model has no such part"),
        (
            "resnet20",
            "layer2.0.downsample.0.weight: the model has no such part",
        ),
        ("vit_small_patch16", "pos_embed"),
    ] {
        let error = Backbone::load(model, &weights, &options(), &ModelDevice::cpu());
        let error = error.unwrap_err().to_string();
        assert!(error.contains(wrong), "{model}: {error}");
    }
}
