//! YAML to a tree in which each key and value knows its place in the text. Pure.
//!
//! Anchors, aliases and merge keys are expanded as kubectl does. What a small text can unfold to is
//! bounded, in size and in depth, so that no manifest can exhaust memory or the stack.

use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, StrInput, Tag};
use serde_json::Number;

use super::fault::{Fault, Kind, Span};
use super::scalar;

/// The most that the documents of one file unfold to, in bytes of text plus [`NODE_WEIGHT`] a value.
const MAX_WEIGHT: usize = 64 << 20;
/// What a value weighs besides its text.
const NODE_WEIGHT: usize = 64;
/// The deepest nesting, with aliases unfolded. A `LogPipeline` is 7 deep.
const MAX_DEPTH: usize = 64;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) span: Span,
}

/// A value of YAML, in the terms of JSON.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value. The keys of a map are unique.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) value: Node,
}

impl Node {
    /// The entry of a map with this key.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The value of a map's entry, unless it is null.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key)
            .map(|entry| &entry.value)
            .filter(|node| node.value != Value::Null)
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// As JSON. Fields that are null are left out, as the API server does with fields that are not
    /// nullable; no field of ours is.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => serde_json::Value::Bool(*value),
            Value::Number(number) => serde_json::Value::Number(number.clone()),
            Value::Text(text) => serde_json::Value::String(text.clone()),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => {
                let present = entries
                    .iter()
                    .filter(|entry| entry.value.value != Value::Null);
                present
                    .map(|entry| (entry.key.clone(), entry.value.to_json()))
                    .collect()
            }
        }
    }
}

/// The field that stands at a byte of the text: the deepest whose key or value holds it.
fn path_at(node: &Node, at: usize) -> String {
    let holds = |span: &Span| span.start <= at && at < span.end;
    match &node.value {
        Value::Map(entries) => {
            let around = |e: &&Entry| holds(&e.key_span) || holds(&e.value.span);
            entries
                .iter()
                .find(around)
                .map_or_else(String::new, |entry| {
                    let below = path_at(&entry.value, at);
                    join(&entry.key, &below)
                })
        }
        Value::List(items) => {
            let item = items.iter().enumerate().find(|(_, item)| holds(&item.span));
            item.map_or_else(String::new, |(index, item)| {
                join(&format!("[{index}]"), &path_at(item, at))
            })
        }
        _ => String::new(),
    }
}

fn join(path: &str, below: &str) -> String {
    if below.is_empty() || below.starts_with('[') {
        return format!("{path}{below}");
    }
    format!("{path}.{below}")
}

/// Gives the faults that were found while reading the path that only the whole document knows. A
/// fault's own path so far is the key it is about, which the tree does not hold.
fn complete_paths(root: &Node, faults: &mut [Fault]) {
    for fault in faults {
        let around = path_at(root, fault.span.start);
        fault.path = match (around.is_empty(), fault.path.is_empty()) {
            (true, _) => std::mem::take(&mut fault.path),
            (false, true) => around,
            (false, false) => format!("{around}.{}", fault.path),
        };
    }
}

/// Reads every document. A document with a syntax error gives a fault, and the next one is read.
pub(super) fn parse(text: &str, faults: &mut Vec<Fault>) -> Vec<Node> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut documents = Vec::new();
    let mut weight = 0;
    loop {
        let mut builder = Builder::new(text.len(), weight);
        let outcome = builder.document(&mut parser);
        weight = builder.weight;
        if let Ok(Some(root)) = &outcome {
            complete_paths(root, &mut builder.faults);
        }
        faults.append(&mut builder.faults);
        match outcome {
            Ok(Some(node)) => documents.push(node),
            Ok(None) => return documents,
            Err(Stop::Syntax(error)) => faults.push(syntax_fault(text, &error)),
            Err(Stop::Fault(fault)) => {
                faults.push(*fault);
                return documents;
            }
        }
        if builder.broken && !matches!(parser.proceed_next_document(), Ok(true)) {
            return documents;
        }
    }
}

/// Why a document was given up.
enum Stop {
    Syntax(ScanError),
    /// Goes for the whole file.
    Fault(Box<Fault>),
}

fn syntax_fault(text: &str, error: &ScanError) -> Fault {
    let at = error
        .marker()
        .byte_offset()
        .unwrap_or(text.len())
        .min(text.len());
    let tab = text.get(..at).is_some_and(|before| {
        let line = before.rsplit('\n').next().unwrap_or_default();
        line.contains('\t') && line.trim_start().is_empty()
    }) || text.get(at..).is_some_and(|rest| rest.starts_with('\t'));
    let help = match error.kind() {
        ErrorKind::UnknownAnchor => {
            Some("an anchor is known from where it stands to the end of its own document")
        }
        _ if tab => Some("YAML is indented with spaces; replace the tab"),
        _ => None,
    };
    let help = help.map(str::to_owned);
    Fault::error(Kind::Syntax, "", &(at..at), error.info()).maybe_help(help)
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

struct Builder {
    end: usize,
    weight: usize,
    faults: Vec<Fault>,
    frames: Vec<Frame>,
    anchors: HashMap<usize, Built>,
    root: Option<Node>,
    /// The parser stands in the middle of a document.
    broken: bool,
}

impl Builder {
    fn new(end: usize, weight: usize) -> Self {
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
    fn document<'a>(
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
