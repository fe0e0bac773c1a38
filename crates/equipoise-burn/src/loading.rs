//! From the tensors of a checkpoint to what a network needs, and what it doesn't.

use std::path::Path;

use equipoise_core::Head;

use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::key_map::KeyMap;
use crate::layout::{MOCO_V3, Weights};
use crate::models::{Architecture, Pooling, Values, models};

/// Names under which checkpoints keep a classifier.
const CLASSIFIERS: [&str; 3] = ["linear", "fc", "head"];

/// How a checkpoint is read.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Rules that the names in the file go through first.
    pub key_map: KeyMap,
    /// What becomes a vision transformer's embedding: by default the class token, if there is one
    /// and no normalisation of the mean.
    pub pooling: Option<Pooling>,
    /// Attention heads of a vision transformer: by default as published (six of the small one,
    /// twelve in MoCo v3's layout), since no tensor tells.
    pub heads: Option<usize>,
}

/// What was found in a weights file.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct LoadReport {
    /// Whose layout the names have: `MoCo v2`, say.
    pub layout: String,
    /// What stood before the names of the network's tensors: `module.encoder_q.`, say, or nothing.
    pub prefix: String,
    /// What the model's name doesn't tell: `CIFAR stem`, say.
    pub details: String,
    /// How many tensors were used.
    pub used: usize,
    /// The tensors that were not, sorted.
    pub unused: Vec<String>,
    /// Classes of the classifier, if there is one.
    pub classes: Option<usize>,
}

/// A network's tensors, read.
pub(crate) struct Loaded {
    pub(crate) architecture: Architecture,
    pub(crate) values: Values,
    pub(crate) head: Option<Head>,
    pub(crate) report: LoadReport,
}

impl Loaded {
    /// Reads the weights of `model` from a file; with them the SHA-256 of the file.
    ///
    /// # Errors
    /// As [`crate::Backbone::load`].
    pub(crate) fn read(
        model: &str,
        weights: &Path,
        options: &LoadOptions,
    ) -> Result<(Self, String), Error> {
        let checkpoint = Checkpoint::open(weights)?;
        let failed = |problems| Error::Weights {
            path: weights.to_owned(),
            model: model.into(),
            problems,
        };
        let matched = Matched::find(model, &checkpoint, options)?;
        let matched = matched.map_err(|problem| failed(vec![problem]))?;
        let loaded = matched.load(&checkpoint).map_err(failed)?;
        let digest = checkpoint.digest().to_owned();
        Ok((loaded, digest))
    }
}

/// What a checkpoint holds of a model, without its values.
pub(crate) struct Matched<'a> {
    pub(crate) weights: Weights<'a>,
    pub(crate) architecture: Architecture,
    /// Name of the classifier in the file, without `.weight`.
    classifier: Option<String>,
    /// Tensors that are missing or misshapen, and parts that the model doesn't have, in words.
    pub(crate) problems: Vec<String>,
}

impl<'a> Matched<'a> {
    /// Finds `model`'s network among the tensors of `checkpoint`.
    ///
    /// # Errors
    /// [`Error::UnknownModel`], or in words why no network can be looked for.
    pub(crate) fn find(
        model: &str,
        checkpoint: &'a Checkpoint,
        options: &LoadOptions,
    ) -> Result<Result<Self, String>, Error> {
        if !models().iter().any(|name| name == model) {
            return Err(Error::UnknownModel { name: model.into() });
        }
        let weights = match Weights::find(checkpoint, &options.key_map) {
            Ok(weights) => weights,
            Err(problem) => return Ok(Err(problem)),
        };
        let mocos = weights.layout() == MOCO_V3 && model.starts_with("vit_small_");
        let heads = options.heads.or(mocos.then_some(12));
        let architecture = Architecture::named(model, &weights, options.pooling, heads)
            .ok_or_else(|| Error::UnknownModel { name: model.into() })?;
        let mut problems: Vec<String> = architecture.problem().into_iter().collect();
        for tensor in architecture.tensors() {
            let problem = match weights.shape(&tensor.name) {
                None => "missing".into(),
                Some(found) if found != tensor.shape => {
                    format!("shape {found:?}, not {:?}", tensor.shape)
                }
                Some(_) => continue,
            };
            problems.push(format!("{}: {problem}", weights.called(&tensor.name)));
        }
        let classifier = find_classifier(checkpoint, &weights, architecture.dim());
        let mut matched = Self {
            weights,
            architecture,
            classifier,
            problems,
        };
        let foreign = matched.foreign();
        matched.problems.extend(foreign);
        Ok(Ok(matched))
    }

