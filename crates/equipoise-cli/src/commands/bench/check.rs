//! `--check`: whether devices compute what the definition says.

use equipoise::core::definition::RowScore;
use equipoise::core::strategies::{Badge, Base, Confidence, Coreset, Entropy, Margin, Mase};
use equipoise::core::{CpuProducts, Engine, MemoryPool, Pick, Request, Strategy};
use equipoise::gpu::{
    self, Gpu, GpuEngine, LogitsChoice, ResidentPool, RowsChoice, Storage, Trial,
};
use equipoise::pool::Dtype;

use super::cases::{self, BUDGET, Case};
use super::record::Check;
use super::target::Target;
use crate::failure::Result;

/// Checks `target`, which rows call `device`. `note` is told what comes next. A device that fails has
/// not passed.
///
/// # Errors
/// None: the cases are sound.
pub(super) fn run(target: &Target, device: &str, note: &dyn Fn(&str)) -> Result<Vec<Check>> {
    let mut checker = Checker {
        device,
        checks: Vec::new(),
    };
    let cases = [cases::all(Dtype::F32)?, cases::all(Dtype::F16)?];
    match target {
        Target::Cpu(engine) => {
            note("picks");
            checker.picks(cases.iter().flatten(), "in memory", engine)?;
            let products = [
                ("float32", CpuProducts::Float32),
                ("int16", CpuProducts::Int16),
            ];
            for (name, products) in products {
                let way = format!("logits {name}");
                note(&format!("picks with {way}"));
                let engine = engine.with_products(products);
                checker.picks(cases.iter().flatten(), &way, &engine)?;
            }
        }
        Target::Gpu { gpu, engine, .. } => checker.gpu(gpu, engine, &cases, note)?,
    }
    Ok(checker.checks)
}

struct Checker<'a> {
    device: &'a str,
    checks: Vec<Check>,
}

