//! What is done about an event: claim it, restart the trail, notify people, and remember that it is done.

mod responder;
mod verdict;
mod work;

pub(crate) use responder::HELD_MARGIN;
pub use responder::{Rehearsal, Responder};
pub use work::Hands;
