//! A Slack that is busy, down, or has had enough of us.

use std::sync::Mutex;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use wiremock::{Request, ResponseTemplate};

use crate::support::aws::{Fault, REGION, attribute};
use crate::support::events::stop;
use crate::support::eventually;
use crate::support::slack::{Slack, refusal};
use crate::support::worker::Scene;

#[tokio::test]
async fn a_rate_limit_is_waited_out_and_restarts_nothing_twice() {
    let scene = Scene::start_with(|args| args.set("TRAILKEEPER_MAX_ATTEMPTS", "2")).await;
    scene.aws.stopped_trail("audit", REGION).await;
    let busy = ResponseTemplate::new(429).insert_header("Retry-After", "2");
    scene.slack.next(3, busy).await;
    let started_at = tokio::time::Instant::now();
    scene.handle(stop("e-1", "audit")).await;
    assert!(started_at.elapsed().as_secs() >= 6, "three times two seconds");
    assert_eq!(scene.slack.posts().await.len(), 4);
    assert_eq!(scene.aws.calls("StartLogging").len(), 1);
    assert_eq!(scene.aws.depth("poison"), 0, "waiting for a turn uses up no attempt");
    scene.worker.stop().await;
}

/// Each return is a receive, and SQS gives up after some.
#[tokio::test]
async fn a_rate_limit_of_nothing_is_a_turn() {
    let scene = Scene::start().await;
    scene.slack.next(1, ResponseTemplate::new(429).insert_header("Retry-After", "0")).await;
    scene.handle(stop("e-1", "gone")).await;
    let hidden = scene.aws.calls("ChangeMessageVisibilityBatch");
    assert_eq!(hidden[0].body["Entries"][0]["VisibilityTimeout"], 1);
    scene.worker.stop().await;
}

/// Alerts that were refused together are not posted again together: of eight, one is taken and seven wait, each for a turn of its own.
/// All at once they would be refused seven times more, then six, and so on.
#[tokio::test]
async fn everybody_who_waits_gets_a_turn_of_their_own() {
    let scene = Scene::start().await;
    let taken_at = Mutex::new(None::<Instant>);
    let one_at_a_time = move |_: &Request| {
        let mut taken_at = taken_at.lock().expect("whole");
        // Half a second less than a turn, for a machine that is busy.
        if taken_at.is_some_and(|at| at.elapsed() < Duration::from_millis(500)) {
            return ResponseTemplate::new(429).insert_header("Retry-After", "1");
        }
        *taken_at = Some(Instant::now());
        ResponseTemplate::new(200).set_body_string("ok")
    };
    scene.slack.otherwise(one_at_a_time).await;
    let alerts = (0..8).map(|number| stop(&format!("e-{number}"), "gone").to_string());
    scene.aws.send_many("events", alerts).await;
    scene.settled().await;
    let refused = scene.slack.posts().await.len() - 8;
    assert!((1..=10).contains(&refused), "{refused} were refused");
    assert_eq!(scene.aws.depth("poison"), 0);
    scene.worker.stop().await;
}

#[tokio::test]
async fn an_outage_is_outlasted_and_restarts_nothing_twice() {
    let scene = Scene::start().await;
    scene.aws.stopped_trail("audit", REGION).await;
    scene.slack.next(6, ResponseTemplate::new(503)).await;
    scene.handle(stop("e-1", "audit")).await;
    assert_eq!(scene.slack.posts().await.len(), 7);
    assert_eq!(scene.aws.calls("StartLogging").len(), 1);
    assert!(scene.slack.texts().await[6].contains("restarted and verified"));
    scene.worker.stop().await;
}

#[tokio::test]
async fn a_slack_that_is_down_does_not_keep_a_trail_from_being_restarted() {
    let scene = Scene::start_with(|args| args.set("TRAILKEEPER_MAX_ATTEMPTS", "2")).await;
    scene.aws.stopped_trail("audit", REGION).await;
    scene.slack.otherwise(ResponseTemplate::new(500)).await;
    scene.aws.send(stop("e-1", "audit").to_string()).await;
    eventually("logging", async || scene.aws.is_logging("audit", REGION).await.then_some(())).await;
    scene.settled().await;
    let letters = scene.aws.dead_letters().await;
    assert_eq!(attribute(&letters[0], "reason"), Some("attempts-exhausted"));
    assert_eq!(attribute(&letters[0], "detail"), Some("Slack answered 500"));
    scene.worker.stop().await;
}

#[tokio::test]
async fn a_refusal_for_good_is_a_dead_letter_at_once() {
    for (status, word) in [
        (400, "invalid_payload"),
        (403, "action_prohibited"),
        (404, "no_service"),
        (410, "channel_is_archived"),
    ] {
        let scene = Scene::start().await;
        scene.aws.stopped_trail("audit", REGION).await;
        scene.slack.otherwise(ResponseTemplate::new(status).set_body_string(word)).await;
        scene.handle(stop("e-1", "audit")).await;
        assert!(scene.aws.is_logging("audit", REGION).await);
        assert_eq!(scene.slack.posts().await.len(), 1);
        let letters = scene.aws.dead_letters().await;
        assert_eq!(attribute(&letters[0], "reason"), Some("notify-refused"));
        let detail = attribute(&letters[0], "detail").expect("detail").to_owned();
        assert_eq!(detail, format!("Slack answered {status} ({word}); check the webhook and its channel"));
        scene.worker.stop().await;
    }
}

