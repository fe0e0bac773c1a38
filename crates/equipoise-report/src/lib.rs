//! What a selection looks like: class counts, measures of balance, text tables, an HTML page.

mod balance;
mod bars;
mod document;
mod html;
mod lines;
mod number;
mod page;
mod roofline;
mod table;

pub use balance::Balance;
pub use bars::{Bars, bars_svg};
pub use document::{Block, Cell, Document, Grid, Strip};
pub use lines::{Line, LinePoint, Lines};
pub use number::rounded;
pub use page::{Group, Page, Tile};
pub use roofline::{Point, Roof, Roofline};
pub use table::Table;
