//! What a strategy asks of an engine, exactly: for strategies of a crate of somebody's own.

use crate::definition::RowScore;
use crate::engine::CustomScore;
use crate::known::Entry;
use crate::lists::List;
use crate::pick::number;
use crate::scan::Scan;
use crate::strategies::{Listed, Request, Selection, class_pick};
use crate::{Engine, Error, Pick, Result, RowSet};

/// What rows are ranked by, smallest first.
#[derive(Debug, Clone, Copy)]
pub enum RowOrder<'s> {
    /// A score of the definitions.
    Score(RowScore),
    /// A score of somebody's own.
    Custom(&'s dyn CustomScore),
}

/// Passes over the pool of one request, each answered exactly: the rows, and their order, are those of the float64
/// definitions on any engine. `docs/adding-a-strategy.md` has a complete example.
pub struct Operations<'a> {
    scan: Scan<'a>,
    request: &'a Request<'a>,
}

impl<'a> Operations<'a> {
    /// Operations of `engine` on the request's pool and head, for the strategy of that name.
    ///
    /// # Errors
    /// Those of [`Request::head_for`], and of the engine.
    pub fn new(
        engine: &'a dyn Engine,
        request: &'a Request<'a>,
        strategy: &'static str,
    ) -> Result<Self> {
        let head = request.head_for(strategy)?;
        Ok(Self {
            scan: Scan::new(engine, request, head)?,
            request,
        })
    }

    /// The `keep` rows of `available` that come first, in order.
    ///
    /// # Errors
    /// Those of the pool and the engine, and [`Error::NonFiniteRow`]; [`Error::Shape`] where `available` does not count
    /// the pool's rows, and [`Error::Score`] where a score's bound on its errors is none.
    pub fn best_rows(
        &mut self,
        order: RowOrder<'_>,
        available: &RowSet,
        keep: usize,
    ) -> Result<Vec<Listed>> {
        let mut best = self.best_of_groups(order, available, &[keep], |_| 0)?;
        Ok(best.swap_remove(0))
    }

    /// Per group, the `keep[group]` rows of `available` that come first, in order, in one pass. `group` says which
    /// group a row is of: a number below that of the groups.
    ///
    /// # Errors
    /// As [`Operations::best_rows`], and [`Error::Shape`] where `group` gives an available row another number.
    pub fn best_of_groups(
        &mut self,
        order: RowOrder<'_>,
        available: &RowSet,
        keep: &[usize],
        group: impl Fn(usize) -> usize + Sync,
    ) -> Result<Vec<Vec<Listed>>> {
        self.check_rows(available)?;
        if let RowOrder::Custom(score) = order {
            check_bounds(score)?;
        }
        if keep.is_empty() {
            return Ok(Vec::new());
        }
        check_groups(available, keep.len(), &group)?;
        // Should it answer otherwise when it is asked again.
        let group = |row: usize| group(row).min(keep.len() - 1);
        let rows = available.len();
        let mut lists: Vec<List> = keep.iter().map(|keep| List::new(rows.min(*keep))).collect();
        match order {
            RowOrder::Score(score) => self.scan.add_rows(score, available, &mut lists, group)?,
            RowOrder::Custom(score) => self.scan.add_keys(score, available, &mut lists, group)?,
        }
        let mut best = Vec::with_capacity(lists.len());
        for list in lists {
            let (exact, keep) = (&mut self.scan.exact, list.keep);
            let picks = match order {
                RowOrder::Score(score) => exact.best_rows(score, list)?,
                RowOrder::Custom(score) => exact.key_picks(score, &list.entries)?,
            };
            let listed = |(entry, pick): &(Entry, Pick)| Listed::of(entry.lower, pick);
            let mut listed: Vec<Listed> = picks.iter().map(listed).collect();
            listed.sort_unstable_by(Listed::order);
            listed.truncate(keep);
            best.push(listed);
        }
        Ok(best)
    }

