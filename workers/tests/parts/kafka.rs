//! Real Kafka behind the traits of the log.

mod contract;
mod faults;
mod group;
mod security;
mod support;
mod topic;
