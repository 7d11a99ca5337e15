//! A look at a trail, as a message to the queue. Pure.

use serde::{Deserialize, Serialize};

use crate::event::TrailArn;

/// What such a message says it is, beside its body.
pub const LOOK_AT_TRAIL: &str = "look-at-trail";

#[derive(Serialize, Deserialize)]
struct Body {
    /// Its ARN.
    trail: String,
}

/// The body of a look at this trail.
#[must_use]
pub fn look_at(trail: &TrailArn) -> String {
    serde_json::to_string(&Body { trail: trail.to_string() }).unwrap_or_default()
}

/// The trail that a body names, if it is one of a look.
#[must_use]
pub fn looked_at(body: &str) -> Option<TrailArn> {
    let body: Body = serde_json::from_str(body).ok()?;
    TrailArn::parse(&body.trail)
}
