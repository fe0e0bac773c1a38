//! Picks equal the definition's, in order, on every engine.

mod badge;
mod constraints;
mod coreset;
mod devices;
mod engines;
mod fixtures;
mod generated;
mod shards;
