//! A pool of workers on one queue. It knows messages, receipt handles, visibility and dead letters, and nothing
//! of what is in a message: that is the business of the [`Handler`].
//!
//! In reading order: [`queue`] (what a queue is, [`sqs`] is the one on Amazon SQS), `pool` (polls and permits),
//! `delivery` (one message's life), `ledger` (what is in flight, and its heartbeat), `settle` (batched answers),
//! `health` and `shutdown` (how the pool is watched and ended), and the pure decisions: [`disposition`] (what becomes of
//! a message), `retry` (when it is tried again), [`label`] (what a dead letter says of itself) and [`redrive`] (where
//! SQS itself moves what is received too often).

mod delivery;
pub mod disposition;
mod health;
pub mod label;
mod ledger;
mod pool;
pub mod queue;
pub mod redrive;
mod retry;
mod settle;
mod shutdown;
pub mod sqs;

use std::time::Duration;

pub use delivery::Handler;
pub use disposition::{Disposition, Reason};
pub use health::Health;
pub use label::Label;
pub use ledger::Hold;
pub use pool::{PoolConfig, run};
pub use queue::{Delivery, Queue, ReceiptHandle};
pub use retry::{Failure, RetryPolicy};
pub use shutdown::Shutdown;

/// Asks again while an answer fails for now, after each of `waits`.
///
/// # Errors
/// The first failure for good, or the last of those that might have passed.
pub async fn patiently<T, F: Future<Output = Result<T, Failure>>>(
    waits: impl Iterator<Item = Duration> + Send + Sync + Unpin + 'static,
    ask: impl FnMut() -> F,
) -> Result<T, Failure> {
    backon::Retryable::retry(ask, waits).when(Failure::is_transient).await
}
