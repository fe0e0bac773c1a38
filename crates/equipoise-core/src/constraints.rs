//! What BASE's picks must keep to beyond quotas, and what kept a class from filling its own.

use crate::{Error, Result, RowSet};

/// Constraints on one round's picks. A class goes through the available rows in the order of its scores and
/// takes each that is allowed, until its quota is used up.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Constraints<'a> {
    /// Rows nearer than this (Euclidean) to a labelled or picked one are not picked; positive and finite.
    pub min_distance: Option<f64>,
    /// Groups of which only so many rows may be picked.
    pub groups: &'a [Groups],
    /// What each row of the pool costs, at least 0: budget and quotas then count cost, and a row that does not
    /// fit into what is left of them is not picked.
    pub costs: Option<&'a [f64]>,
}

/// Rows in groups, by the values of a column.
#[derive(Debug, Clone, PartialEq)]
pub struct Groups {
    /// The column's name.
    pub column: String,
    /// The groups' names.
    pub names: Vec<String>,
    /// Per row of the pool, its group; `None` for a row in none.
    pub of_rows: Vec<Option<u32>>,
    /// Most rows of a group that a round may pick.
    pub cap: usize,
}

/// A class that did not fill its quota, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Shortfall {
    /// The class.
    pub class: u32,
    /// Rows, or cost, that it fell short by.
    pub missing: f64,
    /// Rows that it met and that lay too near to labelled or picked ones.
    pub too_near: usize,
    /// Rows that it met and whose group was full.
    pub group_full: usize,
    /// Those groups, as `column=value`.
    pub groups: Vec<String>,
    /// Rows that it met and that cost more than was left.
    pub too_costly: usize,
}

impl Shortfall {
    /// That of a class that misses nothing.
    pub(crate) fn none(class: u32) -> Self {
        Self {
            class,
            missing: 0.0,
            too_near: 0,
            group_full: 0,
            groups: Vec::new(),
            too_costly: 0,
        }
    }
}

impl Constraints<'_> {
    /// Whether there is any.
    pub fn any(&self) -> bool {
        *self != Constraints::default()
    }

    /// Whether they fit a pool of `rows` rows.
    ///
    /// # Errors
    /// [`Error::Constraints`].
    pub fn check(&self, rows: usize) -> Result<()> {
        let wrong = |what: String| Err(Error::Constraints(what));
        if let Some(distance) = self.min_distance
            && !(distance > 0.0 && distance.is_finite())
        {
            return wrong(format!(
                "the least distance is {distance}: it is above 0 and finite"
            ));
        }
        for groups in self.groups {
            if groups.of_rows.len() != rows {
                let found = groups.of_rows.len();
                return wrong(format!(
                    "{found} rows have a {}, the pool has {rows}",
                    groups.column
                ));
            }
        }
        let Some(costs) = self.costs else {
            return Ok(());
        };
        if costs.len() != rows {
            return wrong(format!("{} costs for {rows} rows", costs.len()));
        }
        match costs
            .iter()
            .position(|cost| !(*cost >= 0.0 && cost.is_finite()))
        {
            Some(row) => wrong(format!(
                "row {row} costs {}: costs are 0 or more",
                costs[row]
            )),
            None => Ok(()),
        }
    }

    /// What a row costs.
    pub(crate) fn cost(&self, row: usize) -> f64 {
        self.costs.map_or(1.0, |costs| costs[row])
    }

    /// The least cost of some rows.
    pub(crate) fn least_cost(&self, rows: &RowSet) -> f64 {
        let costs = rows.iter().map(|row| self.cost(row));
        costs.fold(f64::INFINITY, f64::min)
    }
}
