//! What a step of a reconciliation leaves for later. Pure.

/// Something that is not done yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// It does not go on until a person acts.
    pub stalled: bool,
    /// What it waits for, or why it was refused, in words.
    pub message: String,
}

impl Pending {
    /// It goes on by itself.
    pub(crate) fn waiting(message: impl Into<String>) -> Self {
        Self {
            stalled: false,
            message: message.into(),
        }
    }

    /// It goes on when a person has acted.
    pub(crate) fn stalled(message: impl Into<String>) -> Self {
        Self {
            stalled: true,
            message: message.into(),
        }
    }
}