    /// Parts of another network.
    fn foreign(&self) -> Vec<String> {
        let needed = self.needed();
        let foreign = self.weights.names().filter(|name| {
            self.architecture.is_foreign(name) && needed.binary_search(&(*name).into()).is_err()
        });
        foreign
            .map(|name| {
                let called = self.weights.called(name);
                format!("{called}: the model has no such part")
            })
            .collect()
    }

    /// The network's names of all tensors that it needs, sorted.
    fn needed(&self) -> Vec<String> {
        let tensors = self.architecture.tensors();
        let mut needed: Vec<String> = tensors.into_iter().map(|tensor| tensor.name).collect();
        needed.sort_unstable();
        needed
    }

    /// What is used of the file, and what is not.
    pub(crate) fn report(&self, checkpoint: &Checkpoint) -> LoadReport {
        let needed = self.needed();
        let mut used: Vec<&str> = needed
            .iter()
            .filter_map(|name| self.weights.stored(name))
            .collect();
        let classifier = self.classifier_tensors(checkpoint);
        used.extend(classifier.iter().map(String::as_str));
        used.sort_unstable();
        let unused = checkpoint
            .names()
            .filter(|name| used.binary_search(name).is_err());
        let weight = classifier.first().and_then(|name| checkpoint.shape(name));
        LoadReport {
            layout: self.weights.layout().into(),
            prefix: self.weights.prefix().into(),
            details: self.architecture.details(),
            used: used.len(),
            unused: unused.map(str::to_owned).collect(),
            classes: weight.and_then(|shape| shape.first().copied()),
        }
    }

    /// The classifier's weight, and bias if it has one, as the file calls them.
    fn classifier_tensors(&self, checkpoint: &Checkpoint) -> Vec<String> {
        let name = self.classifier.iter();
        name.flat_map(|name| [format!("{name}.weight"), format!("{name}.bias")])
            .filter(|name| checkpoint.shape(name).is_some())
            .collect()
    }

    /// Reads the values of all tensors.
    ///
    /// # Errors
    /// All that is wrong with them, in words.
    pub(crate) fn load(self, checkpoint: &Checkpoint) -> Result<Loaded, Vec<String>> {
        let mut problems = self.problems.clone();
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut values = Values::default();
        for tensor in self.architecture.tensors() {
            match self.weights.values(&tensor.name) {
                Ok(read) => drop(values.0.insert(tensor.name, read)),
                Err(problem) => {
                    let called = self.weights.called(&tensor.name);
                    problems.push(format!("{called}: {problem}"));
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let head = self.head(checkpoint)?;
        Ok(Loaded {
            report: self.report(checkpoint),
            head,
            values,
            architecture: self.architecture,
        })
    }

    fn head(&self, checkpoint: &Checkpoint) -> Result<Option<Head>, Vec<String>> {
        let names = self.classifier_tensors(checkpoint);
        let read = |name: &String| {
            let values = checkpoint.values(name);
            values.map_err(|problem| vec![format!("{name}: {problem}")])
        };
        let Some(first) = names.first() else {
            return Ok(None);
        };
        let dim = self.architecture.dim();
        let weight = read(first)?;
        let bias = match names.get(1) {
            Some(name) => read(name)?,
            None => vec![0.0; weight.len() / dim],
        };
        let head = Head::new(weight, bias, dim);
        head.map(Some)
            .map_err(|error| vec![format!("{first}: {error}")])
    }
}

/// The classifier over embeddings of `dim` numbers, as the file calls it, beside the network's own
/// tensors or around them; `None` where there is none of this shape (a projection head, say).
fn find_classifier(checkpoint: &Checkpoint, weights: &Weights, dim: usize) -> Option<String> {
    let prefix = weights.prefix();
    // `encoder.conv1` has its classifier at `linear`, `backbone.conv1` at `backbone.fc`.
    let outer = prefix.trim_end_matches('.').rsplit_once('.');
    let outer = outer.map_or(String::new(), |(outer, _)| format!("{outer}."));
    let places = [prefix, &outer];
    let names = places
        .iter()
        .flat_map(|place| CLASSIFIERS.iter().map(move |name| format!("{place}{name}")));
    let stored = names.filter_map(|name| {
        let weight = weights.outside(&format!("{name}.weight"))?;
        weight.strip_suffix(".weight")
    });
    let mut fitting = stored.filter(|name| {
        let bias = checkpoint.shape(&format!("{name}.bias"));
        match checkpoint.shape(&format!("{name}.weight")) {
            Some(&[classes, found]) => found == dim && bias.is_none_or(|bias| bias == [classes]),
            _ => false,
        }
    });
    fitting.next().map(str::to_owned)
}
