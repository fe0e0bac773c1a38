//! How training codes name and wrap a network's tensors, and the names they have here.
//!
//! A checkpoint's names are mapped first by the user's rules ([`KeyMap`]), then what stands before
//! the network's own names (the prefix) is cut off, then the names of other libraries become those
//! of torchvision (residual networks) or timm (vision transformers).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use crate::checkpoint::Checkpoint;
use crate::key_map::KeyMap;

/// Parts of a prefix that name a network's second copy, which a training code keeps beside the
/// one to use.
const COPIES: [&str; 5] = [
    "encoder_k",
    "momentum_encoder",
    "student",
    "target_encoder",
    "target_network",
];

/// Tensors that tell where a network's names begin, and the family of names they belong to.
const ANCHORS: [(&str, Family); 4] = [
    ("conv1.weight", Family::Plain),
    ("4.0.conv1.weight", Family::Numbered),
    ("patch_embed.proj.weight", Family::Plain),
    ("conv_proj.weight", Family::TorchvisionVit),
];

/// Whose names they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    /// torchvision's for residual networks, timm's for vision transformers.
    Plain,
    /// A residual network's children by number.
    Numbered,
    /// torchvision's for vision transformers.
    TorchvisionVit,
}

/// Patterns and replacements that make the names those used here. All are tried in order.
type Renames = LazyLock<Vec<(Regex, &'static str)>>;

static PLAIN: Renames = LazyLock::new(|| {
    renames(&[
        (r"\.shortcut\.([01])\.", ".downsample.$1."),
        // DINOv2 keeps blocks in chunks while it trains.
        (r"^blocks\.\d+\.(\d+)\.", "blocks.$1."),
        (r"^register_tokens$", "reg_token"),
    ])
});

static NUMBERED: Renames = LazyLock::new(|| {
    renames(&[
        (r"^0\.", "conv1."),
        (r"^1\.", "bn1."),
        (r"^4\.", "layer1."),
        (r"^5\.", "layer2."),
        (r"^6\.", "layer3."),
        (r"^7\.", "layer4."),
    ])
});

static TORCHVISION_VIT: Renames = LazyLock::new(|| {
    renames(&[
        (r"^class_token$", "cls_token"),
        (r"^conv_proj\.", "patch_embed.proj."),
        (r"^encoder\.pos_embedding$", "pos_embed"),
        (r"^encoder\.ln\.", "norm."),
        (r"^encoder\.layers\.encoder_layer_(\d+)\.", "blocks.$1."),
        (r"\.ln_([12])\.", ".norm$1."),
        (r"\.self_attention\.in_proj_", ".attn.qkv."),
        (r"\.self_attention\.out_proj\.", ".attn.proj."),
        (r"\.mlp\.(?:0|linear_1)\.", ".mlp.fc1."),
        (r"\.mlp\.(?:3|linear_2)\.", ".mlp.fc2."),
        (r"^heads\.head\.", "head."),
    ])
});

fn renames(table: &[(&str, &'static str)]) -> Vec<(Regex, &'static str)> {
    let compiled = table.iter().map(|(pattern, replacement)| {
        let regex = Regex::new(pattern).expect("the table's patterns are tested");
        (regex, *replacement)
    });
    compiled.collect()
}

impl Family {
    /// What `name` is called here.
    fn renamed(self, name: &str) -> String {
        let renames = match self {
            Self::Plain => &PLAIN,
            Self::Numbered => &NUMBERED,
            Self::TorchvisionVit => &TORCHVISION_VIT,
        };
        let all = renames.iter();
        all.fold(name.to_owned(), |name, (pattern, replacement)| {
            pattern.replace(&name, *replacement).into_owned()
        })
    }
}

/// A checkpoint's tensors under the names used here.
#[derive(Debug)]
pub(crate) struct Weights<'a> {
    checkpoint: &'a Checkpoint,
    /// What stood before the network's names.
    prefix: String,
    layout: &'static str,
    /// The network's names, and those in the file.
    names: BTreeMap<String, String>,
    /// Names that the rules made of those in the file, for tensors outside the network.
    mapped: BTreeMap<String, String>,
}

impl<'a> Weights<'a> {
    /// Finds the network in `checkpoint`, or says in words why it can't.
    pub(crate) fn find(checkpoint: &'a Checkpoint, key_map: &KeyMap) -> Result<Self, String> {
        let names = checkpoint.names();
        let mapped = unique(names.map(|name| (key_map.apply(name), name.to_owned())))?;
        let (prefix, family) = find_prefix(&mapped).ok_or_else(|| {
            let anchors = ANCHORS.map(|(anchor, _)| anchor).join(", ");
            format!("no network: no tensor is called {anchors}, after any prefix; hint: --key-map")
        })?;
        let names = mapped.iter().filter_map(|(name, stored)| {
            let name = name.strip_prefix(&prefix)?;
            Some((family.renamed(name), stored.clone()))
        });
        let names = unique(names)?;
        Ok(Self {
            layout: layout(&prefix, family, &names),
            checkpoint,
            prefix,
            names,
            mapped,
        })
    }

    /// What stood before the network's names.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whose layout it is, in words.
    pub(crate) fn layout(&self) -> &'static str {
        self.layout
    }

    /// All names of the network, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// The name in the file of the network's tensor `name`.
    pub(crate) fn stored(&self, name: &str) -> Option<&str> {
        self.names.get(name).map(String::as_str)
    }

    /// The name in the file of a tensor outside the network, by what the rules made of it.
    pub(crate) fn outside(&self, name: &str) -> Option<&str> {
        self.mapped.get(name).map(String::as_str)
    }

    /// Shape of the network's tensor `name`, if there is one.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.checkpoint.shape(self.stored(name)?)
    }

    /// The finite values of the network's tensor `name`, or what is wrong with it.
    pub(crate) fn values(&self, name: &str) -> Result<Vec<f32>, String> {
        self.checkpoint.values(self.stored(name).ok_or("missing")?)
    }

    /// What to call the network's tensor `name` in messages: as the file does, if it has it.
    pub(crate) fn called(&self, name: &str) -> String {
        match self.stored(name) {
            Some(stored) => stored.to_owned(),
            None => format!("{}{name}", self.prefix),
        }
    }
}

