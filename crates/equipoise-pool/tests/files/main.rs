//! Files as they are written and read: round trips, damage, interruption.

mod candidates;
mod corpora;
mod heads;
mod lists;
mod manifests;
#[cfg(feature = "parquet")]
mod parquet;
mod parts;
mod picks;
mod pools;
mod python;
mod shared;
mod sources;
mod stores;
mod support;
