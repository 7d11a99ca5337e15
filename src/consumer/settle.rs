//! Answers to the queue, in batches and apart from polling.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::disposition::Disposition;
use super::ledger::InFlight;
use super::queue::{self, BATCH, DeadLetter, Queue, SettleError};
use crate::retry::{Failure, RetryPolicy, patiently};
use crate::spans;
use crate::telemetry::{self, SqsOperation};

/// How long an answer waits for others to share its request: far below what anybody notices, long enough for
/// messages that were received together and have each had a few requests of their own since.
const LINGER: Duration = Duration::from_millis(25);
/// Tries for one answer, spread over some 20 s. After that the message comes back by itself when its
/// visibility ends, and is then a duplicate.
const TRIES: RetryPolicy =
    RetryPolicy { max_attempts: 8, base: Duration::from_millis(100), max: Duration::from_secs(10) };
/// Answers that may wait for the settler to take them; beyond it the deliveries themselves wait.
const BACKLOG: usize = 1_024;

/// Takes what is decided of messages; the requests are made by [`run`].
#[derive(Debug, Clone)]
pub(super) struct Settler(mpsc::Sender<(InFlight, Disposition)>);

impl Settler {
    pub(super) fn new() -> (Self, mpsc::Receiver<(InFlight, Disposition)>) {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        (Self(sender), receiver)
    }

    pub(super) async fn settle(&self, message: InFlight, disposition: Disposition) {
        if let Disposition::Retry { .. } = disposition {
            message.stop_beating().await;
        }
        // The other end goes away only after every sender has: this cannot fail before the process ends.
        let _ = self.0.send((message, disposition)).await;
    }
}

/// A batch of one kind of answer, filling up.
#[derive(Debug)]
struct Batch {
    kind: Kind,
    messages: Vec<(InFlight, Duration)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Delete,
    Hide,
}

/// Collects answers into batches and makes the requests, until every [`Settler`] is gone and all is answered.
pub(super) async fn run<Q: Queue>(queue: Arc<Q>, mut answers: mpsc::Receiver<(InFlight, Disposition)>) {
    let requests = TaskTracker::new();
    let send = |batch: &mut Batch| {
        if !batch.messages.is_empty() {
            requests.spawn(settle_all(Arc::clone(&queue), batch.kind, std::mem::take(&mut batch.messages)));
        }
    };
    let mut deletes = Batch { kind: Kind::Delete, messages: Vec::new() };
    let mut hides = Batch { kind: Kind::Hide, messages: Vec::new() };
    let mut flush_at: Option<Instant> = None;
    loop {
        let flush_due = async {
            match flush_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            answer = answers.recv() => match answer {
                Some((message, Disposition::Delete)) => deletes.messages.push((message, Duration::ZERO)),
                Some((message, Disposition::Retry { after })) => {
                    hides.messages.push((message, after));
                }
                Some((message, Disposition::DeadLetter { reason, detail })) => {
                    requests.spawn(bury(Arc::clone(&queue), message, reason, detail));
                }
                None => break,
            },
            () = flush_due => {
                send(&mut deletes);
                send(&mut hides);
            }
        }
        for batch in [&mut deletes, &mut hides] {
            if batch.messages.len() == BATCH {
                send(batch);
            }
        }
        let waiting = !deletes.messages.is_empty() || !hides.messages.is_empty();
        flush_at = waiting.then(|| flush_at.unwrap_or_else(|| Instant::now() + LINGER));
    }
    send(&mut deletes);
    send(&mut hides);
    requests.close();
    requests.wait().await;
}

/// Asks until each message of the batch is answered, or the tries are used up. What went well in a batch that
/// went wrong in part is not asked for again.
async fn settle_all<Q: Queue>(queue: Arc<Q>, kind: Kind, mut messages: Vec<(InFlight, Duration)>) {
    let mut waits = TRIES.waits();
    loop {
        let answers = ask(&*queue, kind, &messages).await;
        let mut passing = Vec::new();
        for (message, answer) in messages.into_iter().zip(answers) {
            match answer {
                Ok(()) if kind == Kind::Delete => telemetry::message_deleted(),
                Ok(()) => {}
                Err(SettleError::Gone) => tracing::info!(?kind, "another worker has the message now"),
                Err(SettleError::Failed(Failure::Transient { .. })) => passing.push(message),
                Err(SettleError::Failed(failure)) => {
                    tracing::error!(?kind, %failure, "SQS did not delete or hide the message: it will come again");
                }
            }
        }
        if passing.is_empty() {
            return;
        }
        let Some(wait) = waits.next() else {
            let count = passing.len();
            tracing::error!(?kind, count, "not settled in time: the messages will come again");
            return;
        };
        tokio::time::sleep(wait).await;
        messages = passing;
    }
}

async fn ask<Q: Queue>(
    queue: &Q,
    kind: Kind,
    messages: &[(InFlight, Duration)],
) -> Vec<Result<(), SettleError>> {
    let receipt = |message: &InFlight| message.delivery.receipt.clone();
    let operation = match kind {
        Kind::Delete => SqsOperation::Delete,
        Kind::Hide => SqsOperation::Hide,
    };
    let settled = messages.iter().map(|(message, _)| message.hold().span());
    let span = spans::settle(queue.names().queue, operation.as_str(), messages.len(), settled);
    let answers = match kind {
        Kind::Delete => {
            let receipts: Vec<_> = messages.iter().map(|(message, _)| receipt(message)).collect();
            queue.delete(&receipts).instrument(span.clone()).await
        }
        Kind::Hide => {
            let entries: Vec<_> =
                messages.iter().map(|(message, after)| (receipt(message), *after)).collect();
            queue.hide(&entries).instrument(span.clone()).await
        }
    };
    queue::record_failure(&span, &answers);
    answers
}

/// Copies first, deletes after: at worst the dead letter is there twice, never not at all.
async fn bury<Q: Queue>(queue: Arc<Q>, message: InFlight, reason: &'static str, detail: String) {
    let letter = DeadLetter {
        delivery: &message.delivery,
        reason,
        detail: &detail,
        attempts: message.attempts(),
        subject: message.hold().subject(),
    };
    let copy = async || {
        let span = spans::send(queue.names().dead_letters, message.hold().span());
        let copied = queue.copy_to_dead_letters(&letter).instrument(span.clone()).await;
        copied.inspect_err(|failure| spans::failed(&span, failure.kind(), &failure.to_string()))
    };
    match patiently(TRIES.waits(), copy).await {
        Ok(()) => {
            telemetry::dead_letter(reason);
            settle_all(queue, Kind::Delete, vec![(message, Duration::ZERO)]).await;
        }
        Err(failure) => {
            // Not deleted, so not lost: it comes back, and the queue's own redrive is behind it.
            let message_id = &message.delivery.message_id;
            tracing::error!(%message_id, %failure, "the message was not copied to the dead-letter queue: it will come again");
        }
    }
}
