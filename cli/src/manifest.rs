//! Manifests from text to typed [`LogPipeline`]s, or to every fault at once with its place.
//!
//! `logpipe run` and `logpipe validate` read manifests through here, by the CRD's own schema, defaults
//! and rules, and by those of the operator; so what is valid here is valid for `kubectl apply`. [`load`] and
//! [`read`] touch the disk; [`check`] is pure.

use std::io::Read;
use std::path::Path;
use std::sync::LazyLock;

use logpipe_api::LogPipeline;
use serde_json::{Value as Json, json};

mod fault;
mod identity;
mod meaning;
mod render;
mod rules;
mod scalar;
mod schema;
mod yaml;

pub(crate) use fault::{Fault, Kind, Severity};
pub(crate) use identity::Skipped;
pub(crate) use render::{position, render};

use yaml::Node;

use crate::output::Paint;

/// The most bytes of a file. The API server takes objects of up to 1.5 MiB.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// The most faults of one file that are told; a broken template can make a fault of every line.
const MAX_FAULTS: usize = 500;

/// A file and what it holds.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The file as it was named; `<stdin>` for the standard input.
    pub(crate) file: String,
    pub(crate) text: String,
    /// The pipelines that are valid, with every default of the CRD filled in.
    pub(crate) pipelines: Vec<LogPipeline>,
    /// How many pipelines the file means to hold, valid or not.
    pub(crate) found: usize,
    /// Errors and warnings, in the order of their places.
    pub(crate) faults: Vec<Fault>,
    /// Objects of other kinds.
    pub(crate) skipped: Vec<Skipped>,
}

impl Checked {
    /// Whether nothing in the file is refused. Warnings are not.
    pub(crate) fn is_valid(&self) -> bool {
        self.faults
            .iter()
            .all(|fault| fault.severity == Severity::Warning)
    }
}

/// The pipelines of a manifest, all valid, at least one.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// With every default of the CRD filled in.
    pub(crate) pipelines: Vec<LogPipeline>,
    checked: Checked,
}

impl Loaded {
    /// The warnings as text for a person; empty if there is none.
    pub(crate) fn warnings(&self, paint: Paint) -> String {
        render(&self.checked, paint)
    }

    /// Objects of other kinds in the same file.
    pub(crate) fn skipped(&self) -> &[Skipped] {
        &self.checked.skipped
    }
}

/// A manifest that is refused, with every reason.
#[derive(Debug)]
pub(crate) struct Faults(Box<Checked>);

impl Faults {
    /// The faults as text for a person, with the lines they are in.
    pub(crate) fn render(&self, paint: Paint) -> String {
        render(&self.0, paint)
    }
}

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} is not valid\n\n{}",
            self.0.file,
            self.render(Paint::Plain).trim_end()
        )
    }
}

impl std::error::Error for Faults {}

/// Reads the manifest at `path` (`-` is the standard input), for use without a cluster.
pub(crate) fn load(path: &Path) -> Result<Loaded, Faults> {
    let mut checked = read(path);
    checked.faults.retain(|fault| fault.kind != Kind::Cluster);
    if checked.is_valid() && checked.pipelines.is_empty() {
        checked.faults.push(no_pipeline(&checked));
    }
    if !checked.is_valid() {
        return Err(Faults(Box::new(checked)));
    }
    Ok(Loaded {
        pipelines: std::mem::take(&mut checked.pipelines),
        checked,
    })
}

fn no_pipeline(checked: &Checked) -> Fault {
    let message = format!("there is no LogPipeline in {}", checked.file);
    Fault::error(Kind::MissingField, "", &(0..0), message)
        .help("a manifest has apiVersion: logpipe.dev/v1alpha1 and kind: LogPipeline")
}

/// Which objects of a file are judged. Those of other kinds never are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// All: the file was named, so it means to be a manifest.
    Named,
    /// Those of our API group: in the folder there may be anything.
    Folder,
}

/// Reads and checks one file (`-` is the standard input). A file that cannot be read is a fault, too.
pub(crate) fn read(path: &Path) -> Checked {
    let (name, bytes) = bytes_of(path);
    match bytes.map(String::from_utf8) {
        Ok(Ok(text)) => check(name, text, Scope::Named),
        Ok(Err(error)) => not_text(name, &error),
        Err(message) => unreadable(name, String::new(), 0, message),
    }
}

/// The same for a file of a folder; none if nothing in it is of our API group.
pub(crate) fn read_of_folder(path: &Path) -> Option<Checked> {
    let (name, bytes) = bytes_of(path);
    let checked = match bytes.map(String::from_utf8) {
        Ok(Ok(text)) => check(name, text, Scope::Folder),
        Ok(Err(error)) => {
            Some(not_text(name, &error)).filter(|checked| identity::looks_ours(&checked.text))?
        }
        Err(message) => unreadable(name, String::new(), 0, message),
    };
    (checked.found > 0 || !checked.faults.is_empty()).then_some(checked)
}

