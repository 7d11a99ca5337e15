//! How severe an incident is, and how the restart of a stopped trail ended. Pure.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::serde::rfc3339;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Somebody tried and failed.
    Medium,
    /// Somebody did it.
    High,
    /// The account is blind still, or it was root.
    Critical,
}

/// How a restart ended. Written down as a step of the work on an event: what an older version wrote is read, and what
/// is written is read by the version before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    pub outcome: Restoration,
    /// When logging was seen to be off or on again.
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// When CloudTrail says that logging stopped, where it does.
    #[serde(with = "rfc3339::option")]
    pub stopped_at: Option<OffsetDateTime>,
    /// Logging is on, and CloudTrail cannot deliver: its own word for why.
    pub delivery_error: Option<String>,
}

impl Restored {
    /// An end of which CloudTrail said nothing more.
    #[must_use]
    pub fn new(outcome: Restoration, at: OffsetDateTime) -> Self {
        Self { outcome, at, stopped_at: None, delivery_error: None }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restoration {
    /// Started by us, and verified.
    Restarted,
    /// Logging was on when we looked.
    AlreadyLogging {
        /// When CloudTrail says that it was started, where it does.
        #[serde(with = "rfc3339::option")]
        since: Option<OffsetDateTime>,
        /// An earlier execution may have restarted logging, and been killed before it could write that down.
        perhaps_ours: bool,
    },
    /// Started by us, and nobody may look whether it logs.
    Unverified {
        /// What was refused, and what to do.
        detail: String,
    },
    /// CloudTrail knows no such trail.
    Gone,
    /// Not allowed, or not possible, until somebody changes something.
    Refused {
        /// What was refused, and what to do.
        detail: String,
    },
}
