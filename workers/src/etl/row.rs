//! What a parser makes of a line: one value for each column of the plan, without an allocation a line. Pure.

/// Where a piece of text stands: bytes `[start, end)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// One after the last.
    pub end: u32,
}

/// The value of one column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// None.
    Null,
    /// Text that stands in the line.
    Line(Span),
    /// Text that had to be written anew (unescaped, joined): it stands in [`Row::scratch`].
    Scratch(Span),
    /// An integer.
    Int(i64),
    /// A floating point number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// Microseconds since 1970, UTC.
    Time(i64),
}

/// A parsed line. Reused from line to line: the parser clears it.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// When the event happened, in microseconds since 1970, UTC; `None` where the line does not say. It
    /// decides the folder; without it, the time at which the line was read does.
    pub event_time: Option<i64>,
    /// One value for each of the plan's columns, in their order.
    pub values: Vec<Value>,
    /// Text that does not stand in the line as it is.
    pub scratch: String,
}

impl Row {
    /// The text of a value of this row; `None` for values that are not text.
    pub fn text<'a>(&'a self, line: &'a str, value: &Value) -> Option<&'a str> {
        match value {
            Value::Line(span) => line.get(span.start as usize..span.end as usize),
            Value::Scratch(span) => self.scratch.get(span.start as usize..span.end as usize),
            _ => None,
        }
    }
}

/// Why a line goes to the quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectReason {
    /// Its bytes are not UTF-8.
    InvalidUtf8,
    /// It does not have the format's shape.
    Malformed,
    /// Its time cannot be read, or lies outside the years 1970 to 2199.
    InvalidTimestamp,
    /// A required field is missing.
    MissingField,
    /// A value does not have the column's type.
    WrongType,
    /// It has fields that are not columns, and the schema rejects them.
    UnknownField,
    /// It is a piece of a line that is longer than the limit.
    LineTooLong,
    /// Its record holds lines of more hours than one batch may have folders.
    TooManyFolders,
    /// The parser failed on it: a defect of ours.
    ParserPanicked,
}

impl RejectReason {
    /// Each of them, in their order.
    pub const ALL: [Self; 9] = [
        Self::InvalidUtf8,
        Self::Malformed,
        Self::InvalidTimestamp,
        Self::MissingField,
        Self::WrongType,
        Self::UnknownField,
        Self::LineTooLong,
        Self::TooManyFolders,
        Self::ParserPanicked,
    ];

    /// The reason as it stands in the quarantine's column `error`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidUtf8 => "InvalidUtf8",
            Self::Malformed => "Malformed",
            Self::InvalidTimestamp => "InvalidTimestamp",
            Self::MissingField => "MissingField",
            Self::WrongType => "WrongType",
            Self::UnknownField => "UnknownField",
            Self::LineTooLong => "LineTooLong",
            Self::TooManyFolders => "TooManyFolders",
            Self::ParserPanicked => "ParserPanicked",
        }
    }
}

/// A line that cannot become a row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Why.
    pub reason: RejectReason,
    /// What exactly, in words, with the column (byte) where it helps. A function of the line alone.
    pub detail: String,
}
