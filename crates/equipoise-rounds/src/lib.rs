//! Rounds of active learning: select, label, train, test, and again.
//!
//! [`simulate()`] plays them on a data set whose labels are all known, for any number of strategies and seeds, and
//! keeps a [ledger](Ledger) of every step, so that a run that was stopped goes on where it stopped.
//! [`Results`] says what came of it, with intervals over the seeds.

mod campaign;
mod config;
mod data;
mod error;
mod fine_tuned;
mod learner;
mod ledger;
mod measures;
mod report;
mod results;
mod rounds;
mod run_folder;
mod setup;
mod simulate;
mod statistics;
mod stored_images;
mod vaal;

pub use campaign::{Campaign, CampaignRound, Standing};
pub use config::{
    BadgeStart, Config, Data, Experiment, ImbalanceType, InitialType, LinkageName, MajorityName,
    Mode, OrderName, Overrides, PRESETS, QuotasName, ScheduleName, TEMPLATE, Training, Vaal,
    Variant, differing, preset, resolve,
};
pub use data::DataSet;
pub use error::Error;
pub use fine_tuned::FineTuned;
pub use learner::{Embedded, Frozen, Learned, Learner, Model, Task};
pub use ledger::{Entry, LEDGER_VERSION, Ledger, Seconds};
pub use measures::{Measures, Scores};
pub use report::report;
pub use results::{Curve, Efficiency, Point, Results, Run, Tested};
pub use run_folder::RunFolder;
pub use setup::Setup;
pub use simulate::{Progress, Simulation, simulate};
pub use statistics::Interval;

/// Result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;
