//! What every command prints the same way: the `-o` flag and errors with their causes.

use std::io::{IsTerminal, Write};

/// How a command prints its result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For a person.
    #[default]
    Text,
    /// For a script.
    Json,
}

/// Prints an error and each of its causes once, on standard error.
pub(crate) fn print_error(error: &anyhow::Error) {
    let mut stderr = std::io::stderr().lock();
    let label = if stderr.is_terminal() {
        "\x1b[1;31merror:\x1b[0m"
    } else {
        "error:"
    };
    let mut text = format!("{label} {error}");
    for cause in error.chain().skip(1) {
        text.push_str("\n  because: ");
        text.push_str(&cause.to_string());
    }
    // Nothing is left to be told where standard error is gone.
    drop(writeln!(stderr, "{text}"));
}
