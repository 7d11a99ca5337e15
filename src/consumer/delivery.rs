//! One message's life: held by the heartbeat, handled, and what becomes of it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::disposition::{Disposition, Handled};
use super::ledger::{Cancelled, Hold, InFlight};
use super::queue::Delivery;
use super::settle::Settler;
use super::shutdown::Drained;
use crate::clock;
use crate::spans;
use crate::telemetry;

/// How long a handler that was told to stop may take to put its affairs in order before it is dropped.
pub(super) const LET_GO: Duration = Duration::from_secs(2);

/// The label of what the pool gives back itself; the handler's own are the handler's.
pub const RELEASED: &str = "released";

/// What is done about a message.
pub trait Handler: Send + Sync + 'static {
    /// Works on one message until it knows what becomes of it. The future may be dropped at any await: what
    /// must not be lost is written down as it happens. When [`Hold::cancelled`] ends, it has two seconds
    /// to return, and starts no further effect.
    fn handle(&self, delivery: &Delivery, hold: &Hold) -> impl Future<Output = Handled> + Send;

    /// [`Handler::handle`] panicked in this execution; what becomes of the message.
    fn panicked(&self, attempts: u32) -> Handled;
}

/// Works on deliveries; what every one of them shares.
pub(super) struct Deliverer<H> {
    pub(super) handler: Arc<H>,
    pub(super) settler: Settler,
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
        let handled = self.work(&message).await;
        let span = message.hold().span();
        let cancellation = message.hold().cancellation();
        let is_lost = cancellation == Some(Cancelled::Lost);
        if let Some(failure) = handled.as_ref().and_then(|handled| handled.failure.as_ref()) {
            spans::failed(span, failure.kind, &failure.detail);
        } else if is_lost {
            spans::failed(span, "lost", "another worker has the message now");
        }
        // A handler that was told to stop and did not in time has decided nothing.
        let Some(handled) = handled.or_else(|| (!is_lost).then(released)) else { return };
        telemetry::message(handled.outcome);
        spans::outcome(span, handled.outcome);
        let disposition = match (cancellation, handled.disposition) {
            // Somebody else has it now, or will: whatever came of the work, the message is theirs to settle.
            (Some(Cancelled::Lost), _) => return,
            (Some(Cancelled::GivenBack), Disposition::Retry { .. }) => {
                drained.count();
                Disposition::Retry { after: Duration::ZERO }
            }
            (_, disposition) => disposition,
        };
        if let Disposition::DeadLetter { reason, .. } = &disposition {
            spans::dead_letter(span, reason);
        }
        telemetry::processing(started_at.elapsed());
        self.settler.settle(message, disposition).await;
    }

    /// Gives a message back that nobody has begun to work on.
    pub(super) async fn give_back(&self, message: InFlight) {
        let released = released();
        telemetry::message(released.outcome);
        spans::outcome(message.hold().span(), released.outcome);
        self.settler.settle(message, released.disposition).await;
    }

    /// What the handler decides; `None` if it was told to stop and did not in time.
    async fn work(&self, message: &InFlight) -> Option<Handled> {
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
            self.handler.panicked(message.attempts())
        }))
    }
}

/// Back to the queue, for whoever receives next.
fn released() -> Handled {
    let disposition = Disposition::Retry { after: Duration::ZERO };
    Handled { disposition, outcome: RELEASED, failure: None }
}
