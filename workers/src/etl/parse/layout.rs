//! Layouts: how a header is laid out, written as log4j and logback write it, and the matcher that reads
//! lines by it. Pure.
//!
//! `%d{yyyy-MM-dd HH:mm:ss} - %p [%t:%c@%L] - %m` reads the lines of `ZooKeeper`. Conversions are
//! * `%d` a timestamp of any well-known shape; `%d{…}` of the named [`Shape`](super::time::Shape);
//! * `%p` a level, a known word; `%p{1}` its letter;
//! * `%t` a thread: any text; `%c` a logger: a name without spaces; `%C` a class: dotted names;
//! * `%F` file, `%M` method: words; `%L` line, `%pid`, `%tid`: digits;
//! * `%X{name}` a word that becomes the column `name`; `%T{name}` any text that does;
//! * `%m` the message, without the white space around it; alone, it is the whole line as it is.
//!
//! A space stands for any number of spaces and tabs. Other text stands for itself; before it there may
//! be spaces, because layouts pad (`%-5p`). A plan may hold several layouts, one a line: the first that
//! fits reads the line.

pub(super) mod known;
mod matcher;
#[cfg(test)]
mod tests;

use super::slots::{COMMON, LEVEL, MESSAGE, Slots, TIMESTAMP};
use super::time::{Clock, Shape};
use crate::etl::row::Reject;
use matcher::Failure;

/// Every conversion, the longer name first: `%pid` is not `%p` and `id`.
const CONVERSIONS: [&str; 13] = [
    "%pid", "%tid", "%d", "%p", "%t", "%c", "%C", "%F", "%L", "%M", "%m", "%X", "%T",
];

/// One step of the matcher.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// One space or tab, or more.
    Space,
    /// Text that stands for itself.
    Literal(Box<[u8]>),
    /// `None`: any shape.
    Time(Option<Shape>),
    Level,
    LevelLetter,
    Field {
        slot: usize,
        class: Class,
    },
    Message,
}

/// What a field may consist of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Anything but white space.
    Word,
    /// A word that can be the name of a logger.
    Logger,
    /// Names with dots between.
    Dotted,
    Digits,
    /// Anything.
    Text,
}

/// A fault in a layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// A conversion that does not exist.
    #[error("unknown conversion at byte {at} of the layout {layout:?}")]
    UnknownConversion {
        /// The layout.
        layout: String,
        /// The `%`.
        at: usize,
    },
    /// Two conversions of which nobody can say where one ends.
    #[error(
        "the layout {layout:?} does not say where its field {field:?} ends: put a space or other text behind it"
    )]
    EndlessField {
        /// The layout.
        layout: String,
        /// The field.
        field: String,
    },
}

/// The layouts of a plan, ready to read lines.
#[derive(Clone, Debug)]
pub(super) struct Layouts {
    layouts: Vec<Layout>,
    fields: Vec<String>,
}

#[derive(Clone, Debug)]
struct Layout {
    steps: Vec<Step>,
    /// Whether it reads a time.
    timed: bool,
}

impl Layouts {
    /// Compiles layouts, one a line.
    pub(super) fn compile(text: &str) -> Result<Self, LayoutError> {
        let mut fields: Vec<String> = COMMON.iter().map(|name| (*name).to_owned()).collect();
        let layouts = text
            .lines()
            .map(|layout| Compiler::new(layout, &mut fields).compile())
            .collect::<Result<_, _>>()?;
        Ok(Self { layouts, fields })
    }

    /// The names of the fields, by slot.
    pub(super) fn fields(&self) -> &[String] {
        &self.fields
    }

    /// Reads a line by the first layout that fits.
    pub(super) fn read(
        &self,
        line: &str,
        clock: &mut Clock,
        slots: &mut Slots,
    ) -> Result<(), Reject> {
        let mut worst: Option<Failure> = None;
        for layout in &self.layouts {
            // A line with a time that does not exist is not one without a time.
            if !layout.timed
                && worst
                    .as_ref()
                    .is_some_and(|failure| failure.invalid.is_some())
            {
                continue;
            }
            match matcher::read(&layout.steps, line, clock, slots) {
                Ok(()) => return Ok(()),
                Err(failure) => {
                    slots.clear();
                    if worst
                        .as_ref()
                        .is_none_or(|known| failure.is_worse_than(known))
                    {
                        worst = Some(failure);
                    }
                }
            }
        }
        Err(worst.unwrap_or_default().into_reject(line))
    }
}

struct Compiler<'a> {
    layout: &'a str,
    fields: &'a mut Vec<String>,
    steps: Vec<Step>,
    literal: Vec<u8>,
}

