//! What every command prints the same way: the `-o` flag, colours, and errors with their causes.

use std::io::{ErrorKind, Write};

use anyhow::Context;
use console::Style;

/// How a command prints its result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For a person.
    #[default]
    Text,
    /// For a script.
    Json,
}

/// Whether a text has colours. The console crate decides, for tables too: a terminal has, unless `NO_COLOR` is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Coloured,
}

impl Paint {
    /// For standard output.
    pub(crate) fn stdout() -> Self {
        Self::of(console::colors_enabled())
    }

    /// For standard error.
    pub(crate) fn stderr() -> Self {
        Self::of(console::colors_enabled_stderr())
    }

    fn of(coloured: bool) -> Self {
        if coloured {
            Self::Coloured
        } else {
            Self::Plain
        }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap(&Style::new(), text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.wrap(&Style::new().red(), text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.wrap(&Style::new().yellow(), text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.wrap(&Style::new().green(), text)
    }

    pub(crate) fn blue(self, text: &str) -> String {
        self.wrap(&Style::new().blue(), text)
    }

    fn wrap(self, style: &Style, text: &str) -> String {
        if self == Self::Plain || text.is_empty() {
            return text.to_owned();
        }
        let style = style.clone().bold().force_styling(true);
        style.apply_to(text).to_string()
    }
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
    print_failure(&with_causes(error));
}

/// Prints what [`with_causes`] gave, on standard error.
pub(crate) fn print_failure(text: &str) {
    note(&format!("{} {text}\n", Paint::stderr().red("error:")));
}

/// An error and its causes, a line each. Some libraries repeat a cause at the end of their own text: what has
/// been said is left out.
pub(crate) fn with_causes(error: &anyhow::Error) -> String {
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
