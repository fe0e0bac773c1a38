//! What a selection looks like in numbers: class counts, measures of balance, text tables.

mod balance;
mod table;

pub use balance::Balance;
pub use table::Table;
