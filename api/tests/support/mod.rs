//! What the tests of generated files share.

use std::path::{Path, PathBuf};

use logpipe_api::LogPipeline;
use serde_json::{Number, Value};

/// The CRD as JSON, with whole numbers written as whole numbers (`maximum: 300`, not `300.0`).
pub(crate) fn crd() -> Value {
    let mut crd = LogPipeline::crd_json();
    write_whole_numbers_whole(&mut crd);
    crd
}

/// The schema of the only version.
#[allow(
    dead_code,
    reason = "each test binary uses its own part of this module"
)]
pub(crate) fn schema() -> Value {
    crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

fn write_whole_numbers_whole(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let float = number.as_f64().filter(|_| number.is_f64());
            // 2^53: beyond it a float does not tell neighbouring whole numbers apart.
            let whole = float.filter(|f| f.fract() == 0.0 && f.abs() <= 9_007_199_254_740_992.0);
            if let Some(float) = whole {
                *number = Number::from(float as i64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(write_whole_numbers_whole),
        Value::Object(object) => object.values_mut().for_each(write_whole_numbers_whole),
        _ => {}
    }
}

/// Compares a generated text with the file in the repository, or writes it when `LOGPIPE_BLESS` is
/// set. `test` names the test binary, for the text that says how to renew.
#[allow(
    dead_code,
    reason = "each test binary uses its own part of this module"
)]
pub(crate) fn assert_is_current(path: &str, generated: &str, test: &str) {
    let file = root().join(path);
    if std::env::var_os("LOGPIPE_BLESS").is_some() {
        std::fs::create_dir_all(file.parent().expect("the file is below the root")).unwrap();
        std::fs::write(&file, generated).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    if kept == generated {
        return;
    }
    let line = kept
        .lines()
        .zip(generated.lines())
        .take_while(|(a, b)| a == b)
        .count();
    panic!(
        "{path} is not what api/src/pipeline.rs says; they first differ in line {}:\n  \
         in the file: {}\n  generated:   {}\n\
         To renew it, run:  LOGPIPE_BLESS=1 cargo test -p logpipe-api --test {test}\n\
         and look at the difference before you commit it.",
        line + 1,
        kept.lines().nth(line).unwrap_or("(end of file)"),
        generated.lines().nth(line).unwrap_or("(end of file)"),
    );
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is in the workspace")
        .to_owned()
}
