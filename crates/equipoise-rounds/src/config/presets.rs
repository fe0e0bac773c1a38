//! The settings of *Active Learning at the ImageNet Scale* (arXiv 2111.12880).

/// Names and what they stand for.
pub const PRESETS: [(&str, &str); 4] = [
    (
        "imagenet-linear",
        "a linear head on frozen embeddings of ImageNet: 30,000 labels, then 7 rounds of 10,000",
    ),
    (
        "imagenet-finetune",
        "the whole network on ImageNet: 30,000 labels, then 7 rounds of 10,000",
    ),
    ("cifar10", "CIFAR-10: 1,000 labels, then 30 rounds of 1,000"),
    (
        "imbalanced-cifar10",
        "CIFAR-10 with a long tail (exp, 0.1): 1,000 labels, then 30 rounds of 1,000, rare classes weighted",
    ),
];

/// The preset of that name, as TOML.
pub fn preset(name: &str) -> Option<&'static str> {
    Some(match name {
        "imagenet-linear" => IMAGENET_LINEAR,
        "imagenet-finetune" => IMAGENET_FINETUNE,
        "cifar10" => CIFAR10,
        "imbalanced-cifar10" => IMBALANCED_CIFAR10,
        _ => return None,
    })
}

const IMAGENET_LINEAR: &str = r#"
[experiment]
initial = 30000
budget = 10000
rounds = 7
evaluation = 0.01
seeds = 3
strategies = ["random", "balanced-random", "confidence", "margin", "mase", "base", "partitioned-coreset", "partitioned-badge", "balancing"]
[training]
epochs = 60
learning-rate = 15.0
momentum = 0.9
weight-decay = 1e-4
schedule = "step"
step = 20
gamma = 0.1
patience = 20
standardise = false
"#;

const IMAGENET_FINETUNE: &str = r#"
[experiment]
mode = "finetune"
initial = 30000
budget = 10000
rounds = 7
evaluation = 0.01
seeds = 3
strategies = ["random", "balanced-random", "confidence", "margin", "mase", "base", "partitioned-coreset", "partitioned-badge", "balancing"]
[training]
epochs = 60
learning-rate = 0.001
momentum = 0.9
weight-decay = 1e-4
schedule = "step"
step = 10
gamma = 0.1
patience = 20
"#;

const CIFAR10: &str = r#"
[experiment]
initial = 1000
budget = 1000
rounds = 30
evaluation = 0.1
strategies = ["random", "balanced-random", "confidence", "margin", "mase", "base", "coreset", "badge", "balancing", "margin-clustering"]
[training]
schedule = "cosine"
"#;

const IMBALANCED_CIFAR10: &str = r#"
[experiment]
initial = 1000
budget = 1000
rounds = 30
evaluation = 0.1
imbalance = "exp"
imbalance-factor = 0.1
strategies = ["random", "balanced-random", "confidence", "margin", "mase", "base", "coreset", "badge", "balancing", "margin-clustering"]
[training]
schedule = "cosine"
class-weights = true
"#;
