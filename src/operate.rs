//! What people do beside running the worker: check that all is in place, replay recorded events, and see to the
//! dead letters.

pub mod check;
pub mod dead_letters;
pub mod finding;
mod identity;
mod judge;
mod queue_policy;
mod recording;
pub mod replay;
pub mod screen;

use crate::consumer::{Failure, RetryPolicy};

/// Asks again while an answer fails for now.
async fn patiently<T, F: Future<Output = Result<T, Failure>>>(
    tries: RetryPolicy,
    ask: impl FnMut() -> F,
) -> Result<T, Failure> {
    backon::Retryable::retry(ask, tries.waits()).when(Failure::is_transient).await
}
