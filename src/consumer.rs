//! A pool of workers on one queue. It knows messages, receipt handles, visibility and dead letters, and nothing
//! of what is in a message: that is the business of the [`Handler`].
//!
//! In reading order: [`queue`] (what a queue is), [`pool`] (polls and permits), [`delivery`] (one message's
//! life), [`ledger`] (what is in flight, and its heartbeat), [`settle`] (batched answers), and the pure
//! decisions in [`disposition`] and [`retry`].

pub mod delivery;
pub mod disposition;
pub mod health;
pub mod label;
pub mod ledger;
pub mod pool;
pub mod queue;
pub mod redrive;
pub mod retry;
pub mod settle;
pub mod shutdown;
pub mod sqs;

pub use delivery::Handler;
pub use disposition::{Disposition, Reason};
pub use health::Health;
pub use label::Label;
pub use ledger::Hold;
pub use pool::{PoolConfig, run};
pub use queue::{Delivery, Queue, ReceiptHandle};
pub use retry::{Failure, RetryPolicy};
pub use shutdown::{Drained, Shutdown};
