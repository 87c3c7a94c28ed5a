//! What every command prints the same way: the `-o` flag and errors with their causes.

use std::io::{ErrorKind, IsTerminal, Write};

use anyhow::Context;

/// How a command prints its result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For a person.
    #[default]
    Text,
    /// For a script.
    Json,
}

/// Writes a result to standard output. A reader who has gone (`| head`) wants no more of it, which is no
/// failure.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot print the result")
        }
        _ => Ok(()),
    }
}

/// Writes to standard error, where nothing is left to be told if that is gone.
pub(crate) fn note(text: &str) {
    drop(std::io::stderr().lock().write_all(text.as_bytes()));
}

/// Prints an error and each of its causes once, on standard error.
pub(crate) fn print_error(error: &anyhow::Error) {
    let mut stderr = std::io::stderr().lock();
    let label = if stderr.is_terminal() {
        "\x1b[1;31merror:\x1b[0m"
    } else {
        "error:"
    };
    let text = format!("{label} {}", with_causes(error));
    // Nothing is left to be told where standard error is gone.
    drop(writeln!(stderr, "{text}"));
}

/// An error and its causes, a line each. Some libraries repeat a cause at the end of their own text: what has
/// been said is left out.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.ends_with(&cause) {
            text.push_str("\n  because: ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn each_cause_is_said_once() {
        let error = anyhow!("no space left")
            .context("cannot copy: no space left")
            .context("the put failed");
        assert_eq!(
            with_causes(&error),
            "the put failed\n  because: cannot copy: no space left"
        );
    }
}