/// The map of these names; an error where two become one.
fn unique(
    names: impl Iterator<Item = (String, String)>,
) -> Result<BTreeMap<String, String>, String> {
    let mut map = BTreeMap::new();
    for (name, stored) in names {
        if let Some(other) = map.insert(name.clone(), stored.clone()) {
            return Err(format!("{other} and {stored} would both be {name}"));
        }
    }
    Ok(map)
}

/// What stands before an anchor. Of several networks in a file it is none of a training code's
/// second copies, then that with most tensors, then the shortest prefix, then the last in order.
fn find_prefix(names: &BTreeMap<String, String>) -> Option<(String, Family)> {
    let found = names.keys().flat_map(|name| {
        ANCHORS.iter().filter_map(move |(anchor, family)| {
            let prefix = name.strip_suffix(anchor)?;
            let last = prefix.trim_end_matches('.').rsplit('.').next();
            let is_whole = prefix.is_empty() || prefix.ends_with('.');
            // Within a block a convolution has the same name as the stem's.
            let in_block = last.is_some_and(|part| part.parse::<usize>().is_ok());
            (is_whole && !in_block).then_some((prefix, *family))
        })
    });
    let best = found.max_by_key(|(prefix, _)| {
        let is_copy = prefix.split('.').any(|part| COPIES.contains(&part));
        let tensors = names.keys().filter(|name| name.starts_with(prefix));
        let shorter = std::cmp::Reverse(prefix.len());
        (!is_copy, tensors.count(), shorter, *prefix)
    })?;
    Some((best.0.to_owned(), best.1))
}

/// Whose layout has this prefix and these names.
fn layout(prefix: &str, family: Family, names: &BTreeMap<String, String>) -> &'static str {
    let has = |name: &str| names.contains_key(name);
    let part = |wanted: &[&str]| prefix.split('.').any(|part| wanted.contains(&part));
    if part(&["classy_state_dict", "_feature_blocks"]) {
        "VISSL"
    } else if part(&["encoder_q", "encoder_k"]) && has("fc.2.weight") {
        "MoCo v2"
    } else if part(&["encoder_q", "encoder_k"]) {
        "MoCo v1"
    } else if part(&["base_encoder", "momentum_encoder"]) {
        MOCO_V3
    } else if has("mask_token") && has("blocks.0.ls1.gamma") {
        "DINOv2"
    } else if part(&["teacher", "student"]) {
        "DINO"
    } else if has("mask_token") {
        "MAE"
    } else if part(&["backbone", "encoder"]) {
        "SimCLR"
    } else if family == Family::Numbered {
        "a numbered sequence"
    } else if family == Family::TorchvisionVit || has("conv1.weight") {
        "torchvision"
    } else {
        "timm"
    }
}

