//! How long a check asks, and what it says of an answer that does not come.

use std::time::Duration;

use crate::cloudtrail::{Meaning, Refusal};
use crate::retry::{Failure, RetryPolicy};

/// For what fails for now: a check that throttling makes fail would be believed.
pub(super) const TRIES: RetryPolicy =
    RetryPolicy { max_attempts: 4, base: Duration::from_millis(500), max: Duration::from_secs(3) };

/// What to do about a failure: what is wrong for good has its own advice, the rest has the way there to blame.
pub(super) fn todo<'a>(failure: &Failure, advice: &'a str) -> &'a str {
    if failure.is_transient() {
        "see whether it can be reached from here (network, proxy, throttling), and try again"
    } else {
        advice
    }
}

pub(super) fn failure(refusal: Refusal) -> Failure {
    match refusal.meaning {
        Meaning::Passing | Meaning::Throttled => Failure::transient(refusal.detail),
        _ => Failure::permanent(refusal.detail),
    }
}
