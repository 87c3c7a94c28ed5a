//! placeholder until merged
use super::row::{Reject, Row};
use logpipe_api::Plan;
use logpipe_api::pipeline::{Granularity, Transform};
pub struct LineParser;
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct ParseError;
pub struct Resolved { pub plan: Plan, pub why: String }
impl LineParser {
    pub fn compile(_: &Plan) -> Result<Self, ParseError> { Ok(Self) }
    pub fn parse(&mut self, _: &str, _: i64, _: &mut Row) -> Result<(), Reject> { todo!() }
}
pub fn resolve(_: &Transform, _: Granularity, _: &[&[u8]], _: i64) -> Result<Resolved, ParseError> { todo!() }
pub fn needs_sample(_: &Transform) -> bool { true }
