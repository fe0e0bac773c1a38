//! `--watch`: kernels in files, measured again whenever a file changes. The last version that was right stays the one to beat.

use std::time::{Duration, SystemTime};

use super::own::OwnKernel;
use super::row::Row;
use crate::console::{Console, print};
use crate::failure::Result;

/// How often files are looked at.
const EVERY: Duration = Duration::from_millis(200);

/// A file, and when it was changed last.
pub(super) struct Watched<'a> {
    own: &'a OwnKernel,
    seen: Option<SystemTime>,
    /// The last version that was right.
    last: Option<Row>,
}

impl<'a> Watched<'a> {
    /// A file whose kernel, if it was right, is in `rows`. One that was not even `read` is looked at at once.
    pub(super) fn new(own: &'a OwnKernel, read: bool, rows: &[Row]) -> Self {
        let label = own.label();
        let of_it = |row: &&Row| row.variant == label && row.name == own.kernel;
        Self {
            own,
            seen: changed(own).filter(|_| read),
            last: rows.iter().find(of_it).cloned(),
        }
    }

    /// Whether it has changed since it was looked at.
    fn is_new(&mut self) -> bool {
        let now = changed(self.own);
        // An editor may replace the file: there is none for a moment.
        let new = now.is_some() && now != self.seen;
        if new {
            self.seen = now;
        }
        new
    }
}

fn changed(own: &OwnKernel) -> Option<SystemTime> {
    std::fs::metadata(&own.path).ok()?.modified().ok()
}

/// Measures whatever changes until the program is ended. `measure` is given the kernel and returns its row, or what is wrong
/// with it.
///
/// # Errors
/// Where stdout cannot be written, or nothing can be measured any more.
pub(super) fn run(
    watched: &mut [Watched<'_>],
    console: Console,
    mut measure: impl FnMut(&OwnKernel) -> Result<std::result::Result<Row, String>>,
) -> Result<()> {
    let names: Vec<String> = watched.iter().map(|watched| watched.own.label()).collect();
    console.note(format!("watching {}: ctrl-C ends it", names.join(", ")));
    loop {
        std::thread::sleep(EVERY);
        for watched in watched.iter_mut() {
            if !watched.is_new() {
                continue;
            }
            let name = watched.own.label();
            match measure(watched.own)? {
                Ok(row) => {
                    let last = watched.last.as_ref().filter(|last| last.is_of(&row));
                    let against = last.map_or_else(String::new, |last| {
                        format!(", {:.2} of the last", row.median_ms / last.median_ms)
                    });
                    let [low, high] = row.quartiles_ms;
                    let (shape, median) = (row.shape(), row.median_ms);
                    print(&format!(
                        "{name} {shape}: right, {median:.3} ms ({low:.3} to {high:.3}){against}\n"
                    ))?;
                    watched.last = Some(row);
                }
                Err(reason) => {
                    let kept = watched.last.as_ref().map_or_else(String::new, |last| {
                        format!("; the last right one stays, {:.3} ms", last.median_ms)
                    });
                    print(&format!("{name}: {reason}{kept}\n"))?;
                }
            }
        }
    }
}
