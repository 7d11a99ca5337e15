//! trailkeeper keeps AWS CloudTrail switched on.
//!
//! In reading order:
//! - [`event`]: from the bytes of a message to a typed event
//! - [`consumer`]: a worker pool on an SQS queue, which knows nothing of CloudTrail
//! - [`state`]: claims and steps, so that an event is handled to its end and its effects are not repeated
//! - [`respond`]: what is done about an event
//! - [`args`], [`config`], [`telemetry`], `spans`, [`otlp`], [`http`], [`protection`], `aws`, [`clock`]: what surrounds
//!   them
//! - [`app`]: builds all of it, runs it, and drains it
//! - [`operate`]: the commands beside the worker
//! - [`cli`]: the command line, which starts the one or the other
//!
//! The program is the interface, and this library is its inside: it may change with any release.

pub mod app;
pub mod args;
mod aws;
pub mod cli;
pub mod clock;
pub mod config;
pub mod consumer;
pub mod event;
pub mod http;
pub mod operate;
pub mod otlp;
pub mod protection;
pub mod respond;
mod spans;
pub mod state;
pub mod telemetry;