/// The layout whose small vision transformer has twelve heads.
pub(crate) const MOCO_V3: &str = "MoCo v3";

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str]) -> (String, &'static str) {
        let names = names.iter().map(|name| ((*name).into(), (*name).into()));
        let names: BTreeMap<String, String> = names.collect();
        let (prefix, family) = find_prefix(&names).unwrap();
        let inside = names
            .keys()
            .filter_map(|name| Some((name.strip_prefix(&prefix)?.to_owned(), String::new())));
        let layout = layout(&prefix, family, &inside.collect());
        (prefix, layout)
    }

    #[test]
    fn layouts_are_known_by_their_names() {
        let patch = "patch_embed.proj.weight";
        for (names, prefix, layout) in [
            (
                &["conv1.weight", "layer1.0.conv1.weight"][..],
                "",
                "torchvision",
            ),
            (&["conv_proj.weight", "class_token"], "", "torchvision"),
            (
                &["state_dict.module.conv1.weight"],
                "state_dict.module.",
                "torchvision",
            ),
            (&["_orig_mod.conv1.weight"], "_orig_mod.", "torchvision"),
            (
                &[
                    "module.encoder_q.conv1.weight",
                    "module.encoder_k.conv1.weight",
                ],
                "module.encoder_q.",
                "MoCo v1",
            ),
            (
                &[
                    "module.encoder_q.conv1.weight",
                    "module.encoder_q.fc.2.weight",
                ],
                "module.encoder_q.",
                "MoCo v2",
            ),
            (
                &[
                    "module.base_encoder.patch_embed.proj.weight",
                    "module.momentum_encoder.patch_embed.proj.weight",
                    "module.momentum_encoder.more",
                ],
                "module.base_encoder.",
                "MoCo v3",
            ),
            (
                &["state_dict.encoder.conv1.weight"],
                "state_dict.encoder.",
                "SimCLR",
            ),
            (&["backbone.conv1.weight"], "backbone.", "SimCLR"),
            (
                &["backbone.0.weight", "backbone.4.0.conv1.weight"],
                "backbone.",
                "SimCLR",
            ),
            (&["0.weight", "4.0.conv1.weight"], "", "a numbered sequence"),
            (
                &[
                    "student.module.backbone.patch_embed.proj.weight",
                    "student.module.backbone.more",
                    "teacher.backbone.patch_embed.proj.weight",
                ],
                "teacher.backbone.",
                "DINO",
            ),
            (&[patch, "mask_token", "blocks.0.ls1.gamma"], "", "DINOv2"),
            (
                &["model.patch_embed.proj.weight", "model.mask_token"],
                "model.",
                "MAE",
            ),
            (&[patch], "", "timm"),
            (
                &["classy_state_dict.base_model.model.trunk._feature_blocks.conv1.weight"],
                "classy_state_dict.base_model.model.trunk._feature_blocks.",
                "VISSL",
            ),
        ] {
            assert_eq!(found(names), (prefix.into(), layout), "{names:?}");
        }
    }

    #[test]
    fn a_block_is_no_network() {
        let names = BTreeMap::from([("layer1.0.conv1.weight".to_owned(), String::new())]);
        assert_eq!(find_prefix(&names), None);
    }

    #[test]
    fn other_names_become_those_used_here() {
        for (family, name, renamed) in [
            (
                Family::Plain,
                "layer2.0.shortcut.1.weight",
                "layer2.0.downsample.1.weight",
            ),
            (
                Family::Plain,
                "blocks.1.7.attn.qkv.bias",
                "blocks.7.attn.qkv.bias",
            ),
            (
                Family::Plain,
                "blocks.7.attn.qkv.bias",
                "blocks.7.attn.qkv.bias",
            ),
            (Family::Plain, "register_tokens", "reg_token"),
            (
                Family::Numbered,
                "5.0.conv1.weight",
                "layer2.0.conv1.weight",
            ),
            (Family::Numbered, "0.weight", "conv1.weight"),
            (
                Family::TorchvisionVit,
                "encoder.layers.encoder_layer_3.self_attention.in_proj_weight",
                "blocks.3.attn.qkv.weight",
            ),
            (
                Family::TorchvisionVit,
                "encoder.layers.encoder_layer_11.mlp.3.bias",
                "blocks.11.mlp.fc2.bias",
            ),
        ] {
            assert_eq!(family.renamed(name), renamed);
        }
    }
}