/// The name of a file, and its bytes or why there are none.
fn bytes_of(path: &Path) -> (String, Result<Vec<u8>, String>) {
    let stdin = path == Path::new("-");
    let name = if stdin {
        "<stdin>".to_owned()
    } else {
        path.display().to_string()
    };
    let mut bytes = Vec::new();
    let limit = MAX_FILE_BYTES + 1;
    let outcome = if stdin {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    let bytes = match outcome {
        Err(error) => Err(format!("{name} cannot be read: {error}")),
        Ok(_) if bytes.len() as u64 > MAX_FILE_BYTES => Err(format!(
            "{name} is larger than {} MiB",
            MAX_FILE_BYTES >> 20
        )),
        Ok(_) => Ok(bytes),
    };
    (name, bytes)
}

fn not_text(name: String, error: &std::string::FromUtf8Error) -> Checked {
    let at = error.utf8_error().valid_up_to();
    let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
    let message = format!("{name} is not UTF-8 text");
    unreadable(name, text, at, message)
}

/// The result for a file whose text cannot be had, or not from byte `at` on.
pub(crate) fn unreadable(file: String, text: String, at: usize, message: String) -> Checked {
    let fault = Fault::error(Kind::Unreadable, "", &(at..at), message);
    let (pipelines, skipped) = (Vec::new(), Vec::new());
    Checked {
        file,
        text,
        pipelines,
        found: 0,
        faults: vec![fault],
        skipped,
    }
}

/// Checks the documents of a text. `file` is the name that faults are told under.
fn check(file: String, text: String, scope: Scope) -> Checked {
    let (pipelines, skipped, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    let documents = yaml::parse(&text, &mut faults);
    let mut checked = Checked {
        file,
        text,
        pipelines,
        found: 0,
        faults,
        skipped,
    };
    let mut objects: Vec<&Node> = documents.iter().flat_map(identity::objects).collect();
    if scope == Scope::Folder {
        leave_others(&mut objects, &mut checked);
    }
    for root in &objects {
        match identity::identify(root, &mut checked.faults) {
            identity::Identity::Pipeline => check_pipeline(root, &mut checked),
            identity::Identity::Other(skipped) => checked.skipped.push(skipped),
            identity::Identity::Nothing => {}
        }
    }
    identity::refuse_twins(&objects, &mut checked.faults);
    checked
        .faults
        .sort_by_key(|fault| (fault.span.start, fault.severity == Severity::Warning));
    if checked.faults.len() > MAX_FAULTS {
        let more = checked.faults.len() - MAX_FAULTS;
        checked.faults.truncate(MAX_FAULTS);
        let at = checked.text.len()..checked.text.len();
        let message = format!("and {more} more faults, which are not shown");
        checked
            .faults
            .push(Fault::error(Kind::Unreadable, "", &at, message));
    }
    checked
}

/// Takes out the objects of others, and what is wrong with them.
fn leave_others(objects: &mut Vec<&Node>, checked: &mut Checked) {
    let text = checked.text.as_str();
    checked.faults.retain(|fault| {
        let around = objects
            .iter()
            .find(|root| root.span.contains(&fault.span.start));
        match around {
            Some(root) => identity::is_ours(root),
            None => identity::looks_ours(yaml::document_at(text, fault.span.start)),
        }
    });
    objects.retain(|root| {
        let ours = identity::is_ours(root);
        if !ours {
            checked.skipped.push(Skipped::new(root));
        }
        ours
    });
}

fn check_pipeline(root: &Node, checked: &mut Checked) {
    checked.found += 1;
    // Faults of the text (a key that is there twice) were found before and lie within the object.
    let within = |fault: &Fault| root.span.contains(&fault.span.start);
    let mut faults: Vec<Fault> = Vec::new();
    schema::walk(
        &SCHEMA,
        root,
        "",
        &(root.span.start..root.span.start),
        &mut faults,
    );
    let object = root.to_json();
    rules::check(&RULES, root, &object, &mut faults);
    let object = kube_cel::apply_defaults(&SCHEMA, &object);
    meaning::check(&object, root, &mut faults);
    let refused = |fault: &Fault| fault.severity == Severity::Error;
    let broken = faults.iter().any(refused)
        || checked
            .faults
            .iter()
            .any(|fault| refused(fault) && within(fault));
    if !broken {
        match LogPipeline::from_json(object) {
            Ok(pipeline) => checked.pipelines.push(pipeline),
            // What the schema lets pass and the types do not: metadata that is not Kubernetes'.
            Err(error) => faults.push(
                Fault::error(
                    Kind::WrongType,
                    "",
                    &(root.span.start..root.span.start),
                    "the LogPipeline cannot be read",
                )
                .label(error.to_string()),
            ),
        }
    }
    checked.faults.append(&mut faults);
}

/// The schema of the CRD, and around it what the API server adds to every resource.
static SCHEMA: LazyLock<Json> = LazyLock::new(|| {
    let crd = LogPipeline::crd_json();
    let mut schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    let text = json!({"type": "string"});
    let texts = json!({"type": "object", "additionalProperties": text});
    schema["properties"]["apiVersion"] = text.clone();
    schema["properties"]["kind"] = text.clone();
    schema["properties"]["metadata"] = json!({
        "type": "object",
        "description": "The name and the labels of the resource.",
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "description": "What the pipeline is called."},
            "generateName": text,
            "ownerReferences": {"type": "array"},
            "managedFields": {"type": "array"},
            "selfLink": text,
            "deletionTimestamp": text,
            "deletionGracePeriodSeconds": {"type": "integer"},
            "namespace": {"type": "string", "description": "Lower-case letters, digits and `-`.", "minLength": 1, "maxLength": 63, "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
            "labels": texts,
            "annotations": texts,
            "finalizers": {"type": "array", "items": text},
            "uid": text,
            "resourceVersion": text,
            "creationTimestamp": text,
            "generation": {"type": "integer"},
        },
    });
    let required = schema["required"]
        .as_array_mut()
        .expect("the CRD requires spec");
    required.push(json!("metadata"));
    schema
});

/// The rules within [`SCHEMA`], compiled once.
static RULES: LazyLock<kube_cel::CompiledSchema> =
    LazyLock::new(|| kube_cel::compile_schema(&SCHEMA));

#[cfg(test)]
mod tests;
