//! Whether burn's operations compute what ours do: nothing else is worth comparing with.

use std::collections::HashSet;

use equipoise::core::{Head, Pick, definition};

use crate::failure::{Failure, Result};

/// Rows whose numbers are compared.
pub(super) const ROWS: usize = 64;

/// Most that a number may be off, of the largest: devices may round factors to ten bits (TF32).
const OFF: f64 = 1e-2;

/// Least share of our picks that have to be among theirs: near ties fall either way.
const SHARED: f64 = 0.9;

/// Whether `found` are the logits, (rows, C), of `rows`, (rows, M).
///
/// # Errors
/// Where one is not.
pub(super) fn logits_agree(found: &[f32], rows: &[f32], head: &Head) -> Result<()> {
    let exact = rows.chunks(head.dim());
    let exact: Vec<f64> = exact.flat_map(|x| definition::logits(x, head)).collect();
    agree("logit", found, &exact)
}

/// Whether `found` are the two largest logits, (rows, 2), of `rows`, (rows, M).
///
/// # Errors
/// Where one is not.
pub(super) fn tops_agree(found: &[f32], rows: &[f32], head: &Head) -> Result<()> {
    let exact = rows.chunks(head.dim()).flat_map(|x| {
        let mut logits = definition::logits(x, head);
        logits.sort_by(|a, b| b.total_cmp(a));
        logits.truncate(2);
        logits
    });
    agree("largest logits", found, &exact.collect::<Vec<_>>())
}

/// Whether most of our picks are among theirs, which are rows.
///
/// # Errors
/// Where too few are.
pub(super) fn picks_agree(found: &[i64], ours: &[Pick]) -> Result<()> {
    let found: HashSet<i64> = found.iter().copied().collect();
    let shared = ours
        .iter()
        .filter(|pick| found.contains(&(pick.row as i64)));
    let (shared, all) = (shared.count(), ours.len());
    match shared as f64 >= SHARED * all as f64 && found.len() == all {
        true => Ok(()),
        false => Err(Failure::new(format!(
            "its {} picks have {shared} of our {all} among them",
            found.len()
        ))),
    }
}

fn agree(what: &str, found: &[f32], exact: &[f64]) -> Result<()> {
    if found.len() != exact.len() {
        let (found, exact) = (found.len(), exact.len());
        return Err(Failure::new(format!("{found} numbers, not {exact}")));
    }
    let largest = exact
        .iter()
        .fold(0.0, |most: f64, exact| most.max(exact.abs()));
    let off = |(found, exact): (&f32, &f64)| (f64::from(*found) - exact).abs();
    let pairs = || found.iter().zip(exact);
    let is_wrong = |off: f64| off.is_nan() || off > OFF * largest;
    match pairs().position(|pair| is_wrong(off(pair))) {
        None => Ok(()),
        Some(at) => Err(Failure::new(format!(
            "{what} {at} of its first rows is {}, not {}",
            found[at], exact[at]
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_burn_computes_is_compared_with_the_definition() {
        let head = Head::new(vec![1.0, 0.0, 0.0, 1.0, 1.0, 1.0], vec![0.0, 0.0, 1.0], 2).unwrap();
        let rows = [3.0, 1.0, -1.0, 2.0];
        let logits = [3.0, 1.0, 5.0, -1.0, 2.0, 2.0];
        logits_agree(&logits, &rows, &head).unwrap();
        tops_agree(&[5.0, 3.0, 2.0, 2.0], &rows, &head).unwrap();
        for wrong in [2.0, f32::NAN] {
            let mut logits = logits;
            logits[3] = wrong;
            let said = logits_agree(&logits, &rows, &head).unwrap_err().message();
            assert!(
                said.contains("logit 3") && said.contains("not -1"),
                "{said}"
            );
        }
        assert!(tops_agree(&[5.0, 1.0, 2.0, 2.0], &rows, &head).is_err());
        assert!(logits_agree(&logits[..3], &rows, &head).is_err());
    }

    #[test]
    fn a_tenth_of_the_picks_may_be_others() {
        let ours: Vec<Pick> = (0..20).map(Pick::of_row).collect();
        let theirs = |from: i64| (from..from + 20).collect::<Vec<_>>();
        picks_agree(&theirs(0), &ours).unwrap();
        picks_agree(&theirs(2), &ours).unwrap();
        let said = picks_agree(&theirs(3), &ours).unwrap_err().message();
        assert!(said.contains("17 of our 20"), "{said}");
        // Twice the same row is one pick.
        assert!(picks_agree(&[0; 20], &ours).is_err());
    }
}
