//! What every queue promises, held against SQS on an emulator and against the simulation's queue: where the
//! two differ, the simulation would prove nothing.

use std::time::Duration;

use tokio::time::Instant;
use trailkeeper::consumer::queue::{DeadLetter, SettleError};
use trailkeeper::consumer::sqs::SqsClients;
use trailkeeper::consumer::{Delivery, Queue, ReceiptHandle};

use crate::support::aws::{Aws, Fault};

/// What a receive hides a message for, on the emulator.
const VISIBILITY: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_mins(1);

/// Receives until something comes; a queue may answer with nothing though it has something.
async fn receive(queue: &impl Queue) -> Delivery {
    let patience = Instant::now() + LONG;
    loop {
        let mut received = queue.receive(1).await.expect("an answer");
        if let Some(delivery) = received.pop() {
            assert!(received.is_empty(), "more than was asked for");
            return delivery;
        }
        assert!(Instant::now() < patience, "nothing came");
    }
}

async fn brings_nothing(queue: &impl Queue) -> bool {
    queue.receive(10).await.expect("an answer").is_empty()
}

/// `send` puts a body into the queue, and `buried` tells the bodies in the dead-letter queue. The queue's long
/// poll is shorter than what it hides a received message for.
pub(super) async fn promises(
    queue: &impl Queue,
    send: impl AsyncFn(&str),
    buried: impl AsyncFn() -> Vec<String>,
) {
    // A message that was received is hidden from the next receive.
    send("one").await;
    let first = receive(queue).await;
    assert_eq!((first.body.as_str(), first.receive_count, first.label.is_some()), ("one", 1, false));
    assert!(first.sent_at.is_some());
    assert!(brings_nothing(queue).await);

    // Given back, it comes again at once, by another receipt; the old one is stale.
    assert_eq!(queue.hide(&[(first.receipt.clone(), Duration::ZERO)]).await, [Ok(())]);
    let second = receive(queue).await;
    assert_eq!((second.message_id.as_str(), second.receive_count), (first.message_id.as_str(), 2));
    assert_ne!(second.receipt, first.receipt);
    assert_eq!(queue.hide(&[(first.receipt.clone(), LONG)]).await, [Err(SettleError::Gone)]);

    // Hidden for a time, it comes again after it.
    assert_eq!(queue.hide(&[(second.receipt.clone(), SHORT)]).await, [Ok(())]);
    let third = receive(queue).await;
    assert_eq!(third.receive_count, 3);

    // A copy in the dead-letter queue leaves the message where it is.
    let receipt = third.receipt.clone();
    let (reason, detail) = ("malformed", "so".to_owned());
    let letter = DeadLetter { delivery: &third, reason, detail: &detail, attempts: 1, subject: None };
    queue.copy_to_dead_letters(&letter).await.expect("copied");
    assert_eq!(buried().await, ["one"]);
    assert_eq!(queue.hide(&[(receipt.clone(), LONG)]).await, [Ok(())]);

    // Deleted, it never comes again, there is nothing left to hide, and whoever deletes it later by whatever
    // receipt is told that all is well.
    assert_eq!(queue.delete(std::slice::from_ref(&receipt)).await, [Ok(())]);
    assert_eq!(queue.delete(std::slice::from_ref(&first.receipt)).await, [Ok(())]);
    assert_eq!(queue.hide(&[(receipt, Duration::ZERO)]).await, [Err(SettleError::Gone)]);
    assert!(brings_nothing(queue).await);

    // At most as many as were asked for, each once.
    for body in ["a", "b", "c"] {
        send(body).await;
    }
    let mut bodies = Vec::new();
    let mut receipts: Vec<ReceiptHandle> = Vec::new();
    while bodies.len() < 3 {
        let received = queue.receive(2).await.expect("an answer");
        assert!(received.len() <= 2);
        bodies.extend(received.iter().map(|delivery| delivery.body.clone()));
        receipts.extend(received.into_iter().map(|delivery| delivery.receipt));
    }
    bodies.sort();
    assert_eq!(bodies, ["a", "b", "c"]);
    assert_eq!(queue.delete(&receipts).await, [Ok(()), Ok(()), Ok(())]);
}

/// A batch is answered by position, and what fails in it keeps nothing else from being done.
pub(super) async fn promises_of_batches(queue: &impl Queue, send: impl AsyncFn(&str)) {
    send("one").await;
    let first = receive(queue).await;
    assert_eq!(queue.hide(&[(first.receipt.clone(), Duration::ZERO)]).await, [Ok(())]);
    let second = receive(queue).await;
    let batch = [(first.receipt.clone(), LONG), (second.receipt.clone(), LONG)];
    assert_eq!(queue.hide(&batch).await, [Err(SettleError::Gone), Ok(())]);
    let deleted = queue.delete(&[first.receipt, second.receipt]).await;
    // Deleting by a stale handle may be answered either way.
    assert!(matches!(deleted[..], [Ok(()) | Err(SettleError::Gone), Ok(())]), "{deleted:?}");
    assert!(brings_nothing(queue).await);
}

#[tokio::test]
async fn sqs_keeps_the_promises_of_a_queue() {
    let aws = Aws::start().await;
    let clients = SqsClients::new(&aws.sdk_config(), SHORT);
    let queue = clients.queue(aws.queue_url("events"), aws.queue_url("poison"), VISIBILITY);
    let buried = async || {
        let letters = aws.dead_letters().await;
        letters.iter().map(|letter| letter.body().unwrap_or_default().to_owned()).collect()
    };
    promises(&queue, async |body: &str| aws.send(body).await, buried).await;
    promises_of_batches(&queue, async |body: &str| aws.send(body).await).await;
    // Some servers refuse the whole batch for one stale handle: then each entry is asked for alone.
    aws.send("one").await;
    let received = receive(&queue).await;
    for operation in ["ChangeMessageVisibilityBatch", "DeleteMessageBatch"] {
        aws.forget();
        aws.fault(operation, 1, Fault::Refuse(400, "ReceiptHandleIsInvalid"));
        let (receipt, stale) = (received.receipt.clone(), ReceiptHandle("stale".to_owned()));
        let last = if operation == "DeleteMessageBatch" {
            queue.delete(&[stale, receipt]).await.pop()
        } else {
            queue.hide(&[(stale, LONG), (receipt, LONG)]).await.pop()
        };
        assert_eq!((last, aws.calls(operation).len()), (Some(Ok(())), 3));
    }
}
