//! Which variant computes a head's logits.
//!
//! A name decides, given to the engine or in `EQUIPOISE_LOGITS`. Otherwise the variants that the
//! device can run, and whose bound is narrow enough, are timed on it for a few milliseconds each,
//! once: the fastest is remembered in the user's cache, by adapter, driver and class of shapes. A
//! software adapter is not measured: it takes `large`. Where there is no memory to measure, the first is taken.

use std::sync::{Mutex, OnceLock};

use equipoise_core::Head;

use super::bound::LogitBound;
use super::measure::{Measured, fastest, measure};
use super::variants::{Storage, VARIANTS, Variant};
use super::{Path, trial};
use crate::choices::Cache;
use crate::device::Context;
use crate::facts::Facts;
use crate::{Gpu, GpuError};

/// What a software adapter takes: llvmpipe is 1.6 to 2.4 times as fast at it as at the other that runs everywhere.
const SOFTWARE: &str = "large";

/// Environment variable that names a variant.
const VARIABLE: &str = "EQUIPOISE_LOGITS";

/// Who chooses the variant of kernel `logits`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LogitsChoice {
    /// The fastest on the device.
    #[default]
    Auto,
    /// The variant of this name.
    Named(String),
}

impl LogitsChoice {
    /// What `EQUIPOISE_LOGITS` says: a variant's name; nothing, or `auto`, means [`Self::Auto`].
    pub fn from_env() -> Self {
        match std::env::var(VARIABLE) {
            Ok(name) if !name.is_empty() && name != "auto" => Self::Named(name),
            _ => Self::Auto,
        }
    }
}

/// The names of the variants of kernel `logits`.
pub fn logits_variants() -> impl Iterator<Item = &'static str> {
    VARIANTS.iter().map(|variant| variant.name)
}

/// What logits are needed of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) head: &'a Head,
    pub(crate) storage: Storage,
    /// Rows of a full block.
    pub(crate) rows: usize,
    /// Classes of a slice of the head: the device may not bind more at a time.
    pub(crate) slice: usize,
    /// Widest bound that [`LogitsChoice::Auto`] takes.
    pub(crate) most: LogitBound,
}

/// Kernel `logits` on one device: its variants, compiled as they are needed.
#[derive(Debug)]
pub(crate) struct Logits {
    context: Context,
    facts: Facts,
    named: Option<&'static Variant>,
    cache: Cache,
    paths: Vec<[OnceLock<Result<Path, GpuError>>; 2]>,
    /// Held while measuring, so that measurements do not disturb each other.
    measuring: Mutex<()>,
}

impl Logits {
    /// # Errors
    /// [`GpuError::UnknownLogits`] where no variant has the name chosen.
    pub(crate) fn new(
        context: &Context,
        facts: Facts,
        choice: &LogitsChoice,
        cache: Cache,
    ) -> Result<Self, GpuError> {
        let named = match choice {
            LogitsChoice::Auto => None,
            LogitsChoice::Named(name) => Some(variant_named(name)?),
        };
        Ok(Self {
            context: context.clone(),
            facts,
            named,
            cache,
            paths: VARIANTS.iter().map(|_| Default::default()).collect(),
            measuring: Mutex::new(()),
        })
    }

    /// Whether the device is software on the CPU.
    pub(crate) fn software(&self) -> bool {
        self.facts.software
    }

    /// What the choice depends on.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Whether a name decides.
    pub(crate) fn is_named(&self) -> bool {
        self.named.is_some()
    }

    /// The path for `request`.
    ///
    /// # Errors
    /// [`GpuError::LogitsUnfit`] where the variant named cannot serve it, others where compiling
    /// or measuring fails.
    pub(crate) fn path(&self, request: Request<'_>) -> Result<Path, GpuError> {
        let variant = match self.named {
            // Whoever names one wants it, however wide its bound.
            Some(named) => match named.lacks(&self.facts, request.storage, request.head) {
                Some(reason) => {
                    let name = named.name;
                    return Err(GpuError::LogitsUnfit { name, reason });
                }
                None => named,
            },
            None if self.facts.software => variant_named(SOFTWARE)?,
            None => self.fastest(request)?,
        };
        self.compiled(variant, request.storage)
    }

    /// Why `variant` cannot serve `request`.
    fn unfit(&self, variant: &Variant, request: Request<'_>) -> Option<String> {
        let bound = variant.bound(request.head.dim());
        let wide = || format!("its error bound, {bound}, is wider than {}", request.most);
        let lacks = variant.lacks(&self.facts, request.storage, request.head);
        lacks.or_else(|| (!bound.within(request.most)).then(wide))
    }

