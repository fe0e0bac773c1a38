//! The networks: which there are, which tensors they need, and what they compute.

pub(crate) mod cifar;
pub(crate) mod convolution;
mod positions;
pub(crate) mod resnet;
mod vit;

use std::collections::HashMap;
use std::sync::LazyLock;

use burn::tensor::{Device, Tensor};

use crate::layout::Weights;
use cifar::PUBLISHED_WIDTH;
use convolution::{Folded, LayerShape};

/// Colour channels of an image.
pub(crate) const COLOURS: usize = 3;

/// The names of the models there are.
pub fn models() -> &'static [String] {
    static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
        let cifar = cifar::MODELS.into_iter().map(str::to_owned);
        let resnets = resnet::names().map(str::to_owned);
        cifar.chain(resnets).chain(vit::names()).collect()
    });
    &NAMES
}

/// What becomes the embedding of a vision transformer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The class token.
    ClassToken,
    /// The mean of all patches' tokens.
    MeanOfPatches,
}

/// A tensor that a network needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Required {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
}

impl Required {
    fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>) -> Self {
        Self {
            name: name.into(),
            shape: shape.into(),
        }
    }
}

/// The values of a network's tensors by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Values(pub(crate) HashMap<String, Vec<f32>>);

impl Values {
    fn find(&self, name: &str) -> Option<&[f32]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// The tensor of that name, which the network requires: it was read, or there was an error.
    pub(crate) fn get(&self, name: &str) -> &[f32] {
        self.find(name).unwrap_or_default()
    }
}

/// The shape of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Architecture {
    Cifar(cifar::Shape),
    Resnet(resnet::Shape),
    Vit(vit::Shape),
}

/// A network for inference.
#[derive(Debug)]
pub(crate) enum Network {
    Cifar(Vec<Folded>),
    Resnet(Box<resnet::Network<Folded>>),
    Vit(Box<vit::Network>),
}

impl Architecture {
    /// The network called `model`, one of [`models`], as far as `weights` decide the rest.
    pub(crate) fn named(
        model: &str,
        weights: &Weights,
        pooling: Option<Pooling>,
        heads: Option<usize>,
    ) -> Option<Self> {
        let stem = weights
            .shape("conv1.weight")
            .and_then(|shape| shape.first());
        let width = stem.copied().filter(|width| *width > 0);
        let cifar = cifar::Shape::named(model, width.unwrap_or(PUBLISHED_WIDTH)).map(Self::Cifar);
        cifar
            .or_else(|| resnet::Shape::named(model, weights).map(Self::Resnet))
            .or_else(|| vit::Shape::named(model, weights, pooling, heads).map(Self::Vit))
    }

    /// Numbers per embedding.
    pub(crate) fn dim(&self) -> usize {
        match self {
            Self::Cifar(shape) => shape.dim(),
            Self::Resnet(shape) => shape.dim(),
            Self::Vit(shape) => shape.dim(),
        }
    }

    /// All tensors that it needs.
    pub(crate) fn tensors(&self) -> Vec<Required> {
        let of_layers = |layers: Vec<LayerShape>| {
            let tensors = layers.iter().flat_map(LayerShape::tensors);
            tensors.collect()
        };
        match self {
            Self::Cifar(shape) => of_layers(shape.layers()),
            Self::Resnet(shape) => of_layers(shape.layers()),
            Self::Vit(shape) => shape.tensors(),
        }
    }

    /// Its convolutions in order, where it is made of them.
    pub(crate) fn layers(&self) -> Option<Vec<LayerShape>> {
        match self {
            Self::Cifar(shape) => Some(shape.layers()),
            Self::Resnet(shape) => Some(shape.layers()),
            Self::Vit(_) => None,
        }
    }

    /// What cannot be computed, in words.
    pub(crate) fn problem(&self) -> Option<String> {
        match self {
            Self::Vit(shape) => shape.problem(),
            _ => None,
        }
    }

    /// Whether a tensor of that name, which the network doesn't need, means that it is another
    /// network: a deeper one, say.
    pub(crate) fn is_foreign(&self, name: &str) -> bool {
        let starts: &[&str] = match self {
            Self::Cifar(_) | Self::Resnet(_) => &["layer", "conv", "bn"],
            Self::Vit(_) => &[
                "blocks.",
                "norm",
                "patch_embed.",
                "pos_",
                "cls_",
                "dist_",
                "reg_",
                "attn_pool.",
                "rope",
            ],
        };
        starts.iter().any(|start| name.starts_with(start)) && !name.ends_with("num_batches_tracked")
    }

    /// What an image's sides must be a multiple of.
    pub(crate) fn side_unit(&self) -> usize {
        match self {
            Self::Vit(shape) => shape.patch(),
            _ => 1,
        }
    }

    /// Whether it was made for images of 32×32 pixels or so.
    pub(crate) fn takes_small_images(&self) -> bool {
        match self {
            Self::Cifar(_) => true,
            Self::Resnet(shape) => shape.has_small_stem(),
            Self::Vit(_) => false,
        }
    }

    /// What its name doesn't tell, in words.
    pub(crate) fn details(&self) -> String {
        match self {
            Self::Cifar(shape) => format!("width {}", shape.width),
            Self::Resnet(shape) if shape.has_small_stem() => "CIFAR stem".into(),
            Self::Resnet(_) => "ImageNet stem".into(),
            Self::Vit(shape) => {
                let pooling = match shape.pooling() {
                    Pooling::ClassToken => "class token",
                    Pooling::MeanOfPatches => "mean of patches",
                };
                format!("{} heads, {pooling}", shape.heads())
            }
        }
    }

    /// The network with its tensors among `values`.
    pub(crate) fn network(&self, values: &Values, device: &Device) -> Network {
        match self {
            Self::Cifar(shape) => {
                let layers = shape.layers();
                let folded = layers
                    .iter()
                    .map(|layer| Folded::new(layer, values, device));
                Network::Cifar(folded.collect())
            }
            Self::Resnet(shape) => {
                let folded = |layer: &LayerShape| Folded::new(layer, values, device);
                let network = resnet::Network::new(shape, folded);
                Network::Resnet(Box::new(network))
            }
            Self::Vit(shape) => {
                let network = vit::Network::new(shape, values, device);
                Network::Vit(Box::new(network))
            }
        }
    }
}

impl Network {
    /// Embeddings (N, M) of images (N, 3, H, W).
    pub(crate) fn embed(&self, images: Tensor<4>) -> Tensor<2> {
        match self {
            Self::Cifar(layers) => cifar::embed(layers, images),
            Self::Resnet(network) => network.embed(images),
            Self::Vit(network) => network.embed(images),
        }
    }
}
