//! A queue that misbehaves, as SQS may.

use std::time::Duration;

use serde_json::json;

use crate::support::aws::{Fault, REGION};
use crate::support::events::stop;
use crate::support::eventually;
use crate::support::worker::Scene;

#[tokio::test]
async fn entries_of_a_batch_that_fail_are_settled_again_and_the_others_are_not() {
    // Long enough for none to come back by itself.
    let scene = Scene::start_with(|args| args.set("TRAILKEEPER_VISIBILITY_TIMEOUT_SECONDS", "3600")).await;
    scene.aws.fault("DeleteMessageBatch", 1, Fault::FailEntries(&[0], "InternalError"));
    for number in 0..10 {
        let mut ignored = stop(&format!("e-{number}"), "audit");
        ignored["detail"]["eventName"] = json!("StartLogging");
        scene.aws.send(ignored.to_string()).await;
    }
    scene.settled().await;
    let batches = scene.aws.calls("DeleteMessageBatch");
    let entries: usize =
        batches.iter().filter_map(|call| call.body["Entries"].as_array()).map(Vec::len).sum();
    assert_eq!(entries, 11, "ten, and the one that failed once more");
    scene.worker.stop().await;
}

#[tokio::test]
async fn work_longer_than_the_visibility_timeout_is_kept_by_the_heartbeat() {
    let scene = Scene::start_with(|args| args.set("TRAILKEEPER_VISIBILITY_TIMEOUT_SECONDS", "2")).await;
    scene.aws.stopped_trail("audit", REGION).await;
    scene.aws.fault("StartLogging", 1, Fault::Delay(Duration::from_secs(7)));
    scene.handle(stop("e-1", "audit")).await;
    assert!(scene.aws.calls("ChangeMessageVisibilityBatch").len() >= 3);
    assert_eq!(scene.aws.calls("StartLogging").len(), 1);
    scene.worker.stop().await;
}

/// A beat that is refused for good means that somebody else has the message: another worker took over: this one stops, and the message
/// is not deleted.
#[tokio::test]
async fn a_message_that_is_lost_is_neither_worked_on_nor_deleted() {
    let scene = Scene::start_with(|args| args.set("TRAILKEEPER_VISIBILITY_TIMEOUT_SECONDS", "3")).await;
    scene.aws.stopped_trail("audit", REGION).await;
    scene.aws.break_down("StartLogging", Fault::Delay(Duration::from_secs(5)));
    scene.aws.fault("ChangeMessageVisibilityBatch", 1, Fault::FailEntries(&[0], "ReceiptHandleIsInvalid"));
    scene.aws.send(stop("e-1", "audit").to_string()).await;
    eventually("the beat", async || scene.aws.calls("ChangeMessageVisibilityBatch").pop()).await;
    // Three seconds after its receive the message is received again, while the first StartLogging hangs.
    eventually("a second execution", async || (scene.aws.calls("StartLogging").len() == 2).then_some(()))
        .await;
    assert!(scene.aws.calls("DeleteMessageBatch").is_empty());
    assert!(scene.slack.posts().await.is_empty(), "the first execution told nobody");
    scene.settled().await;
    scene.worker.stop().await;
}

#[tokio::test]
async fn a_receive_that_fails_is_tried_again_without_spinning() {
    let scene = Scene::start().await;
    scene.aws.stopped_trail("audit", REGION).await;
    scene.aws.fault("ReceiveMessage", 4, Fault::Refuse(500, "InternalFailure"));
    scene.handle(stop("e-1", "audit")).await;
    assert!(scene.aws.is_logging("audit", REGION).await);
    scene.worker.stop().await;
}

#[tokio::test]
async fn a_dead_letter_is_copied_before_it_is_deleted() {
    let scene = Scene::start().await;
    scene.aws.fault("SendMessage", 0, Fault::Refuse(500, "InternalFailure"));
    scene.aws.send("poison").await;
    scene.settled().await;
    // The copy fails at first: nothing is deleted until it is there.
    scene.aws.send("poison too").await;
    scene.aws.fault("SendMessage", 2, Fault::Refuse(500, "InternalFailure"));
    scene.settled().await;
    assert_eq!(scene.aws.dead_letters().await.len(), 2);
    scene.worker.stop().await;
}

#[tokio::test]
async fn what_cannot_be_copied_to_the_dead_letters_stays_in_the_queue() {
    let scene = Scene::start().await;
    scene.aws.send("poison").await;
    scene.aws.break_down("SendMessage", Fault::Refuse(403, "AccessDenied"));
    eventually("a copy to be tried", async || (scene.aws.calls("SendMessage").len() > 1).then_some(())).await;
    scene.worker.stop().await;
    assert!(scene.aws.calls("DeleteMessageBatch").is_empty());
    assert_eq!(scene.aws.depth("events"), 1);
}

/// Four long polls hang; a delete answers all the same.
#[tokio::test]
async fn polls_that_hang_keep_no_delete_waiting() {
    let scene = Scene::start_with(|args| args.set("TRAILKEEPER_WAIT_SECONDS", "20")).await;
    let mut ignored = stop("e-1", "audit");
    ignored["detail"]["eventName"] = json!("StartLogging");
    for _ in 0..40 {
        scene.aws.send(ignored.to_string()).await;
    }
    let started_at = tokio::time::Instant::now();
    scene.settled().await;
    assert!(started_at.elapsed() < Duration::from_secs(15), "well below a long poll");
    scene.worker.drain();
    scene.worker.ended().await.expect("drained");
}
