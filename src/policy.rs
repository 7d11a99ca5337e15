//! What is to be done about an event, what is true once it was looked at, and what is to be said. Pure.
//!
//! Two steps, and nothing else decides: [`judge`] before anything is looked at, [`conclude`] after. The worker acts on
//! them, `replay --dry-run` prints them, the log line of a decision names them.

mod asked;
mod conclude;
mod judge;

pub use conclude::{Conclusion, Deed, Fact, Seen, conclude};
pub use judge::{Action, Judgement, Mode, Untargetable, Which, judge, refusal};
