//! Behaviour through the public face: the worker between an AWS that answers over HTTP and a Slack on `wiremock`.

mod accounts;
mod bad_input;
mod calls;
mod chaos;
mod check;
mod coverage;
mod dead_letters;
mod documents;
mod layering;
mod outcomes;
mod policy;
mod pool;
mod program;
mod queue_faults;
mod queue_promises;
mod replay;
mod sightings;
mod simulation;
mod slack_faults;
mod store;
mod support;
mod sweep;
mod traces;
