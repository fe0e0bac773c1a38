//! Picks equal the definition's, in order, on every engine.

mod badge;
mod balanced_random;
mod balancing;
mod constraints;
mod coreset;
mod custom;
mod devices;
mod engines;
mod fixtures;
mod generated;
mod margin_clustering;
mod shards;
mod streams;
mod truth;
