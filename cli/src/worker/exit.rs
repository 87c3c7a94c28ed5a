//! How a role ends: with what a person must know, and a code by which whoever started it knows whether to
//! start it again.

use std::process::ExitCode;

use anyhow::Error;
use logpipe_api::quantity::QuantityError;
use logpipe_api::settings::SettingsError;
use logpipe_workers::checkpoint::survey::SurveyError;
use logpipe_workers::etl::EtlError;
use logpipe_workers::generate::GenerateError;
use logpipe_workers::log::LogError;
use logpipe_workers::produce::ProduceError;
use logpipe_workers::store::{Refused, SetupError};

/// Trying again may help.
const FAILED: u8 = 1;
/// Wrong variables.
const USAGE: u8 = 2;
/// A person must mend something first.
const REFUSED: u8 = 3;

/// Prints why a role failed, cause by cause, and says what code to end with.
pub(super) fn code(result: Result<(), Error>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    eprintln!("error: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
    ExitCode::from(code_of(&error))
}

fn code_of(error: &Error) -> u8 {
    if error.is::<SettingsError>() {
        return USAGE;
    }
    let may_pass = if let Some(error) = error.downcast_ref::<EtlError>() {
        error.may_pass()
    } else if let Some(error) = error.downcast_ref::<ProduceError>() {
        error.may_pass()
    } else if let Some(error) = error.downcast_ref::<LogError>() {
        error.may_pass()
    } else if let Some(error) = error.downcast_ref::<GenerateError>() {
        error.may_pass()
    } else if let Some(error) = error.downcast_ref::<SurveyError>() {
        error.may_pass()
    } else if let Some(error) = error.downcast_ref::<Refused>() {
        error.may_pass()
    } else {
        !error.is::<SetupError>() && !error.is::<QuantityError>()
    };
    if may_pass { FAILED } else { REFUSED }
}
