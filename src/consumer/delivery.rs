//! One message's life: held by the heartbeat, handled, and what becomes of it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::disposition::{Disposition, Verdict, decide};
use super::ledger::{Cancelled, Hold, InFlight};
use super::queue::Delivery;
use super::retry::RetryPolicy;
use super::settle::Settler;
use super::shutdown::Drained;
use crate::clock;
use crate::spans;
use crate::telemetry::{self, Outcome};

/// How long a handler that was told to stop may take to put its affairs in order before it is dropped.
pub(super) const LET_GO: Duration = Duration::from_secs(2);

/// Back to the queue, for whoever receives next.
const AT_ONCE: Disposition = Disposition::Retry { after: Duration::ZERO };

/// What is done about a message.
pub trait Handler: Send + Sync + 'static {
    /// Works on one message until it knows what becomes of it. The future may be dropped at any await: what
    /// must not be lost is written down as it happens. When [`Hold::cancelled`] ends, it has two seconds
    /// to return, and starts no further effect.
    fn handle(&self, delivery: &Delivery, hold: &Hold) -> impl Future<Output = Disposition> + Send;
}

/// Works on deliveries; what every one of them shares.
pub(super) struct Deliverer<H> {
    pub(super) handler: Arc<H>,
    pub(super) settler: Settler,
    pub(super) retry: RetryPolicy,
}

impl<H: Handler> Deliverer<H> {
    /// Works on a message and hands it to the settler.
    pub(super) async fn deliver(&self, message: InFlight, drained: &Drained) {
        let started_at = Instant::now();
        if message.delivery.receive_count <= 1
            && let Some(sent_at) = message.delivery.sent_at
        {
            telemetry::queue_delay(clock::since(sent_at));
        }
        let disposition = self.work(&message).await;
        let disposition = match (message.hold().cancellation(), disposition) {
            // Somebody else has it now, or will: whatever came of the work, the message is theirs to settle.
            (Some(Cancelled::Lost), _) => {
                message.hold().failed("lost", "the message is somebody else's now");
                return;
            }
            (Some(Cancelled::GivenBack), left @ (None | Some(Disposition::Retry { .. }))) => {
                drained.count();
                if left.is_none() {
                    message.hold().became(Outcome::Released);
                }
                AT_ONCE
            }
            (_, Some(disposition)) => disposition,
            // A handler that never came back, though nobody told it to stop, cannot be.
            (None, None) => Disposition::Retry { after: self.retry.max },
        };
        if let Disposition::DeadLetter { reason, .. } = &disposition {
            spans::dead_letter(message.hold().span(), reason.as_str());
        }
        telemetry::processing(started_at.elapsed());
        self.settler.settle(message, disposition).await;
    }

    /// Gives a message back that nobody has begun to work on.
    pub(super) async fn give_back(&self, message: InFlight) {
        message.hold().became(Outcome::Released);
        self.settler.settle(message, AT_ONCE).await;
    }

    /// What the handler decides; `None` if it was told to stop and did not in time.
    async fn work(&self, message: &InFlight) -> Option<Disposition> {
        let hold = message.hold();
        let mut handled =
            std::pin::pin!(AssertUnwindSafe(self.handler.handle(&message.delivery, hold)).catch_unwind());
        let result = tokio::select! {
            biased;
            result = &mut handled => Some(result),
            () = hold.cancelled() => tokio::time::timeout(LET_GO, handled).await.ok(),
        };
        Some(result?.unwrap_or_else(|_panic| {
            // The payload may quote a message, so only the fact is told; the panic hook told where.
            tracing::error!(message_id = %message.delivery.message_id, "the handler panicked");
            hold.failed("panicked", "");
            let failed = Verdict::Failed { after: None, detail: "the worker panicked".to_owned() };
            let disposition = decide(failed, message.attempts(), &self.retry, fastrand::f64());
            let dead = matches!(disposition, Disposition::DeadLetter { .. });
            hold.became(if dead { Outcome::DeadLettered } else { Outcome::Retried });
            disposition
        }))
    }
}
