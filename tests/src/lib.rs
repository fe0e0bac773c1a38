//! Tests that cross the crates of Equipoise, and what they share: the picks that the definition
//! asks for, generated cases, fixtures, and engines and pools that break work into odd parts.

pub mod brute_balance;
pub mod brute_clusters;
pub mod brute_force;
pub mod cases;
pub mod fixtures;
pub mod parts;
