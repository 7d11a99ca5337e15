//! What the tests of views and of their renderings show.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::event::{self, Event};
use crate::incident::{Restoration, Restored};

/// A trail was stopped, with this changed.
pub(super) fn stopped(change: impl FnOnce(&mut Value)) -> Event {
    let mut event = json!({
        "account": "111122223333", "region": "eu-west-1",
        "detail": {
            "eventID": "3b8f0a52-0000-4000-8000-000000000001",
            "eventName": "StopLogging", "eventSource": "cloudtrail.amazonaws.com",
            "eventTime": "2026-11-20T09:15:02Z", "awsRegion": "eu-west-1",
            "recipientAccountId": "111122223333", "sourceIPAddress": "203.0.113.7",
            "userAgent": "aws-cli/2.31.1",
            "userIdentity": {
                "type": "IAMUser", "userName": "mallory", "accessKeyId": "AKIAEXAMPLE",
                "sessionContext": { "attributes": { "mfaAuthenticated": "false" } },
            },
            "requestParameters": { "name": "audit" },
        },
    });
    change(&mut event);
    event::parse(&event.to_string()).expect("an event")
}

/// Seven seconds after that.
pub(super) fn restored(outcome: Restoration) -> Restored {
    Restored::new(outcome, OffsetDateTime::parse("2026-11-20T09:15:09Z", &Rfc3339).expect("a time"))
}
