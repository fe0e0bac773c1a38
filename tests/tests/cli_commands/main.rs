//! The command line from outside: exit statuses, messages, files.

mod about;
mod bad_input;
mod bench;
mod bench_kernels;
mod compare;
mod constraints;
mod demo;
mod embed;
mod inspect;
mod machine;
mod memory;
mod round;
mod select;
mod shards;
mod simulate;
mod strategies;
mod support;
