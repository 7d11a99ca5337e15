//! From the bytes of a queue message to a typed CloudTrail event. Pure: no clock, no network, no runtime.
//!
//! Everything in an event is text that whoever made the call could choose. Fields that decide what is done are
//! parsed into types that cannot hold anything else; fields that are only shown are cut to a bound and passed
//! on as they are, for whoever shows them to make harmless.

mod calls;
mod envelope;
mod identity;
mod lenient;
mod parameters;
mod trail;

pub use calls::{About, CALLS, Call, Effect};
pub use envelope::{Event, Kind, MAX_BODY_BYTES, Malformed, Origin, parse, parse_record, sns_message};
pub use identity::Actor;
pub use parameters::Parameters;
pub use trail::{AccountId, EventId, Region, TrailArn, partition_of, trail_name};
