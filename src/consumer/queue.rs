//! What the pool needs of a queue, with the semantics of SQS: at least once, hidden while worked on.

use std::fmt;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;
use tracing::Span;

use super::label::Label;
use crate::retry::Failure;
use crate::spans;

/// The most messages in one receive, and the most entries in one batch; SQS's own limit.
pub const BATCH: usize = 10;

/// Names one receive of one message; the next receive of it makes this one stale.
#[derive(Clone, PartialEq, Eq)]
pub struct ReceiptHandle(pub String);

impl fmt::Debug for ReceiptHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("ReceiptHandle(..)")
    }
}

/// One receive of one message.
#[derive(Clone)]
pub struct Delivery {
    /// The queue's id for the message; a duplicate or a redriven message has another.
    pub message_id: String,
    pub receipt: ReceiptHandle,
    /// The message as it was sent; empty where the queue gave none.
    pub body: String,
    /// When it was sent.
    pub sent_at: Option<OffsetDateTime>,
    /// Receives so far, this one included. Not attempts: deploys and throttles raise it.
    pub receive_count: u32,
    /// What it carries if it comes back from the dead-letter queue.
    pub label: Option<Label>,
    /// What its sender says it is, where the sender is a worker like this one; nothing on messages from elsewhere.
    pub kind: Option<String>,
    /// When it was asked for. It is hidden from a moment between then and the answer.
    pub asked_at: Instant,
}

/// Bodies are not for logs.
impl fmt::Debug for Delivery {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter
            .debug_struct("Delivery")
            .field("message_id", &self.message_id)
            .field("body_bytes", &self.body.len())
            .field("receive_count", &self.receive_count)
            .finish_non_exhaustive()
    }
}

/// A message on its way to the dead-letter queue.
#[derive(Debug, Clone)]
pub struct DeadLetter<'a> {
    /// The message; its body is copied unchanged.
    pub delivery: &'a Delivery,
    /// The handler's word for why.
    pub reason: &'static str,
    /// What exactly. Holds nothing of the body.
    pub detail: &'a str,
    /// Executions so far.
    pub attempts: u32,
    /// What the handler calls the message, where it could tell.
    pub subject: Option<&'a str>,
}

impl DeadLetter<'_> {
    /// What is written on the copy, given up at `failed_at`. What was tried before the message was put back counts on.
    #[must_use]
    pub fn label(&self, failed_at: Option<String>) -> Label {
        let before = self.delivery.label.as_ref().map_or(0, |label| label.attempts);
        Label {
            reason: self.reason.to_owned(),
            detail: Some(self.detail.to_owned()),
            attempts: before.saturating_add(self.attempts),
            subject: self.subject.map(str::to_owned),
            source_message_id: Some(self.delivery.message_id.clone()),
            failed_at,
        }
    }
}

/// What traces call a queue and its dead-letter queue.
#[derive(Debug, Clone, Copy, Default)]
pub struct QueueNames<'a> {
    pub queue: &'a str,
    /// Its dead-letter queue.
    pub dead_letters: &'a str,
}

/// How one entry of a batch went wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettleError {
    /// The receipt handle is stale: another worker has the message now, or gone.
    #[error("the receipt handle is no longer valid")]
    Gone,
    /// The call failed.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Records the first failure among a batch's answers in the span of its request. That a message is somebody
/// else's by now is none.
pub(super) fn record_failure(settle: &Span, answers: &[Result<(), SettleError>]) {
    let failure = answers.iter().find_map(|answer| match answer {
        Err(SettleError::Failed(failure)) => Some(failure),
        Ok(()) | Err(SettleError::Gone) => None,
    });
    if let Some(failure) = failure {
        spans::failed(settle, failure.kind(), &failure.to_string());
    }
}

/// A queue. Batches hold at most [`BATCH`] entries; each answer has one result for each entry, in order.
pub trait Queue: Send + Sync + 'static {
    /// What traces call it; nothing, for queues that nobody traces.
    fn names(&self) -> QueueNames<'_> {
        QueueNames::default()
    }

    /// Receives up to `max` messages, waiting up to the configured long poll for the first.
    fn receive(&self, max: usize) -> impl Future<Output = Result<Vec<Delivery>, Failure>> + Send;

    /// Deletes messages.
    fn delete(&self, receipts: &[ReceiptHandle])
    -> impl Future<Output = Vec<Result<(), SettleError>>> + Send;

    /// Hides messages for this long from now.
    fn hide(
        &self,
        entries: &[(ReceiptHandle, Duration)],
    ) -> impl Future<Output = Vec<Result<(), SettleError>>> + Send;

    /// Copies a message to the dead-letter queue; the source keeps it.
    fn copy_to_dead_letters(
        &self,
        letter: &DeadLetter<'_>,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}