    /// Per class, the `keep[class]` rows of `available` with the smallest BASE scores, in order, in one pass.
    ///
    /// # Errors
    /// As [`Operations::best_rows`], and [`Error::Shape`] where there is not one number a class.
    pub fn best_of_classes(
        &mut self,
        available: &RowSet,
        keep: &[usize],
    ) -> Result<Vec<Vec<Listed>>> {
        self.check_rows(available)?;
        let classes = self.scan.exact.head.classes();
        if keep.len() != classes {
            return Err(Error::Shape {
                what: "rows to keep of each class".into(),
                expected: classes.to_string(),
                found: keep.len().to_string(),
            });
        }
        let rows = available.len();
        let keep: Vec<usize> = keep.iter().map(|keep| rows.min(*keep)).collect();
        let lists = self.scan.class_lists(available, &keep)?;
        let mut best = Vec::with_capacity(classes);
        for (class, mut list) in lists.into_iter().enumerate() {
            self.scan.exact.settle_list(class, &mut list)?;
            let entries = self.scan.exact.entries(&list.entries);
            let entries = entries.into_iter().map(|entry| (class, entry));
            let described = self.scan.exact.described(entries.collect())?;
            let listed = |(class, entry): &(usize, Entry)| {
                Listed::of(entry.lower, &class_pick(*class, entry))
            };
            best.push(described.iter().map(listed).collect());
        }
        Ok(best)
    }

    /// The selection of `picks`, in pick order, with what the passes took: numbers the picks.
    pub fn finish(self, mut picks: Vec<Pick>) -> Selection {
        let selection = self.scan.exact.selection;
        let candidates = self.request.available.len();
        number(
            &mut picks,
            candidates.saturating_sub(selection.nonfinite.len()),
        );
        Selection { picks, ..selection }
    }

    /// Whether `available` is a set over the pool's rows.
    fn check_rows(&self, available: &RowSet) -> Result<()> {
        let rows = self.request.pool.rows();
        match available.bound() == rows {
            true => Ok(()),
            false => Err(Error::Shape {
                what: "available rows".into(),
                expected: format!("a set over {rows} rows"),
                found: format!("a set over {}", available.bound()),
            }),
        }
    }
}

/// Whether every available row is of one of the groups.
fn check_groups(available: &RowSet, groups: usize, group: &impl Fn(usize) -> usize) -> Result<()> {
    for row in available.iter() {
        let found = group(row);
        if found >= groups {
            return Err(Error::Shape {
                what: format!("the group of row {row}"),
                expected: format!("a number below {groups}"),
                found: found.to_string(),
            });
        }
    }
    Ok(())
}