impl<'a> Compiler<'a> {
    fn new(layout: &'a str, fields: &'a mut Vec<String>) -> Self {
        Self {
            layout,
            fields,
            steps: Vec::new(),
            literal: Vec::new(),
        }
    }

    fn compile(mut self) -> Result<Layout, LayoutError> {
        let mut rest = self.layout;
        while let Some(next) = rest.chars().next() {
            match next {
                '%' => {
                    self.end_literal();
                    let (step, after) = self.conversion(rest)?;
                    self.steps.push(step);
                    rest = after;
                    continue;
                }
                ' ' => {
                    self.end_literal();
                    if self.steps.last() != Some(&Step::Space) {
                        self.steps.push(Step::Space);
                    }
                }
                other => self
                    .literal
                    .extend(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
            rest = &rest[next.len_utf8()..];
        }
        self.end_literal();
        self.check_ends()?;
        let timed = self.steps.iter().any(|step| matches!(step, Step::Time(_)));
        Ok(Layout {
            steps: self.steps,
            timed,
        })
    }

    fn end_literal(&mut self) {
        if !self.literal.is_empty() {
            let literal = std::mem::take(&mut self.literal);
            self.steps.push(Step::Literal(literal.into()));
        }
    }

    /// The step of the conversion at the start of `rest`, and what follows it.
    fn conversion<'r>(&mut self, rest: &'r str) -> Result<(Step, &'r str), LayoutError> {
        let unknown = || LayoutError::UnknownConversion {
            layout: self.layout.to_owned(),
            at: self.layout.len() - rest.len(),
        };
        let name = CONVERSIONS
            .into_iter()
            .find(|name| rest.starts_with(name))
            .ok_or_else(unknown)?;
        let after = &rest[name.len()..];
        let (argument, after) = match after
            .strip_prefix('{')
            .and_then(|open| open.split_once('}'))
        {
            Some((argument, after)) => (Some(argument), after),
            None => (None, after),
        };
        let step = match (name, argument) {
            ("%d", None) => Step::Time(None),
            ("%d", Some(shape)) => Step::Time(Some(Shape::named(shape).ok_or_else(unknown)?)),
            ("%p", None) => Step::Level,
            ("%p", Some("1")) => Step::LevelLetter,
            ("%m", None) => Step::Message,
            ("%t", None) => self.field("thread", Class::Text),
            ("%c", None) => self.field("logger", Class::Logger),
            ("%C", None) => self.field("logger", Class::Dotted),
            ("%F", None) => self.field("file", Class::Word),
            ("%M", None) => self.field("method", Class::Word),
            ("%L", None) => self.field("line", Class::Digits),
            ("%pid", None) => self.field("pid", Class::Digits),
            ("%tid", None) => self.field("tid", Class::Digits),
            ("%X", Some(name)) => self.field(name, Class::Word),
            ("%T", Some(name)) => self.field(name, Class::Text),
            _ => return Err(unknown()),
        };
        Ok((step, after))
    }

    fn field(&mut self, name: &str, class: Class) -> Step {
        let known = self.fields.iter().position(|field| field == name);
        let slot = known.unwrap_or_else(|| {
            self.fields.push(name.to_owned());
            self.fields.len() - 1
        });
        Step::Field { slot, class }
    }

    /// A field of open length must be followed by something to look for.
    fn check_ends(&self) -> Result<(), LayoutError> {
        for pair in self.steps.windows(2) {
            let open = match &pair[0] {
                Step::Message => Some("message"),
                Step::Field { slot, class } if *class != Class::Digits => {
                    self.fields.get(*slot).map(String::as_str)
                }
                _ => None,
            };
            let ended = matches!(pair[1], Step::Space | Step::Literal(_));
            if let (Some(field), false) = (open, ended) {
                return Err(LayoutError::EndlessField {
                    layout: self.layout.to_owned(),
                    field: field.to_owned(),
                });
            }
        }
        Ok(())
    }
}

impl Step {
    /// What is missing where the step does not fit.
    fn expected(&self) -> String {
        match self {
            Self::Space => "space".to_owned(),
            Self::Literal(text) => format!("{:?}", String::from_utf8_lossy(text)),
            Self::Time(_) => "timestamp".to_owned(),
            Self::Level | Self::LevelLetter => "level".to_owned(),
            Self::Message => "message".to_owned(),
            Self::Field { class, .. } => match class {
                Class::Word | Class::Text => "word",
                Class::Logger | Class::Dotted => "logger",
                Class::Digits => "number",
            }
            .to_owned(),
        }
    }
}

/// The slots that the steps of a header fill.
const HEADER: (usize, usize, usize) = (TIMESTAMP, LEVEL, MESSAGE);
