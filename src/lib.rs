//! trailkeeper keeps AWS CloudTrail switched on.
//!
//! In reading order:
//! - [`retry`], [`text`], [`turns`], [`pattern`], [`clock`]: the ground floor, which knows nothing else of ours
//! - [`outcome`]: the words for what becomes of a message
//! - [`event`]: from the bytes of a message to a typed event
//! - [`incident`], [`policy`]: what is to be done about an event, what is true, and what is to be said
//! - [`consumer`]: a worker pool on any queue, which knows nothing of CloudTrail
//! - [`state`]: claims and steps, so that an event is handled to its end and its effects are not repeated
//! - [`cloudtrail`]: the accounts, Regions and trails that are looked at and acted on
//! - [`sweep`]: every trail of every account, compared with what is known of it
//! - [`tell`]: what people are shown, and where
//! - [`respond`]: what is done about one message
//! - [`args`], [`config`], [`telemetry`], `spans`, [`otlp`], [`http`], [`protection`], `aws`: what surrounds them
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
pub mod cloudtrail;
pub mod config;
pub mod consumer;
pub mod event;
pub mod http;
pub mod incident;
pub mod operate;
pub mod otlp;
pub mod outcome;
pub mod pattern;
pub mod policy;
pub mod protection;
pub mod respond;
pub mod retry;
mod spans;
pub mod state;
pub mod sweep;
pub mod telemetry;
pub mod tell;
pub mod text;
pub mod turns;
