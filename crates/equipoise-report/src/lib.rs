//! What a selection looks like: class counts, measures of balance, text tables, an HTML page.

mod balance;
mod page;
mod table;

pub use balance::Balance;
pub use page::{Group, Page, Tile};
pub use table::Table;