impl Checker<'_> {
    fn add(&mut self, name: String, passed: Option<bool>, message: String) {
        self.checks.push(Check {
            device: self.device.into(),
            name,
            passed,
            message,
        });
    }

    fn gpu(
        &mut self,
        gpu: &Gpu,
        engine: &GpuEngine,
        cases: &[Vec<Case>; 2],
        note: &dyn Fn(&str),
    ) -> Result<()> {
        note("picks, streamed");
        self.picks(cases.iter().flatten(), "streamed", engine)?;
        note("picks, resident");
        for case in cases.iter().flatten() {
            let pool = MemoryPool::new(case.stored.values(), case.head.dim())?;
            match ResidentPool::new(engine, &pool, &|_| {}) {
                Ok(resident) => self.case(case, "resident", &pool, &resident),
                Err(error) => self.add(
                    format!("picks, resident: {}", case.name),
                    Some(false),
                    error.to_string(),
                ),
            }
        }
        note("variants of logits");
        let tried = gpu::try_logits(gpu).unwrap_or_else(|error| {
            self.add("variants of logits".into(), Some(false), error.to_string());
            Vec::new()
        });
        for (variant, storage, trial) in tried {
            let (cases, dtype) = match storage {
                Storage::F32 => (&cases[0], Dtype::F32),
                Storage::F16 => (&cases[1], Dtype::F16),
            };
            let name = format!("logits {variant}, {dtype}");
            match trial {
                Trial::Unfit(reason) => self.add(name, None, reason),
                Trial::Failed(error) => self.add(name, Some(false), error.to_string()),
                Trial::Passed => {
                    self.add(name, Some(true), String::new());
                    note(&format!("picks with logits {variant}"));
                    let choice = LogitsChoice::Named(variant.into());
                    let made = RowsChoice::from_env()
                        .and_then(|rows| GpuEngine::with_variants(gpu.clone(), &choice, rows));
                    match made {
                        Ok(engine) => {
                            self.picks(cases.iter(), &format!("logits {variant}"), &engine)?;
                        }
                        Err(error) => self.add(
                            format!("engine with logits {variant}"),
                            Some(false),
                            error.to_string(),
                        ),
                    }
                }
            }
        }
        for choice in [RowsChoice::Plain, RowsChoice::Subgroups] {
            let made = GpuEngine::with_variants(gpu.clone(), &LogitsChoice::from_env(), choice);
            match made {
                Ok(engine) => {
                    let variants: Vec<_> = engine.row_variants().collect();
                    let way = format!("row kernels {}", variants.join(", "));
                    note(&format!("picks with {way}"));
                    self.picks(cases.iter().flatten(), &way, &engine)?;
                }
                Err(error) => self.add(
                    format!("engine with row kernels {choice:?}"),
                    Some(false),
                    error.to_string(),
                ),
            }
        }
        Ok(())
    }

    fn picks<'c>(
        &mut self,
        cases: impl Iterator<Item = &'c Case>,
        way: &str,
        engine: &dyn Engine,
    ) -> Result<()> {
        for case in cases {
            let pool = MemoryPool::new(case.stored.values(), case.head.dim())?;
            self.case(case, way, &pool, engine);
        }
        Ok(())
    }

    /// Every strategy's picks of a case against the definition's.
    fn case(&mut self, case: &Case, way: &str, pool: &MemoryPool<'_>, engine: &dyn Engine) {
        let strategies: [(&dyn Strategy, Vec<Pick>); 7] = [
            (&Base, case.base()),
            (&Mase, case.best(RowScore::Mase)),
            (&Margin, case.best(RowScore::Margin)),
            (&Confidence, case.best(RowScore::Confidence)),
            (&Entropy, case.best(RowScore::Entropy)),
            (&Coreset, case.coreset()),
            (&Badge, case.badge()),
        ];
        let request = Request {
            head: Some(&case.head),
            labelled: &case.labelled,
            ..Request::new(pool, &case.available, BUDGET)
        };
        let wrong = strategies.iter().find_map(|(strategy, expected)| {
            let name = strategy.name();
            match strategy.select(engine, &request) {
                Ok(found) if found.picks == *expected => None,
                Ok(found) => Some(format!("{name}: {}", first_wrong(&found.picks, expected))),
                Err(error) => Some(format!("{name}: {error}")),
            }
        });
        self.add(
            format!("picks, {way}: {}", case.name),
            Some(wrong.is_none()),
            wrong.unwrap_or_default(),
        );
    }
}

/// Where picks part.
fn first_wrong(found: &[Pick], expected: &[Pick]) -> String {
    let pairs = found.iter().zip(expected).enumerate();
    match pairs
        .into_iter()
        .find(|(_, (found, expected))| found != expected)
    {
        Some((rank, (found, expected))) => {
            format!("pick {} is {found:?}, not {expected:?}", rank + 1)
        }
        None => format!("{} picks, not {}", found.len(), expected.len()),
    }
}

#[cfg(test)]
mod tests {
    use equipoise::core::{CpuEngine, Head};

    use super::*;

    #[test]
    fn picks_that_are_not_the_definitions_fail() {
        let mut case = cases::all(Dtype::F32).unwrap().remove(0);
        let engine = CpuEngine::new();
        let mut checker = Checker {
            device: "cpu",
            checks: Vec::new(),
        };
        checker
            .picks([&case].into_iter(), "right", &engine)
            .unwrap();
        // Another head than the one that the picks expected are of.
        let weight = case.head.weight().iter().rev().copied().collect();
        case.head = Head::new(weight, case.head.bias().to_vec(), case.head.dim()).unwrap();
        checker
            .picks([&case].into_iter(), "wrong", &engine)
            .unwrap();
        let passed: Vec<_> = checker.checks.iter().map(|check| check.passed).collect();
        assert_eq!(passed, [Some(true), Some(false)]);
        assert!(
            checker.checks[1].message.contains("base: pick 1 is"),
            "{:?}",
            checker.checks
        );
    }
}
