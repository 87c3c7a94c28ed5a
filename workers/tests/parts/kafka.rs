//! Real Kafka behind the traits of the log.

mod contract;
mod group;
mod security;
mod support;
