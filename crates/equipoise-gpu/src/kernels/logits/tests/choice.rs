//! Which variant is taken.

use equipoise_core::Head;
use wgpu::{CooperativeMatrixProperties, CooperativeScalarType, Features};

use super::{facts, head};
use crate::GpuError;
use crate::choices::Cache;
use crate::kernels::logits::choice::{Logits, LogitsChoice, Request, best};
use crate::kernels::logits::measure::{Measured, fastest};
use crate::kernels::logits::{LogitBound, Storage};

fn request(head: &Head) -> Request<'_> {
    Request {
        head,
        storage: Storage::F16,
        rows: 100,
        slice: head.classes(),
        most: LogitBound::ANY,
    }
}

fn logits(choice: LogitsChoice, cache: Cache, software: bool) -> Result<Logits, GpuError> {
    let (context, mut facts) = facts();
    facts.software = software;
    Logits::new(&context, facts, &choice, cache)
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_name_decides_and_an_unknown_one_is_an_error() {
    let head = head(3, 5, 1.0);
    let named = |name: &str| {
        let choice = LogitsChoice::Named(name.into());
        logits(choice, Cache::none(), false)
    };
    for name in ["small", "large"] {
        let path = named(name).and_then(|logits| logits.path(request(&head)));
        assert_eq!(path.expect("a path").variant.name, name);
    }
    let error = named("tiny").unwrap_err().to_string();
    assert!(
        error.starts_with("no variant of logits is called tiny (hint: there are small, large"),
        "{error}"
    );
    let narrow = Request {
        most: LogitBound {
            gamma: 1e-9,
            flushed: 1.0,
        },
        ..request(&head)
    };
    // However wide its bound.
    let path = named("large").and_then(|logits| logits.path(narrow));
    assert_eq!(path.expect("a path").variant.name, "large");
    let error = named("matrix16").and_then(|logits| logits.path(narrow));
    let error = error.unwrap_err().to_string();
    assert!(
        error.starts_with("variant matrix16 of logits cannot"),
        "{error}"
    );
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_software_adapter_takes_large_unmeasured() {
    let head = head(3, 5, 1.0);
    let logits = logits(LogitsChoice::Auto, Cache::none(), true).expect("logits");
    let path = logits.path(request(&head)).expect("a path");
    assert_eq!(path.variant.name, "large");
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn the_fastest_is_measured_once_and_remembered() {
    let head = head(3, 5, 1.0);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("deep").join("kernels.json");
    let auto = || logits(LogitsChoice::Auto, Cache::at(file.clone()), false);
    let first = auto().and_then(|logits| logits.path(request(&head)));
    let first = first.expect("a path").variant.name;
    let text = std::fs::read_to_string(&file).expect("a cache");
    assert!(
        text.contains("\"version\": 1") && text.contains(first),
        "{text}"
    );
    // What the file says is taken, not measured.
    let other = match first {
        "small" => "large",
        _ => "small",
    };
    let value = |name| format!("\": \"{name}\"");
    let said = text.replace(&value(first), &value(other));
    assert_ne!(said, text);
    std::fs::write(&file, said).expect("a cache");
    let path = auto().and_then(|logits| logits.path(request(&head)));
    assert_eq!(path.expect("a path").variant.name, other);
    for broken in [
        "",
        "{",
        "{\"version\": 0}",
        &text.replace("\"version\": 1", "\"version\": 2"),
    ] {
        std::fs::write(&file, broken).expect("a cache");
        assert!(
            auto()
                .and_then(|logits| logits.path(request(&head)))
                .is_ok()
        );
    }
    // A folder in the file's place can be neither read nor written.
    let cache = Cache::at(folder.path().into());
    let path = logits(LogitsChoice::Auto, cache, false).and_then(|l| l.path(request(&head)));
    assert!(path.is_ok(), "{path:?}");
}

/// A device that is said to multiply matrices, and does not.
fn boasting(cache: Cache) -> Logits {
    let (context, mut facts) = facts();
    facts.software = false;
    facts.features |= Features::SHADER_F16 | Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
    (facts.subgroup, facts.workgroup_bytes) = (Some(32), 1 << 16);
    facts.matrices = vec![CooperativeMatrixProperties {
        m_size: 16,
        n_size: 16,
        k_size: 16,
        ab_type: CooperativeScalarType::F16,
        cr_type: CooperativeScalarType::F32,
        saturating_accumulation: false,
    }];
    Logits::new(&context, facts, &LogitsChoice::Auto, cache).expect("logits")
}

#[test]
#[cfg_attr(
    any(no_gpu, matrix_cores),
    ignore = "it needs an adapter without matrix cores"
)]
fn a_variant_that_does_not_compile_is_told_and_not_taken() {
    let (logits, head) = (boasting(Cache::none()), head(3, 8, 1.0));
    let broken = |(name, path): (&'static str, Result<_, GpuError>)| path.is_err().then_some(name);
    let broken: Vec<_> = logits
        .compiled_for(request(&head))
        .into_iter()
        .filter_map(broken)
        .collect();
    assert_eq!(broken, ["matrix16-split", "matrix16"]);
    let measured = logits.measured(request(&head)).expect("measurements");
    assert!(
        measured
            .iter()
            .all(|found| !found.variant.starts_with("matrix"))
    );
    let taken = logits.path(request(&head)).expect("a path").variant.name;
    assert!(["small", "large"].contains(&taken));
}

#[test]
#[cfg_attr(
    any(no_gpu, matrix_cores),
    ignore = "it needs an adapter without matrix cores"
)]
fn a_choice_is_remembered_for_heads_with_the_same_variants() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("kernels.json");
    // Matrix cores take whole words of f16: six columns are as many to the power of two, and leave them out.
    for (dim, choices) in [(6, 1), (5, 1), (8, 2), (7, 2)] {
        let head = head(3, dim, 1.0);
        let path = boasting(Cache::at(file.clone())).path(request(&head));
        assert!(path.is_ok(), "{path:?}");
        let text = std::fs::read_to_string(&file).expect("a cache");
        assert_eq!(
            text.matches(" | of small, large").count(),
            choices,
            "{text}"
        );
    }
}

#[test]
fn without_memory_to_measure_nothing_is_the_fastest() {
    let message = || "as asked".to_owned();
    let measured = |variant, seconds| Measured { variant, seconds };
    let both = vec![measured("small", 2.0), measured("large", 1.0)];
    assert_eq!(best(Ok(both)).expect("a variant"), Some("large"));
    let none = best(Err(GpuError::OutOfMemory { message: message() }));
    assert_eq!(none.expect("no error"), None);
    let failed = best(Err(GpuError::Failed { message: message() }));
    assert!(matches!(failed, Err(GpuError::Failed { .. })));
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn measurements_are_of_every_variant_that_fits() {
    let head = head(3, 5, 1.0);
    let logits = logits(LogitsChoice::Auto, Cache::none(), false).expect("logits");
    let measured = logits.measured(request(&head)).expect("measurements");
    let names: Vec<_> = measured.iter().map(|found| found.variant).collect();
    assert!(names.starts_with(&["small", "large"]), "{names:?}");
    assert!(measured.iter().all(|found| found.seconds > 0.0));
    let best = fastest(&measured).expect("one");
    assert!(names.contains(&best));
}
