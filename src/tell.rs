//! Where people are notified, and what they are shown.

mod channel;
#[cfg(test)]
mod samples;
pub mod slack;
mod view;

pub use channel::{Channel, ShowError};
pub use view::View;
