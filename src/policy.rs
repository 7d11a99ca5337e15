//! What is to be done about an event, what is true once it was looked at, and what is to be said. Pure.
//!
//! Two steps, and nothing else decides: [`judge`] before anything is looked at, [`conclude`] after. The worker acts on
//! them, `replay --dry-run` prints them, the log line of a decision names them.

mod asked;
mod conclude;
mod difference;
mod file;
mod judge;
mod rules;

pub use conclude::{Conclusion, Deed, Fact, MAX_DELIVERY_ERROR_CHARS, RETRIED, Seen, conclude};
pub use difference::difference;
pub use file::{Fault, MAX_BYTES};
pub use judge::{
    Action, Because, Bounds, ByUs, Judgement, Listed, Mode, Untargetable, Which, judge, refusal,
};
pub use rules::{Member, Members, Policy};

/// The JSON Schema of a policy.
pub const SCHEMA: &str = include_str!("policy/policy.schema.json");
