//! Benchmarks of Equipoise.
