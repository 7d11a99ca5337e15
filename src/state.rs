//! Claims and steps: who works on an event, and what of the work is done already.
//!
//! A claim is leased: its owner extends the lease while it works, and when the owner is gone the lease runs out
//! and the next worker takes over. Each claim of an event has a higher fence than the one before, and every
//! write names its claim: a worker that comes back late can no longer write.

mod dynamodb;
mod memory;
mod table;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::serde::rfc3339;
use tokio::time::Instant;

use crate::clock;
use crate::consumer::Reason;
use crate::event::EventId;

pub use dynamodb::DynamoStore;
pub use memory::MemoryStore;
pub use table::{Table, Unseen};

/// The right to work on an event, until its lease runs out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The event.
    pub event: EventId,
    /// Rises with every claim of the event; a write with a lower one is refused.
    pub fence: u64,
    /// Executions so far, this one included.
    pub attempts: u32,
    /// When the event was claimed for the first time.
    pub first_claimed_at: OffsetDateTime,
    /// What earlier executions finished.
    pub steps: Steps,
}

impl Claim {
    /// In place of a claim when the store is not available: the work goes on, and nothing of it is written
    /// down. `attempts` is a guess at the executions that nobody counted.
    #[must_use]
    pub fn unclaimed(event: EventId, attempts: u32) -> Self {
        let first_claimed_at = clock::now();
        Self { event, fence: 0, attempts, first_claimed_at, steps: Steps::default() }
    }

    /// Whether nobody can have worked on the event before.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.fence == 1
    }

    /// Whether it is no claim at all; the first real one has fence 1.
    #[must_use]
    pub fn is_unclaimed(&self) -> bool {
        self.fence == 0
    }
}

/// What is done about an event, written down as it happens, so that a retry goes on where it stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Steps {
    /// `StartLogging` was accepted; it is not verified yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub started: bool,
    /// How the restart ended, once it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restored: Option<Restored>,
    /// People were told that the restart takes longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub announced: Option<Told>,
    /// People were told how it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notified: Option<Told>,
}

/// What people were told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// When Slack had taken it.
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// The message's text.
    pub text: String,
}

/// How a restart ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// See [`Restoration`].
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

/// The ends that a restart can come to.
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

/// Until when a claim is certainly ours, by our own clock: from before it was asked for.
#[derive(Debug)]
pub struct Lease(Mutex<Instant>);

impl Lease {
    /// A lease of this length, asked for at `asked_at`.
    #[must_use]
    pub fn new(asked_at: Instant, length: Duration) -> Self {
        Self(Mutex::new(asked_at + length))
    }

    /// It was extended, by a request made at `asked_at`.
    pub fn extended(&self, asked_at: Instant, length: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = asked_at + length;
    }

    /// Whether the claim is live. Asked just before each effect.
    ///
    /// # Errors
    /// When the lease may have run out, and somebody else may have the event.
    pub fn check(&self) -> Result<(), StoreError> {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if Instant::now() < until { Ok(()) } else { Err(StoreError::Lost) }
    }
}

/// How an event ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Everything that was to be done is done.
    Done,
    /// It is poison. A duplicate becomes a dead letter too, with no effect repeated.
    Dead {
        /// Why.
        reason: Reason,
        /// What exactly.
        detail: String,
    },
}

/// What a worker that asks for an event is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// It is yours.
    Yours(Claim),
    /// Somebody else works on it; their lease ends after this long.
    Held {
        /// Until the lease ends.
        ends_in: Duration,
    },
    /// It has ended before.
    Ended {
        /// How.
        ending: Ending,
        /// After how many executions.
        attempts: u32,
    },
}

/// Why a claim could not be made or written to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The lease ran out and somebody else took the event, or it is ended: stop, and write nothing more.
    #[error("the claim is lost: somebody else works on the event now")]
    Lost,
    /// The store did not answer, so it is not known whether the write happened.
    #[error("the state store is not available: {0}")]
    Unavailable(String),
}

/// What a release does to the count of executions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// It was one.
    Counts,
    /// Nothing was tried: the worker went away, or had to wait for its turn.
    DoesNotCount,
}

/// Where claims live. Every write but [`Store::claim`] is refused with [`StoreError::Lost`] unless it names the
/// event's newest claim and that claim is neither released nor ended.
pub trait Store: Send + Sync + 'static {
    /// Claims an event: it is new, or released, or its last owner's lease has run out. Counts the execution.
    /// An event that ended as dead is claimed anew, once for each message that was taken from the dead letters:
    /// `reopen` is the id of that message.
    fn claim(
        &self,
        event: &EventId,
        lease: Duration,
        reopen: Option<&str>,
    ) -> impl Future<Output = Result<Claimed, StoreError>> + Send;

    /// Moves the end of the lease to `lease` from now.
    fn extend(&self, claim: &Claim, lease: Duration) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Writes the claim's steps down. A step that was written once stays.
    fn record(&self, claim: &Claim) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Gives the event back, for any worker to claim.
    fn release(&self, claim: &Claim, attempt: Attempt)
    -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Ends the event.
    fn complete(&self, claim: &Claim, ending: Ending) -> impl Future<Output = Result<(), StoreError>> + Send;
}
