//! The tree of one document from the events of the parser, with its bounds. Pure.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::{Entry, Node, Value};
use crate::manifest::fault::{Fault, Kind, Span};
use crate::manifest::scalar;

/// The most that the documents of one file unfold to, in bytes of text plus [`NODE_WEIGHT`] a value.
const MAX_WEIGHT: usize = 64 << 20;
/// What a value weighs besides its text.
const NODE_WEIGHT: usize = 64;
/// The deepest nesting, with aliases unfolded. A `LogPipeline` is 7 deep.
const MAX_DEPTH: usize = 64;

/// Why a document was given up.
pub(super) enum Stop {
    Syntax(ScanError),
    /// Goes for the whole file.
    Fault(Box<Fault>),
}

/// A finished value with what it unfolds to.
#[derive(Clone)]
struct Built {
    node: Node,
    weight: usize,
    depth: usize,
}

/// A list or map that is still open.
struct Frame {
    start: usize,
    anchor: usize,
    weight: usize,
    depth: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        places: HashMap<String, usize>,
        key: Option<Key>,
        merges: Vec<Node>,
    },
}

struct Key {
    text: String,
    span: Span,
    merge: bool,
}

pub(super) struct Builder {
    end: usize,
    pub(super) weight: usize,
    pub(super) faults: Vec<Fault>,
    frames: Vec<Frame>,
    anchors: HashMap<usize, Built>,
    root: Option<Node>,
    /// The parser stands in the middle of a document.
    pub(super) broken: bool,
}

impl Builder {
    pub(super) fn new(end: usize, weight: usize) -> Self {
        Self {
            end,
            weight,
            faults: Vec::new(),
            frames: Vec::new(),
            anchors: HashMap::new(),
            root: None,
            broken: false,
        }
    }

