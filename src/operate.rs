//! What people do beside running the worker: check that all is in place, replay recorded events, and see to the
//! dead letters.

pub mod check;
pub mod dead_letters;
pub mod finding;
mod identity;
mod judge;
mod members;
mod patience;
mod queue_policy;
mod recording;
pub mod replay;
pub mod screen;
pub mod sweep;