/// What a stranger answers in Slack's place is not repeated.
/// A trail that is off weighs more than a webhook that is dead.
#[tokio::test]
async fn refused_by_both_a_dead_letter_says_first_that_the_trail_is_off() {
    let scene = Scene::start().await;
    scene.aws.stopped_trail("audit", REGION).await;
    scene.aws.break_down("StartLogging", Fault::Refuse(400, "AccessDeniedException"));
    scene.slack.otherwise(ResponseTemplate::new(404).set_body_string("no_service")).await;
    scene.handle(stop("e-1", "audit")).await;
    let letters = scene.aws.dead_letters().await;
    assert_eq!(attribute(&letters[0], "reason"), Some("restore-refused"));
    let detail = attribute(&letters[0], "detail").expect("a detail");
    assert!(
        detail.contains("AccessDeniedException")
            && detail.contains("the report was refused: Slack answered 404"),
        "{detail}"
    );
    scene.worker.stop().await;
}

/// The webhook's path is a secret, and stands in the errors of whoever cannot post there.
#[tokio::test]
async fn a_slack_that_breaks_off_is_told_without_its_secret() {
    let hangs_up = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = hangs_up.local_addr().expect("bound");
    let hanging_up = tokio::spawn(async move { while hangs_up.accept().await.is_ok() {} });
    let scene = Scene::start_with(|args| {
        args.set("TRAILKEEPER_MAX_ATTEMPTS", "1");
        args.set("TRAILKEEPER_SLACK_WEBHOOK_URL", format!("http://{address}/services/very-secret"));
    })
    .await;
    scene.handle(stop("e-1", "gone")).await;
    let letters = scene.aws.dead_letters().await;
    let detail = attribute(&letters[0], "detail").expect("a detail");
    assert!(detail.starts_with("Slack was not reached: ") && !detail.contains("services"), "{detail}");
    scene.worker.stop().await;
    hanging_up.abort();
}

#[tokio::test]
async fn an_answer_that_is_not_slacks_word_is_not_told() {
    let scene = Scene::start().await;
    scene
        .slack
        .otherwise(ResponseTemplate::new(404).set_body_string("<html>secret</html>".repeat(1_000)))
        .await;
    scene.handle(stop("e-1", "gone")).await;
    let letters = scene.aws.dead_letters().await;
    assert_eq!(
        attribute(&letters[0], "detail"),
        Some("Slack answered 404; check the webhook and its channel")
    );
    scene.worker.stop().await;
}

/// The stand-in refuses what Slack refuses: a message that it takes, Slack would show.
#[test]
fn the_stand_in_refuses_what_slack_refuses() {
    let fields = |count: usize, chars: usize| {
        let field = json!({ "type": "mrkdwn", "text": "x".repeat(chars) });
        json!({ "type": "section", "fields": vec![field; count] })
    };
    let section = |chars: usize| json!({ "type": "section", "text": { "text": "x".repeat(chars) } });
    for (blocks, word) in [
        (vec![fields(10, 900)], None),
        (vec![fields(11, 1)], Some("invalid_blocks")),
        (vec![fields(1, 2_001)], Some("invalid_blocks")),
        (vec![section(3_000)], None),
        (vec![section(3_001)], Some("invalid_blocks")),
        (vec![section(1); 50], None),
        (vec![section(1); 51], Some("invalid_blocks")),
        (vec![section(3_000); 5], Some("msg_blocks_too_long")),
    ] {
        assert_eq!(refusal(&json!({ "text": "so", "blocks": blocks })), word);
    }
    assert_eq!(refusal(&json!({ "blocks": [] })), Some("no_text"));
}

/// Every value as long as any is kept, and all of it characters that are escaped.
#[tokio::test]
async fn a_message_filled_to_its_bounds_is_taken() {
    let scene = Scene::start().await;
    let long = "&".repeat(100_000);
    for (id, name) in [("e-1", "DeleteTrail"), ("e-2", "StopLogging")] {
        let mut event = stop(id, &long);
        let detail = &mut event["detail"];
        detail["eventName"] = json!(name);
        for field in ["userAgent", "sourceIPAddress"] {
            detail[field] = json!(long);
        }
        for field in ["userName", "accessKeyId"] {
            detail["userIdentity"][field] = json!(long);
        }
        scene.handle(event).await;
    }
    // A message that Slack refuses would have made dead letters.
    assert_eq!(scene.aws.dead_letters().await, []);
    let posts = scene.slack.posts().await;
    assert_eq!(posts.iter().map(refusal).collect::<Vec<_>>(), [None, None]);
    let longest = posts.iter().map(|post| post.to_string().len()).max();
    assert!(longest.is_some_and(|bytes| bytes > 4_000), "{longest:?}: nothing was filled");
    scene.worker.stop().await;
}

/// The stand-in itself: whoever drops it may just have had its turn of the runtime, as with many at once in one task.
#[tokio::test]
async fn a_slack_may_end_at_any_time() {
    let slack = Slack::start().await;
    while tokio::task::coop::has_budget_remaining() {
        tokio::task::coop::consume_budget().await;
    }
    drop(slack);
}
