//! Lines of a user's regular expression: its named groups are the fields. Pure.

use regex::{CaptureLocations, Regex, RegexBuilder};

use super::ParseError;
use super::columns::no_event_time;
use super::slots::{self, COMMON, Slots, TIMESTAMP};
use super::time::Clock;
use crate::etl::row::Reject;

/// The most memory of a compiled expression, in bytes. Matching takes time linear in the line whatever
/// the expression says.
const MOST_BYTES: usize = 4 << 20;

/// A compiled expression.
#[derive(Debug)]
pub(super) struct Pattern {
    regex: Regex,
    groups: CaptureLocations,
    fields: Vec<String>,
    /// The slot of each group; `None` for those without a name.
    slots: Vec<Option<usize>>,
}

impl Pattern {
    pub(super) fn compile(pattern: &str) -> Result<Self, ParseError> {
        let regex = RegexBuilder::new(pattern)
            .size_limit(MOST_BYTES)
            .dfa_size_limit(MOST_BYTES)
            .build()
            .map_err(ParseError::Pattern)?;
        let mut fields: Vec<String> = COMMON.map(str::to_owned).into();
        let mut slot = |name: &str| {
            let known = fields.iter().position(|field| field == name);
            known.unwrap_or_else(|| {
                fields.push(name.to_owned());
                fields.len() - 1
            })
        };
        let slots: Vec<Option<usize>> = regex
            .capture_names()
            .map(|name| name.map(&mut slot))
            .collect();
        if slots.iter().all(Option::is_none) {
            return Err(ParseError::NoGroups);
        }
        Ok(Self {
            groups: regex.capture_locations(),
            regex,
            fields,
            slots,
        })
    }

    pub(super) fn fields(&self) -> &[String] {
        &self.fields
    }

    pub(super) fn read(
        &mut self,
        line: &str,
        clock: &mut Clock,
        slots: &mut Slots,
    ) -> Result<(), Reject> {
        if self.regex.captures_read(&mut self.groups, line).is_none() {
            return Err(slots::missing("match of the pattern", line, 0));
        }
        for (group, slot) in self.slots.iter().enumerate() {
            let (Some(slot), Some((start, end))) = (*slot, self.groups.get(group)) else {
                continue;
            };
            slots.set(slot, start, end);
            let text = &line[start..end];
            if slot == TIMESTAMP && !text.is_empty() {
                let read = clock.whole(text);
                slots.time = Some(read.map_err(|fault| no_event_time("timestamp", text, fault))?);
            }
        }
        Ok(())
    }
}
