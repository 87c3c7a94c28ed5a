//! One thing that is wrong with a manifest, with its place in the text. Pure.

use std::ops::Range;

/// A half-open range of bytes in the manifest's text.
pub(crate) type Span = Range<usize>;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Severity {
    /// The manifest is refused.
    Error,
    /// The manifest works, but hardly as meant.
    Warning,
}

/// What sort of fault it is, for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Kind {
    /// The file cannot be read.
    Unreadable,
    /// Not YAML.
    Syntax,
    /// A key that is there twice, or an item of a list that must be unique.
    Duplicate,
    /// A field that does not exist.
    UnknownField,
    /// A field that must be there.
    MissingField,
    /// Text where a number belongs, and the like.
    WrongType,
    /// None of the values that an enum has.
    UnknownValue,
    /// A number that is too small or too large.
    Range,
    /// Text or a list that is too short or too long.
    Length,
    /// Text that is not of the form it must have.
    Pattern,
    /// `apiVersion` or `kind` is not ours.
    WrongResource,
    /// A rule of the CRD.
    Rule,
    /// What no schema can see: an expression that does not compile, a time zone nobody knows.
    Meaning,
    /// What `logpipe run` does not need, and the operator does.
    Cluster,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) severity: Severity,
    pub(crate) kind: Kind,
    /// The field, as `spec.source.files.paths[2]`; empty where it is about the file.
    pub(crate) path: String,
    /// Where it is.
    pub(crate) span: Span,
    /// What is wrong, without the path.
    pub(crate) message: String,
    /// What stands beside the caret: what is expected.
    pub(crate) label: String,
    /// The remedy.
    pub(crate) help: Option<String>,
    /// Another place that belongs to it, with its label.
    pub(crate) other: Option<(Span, String)>,
}

impl Fault {
    pub(super) fn error(kind: Kind, path: &str, span: &Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            kind,
            path: path.to_owned(),
            span: span.clone(),
            message: message.into(),
            label: String::new(),
            help: None,
            other: None,
        }
    }

    pub(super) fn warning(kind: Kind, path: &str, span: &Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(kind, path, span, message)
        }
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = self.help.or(help);
        self
    }

    pub(super) fn other(mut self, span: &Span, label: impl Into<String>) -> Self {
        self.other = Some((span.clone(), label.into()));
        self
    }
}

/// The candidate that was most likely meant, if one is near enough to be a slip of the hand.
pub(super) fn nearest<'a>(
    written: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    // Nobody means a field by a text this long; comparing costs its length times the candidate's.
    if written.len() > 64 {
        return None;
    }
    let written = written.to_lowercase();
    let length = written.chars().count();
    let near = |candidate: &&'a str| {
        let other = candidate.chars().count();
        // One slip in three letters; short words would otherwise be near to anything.
        let most = length.min(other).div_ceil(3);
        // A slip changes the length by at most one, so most candidates need no comparing.
        if length.abs_diff(other) > most {
            return None;
        }
        let distance = strsim::damerau_levenshtein(&written, &candidate.to_lowercase());
        (distance <= most).then_some(distance)
    };
    let found = candidates.filter_map(|candidate| Some((near(&candidate)?, candidate)));
    found
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_hand_finds_its_word() {
        let words = ["bucket", "prefix", "generator"];
        assert_eq!(nearest("bukcet", words.into_iter()), Some("bucket"));
        assert_eq!(nearest("Bucket", words.into_iter()), Some("bucket"));
        assert_eq!(nearest("generatr", words.into_iter()), Some("generator"));
    }

    #[test]
    fn another_word_finds_none() {
        assert_eq!(nearest("endpoint", ["bucket", "prefix"].into_iter()), None);
        assert_eq!(nearest("xy", ["s3"].into_iter()), None);
        assert_eq!(nearest("", ["s3"].into_iter()), None);
    }
}