    /// The fastest variant that can serve `request`: remembered, or measured.
    fn fastest(&self, request: Request<'_>) -> Result<&'static Variant, GpuError> {
        let _alone = self
            .measuring
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let fit: Vec<&Variant> = self.fit(request).collect();
        let key = key(&self.facts, request, &fit);
        let known = self.cache.get(&key);
        let known = known.and_then(|name| fit.iter().find(|variant| variant.name == name));
        if let Some(variant) = known {
            return Ok(variant);
        }
        let Some(best) = best(self.measured(request))? else {
            return Ok(&VARIANTS[0]);
        };
        self.cache.put(&key, best);
        variant_named(best)
    }

    /// Every variant that can serve `request`, timed. One that does not compile here, or fails its trial, is none;
    /// if the first does not, that shows when it is used.
    pub(super) fn measured(&self, request: Request<'_>) -> Result<Vec<Measured>, GpuError> {
        let made = self.compiled_for(request).into_iter();
        let paths: Vec<Path> = made.filter_map(|(_, path)| path.ok()).collect();
        measure(&self.context, &paths, request)
    }

    /// Every variant that should serve `request`, by name: compiled, or why it is not, which a trial that it fails is, too.
    pub(crate) fn compiled_for(
        &self,
        request: Request<'_>,
    ) -> Vec<(&'static str, Result<Path, GpuError>)> {
        let made = |variant: &'static Variant| {
            let path = self.compiled(variant, request.storage);
            (variant.name, path)
        };
        self.fit(request).map(made).collect()
    }

    /// The variants that nothing keeps from serving `request`.
    fn fit(&self, request: Request<'_>) -> impl Iterator<Item = &'static Variant> {
        let all = VARIANTS.iter();
        all.filter(move |variant| self.unfit(variant, request).is_none())
    }

    /// The variant, compiled and tried once.
    fn compiled(&self, variant: &'static Variant, storage: Storage) -> Result<Path, GpuError> {
        let place = VARIANTS.iter().position(|known| known.name == variant.name);
        let place = &self.paths[place.unwrap_or_default()][storage as usize];
        let made = place.get_or_init(|| {
            let path = self
                .context
                .guarded(|| Path::new(&self.context, variant, storage))?;
            match variant.needs_trial() {
                true => trial::passes(&self.context, &path).map(|()| path),
                false => Ok(path),
            }
        });
        made.clone()
    }
}

/// The fastest of what was measured; none where there was no memory to measure: a scan may find room where measuring
/// did not.
pub(super) fn best(
    measured: Result<Vec<Measured>, GpuError>,
) -> Result<Option<&'static str>, GpuError> {
    match measured {
        Err(GpuError::OutOfMemory { .. }) => Ok(None),
        measured => measured.map(|measured| fastest(&measured)),
    }
}

/// The class of requests that share a choice: sizes up to the same powers of two, and the same variants to choose from, of
/// which a head may leave some out.
fn key(facts: &Facts, request: Request<'_>, fit: &[&Variant]) -> String {
    let class = |size: usize| size.next_power_of_two();
    let names: Vec<&str> = fit.iter().map(|variant| variant.name).collect();
    format!(
        "{} | {:?} | rows {} dim {} classes {} | of {}",
        facts.identity(),
        request.storage,
        class(request.rows),
        class(request.head.dim()),
        class(request.head.classes()),
        names.join(", "),
    )
}

/// The variant called `name`.
fn variant_named(name: &str) -> Result<&'static Variant, GpuError> {
    let found = VARIANTS.iter().find(|variant| variant.name == name);
    found.ok_or_else(|| GpuError::UnknownLogits {
        name: name.into(),
        known: logits_variants().collect::<Vec<_>>().join(", "),
    })
}

/// Kernel `logits` on `gpu`, remembering nothing.
fn forgetful(gpu: &Gpu) -> Result<Logits, GpuError> {
    let context = Context::new(gpu.device.clone(), gpu.queue.clone());
    let facts = Facts::of(&gpu.adapter, &gpu.device);
    Logits::new(&context, facts, &LogitsChoice::Auto, Cache::none())
}

/// What came of trying a variant on a device.
#[derive(Debug, Clone)]
pub enum Trial {
    /// Its logits are within its bound.
    Passed,
    /// The device cannot run it, for this reason.
    Unfit(String),
    /// It does not compile, or its logits are not within its bound.
    Failed(GpuError),
}

/// Tries every variant on `gpu`, those too that choosing takes on trust: compiles it, and compares its
/// logits of some products with the definition. One for each variant and storage that it has a shader for.
///
/// # Errors
/// [`GpuError::Failed`] where the device fails.
pub fn try_logits(gpu: &Gpu) -> Result<Vec<(&'static str, Storage, Trial)>, GpuError> {
    let logits = forgetful(gpu)?;
    let head = trial::head(trial::DIM)?;
    let mut tried = Vec::new();
    for variant in VARIANTS {
        for storage in [Storage::F32, Storage::F16] {
            if variant.shader(storage).is_none() {
                continue;
            }
            let outcome = match variant.lacks(&logits.facts, storage, &head) {
                Some(reason) => Trial::Unfit(reason),
                None => {
                    let path = logits.compiled(variant, storage);
                    match path.and_then(|path| trial::passes(&logits.context, &path)) {
                        Ok(()) => Trial::Passed,
                        Err(error) => Trial::Failed(error),
                    }
                }
            };
            tried.push((variant.name, storage, outcome));
        }
    }
    Ok(tried)
}
