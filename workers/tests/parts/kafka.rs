//! Real Kafka behind the traits of the log.

mod contract;
mod support;
