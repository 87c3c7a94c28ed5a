//! From records to Parquet.

pub mod name;
pub mod parse;
pub mod receive;
pub mod row;
