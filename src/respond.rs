//! What is done about an event: claim it, restart the trail, tell people, and remember that it is done.

pub mod accounts;
pub mod message;
pub mod preview;
pub mod responder;
pub mod restore;
pub mod slack;
pub mod trails;
mod work;

pub use work::Means;
