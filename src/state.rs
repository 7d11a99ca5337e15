//! Claims and steps: who works on what, and what of the work is done already.
//!
//! A claim is leased: its owner extends the lease while it works, and when the owner is gone the lease runs out and the
//! next worker takes over. Each claim of a key has a higher fence than the one before, and every write names its claim:
//! a worker that comes back late can no longer write. Whoever works has a [`Session`], and never a claim alone. A session
//! comes from [`Claims`]: the store that workers share, and this worker's memory for while that does not answer.

mod claims;
mod dynamodb;
mod kept;
mod memory;
mod record;
mod records;
mod session;
mod steps;
mod table;

use std::fmt;
use std::time::Duration;

use time::OffsetDateTime;

use crate::event::EventId;
use crate::retry::Failure;

pub use claims::{Answers, Claims};
pub use dynamodb::DynamoStore;
pub(crate) use dynamodb::{CLOCK_MARGIN, LONGEST_WRITE};
pub use kept::{Kept, Looked};
pub use memory::MemoryStore;
pub use record::{
    AccountRecord, DELETE_TRAIL, Failing, Left, News, STOP_LOGGING, Stop, SweepRecord, Told, TrailRecord,
    Undelivered, Wanted, Why,
};
pub use records::{RecordKey, Records};
pub use session::{Lost, Opened, Session};
pub use steps::{Notice, Step, Steps};
pub use table::{Table, Unseen};

/// What can be claimed. All keys are claimed, leased and ended the same way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    Event(EventId),
    /// What a look at a trail found: by an id that the look makes of it, so that each who finds it works on the same.
    Finding(EventId),
    /// The sweep: one worker at a time.
    Sweep,
}

/// The partition key of its item.
impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Event(id) => write!(formatter, "event#{id}"),
            Self::Finding(id) => write!(formatter, "finding#{id}"),
            Self::Sweep => formatter.write_str("claim#sweep"),
        }
    }
}

/// The right to work on a key, until its lease runs out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub key: Key,
    /// 1 for the first claim of a key, and rises with every other; a write with a lower one is refused.
    pub fence: u64,
    /// Executions so far, this one included.
    pub attempts: u32,
    pub first_claimed_at: OffsetDateTime,
    /// What earlier executions finished.
    pub steps: Steps,
}

/// How work ended for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Everything that was to be done is done.
    Done,
    /// It is poison. A duplicate becomes a dead letter too, with no effect repeated.
    Dead {
        /// The dead letter's, in a word. One of another version's is kept as it is.
        reason: String,
        /// What exactly.
        detail: String,
    },
}

/// The message by which a worker asks for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asking<'a> {
    /// The queue's id for it.
    pub message: &'a str,
    /// It comes from the dead-letter queue.
    pub redriven: bool,
}

/// What a worker that asks for a key is told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one for each message, taken apart at once")]
pub enum Claimed {
    Yours(Claim),
    /// Somebody else works on it.
    Held {
        /// Until their lease ends.
        ends_in: Duration,
    },
    /// It has ended before.
    Ended {
        ending: Ending,
        attempts: u32,
    },
}

/// Why a claim could not be made or written to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The lease ran out and somebody else took over, or the work is ended: stop, and write nothing more.
    #[error("the claim is lost: another worker has the event now")]
    Lost,
    /// The store did not answer, so it is not known whether the write happened.
    #[error("the state table does not answer: {0}")]
    Silent(String),
    /// The store is gone, or this worker may not write to it: no wait helps.
    #[error("the state table refuses: {0}")]
    Refused(String),
}

/// Whether an execution that is given back counts against the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    Yes,
    /// Nothing was tried: the worker went away, or had to wait for its turn.
    No,
}

/// Where claims live. Every write but [`Store::claim`] is refused with [`StoreError::Lost`] unless it names the key's
/// newest claim and that claim is neither released nor ended.
pub trait Store: Send + Sync + 'static {
    /// Claims a key: it is new, or released, or its last owner's lease has run out. Counts the execution. One that ended
    /// as dead is claimed anew, once for each message that was taken from the dead letters.
    fn claim(
        &self,
        key: &Key,
        lease: Duration,
        asking: Asking<'_>,
    ) -> impl Future<Output = Result<Claimed, StoreError>> + Send;

    /// Moves the end of the lease to `lease` from now.
    fn extend(&self, claim: &Claim, lease: Duration) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Writes steps down, beside those that are. A step that was written once stays.
    fn record(&self, claim: &Claim, steps: &[Step]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Gives the key back, for any worker to claim, and writes down steps with it.
    fn release(
        &self,
        claim: &Claim,
        counts: Counts,
        steps: &[Step],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Ends the work for good, and writes down the last steps with it.
    fn complete(
        &self,
        claim: &Claim,
        ending: Ending,
        steps: &[Step],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Whether the store answers, and may be written to. Changes nothing.
    fn probe(&self) -> impl Future<Output = Result<(), Failure>> + Send;
}
