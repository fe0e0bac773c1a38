//! Arguments that constrain BASE's picks.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use crate::commands::constraints::Wanted;

/// What picks must keep to beyond quotas.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Constraints (base)")]
pub(super) struct ConstraintArgs {
    /// Skip rows nearer than R (Euclidean distance of embeddings) to a labelled or picked one
    #[arg(long, value_name = "R", value_parser = distance)]
    min_distance: Option<f64>,
    /// Pick at most N rows of each value of a column of the pool's metadata, or of --metadata.
    /// Repeatable
    #[arg(long, value_name = "COLUMN=N")]
    group_cap: Vec<Cap>,
    /// CSV with `id` or `row` and the columns of --group-cap, instead of the pool's own metadata; it
    /// names every available row
    #[arg(long, value_name = "FILE")]
    metadata: Option<PathBuf>,
    /// CSV with `id` or `row`, and `cost`: budget and quotas count cost, and a row that does not fit into
    /// what is left of them is skipped. It names every available row
    #[arg(long, value_name = "FILE")]
    cost: Option<PathBuf>,
}

/// `COLUMN=N`.
#[derive(Debug, Clone)]
struct Cap {
    column: String,
    most: usize,
}

impl FromStr for Cap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("`{text}` is not COLUMN=N with a whole number N");
        let (column, most) = text.rsplit_once('=').ok_or_else(wrong)?;
        match (column.is_empty(), most.parse()) {
            (false, Ok(most)) => Ok(Self {
                column: column.into(),
                most,
            }),
            _ => Err(wrong()),
        }
    }
}

fn distance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(distance) if distance > 0.0 && distance.is_finite() => Ok(distance),
        _ => Err("a distance is a number above 0".into()),
    }
}

impl ConstraintArgs {
    /// What was meant.
    pub(super) fn meant(&self) -> Wanted {
        let caps = self.group_cap.iter();
        Wanted {
            min_distance: self.min_distance,
            caps: caps.map(|cap| (cap.column.clone(), cap.most)).collect(),
            metadata: self.metadata.clone(),
            costs: self.cost.clone(),
        }
    }
}
