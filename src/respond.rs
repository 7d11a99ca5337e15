//! What is done about an event: claim it, restart the trail, notify people, and remember that it is done.

mod changes;
mod looks;
mod members;
mod outside;
mod responder;
mod sweeping;
mod verdict;
mod work;

pub use members::Membership;
pub(crate) use responder::HELD_MARGIN;
pub use responder::{Rehearsal, Responder, Sweeping};
pub use work::Hands;
