//! How severe an incident is, what was seen of a trail, and how its restart ended. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::serde::rfc3339;

/// Between a call and the `StopLoggingTime` of the trail that it stopped, at most: the two are CloudTrail's own times of one
/// thing, and the margin is for a slow call.
const STOPPED_WITH: Duration = Duration::from_mins(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A change that strengthens, or does not matter.
    Low,
    /// An attempt that failed, or a change that may matter.
    Medium,
    /// Something went unrecorded and is recorded again, or may go unrecorded.
    High,
    /// Something is unrecorded now or may be, the watch itself was attacked, or it was root.
    Critical,
}

/// What a look at a trail showed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sighting {
    /// Nobody looked, or nobody could.
    #[default]
    NotLookedAt,
    Off {
        #[serde(with = "rfc3339")]
        at: OffsetDateTime,
    },
    On {
        #[serde(with = "rfc3339")]
        at: OffsetDateTime,
        /// When CloudTrail says that it was started, where it does.
        #[serde(with = "rfc3339::option")]
        since: Option<OffsetDateTime>,
    },
}

/// A trail's own word on whether it logs, in its home Region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glimpse {
    pub logging: bool,
    /// When it was started last, where CloudTrail says so.
    pub started_at: Option<OffsetDateTime>,
    /// When it was stopped last, likewise: also of a trail that was started since.
    pub stopped_at: Option<OffsetDateTime>,
}

impl Glimpse {
    #[must_use]
    pub fn sighting(self, at: OffsetDateTime) -> Sighting {
        if self.logging { Sighting::On { at, since: self.started_at } } else { Sighting::Off { at } }
    }
}

impl Sighting {
    fn is_none(&self) -> bool {
        *self == Self::NotLookedAt
    }
}

/// What of a trail's output does not arrive: CloudTrail's own words for why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryErrors {
    #[serde(rename = "delivery_error")]
    pub log_files: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest_files: Option<String>,
    /// What is sent to CloudWatch Logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_group: Option<String>,
    /// What is sent to SNS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notifications: Option<String>,
}

/// How a restart ended. Written down as a step of the work on an event: what an older version wrote is read, and what
/// is written is read by the version before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    pub outcome: Restoration,
    /// When logging was seen to be off or on again, or when it ended otherwise.
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// When CloudTrail says that logging stopped, where it does.
    #[serde(with = "rfc3339::option")]
    pub stopped_at: Option<OffsetDateTime>,
    #[serde(flatten)]
    pub delivery: DeliveryErrors,
    /// What the last look showed before `StartLogging` was asked for. Steps of 0.1.0 do not say.
    #[serde(default, skip_serializing_if = "Sighting::is_none")]
    pub before: Sighting,
    /// What else recorded meanwhile, where that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Box<Coverage>>,
}

/// What else recorded an account in a Region while one of its trails did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    pub region: String,
    /// Its other trails there, those of other Regions and of its organization too.
    pub others: Vec<Other>,
    /// Why not all of them are known.
    pub unknown: Option<String>,
}

/// Another trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Other {
    /// Its ARN.
    pub trail: String,
    pub is_organizations: bool,
    pub recorded: Recorded,
}

/// Whether a trail recorded since another was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recorded {
    Throughout,
    /// Why not.
    Not(String),
    /// Why that is not known.
    Unknown(String),
}

impl Restored {
    /// An end of which CloudTrail said nothing more.
    #[must_use]
    pub fn new(outcome: Restoration, at: OffsetDateTime) -> Self {
        Self {
            outcome,
            at,
            stopped_at: None,
            delivery: DeliveryErrors::default(),
            before: Sighting::default(),
            coverage: None,
        }
    }

    /// Whether the trail stopped by a call at `call`, as far as CloudTrail's times tell.
    #[must_use]
    pub fn stopped_with(&self, call: OffsetDateTime) -> bool {
        self.stopped_at.is_some_and(|stopped_at| (stopped_at - call).unsigned_abs() <= STOPPED_WITH)
    }
}

/// One trail of those that were looked at, since the event does not name any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its ARN.
    pub trail: String,
    pub restored: Restored,
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
    /// Off, and left as it is: nothing may be changed here, or it was off before.
    LeftOff,
    /// CloudTrail knows no such trail, in the trail's own account.
    Gone,
    /// Not allowed, or not possible, until somebody changes something; or a look that could not be had.
    Refused {
        /// What was refused, why, and what to do.
        detail: String,
    },
}
