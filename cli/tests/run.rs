//! `logpipe run` as a person meets it: the program itself, on small inputs, good and bad. After each, the
//! audit must find every line exactly once.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "run/bytes.rs"]
mod bytes;
#[path = "run/checkpoint.rs"]
mod checkpoint;
#[path = "run/damage.rs"]
mod damage;
#[path = "run/files.rs"]
mod files;
#[path = "run/full.rs"]
mod full;
#[path = "run/generator.rs"]
mod generator;
#[path = "run/refusal.rs"]
mod refusal;
#[path = "run/transform.rs"]
mod transform;
#[path = "run/world.rs"]
mod world;

use world::World;

/// Lines as applications write them, numbered.
fn lines(numbers: std::ops::Range<u32>) -> String {
    let line = |n: u32| {
        let (minute, second) = (n / 60 % 60, n % 60);
        format!("2026-01-31 07:{minute:02}:{second:02},000 INFO line {n:05}\n")
    };
    numbers.map(line).collect::<Vec<_>>().concat()
}

/// The messages of [`lines`].
fn messages(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|n| format!("line {n:05}")).collect()
}
