//! What becomes of a message. The handler decides it; the pool carries it out.

use std::time::Duration;

/// What is done with the message on the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    Delete,
    /// Hidden for `after`, then received again.
    Retry {
        after: Duration,
    },
    /// Copied to the dead-letter queue, then deleted.
    DeadLetter {
        /// The handler's word for why: one of a closed list, since it is a metric's label.
        reason: &'static str,
        /// What exactly. Holds nothing of the body.
        detail: String,
    },
}

/// What a handler says of a message when it has worked on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handled {
    pub disposition: Disposition,
    /// The label under which it is counted: one of a closed list.
    pub outcome: &'static str,
    /// What went wrong, if something did: for its trace.
    pub failure: Option<HandlingFailure>,
}

/// Why work on a message did not go well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlingFailure {
    /// In a word.
    pub kind: &'static str,
    /// Holds nothing of the body.
    pub detail: String,
}
