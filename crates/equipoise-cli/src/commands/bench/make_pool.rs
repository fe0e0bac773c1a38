//! `bench --make-pool`: a made-up pool in a file, of any size.

use std::path::{Path, PathBuf};
use std::time::Instant;

use equipoise::pool::{self, EmbeddingsWriter, HeadFile};
use serde_json::json;

use super::Shape;
use super::synthetic::Synthetic;
use crate::console::{Console, grouped};
use crate::failure::Result;

/// Bytes of embeddings made and written at a time.
const PIECE: usize = 16 << 20;

/// A pool to make.
#[derive(Debug, Clone)]
pub(crate) struct MakePool {
    pub(crate) out: PathBuf,
    pub(crate) shape: Shape,
    pub(crate) force: bool,
}

/// Writes the head, then the pool.
///
/// # Errors
/// Where a file is there already, or cannot be written.
pub(super) fn run(job: &MakePool, console: Console) -> Result<()> {
    let (started, shape) = (Instant::now(), job.shape);
    let head = head_of(&job.out);
    for out in [&job.out, &head] {
        pool::check_output(out, job.force)?;
    }
    let synthetic = Synthetic::new(shape);
    HeadFile::of(synthetic.head()?).write(&head, job.force)?;
    let (rows, dim) = (shape.rows, shape.dim);
    let mut writer = EmbeddingsWriter::create(&job.out, job.force, shape.dtype, rows, dim)?;
    let bar = console.bar(rows as u64, "making");
    let piece = (PIECE / (dim * shape.dtype.size())).max(1);
    for first in (0..rows).step_by(piece) {
        let range = first..rows.min(first + piece);
        bar.inc(range.len() as u64);
        writer.write(synthetic.rows(range).values())?;
    }
    writer.commit()?;
    bar.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    console.note(format!(
        "made {} rows of {dim} numbers ({}) and a head of {} classes in {seconds:.1} s\nwrote {} and {}",
        grouped(rows),
        shape.dtype,
        grouped(shape.classes),
        job.out.display(),
        head.display(),
    ));
    if !console.json {
        return Ok(());
    }
    let report = json!({
        "out": job.out,
        "head": head,
        "rows": rows,
        "dim": dim,
        "classes": shape.classes,
        "dtype": shape.dtype.to_string(),
        "seconds": seconds,
    });
    console.report(&report, |_| String::new())
}

/// `pool.safetensors` has `pool.head.safetensors` beside it.
fn head_of(pool: &Path) -> PathBuf {
    pool.with_extension("head.safetensors")
}
