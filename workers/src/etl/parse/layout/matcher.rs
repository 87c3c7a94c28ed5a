//! Reads one line by one layout. Fields of open length are tried from the shortest, so that the first
//! way in which the whole header fits is taken; the number of tries is bounded, and so is the time.

use memchr::{memchr, memrchr};

use super::{Class, HEADER, Step};
use crate::etl::parse::level::{is_level, is_level_letter};
use crate::etl::parse::slots::{self, Slots};
use crate::etl::parse::time::{Clock, TimeFault};
use crate::etl::row::Reject;

/// The longest thread, logger or host in bytes.
const LONGEST_FIELD: usize = 512;
/// How many ends of fields are tried for one line.
const MOST_TRIES: u32 = 64;

/// How far a layout fitted.
#[derive(Clone, Debug, Default)]
pub(super) struct Failure {
    at: usize,
    expected: String,
    pub(super) invalid: Option<&'static str>,
}

impl Failure {
    /// The failure to tell of: a time that does not exist, else the layout that came farthest.
    pub(super) fn is_worse_than(&self, other: &Self) -> bool {
        (self.invalid.is_some(), self.at) > (other.invalid.is_some(), other.at)
    }

    pub(super) fn into_reject(self, line: &str) -> Reject {
        match self.invalid {
            Some(why) => slots::no_such_time(why, line, self.at),
            None => slots::missing(&self.expected, line, self.at),
        }
    }
}

struct Matcher<'a> {
    steps: &'a [Step],
    /// Without the white space at its end.
    line: &'a [u8],
    clock: &'a mut Clock,
    slots: &'a mut Slots,
    tries: u32,
    /// The farthest place where a step did not fit, and that step.
    farthest: (usize, usize),
    invalid: Option<(usize, &'static str)>,
}

/// Reads a line by a layout.
pub(super) fn read(
    steps: &[Step],
    line: &str,
    clock: &mut Clock,
    slots: &mut Slots,
) -> Result<(), Failure> {
    if steps == [Step::Message] {
        slots.set(HEADER.2, 0, line.len());
        return Ok(());
    }
    let mut matcher = Matcher {
        steps,
        line: line.as_bytes().trim_ascii_end(),
        clock,
        slots,
        tries: MOST_TRIES,
        farthest: (0, 0),
        invalid: None,
    };
    if matcher.run(0, 0) {
        return Ok(());
    }
    let (at, step) = matcher.farthest;
    Err(match matcher.invalid {
        Some((at, why)) => Failure {
            at,
            expected: String::new(),
            invalid: Some(why),
        },
        None => Failure {
            at,
            expected: steps
                .get(step)
                .map_or_else(|| "end of the line".to_owned(), Step::expected),
            invalid: None,
        },
    })
}