    /// The next document, or nothing at the end of the text.
    pub(super) fn document<'a>(
        &mut self,
        parser: &mut Parser<'a, StrInput<'a>>,
    ) -> Result<Option<Node>, Stop> {
        while let Some(next) = parser.next_event() {
            let (event, span) = next.map_err(|error| {
                self.broken = true;
                Stop::Syntax(error)
            })?;
            let span = span.byte_range().unwrap_or(self.end..self.end);
            match event {
                Event::DocumentEnd => {
                    let empty = Node {
                        value: Value::Null,
                        span,
                    };
                    return Ok(Some(self.root.take().unwrap_or(empty)));
                }
                Event::StreamEnd => return Ok(None),
                event => self.event(event, span)?,
            }
        }
        Ok(None)
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let merge = style == ScalarStyle::Plain && text == "<<";
                let value = self.scalar(&text, style, tag.as_deref(), &span);
                let weight = NODE_WEIGHT + text.len();
                self.spend(weight, &span)?;
                let built = Built {
                    node: Node { value, span },
                    weight,
                    depth: 0,
                };
                self.finish(built, anchor, Some((text.into_owned(), merge)))
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(&span, anchor, Content::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, _) => {
                let (entries, merges) = (Vec::new(), Vec::new());
                let content = Content::Map {
                    entries,
                    places: HashMap::new(),
                    key: None,
                    merges,
                };
                self.open(&span, anchor, content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(&span),
            Event::Alias(id) => {
                let Some(mut built) = self.anchors.get(&id).cloned() else {
                    let message = "an anchor cannot contain itself";
                    let fault = Fault::error(Kind::Syntax, "", &span, message);
                    return Err(Stop::Fault(Box::new(fault)));
                };
                self.spend(built.weight, &span)?;
                if !matches!(built.node.value, Value::List(_) | Value::Map(_)) {
                    built.node.span = span;
                }
                self.finish(built, 0, None)
            }
            _ => Ok(()),
        }
    }

    fn spend(&mut self, weight: usize, span: &Span) -> Result<(), Stop> {
        self.weight = self.weight.saturating_add(weight);
        if self.weight <= MAX_WEIGHT {
            return Ok(());
        }
        let message = format!("the file unfolds to more than {} MiB", MAX_WEIGHT >> 20);
        let fault = Fault::error(Kind::Syntax, "", span, message)
            .label("the limit is passed here")
            .help("aliases (*name) repeat what they stand for: use fewer of them");
        Err(Stop::Fault(Box::new(fault)))
    }

    fn open(&mut self, span: &Span, anchor: usize, content: Content) -> Result<(), Stop> {
        self.spend(NODE_WEIGHT, span)?;
        self.frames.push(Frame {
            start: span.start,
            anchor,
            weight: NODE_WEIGHT,
            depth: 0,
            content,
        });
        Ok(())
    }

    fn close(&mut self, span: &Span) -> Result<(), Stop> {
        let frame = self
            .frames
            .pop()
            .expect("the parser closes only what it opened");
        let value = match frame.content {
            Content::List(items) => Value::List(items),
            Content::Map {
                mut entries,
                mut places,
                merges,
                ..
            } => {
                for merge in merges {
                    self.merge(merge, &mut entries, &mut places);
                }
                Value::Map(entries)
            }
        };
        let node = Node {
            value,
            span: frame.start..span.end.max(frame.start),
        };
        self.finish(
            Built {
                node,
                weight: frame.weight,
                depth: frame.depth + 1,
            },
            frame.anchor,
            None,
        )
    }

    /// Gives a finished value to what it belongs to. `scalar` is its text, if it is a scalar, and
    /// whether that is a merge key where a key stands.
    fn finish(
        &mut self,
        built: Built,
        anchor: usize,
        scalar: Option<(String, bool)>,
    ) -> Result<(), Stop> {
        if built.depth > MAX_DEPTH {
            let message = format!("more than {MAX_DEPTH} lists and maps within each other");
            let fault = Fault::error(Kind::Syntax, "", &built.node.span, message);
            return Err(Stop::Fault(Box::new(fault)));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, built.clone());
        }
        let Some(frame) = self.frames.last_mut() else {
            self.root = Some(built.node);
            return Ok(());
        };
        frame.weight = frame.weight.saturating_add(built.weight);
        frame.depth = frame.depth.max(built.depth);
        match &mut frame.content {
            Content::List(items) => items.push(built.node),
            Content::Map {
                entries,
                places,
                key,
                merges,
            } => match key.take() {
                None => *key = Some(make_key(built.node, scalar, &mut self.faults)),
                Some(key) if key.merge => merges.push(built.node),
                Some(key) => add_entry(key, built.node, entries, places, &mut self.faults),
            },
        }
        Ok(())
    }

    /// Adds the entries that a merge key brings. What the map says itself wins.
    fn merge(&mut self, from: Node, into: &mut Vec<Entry>, places: &mut HashMap<String, usize>) {
        match from.value {
            Value::Map(entries) => {
                for entry in entries {
                    if !places.contains_key(&entry.key) {
                        places.insert(entry.key.clone(), into.len());
                        into.push(entry);
                    }
                }
            }
            Value::List(items) if items.iter().all(|i| matches!(i.value, Value::Map(_))) => {
                for item in items {
                    self.merge(item, into, places);
                }
            }
            _ => self.faults.push(
                Fault::error(Kind::WrongType, "<<", &from.span, "a merge key takes a map")
                    .label("expected a map, or a list of maps"),
            ),
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: &Span) -> Value {
        let resolved = match tag.map(|tag| (tag.core_suffix(), tag)) {
            Some((Some("str"), _)) => Some(Value::Text(text.to_owned())),
            Some((Some("null" | "bool" | "int" | "float"), _)) => scalar::resolve(text),
            Some((_, tag)) if tag.original() != "!" => {
                let message = format!("the tag {} has no meaning here", tag.original());
                self.faults
                    .push(Fault::error(Kind::Syntax, "", span, message).help("remove the tag"));
                Some(Value::Text(text.to_owned()))
            }
            None if style == ScalarStyle::Plain => scalar::resolve(text),
            Some(_) | None => Some(Value::Text(text.to_owned())),
        };
        resolved.unwrap_or_else(|| {
            let fault = Fault::error(
                Kind::WrongType,
                "",
                span,
                format!("{text} is not a number that JSON has"),
            );
            self.faults.push(fault.label("expected a finite number"));
            Value::Null
        })
    }
}

fn make_key(node: Node, scalar: Option<(String, bool)>, faults: &mut Vec<Fault>) -> Key {
    if let Some((text, merge)) = scalar {
        return Key {
            text,
            span: node.span,
            merge,
        };
    }
    // An alias of a text may stand for a key; a list or a map may not.
    let text = node.text().map(str::to_owned);
    let text = text.unwrap_or_else(|| {
        let fault = Fault::error(Kind::WrongType, "", &node.span, "a key must be text");
        faults.push(fault.label("expected a field's name"));
        String::new()
    });
    Key {
        text,
        span: node.span,
        merge: false,
    }
}

fn add_entry(
    key: Key,
    value: Node,
    entries: &mut Vec<Entry>,
    places: &mut HashMap<String, usize>,
    faults: &mut Vec<Fault>,
) {
    if let Some(first) = places.get(&key.text).and_then(|place| entries.get(*place)) {
        let message = "the field is there twice";
        faults.push(
            Fault::error(Kind::Duplicate, &key.text, &key.span, message)
                .label("here again")
                .other(&first.key_span, "first here"),
        );
        return;
    }
    places.insert(key.text.clone(), entries.len());
    entries.push(Entry {
        key: key.text,
        key_span: key.span,
        value,
    });
}
