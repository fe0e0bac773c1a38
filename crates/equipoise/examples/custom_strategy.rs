//! A strategy and a score of one's own, on every engine, without a fork: the rows whose largest logit is smallest (Hendrycks et
//! al., *Scaling Out-of-Distribution Detection*, ICML 2022), as many from each source of images.
//!
//! `cargo run --release -p equipoise --example custom_strategy`

use std::error::Error;

use equipoise::core::{
    CpuEngine, CustomScore, Engine, Head, MemoryPool, Operations, Request, Result, Rounding,
    RowOrder, RowSet, Selection, Strategy, Values,
};
use equipoise::gpu::{DeviceChoice, Gpu, GpuEngine};

/// The largest logit: small where the head has seen nothing like the row.
struct MaxLogit;

impl CustomScore for MaxLogit {
    fn name(&self) -> &str {
        "max logit"
    }

    fn key(&self, logits: &[f64]) -> f64 {
        logits.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    fn steepness(&self) -> f64 {
        1.0
    }

    fn wgsl(&self) -> &str {
        "fn row_key(row: u32) -> f32 {
            var top = logit(row, 0u);
            for (var c = 1u; c < classes(); c += 1u) { top = max(top, logit(row, c)); }
            return top;
        }"
    }

    fn rounding(&self) -> Rounding {
        let (absolute, relative) = (0.0, 0.0);
        Rounding { absolute, relative }
    }
}

/// The first rows of each of three sources; per row, which it is from.
struct PerSource<'s>(&'s [usize]);

impl Strategy for PerSource<'_> {
    fn name(&self) -> &'static str {
        "per-source"
    }

    fn needs_head(&self) -> bool {
        true
    }

    fn select(&self, engine: &dyn Engine, request: &Request<'_>) -> Result<Selection> {
        let keep = [request.effective_budget()? / 3; 3];
        let order = RowOrder::Custom(&MaxLogit);
        let mut operations = Operations::new(engine, request, self.name())?;
        let best = operations.best_of_groups(order, request.available, &keep, |row| self.0[row])?;
        let picks = best.iter().flatten().map(|row| row.pick(None));
        Ok(operations.finish(picks.collect()))
    }
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let (rows, dim, classes) = (5000, 32, 10);
    let embeddings: Vec<f32> = (0..rows * dim).map(|i| (i as f32 * 0.731).sin()).collect();
    let weight = (0..classes * dim)
        .map(|i| (i as f32 * 1.37).cos())
        .collect();
    let head = Head::new(weight, vec![0.1; classes], dim)?;
    let sources: Vec<usize> = (0..rows).map(|row| row * 7 / 5 % 3).collect();
    let (pool, all) = (
        MemoryPool::new(Values::F32(&embeddings), dim)?,
        RowSet::all(rows),
    );
    let mut request = Request::new(&pool, &all, 12);
    request.head = Some(&head);
    let strategy = PerSource(&sources);
    let picks = strategy.select(&CpuEngine::new(), &request)?.picks;
    for pick in &picks {
        let (row, score) = (pick.row, pick.score.unwrap_or_default());
        println!("row {row} of source {}: {score:.4}", sources[row]);
    }
    match Gpu::open(&DeviceChoice::Any) {
        Ok(gpu) => {
            let engine = GpuEngine::new(gpu)?;
            let same = strategy.select(&engine, &request)?.picks == picks;
            println!(
                "{} picks {}",
                engine.name(),
                if same { "the same" } else { "others" }
            );
        }
        Err(none) => println!("no GPU to compare with: {none}"),
    }
    Ok(())
}