/// Whether what a score says of its errors are bounds: intervals of negative width would leave rows out.
fn check_bounds(score: &dyn CustomScore) -> Result<()> {
    let rounding = score.rounding();
    let bounds = [
        ("steepness", score.steepness()),
        ("absolute rounding", rounding.absolute),
        ("relative rounding", rounding.relative),
    ];
    let none = |bound: f64| bound.is_nan() || bound < 0.0;
    match bounds.into_iter().find(|(_, bound)| none(*bound)) {
        Some((what, found)) => Err(Error::Score {
            score: score.name().into(),
            what,
            found,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Rounding;
    use crate::{CpuEngine, Head, MemoryPool, Values};

    /// The first class's logit, with whatever is said of its errors.
    struct First {
        steepness: f64,
        absolute: f64,
        relative: f64,
    }

    impl CustomScore for First {
        fn name(&self) -> &str {
            "first"
        }

        fn key(&self, logits: &[f64]) -> f64 {
            logits[0]
        }

        fn steepness(&self) -> f64 {
            self.steepness
        }

        fn wgsl(&self) -> &str {
            "fn row_key(row: u32) -> f32 { return logit(row, 0u); }"
        }

        fn rounding(&self) -> Rounding {
            Rounding {
                absolute: self.absolute,
                relative: self.relative,
            }
        }
    }

    /// Runs `test` on operations over 70 rows, of which row r has r + 1 as its first logit.
    fn with_operations(test: impl FnOnce(Operations<'_>)) {
        let values: Vec<f32> = (0..70).flat_map(|row| [row as f32 + 1.0, 0.5]).collect();
        let pool = MemoryPool::new(Values::F32(&values), 2).unwrap();
        let head = Head::new(vec![1.0, 0.0, 0.0, 1.0], vec![0.0; 2], 2).unwrap();
        let available = RowSet::all(70);
        let request = Request {
            head: Some(&head),
            ..Request::new(&pool, &available, 3)
        };
        let engine = CpuEngine::new();
        test(Operations::new(&engine, &request, "test").unwrap());
    }

    const EXACT: First = First {
        steepness: 1.0,
        absolute: 0.0,
        relative: 0.0,
    };

    #[test]
    fn sets_over_other_rows_are_refused() {
        with_operations(|mut operations| {
            let orders = [RowOrder::Score(RowScore::Mase), RowOrder::Custom(&EXACT)];
            for bound in [0, 1, 69, 71, 1000] {
                for available in [RowSet::none(bound), RowSet::all(bound)] {
                    let mut said = Vec::new();
                    for order in orders {
                        let best = operations.best_rows(order, &available, 2);
                        said.push(best.unwrap_err().to_string());
                    }
                    let best = operations.best_of_classes(&available, &[1, 1]);
                    said.push(best.unwrap_err().to_string());
                    let expected = format!(
                        "available rows: expected a set over 70 rows, found a set over {bound}"
                    );
                    assert_eq!(said, [&expected[..]; 3]);
                }
            }
            let none = operations.best_rows(orders[1], &RowSet::none(70), 2);
            assert_eq!(none.unwrap().len(), 0);
        });
    }

    #[test]
    fn groups_that_are_not_there_are_refused() {
        with_operations(|mut operations| {
            let mut available = RowSet::all(70);
            for order in [RowOrder::Score(RowScore::Mase), RowOrder::Custom(&EXACT)] {
                let mut best = |available: &RowSet, of: fn(usize) -> usize| {
                    operations.best_of_groups(order, available, &[2, 2], of)
                };
                let late = best(&available, |row| if row < 66 { row % 2 } else { 2 });
                assert_eq!(
                    late.unwrap_err().to_string(),
                    "the group of row 66: expected a number below 2, found 2"
                );
                let far = best(&available, |row| usize::MAX * (row / 5)).unwrap_err();
                assert!(far.to_string().contains("row 5:"), "{far}");
                // Rows that are not available have no group.
                available.remove(3);
                let others = best(&available, |row| if row == 3 { 9 } else { row % 2 });
                assert_eq!(others.unwrap().len(), 2);
                available.insert(3);
            }
        });
    }

    #[test]
    fn bounds_that_are_none_are_refused() {
        with_operations(|mut operations| {
            let available = RowSet::all(70);
            let mut best = |score: First| {
                let best = operations.best_rows(RowOrder::Custom(&score), &available, 3)?;
                Ok::<Vec<usize>, Error>(best.iter().map(|listed| listed.row).collect())
            };
            for bad in [-1.0, -1e-300, f64::NEG_INFINITY, f64::NAN] {
                for (steepness, absolute, relative, what) in [
                    (bad, 0.0, 0.0, "steepness"),
                    (1.0, bad, 0.0, "absolute rounding"),
                    (1.0, 0.0, bad, "relative rounding"),
                ] {
                    let refused = best(First {
                        steepness,
                        absolute,
                        relative,
                    });
                    let said = refused.unwrap_err().to_string();
                    let expected =
                        format!("score first: its {what} is {bad}, which bounds nothing");
                    assert!(said.starts_with(&expected), "{said}");
                }
            }
            for none in [0.0, -0.0, 1e300, f64::INFINITY] {
                let found = best(First {
                    steepness: 1.0 + none.abs(),
                    absolute: none,
                    relative: none,
                });
                assert_eq!(found.unwrap(), [0, 1, 2]);
            }
        });
    }
}
