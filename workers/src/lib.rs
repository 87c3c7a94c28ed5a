//! The data path of a pipeline as library roles: generate → tail → produce → log → ETL → Parquet. The
//! worker containers and `logpipe run` wire the same roles; there is no second implementation of anything.

pub mod checkpoint;
pub mod counters;
mod durable;
pub mod ended;
pub mod etl;
pub mod generate;
pub mod log;
pub mod metrics;
pub mod produce;
mod settings;
pub mod store;
pub mod tail;
