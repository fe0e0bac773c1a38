//! Repeating work until its median is known.

use std::time::{Duration, Instant};

use super::row::Timing;
use crate::failure::Result;

/// Least runs that a median is of, unless they take too long: five against five can differ with significance.
const LEAST: usize = 5;

/// Most runs.
const MOST: usize = 200;

/// What takes longer is not repeated for the sake of `LEAST`.
const LONG: Duration = Duration::from_millis(500);

/// The median time of `work`, repeated for about `budget`, after a run to warm up. Work that takes longer
/// than that is not repeated as often: with `steady`, where the first run is as good as any, not at all.
///
/// # Errors
/// What `work` says.
pub(super) fn median(
    budget: Duration,
    steady: bool,
    mut work: impl FnMut() -> Result<()>,
) -> Result<Timing> {
    let mut run = || {
        let start = Instant::now();
        work().map(|()| start.elapsed())
    };
    let first = run()?;
    if steady && first > 2 * budget.max(LONG) {
        return Ok(of_host(&[first]));
    }
    let (start, mut times) = (Instant::now(), Vec::new());
    loop {
        times.push(run()?);
        let spent = start.elapsed();
        let enough = times.len() >= LEAST && spent >= budget;
        if enough || times.len() >= MOST || spent >= 4 * budget.max(LONG) {
            break;
        }
    }
    Ok(of_host(&times))
}

fn of_host(times: &[Duration]) -> Timing {
    Timing {
        samples: times.iter().map(Duration::as_secs_f64).collect(),
        runs: times.len(),
        on_device: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_run_only_warms_up() {
        let mut runs = 0;
        let timing = median(Duration::from_millis(20), true, || {
            runs += 1;
            std::thread::sleep(Duration::from_millis(if runs == 1 { 40 } else { 2 }));
            Ok(())
        });
        let timing = timing.unwrap();
        assert!(timing.runs == runs - 1 && timing.runs >= LEAST);
        assert!((0.002..0.03).contains(&timing.median()), "{timing:?}");
    }

    #[test]
    fn no_time_is_time_for_one_run() {
        let timing = median(Duration::ZERO, false, || Ok(()));
        assert!(timing.unwrap().runs >= 1);
    }
}
