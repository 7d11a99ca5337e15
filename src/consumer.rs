//! A pool of workers on one queue. It knows messages, receipt handles, visibility and dead letters, and nothing
//! of what is in a message: that is the business of the [`Handler`].
//!
//! In reading order: [`queue`] (what a queue is, [`sqs`] is the one on Amazon SQS), `pool` (polls and permits),
//! `delivery` (one message's life), `ledger` (what is in flight, and its heartbeat), [`disposition`] (what becomes of a
//! message), `settle` (batched answers), `health` and `shutdown` (how the pool is watched and ended), and the pure
//! [`label`] (what a dead letter says of itself) and [`redrive`] (where SQS itself moves what is received too often).

mod delivery;
pub mod disposition;
mod health;
pub mod label;
mod ledger;
mod pool;
pub mod queue;
pub mod redrive;
mod settle;
mod shutdown;
pub mod sqs;

pub use delivery::{Handler, RELEASED};
pub use disposition::{Disposition, Handled, HandlingFailure};
pub use health::Health;
pub use label::Label;
pub use ledger::Hold;
pub use pool::{PoolConfig, run};
pub use queue::{Delivery, Queue, ReceiptHandle};
pub use shutdown::Shutdown;