impl Matcher<'_> {
    /// Whether the steps from `step` on fit the line from `at` on.
    fn run(&mut self, mut step: usize, mut at: usize) -> bool {
        let steps = self.steps;
        while let Some(next) = steps.get(step) {
            let end = match next {
                Step::Space => self.space(step, at),
                Step::Literal(text) => self.literal(text, at),
                Step::Time(shape) => match self.time(*shape, at) {
                    Ok(end) => Some(end),
                    Err(()) => return false,
                },
                Step::Level => self.level(at),
                Step::LevelLetter => self.level_letter(at),
                Step::Message if step + 1 == steps.len() => {
                    self.slots
                        .set(HEADER.2, at.min(self.line.len()), self.line.len());
                    return true;
                }
                Step::Message => return self.message_then(step, at),
                Step::Field { slot, class } => match (class, steps.get(step + 1)) {
                    (Class::Digits, _) => self.digits(*slot, at),
                    (Class::Text, Some(_)) | (_, Some(Step::Literal(_))) => {
                        return self.open_field(step, *slot, *class, at);
                    }
                    _ => self.word(*slot, *class, at),
                },
            };
            match end {
                Some(end) => at = end,
                None => return self.fail(step, at),
            }
            step += 1;
        }
        at == self.line.len() || self.fail(step, at)
    }

    fn fail(&mut self, step: usize, at: usize) -> bool {
        self.farthest = self.farthest.max((at, step));
        false
    }

    fn skip_spaces(&self, at: usize) -> usize {
        let mut end = at;
        while matches!(self.line.get(end), Some(b' ' | b'\t')) {
            end += 1;
        }
        end
    }

    /// A space; none is needed at the end of the line, where an empty message follows.
    fn space(&self, step: usize, at: usize) -> Option<usize> {
        let end = self.skip_spaces(at);
        let empty_message =
            || at == self.line.len() && self.steps.get(step + 1..) == Some(&[Step::Message]);
        (end > at || empty_message()).then_some(end)
    }

    fn literal(&self, text: &[u8], at: usize) -> Option<usize> {
        let start = if at == 0 { 0 } else { self.skip_spaces(at) };
        self.line
            .get(start..)?
            .starts_with(text)
            .then_some(start + text.len())
    }

    fn time(
        &mut self,
        shape: Option<crate::etl::parse::time::Shape>,
        at: usize,
    ) -> Result<usize, ()> {
        let text = self.line.get(at..).unwrap_or_default();
        let read = match shape {
            Some(shape) => self.clock.read(shape, text),
            None => self.clock.any(text),
        };
        match read {
            Ok((instant, length)) => {
                self.slots.time = Some(instant);
                self.slots.set(HEADER.0, at, at + length);
                return Ok(at + length);
            }
            Err(TimeFault::Invalid(why)) => self.invalid = Some((at, why)),
            Err(TimeFault::Absent) => {
                self.fail(
                    self.steps
                        .iter()
                        .position(|step| matches!(step, Step::Time(_)))
                        .unwrap_or(0),
                    at,
                );
            }
        }
        Err(())
    }

    fn level(&mut self, at: usize) -> Option<usize> {
        let start = self.skip_spaces(at);
        let rest = self.line.get(start..)?;
        let mut length = 0;
        while length < 12 && rest.get(length).is_some_and(u8::is_ascii_alphanumeric) {
            length += 1;
        }
        let goes_on = rest
            .get(length)
            .is_some_and(|byte| *byte == b'_' || !byte.is_ascii());
        if goes_on || !is_level(&rest[..length]) {
            return None;
        }
        self.slots.set(HEADER.1, start, start + length);
        Some(start + length)
    }

    fn level_letter(&mut self, at: usize) -> Option<usize> {
        self.line
            .get(at)
            .filter(|letter| is_level_letter(**letter))?;
        self.slots.set(HEADER.1, at, at + 1);
        Some(at + 1)
    }

    fn digits(&mut self, slot: usize, at: usize) -> Option<usize> {
        let start = self.skip_spaces(at);
        let rest = self.line.get(start..)?;
        let length = rest
            .iter()
            .take(18)
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if length == 0 {
            return None;
        }
        self.slots.set(slot, start, start + length);
        Some(start + length)
    }

    /// A word that ends at a space or at the end of the line.
    fn word(&mut self, slot: usize, class: Class, at: usize) -> Option<usize> {
        let end = self.word_end(at);
        if !class.allows(self.line.get(at..end)?) {
            return None;
        }
        self.slots.set(slot, at, end);
        Some(end)
    }

    fn word_end(&self, at: usize) -> usize {
        let rest = self.line.get(at..).unwrap_or_default();
        let most = rest.len().min(LONGEST_FIELD);
        at + rest[..most]
            .iter()
            .position(|byte| matches!(byte, b' ' | b'\t'))
            .unwrap_or(most)
    }

    /// A field that ends where the steps behind it fit.
    fn open_field(&mut self, step: usize, slot: usize, class: Class, at: usize) -> bool {
        let start = self.skip_spaces(at);
        let limit = if class == Class::Text {
            self.line.len().min(start + LONGEST_FIELD)
        } else {
            // Padding may stand between the word and what ends it.
            self.skip_spaces(self.word_end(start)) + 1
        };
        let first = match self.steps.get(step + 1) {
            Some(Step::Literal(text)) => text[0],
            _ => b' ',
        };
        let mut from = start;
        while let Some(found) = self
            .line
            .get(from..limit.min(self.line.len()))
            .and_then(|rest| memchr(first, rest))
        {
            let end = from + found;
            let text = self.line[start..end].trim_ascii_end();
            if class.allows(text) {
                if self.tries == 0 {
                    return false;
                }
                self.tries -= 1;
                if self.run(step + 1, end) {
                    if !text.is_empty() {
                        self.slots.set(slot, start, start + text.len());
                    }
                    return true;
                }
            }
            from = end + 1;
        }
        self.fail(step, at)
    }

    /// A message that ends where the steps behind it fit, tried from the end of the line.
    fn message_then(&mut self, step: usize, at: usize) -> bool {
        let literal = self
            .steps
            .iter()
            .skip(step + 1)
            .find_map(|step| match step {
                Step::Literal(text) => Some(text[0]),
                _ => None,
            });
        let Some(first) = literal else {
            return self.fail(step, at);
        };
        let after = step + 1 + usize::from(self.steps.get(step + 1) == Some(&Step::Space));
        let mut limit = self.line.len();
        while let Some(found) = self
            .line
            .get(at..limit)
            .and_then(|rest| memrchr(first, rest))
        {
            if self.tries == 0 {
                return false;
            }
            self.tries -= 1;
            limit = at + found;
            if self.run(after, limit) {
                let message = self.line[at..limit].trim_ascii_end();
                self.slots.set(HEADER.2, at, at + message.len());
                return true;
            }
        }
        self.fail(step, at)
    }
}

impl Class {
    fn allows(self, text: &[u8]) -> bool {
        match self {
            Self::Text => true,
            Self::Word => !text.is_empty(),
            Self::Digits => !text.is_empty() && text.iter().all(u8::is_ascii_digit),
            Self::Logger => {
                // A name does not begin with a digit: the port in `host:2181:Class` is not part of it.
                text.iter().any(u8::is_ascii_alphabetic)
                    && !text[0].is_ascii_digit()
                    && text.iter().all(|byte| IN_LOGGERS[usize::from(*byte)])
            }
            Self::Dotted => {
                text.contains(&b'.')
                    && text.split(|byte| *byte == b'.').all(|name| {
                        name.first()
                            .is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_')
                            && name
                                .iter()
                                .all(|byte| byte.is_ascii_alphanumeric() || b"_$-".contains(byte))
                    })
            }
        }
    }
}

/// Whether a byte can be part of a logger's name. A table, because every byte of every line asks it.
const IN_LOGGERS: [bool; 256] = {
    let mut table = [false; 256];
    let others = b"_.$-/:@<>#~[]*";
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    let mut byte = 0;
    while byte < 128 {
        table[byte] |= (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    table
};
