//! Each row of the table "what becomes of a message".

use serde_json::{Value, json};
use trailkeeper::event::TrailArn;

use crate::support::aws::{Aws, Fault, REGION, attribute};
use crate::support::events::{fixture, in_envelope, recorded, stop};
use crate::support::slack::Slack;
use crate::support::worker::{Scene, Worker, args};

fn blocks_text(post: &Value) -> String {
    post["blocks"].to_string()
}

#[tokio::test]
async fn a_stopped_trail_is_restarted_verified_and_told() {
    let scene = Scene::start().await;
    scene.aws.stopped_trail("audit", REGION).await;
    scene.handle(stop("e-1", "audit")).await;
    assert!(scene.aws.is_logging("audit", REGION).await);
    // Whoever reads CloudTrail sees who did it.
    assert_eq!(scene.aws.calls("StartLogging")[0].by.as_deref(), Some("trailkeeper"));
    let posts = scene.slack.posts().await;
    assert_eq!(posts.len(), 1);
    let text = posts[0]["text"].as_str().expect("text");
    assert!(
        text.starts_with("mallory turned off CloudTrail logging in account 123456789012 at 2026-11-20T09:15:02Z. Logging was restarted and verified"),
        "{text}"
    );
    let blocks = blocks_text(&posts[0]);
    for part in [
        "HIGH",
        "audit",
        "123456789012",
        "eu-west-1",
        "mallory",
        "203.0.113.7",
        "aws-cli/2.31.1",
        "e-1",
        "/cloudtrailv2/home",
    ] {
        assert!(blocks.contains(part), "{part} is missing in {blocks}");
    }
    assert_eq!(scene.aws.depth("poison"), 0);
    scene.worker.stop().await;
}

#[tokio::test]
async fn the_trail_is_restarted_where_it_lives_and_not_where_the_worker_does() {
    let scene = Scene::start().await;
    scene.aws.stopped_trail("by-arn", "ap-southeast-2").await;
    scene.aws.stopped_trail("by-name", "us-west-2").await;
    scene.handle(stop("e-1", "arn:aws:cloudtrail:ap-southeast-2:123456789012:trail/by-arn")).await;
    let mut by_name = stop("e-2", "by-name");
    by_name["detail"]["awsRegion"] = json!("us-west-2");
    // The caller's account is not the trail's.
    by_name["detail"]["userIdentity"]["accountId"] = json!("999999999999");
    scene.handle(by_name).await;
    assert!(scene.aws.is_logging("by-arn", "ap-southeast-2").await);
    assert!(scene.aws.is_logging("by-name", "us-west-2").await);
    scene.worker.stop().await;
}

#[tokio::test]
async fn a_trail_that_logs_again_already_is_said_so_and_not_restarted() {
    let scene = Scene::start().await;
    scene.aws.stopped_trail("audit", REGION).await;
    let client = scene.aws.cloudtrail(REGION);
    client.start_logging().name("audit").send().await.expect("started by somebody else");
    let before = scene.aws.calls("StartLogging").len();
    scene.handle(stop("e-1", "audit")).await;
    assert_eq!(scene.aws.calls("StartLogging").len(), before);
    let texts = scene.slack.texts().await;
    assert!(texts[0].contains("already on again"), "{texts:?}");
    scene.worker.stop().await;
}

#[tokio::test]
async fn logging_that_cannot_deliver_is_still_loud() {
    let scene = Scene::start().await;
    scene.aws.stopped_trail("audit", REGION).await;
    scene.aws.fault("GetTrailStatus", 1, Fault::Answer(json!({ "IsLogging": false })));
    let blind = json!({ "IsLogging": true, "LatestDeliveryError": "NoSuchBucket" });
    scene.aws.fault("GetTrailStatus", 1, Fault::Answer(blind));
    scene.handle(stop("e-1", "audit")).await;
    let posts = scene.slack.posts().await;
    assert!(posts[0]["text"].as_str().expect("text").contains("CANNOT BE DELIVERED: NoSuchBucket"));
    assert!(blocks_text(&posts[0]).contains("CRITICAL"));
    scene.worker.stop().await;
}

#[tokio::test]
async fn a_start_that_is_not_confirmed_is_tried_again() {
    let scene = Scene::start().await;
    scene.aws.stopped_trail("audit", REGION).await;
    // The first look, and all five looks after the start.
    scene.aws.fault("GetTrailStatus", 6, Fault::Answer(json!({ "IsLogging": false })));
    scene.handle(stop("e-1", "audit")).await;
    assert_eq!(scene.aws.calls("StartLogging").len(), 1, "the second execution finds it on");
    assert_eq!(scene.aws.calls("GetTrailStatus").len(), 7, "none of those six is believed to show it on");
    let last = scene.slack.texts().await.pop().expect("told");
    assert!(last.contains("restarted and verified"), "{last}");
    scene.worker.stop().await;
}

/// The restart was carried out and its answer was lost: nobody knows that, so nobody claims it.
#[tokio::test]
async fn a_restart_whose_answer_is_lost_is_told_as_perhaps_ours() {
    let scene = Scene::start().await;
    scene.aws.stopped_trail("audit", REGION).await;
    scene.aws.fault("StartLogging", 1, Fault::Lose);
    scene.handle(stop("e-1", "audit")).await;
    assert_eq!(scene.aws.calls("StartLogging").len(), 1);
    let texts = scene.slack.texts().await;
    assert!(texts.len() == 1 && texts[0].contains("an earlier attempt by trailkeeper, or"), "{texts:?}");
    scene.worker.stop().await;
}

#[tokio::test]
async fn a_stop_that_failed_is_an_attempt_and_nothing_is_restarted() {
    let scene = Scene::start().await;
    scene.aws.stopped_trail("audit", REGION).await;
    let mut event = stop("e-1", "audit");
    event["detail"]["errorCode"] = json!("AccessDenied");
    event["detail"]["errorMessage"] = json!(
        "User: x is not authorized to perform: cloudtrail:StopLogging on resource: \
         arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit"
    );
    event["detail"]["requestParameters"] = Value::Null;
    scene.handle(event).await;
    assert!(scene.aws.calls("StartLogging").is_empty());
    assert!(scene.aws.calls("GetTrailStatus").is_empty());
    let posts = scene.slack.posts().await;
    assert_eq!(posts.len(), 1);
    assert!(posts[0]["text"].as_str().expect("text").contains("tried to turn off CloudTrail logging"));
    assert!(blocks_text(&posts[0]).contains("*Trail*\\naudit"));
    scene.worker.stop().await;
}

#[tokio::test]
async fn other_calls_that_weaken_cloudtrail_are_told_and_the_rest_is_ignored() {
    let weakening = [
        ("DeleteTrail", "cloudtrail", "name"),
        ("UpdateTrail", "cloudtrail", "name"),
        ("PutEventSelectors", "cloudtrail", "trailName"),
        ("PutInsightSelectors", "cloudtrail", "trailName"),
        ("StopEventDataStoreIngestion", "cloudtrail", "eventDataStore"),
        ("DeleteEventDataStore", "cloudtrail", "eventDataStore"),
        ("UpdateEventDataStore", "cloudtrail", "eventDataStore"),
        ("DeregisterOrganizationDelegatedAdmin", "cloudtrail", "delegatedAdminAccountId"),
        ("PutBucketLifecycle", "s3", "bucketName"),
        ("DeleteBucket", "s3", "bucketName"),
        ("PutBucketPolicy", "s3", "bucketName"),
        ("ScheduleKeyDeletion", "kms", "keyId"),
        ("DisableKey", "kms", "keyId"),
    ];
    let ignored = [
        ("StartLogging", "cloudtrail", "name"),
        ("StopLogging", "example", "name"),
        ("DeleteBucket", "cloudtrail", "bucketName"),
        ("RunInstances", "ec2", "name"),
    ];
    let scene = Scene::start().await;
    for (name, service, parameter) in weakening.into_iter().chain(ignored) {
        let mut event = stop(&format!("e-{name}-{service}"), "audit");
        event["detail"]["eventName"] = json!(name);
        event["detail"]["eventSource"] = json!(format!("{service}.amazonaws.com"));
        event["detail"]["requestParameters"] = json!({ parameter: "audit" });
        scene.handle(event).await;
    }
    let texts = scene.slack.texts().await;
    assert_eq!(texts.len(), weakening.len(), "{texts:#?}");
    for ((name, ..), text) in weakening.iter().zip(&texts) {
        assert!(
            text.contains(&format!(
                "weakened CloudTrail in account 123456789012 at 2026-11-20T09:15:02Z by {name} on audit"
            )),
            "{text}"
        );
    }
    assert!(scene.aws.calls("StartLogging").is_empty());
    assert_eq!(scene.aws.depth("poison"), 0);
    scene.worker.stop().await;
}

#[tokio::test]
async fn a_duplicate_is_deleted_and_nothing_is_repeated() {
    let scene = Scene::start().await;
    scene.aws.stopped_trail("audit", REGION).await;
    scene.handle(stop("e-1", "audit")).await;
    let mut duplicate = stop("e-1", "audit");
    duplicate["id"] = json!("another envelope");
    scene.handle(duplicate).await;
    assert_eq!(scene.aws.calls("StartLogging").len(), 1);
    assert_eq!(scene.slack.posts().await.len(), 1);
    assert_eq!(scene.aws.depth("poison"), 0);
    scene.worker.stop().await;
}

#[tokio::test]
async fn a_duplicate_that_comes_while_the_event_is_worked_on_waits_for_its_end() {
    let scene = Scene::start_with(|args| args.set("TRAILKEEPER_VISIBILITY_TIMEOUT_SECONDS", "2")).await;
    scene.aws.stopped_trail("audit", REGION).await;
    scene.aws.fault("StartLogging", 1, Fault::Delay(std::time::Duration::from_secs(3)));
    scene.aws.send(stop("e-1", "audit").to_string()).await;
    scene.aws.send(stop("e-1", "audit").to_string()).await;
    scene.settled().await;
    assert_eq!(scene.aws.calls("StartLogging").len(), 1);
    assert_eq!(scene.slack.posts().await.len(), 1);
    scene.worker.stop().await;
}

/// A message that is hidden for long makes the queue look busy.
#[tokio::test]
async fn a_duplicate_of_an_event_at_work_is_hidden_for_seconds_first() {
    let scene = Scene::start_with(|args| args.set("TRAILKEEPER_VISIBILITY_TIMEOUT_SECONDS", "120")).await;
    scene.aws.stopped_trail("audit", REGION).await;
    scene.aws.fault("StartLogging", 1, Fault::Delay(std::time::Duration::from_secs(8)));
    scene.aws.send(stop("e-1", "audit").to_string()).await;
    scene.aws.send(stop("e-1", "audit").to_string()).await;
    scene.settled().await;
    let hides = scene.aws.calls("ChangeMessageVisibilityBatch");
    let hidden: Vec<_> = hides
        .iter()
        .flat_map(|call| call.body["Entries"].as_array().cloned().unwrap_or_default())
        .filter_map(|entry| entry["VisibilityTimeout"].as_i64())
        .collect();
    let bounds = [1..=2, 2..=4, 4..=8, 8..=16];
    assert!((2..=4).contains(&hidden.len()), "{hidden:?}");
    assert!(hidden.iter().zip(bounds).all(|(hidden, bound)| bound.contains(hidden)), "{hidden:?}");
    assert_eq!((scene.aws.calls("StartLogging").len(), scene.slack.posts().await.len()), (1, 2));
    scene.worker.stop().await;
}

#[tokio::test]
async fn a_refused_restart_is_told_loudly_and_becomes_a_dead_letter() {
    for code in
        ["AccessDeniedException", "NotOrganizationMasterAccountException", "UnsupportedOperationException"]
    {
        let scene = Scene::start().await;
        scene.aws.stopped_trail("audit", REGION).await;
        scene.aws.break_down("StartLogging", Fault::Refuse(400, code));
        let event = stop("e-1", "audit").to_string();
        scene.handle(&event).await;
        let posts = scene.slack.posts().await;
        assert_eq!(posts.len(), 1);
        let text = posts[0]["text"].as_str().expect("text");
        assert!(text.contains("LOGGING IS STILL OFF: the restart was refused. StartLogging: "), "{text}");
        assert!(text.contains(code), "{text}");
        assert!(blocks_text(&posts[0]).contains("CRITICAL"));
        let letters = scene.aws.dead_letters().await;
        assert_eq!(letters.len(), 1);
        assert_eq!(letters[0].body(), Some(event.as_str()), "the body is unchanged");
        assert_eq!(attribute(&letters[0], "reason"), Some("restore-refused"));
        assert_eq!(attribute(&letters[0], "event_id"), Some("e-1"));
        assert_eq!(attribute(&letters[0], "attempts"), Some("1"));
        assert!(attribute(&letters[0], "detail").expect("detail").contains(code));
        assert!(attribute(&letters[0], "source_message_id").is_some());
        assert!(attribute(&letters[0], "failed_at").expect("time").ends_with('Z'));
        scene.worker.stop().await;
    }
}

#[tokio::test]
async fn the_right_to_look_may_be_missing_where_the_right_to_start_is_there() {
    let scene = Scene::start().await;
    scene.aws.stopped_trail("audit", REGION).await;
    scene.aws.fault("GetTrailStatus", 2, Fault::Refuse(400, "AccessDeniedException"));
    scene.handle(stop("e-1", "audit")).await;
    assert!(scene.aws.is_logging("audit", REGION).await);
    let texts = scene.slack.texts().await;
    assert!(texts[0].contains("trailkeeper could not confirm that it is on"), "{texts:?}");
    assert!(!texts[0].contains("OFF"), "{texts:?}");
    let dead = scene.aws.dead_letters().await;
    assert_eq!(attribute(&dead[0], "reason"), Some("restore-refused"));
    assert!(
        attribute(&dead[0], "detail")
            .expect("detail")
            .contains("trailkeeper could not confirm that logging is on")
    );
    scene.worker.stop().await;
}

#[tokio::test]
async fn a_duplicate_of_a_refused_event_repeats_nothing_and_a_redriven_one_starts_anew() {
    let scene = Scene::start().await;
    scene.aws.stopped_trail("audit", REGION).await;
    scene.aws.fault("StartLogging", 1, Fault::Refuse(400, "AccessDeniedException"));
    let event = stop("e-1", "audit").to_string();
    scene.handle(&event).await;
    scene.handle(&event).await;
    assert_eq!(scene.aws.calls("StartLogging").len(), 1);
    assert_eq!(scene.slack.posts().await.len(), 1);
    assert_eq!(scene.aws.dead_letters().await.len(), 2, "nothing that was refused is lost");
    scene.aws.send_redriven(&event, "restore-refused").await;
    scene.settled().await;
    assert!(scene.aws.is_logging("audit", REGION).await);
    assert!(scene.slack.texts().await[1].contains("restarted and verified"));
    scene.worker.stop().await;
}

#[tokio::test]
async fn a_trail_that_is_gone_is_told_and_deleted() {
    let scene = Scene::start().await;
    scene.handle(stop("e-1", "never-was")).await;
    let posts = scene.slack.posts().await;
    assert_eq!(posts.len(), 1);
    assert!(posts[0]["text"].as_str().expect("text").contains("no longer exists"));
    assert!(blocks_text(&posts[0]).contains("CRITICAL"));
    assert_eq!(scene.aws.depth("poison"), 0);
    scene.worker.stop().await;
}

#[tokio::test]
async fn a_trail_of_another_account_is_not_confused_with_one_of_the_same_name() {
    let scene = Scene::start().await;
    scene.aws.stopped_trail("audit", REGION).await;
    let mut event = stop("e-1", "audit");
    event["detail"]["recipientAccountId"] = json!("999999999999");
    scene.handle(event).await;
    assert!(scene.aws.calls("StartLogging").is_empty());
    assert_eq!(
        scene.aws.calls("GetTrailStatus")[0].body["Name"],
        "arn:aws:cloudtrail:eu-west-1:999999999999:trail/audit"
    );
    assert!(!scene.aws.is_logging("audit", REGION).await);
    assert!(scene.slack.texts().await[0].contains("in account 999999999999"));
    assert_eq!(attribute(&scene.aws.dead_letters().await[0], "reason"), Some("restore-refused"));
    scene.worker.stop().await;
}

#[tokio::test]
async fn a_trail_that_lives_elsewhere_is_restarted_in_its_home_region() {
    let scene = Scene::start().await;
    scene.aws.stopped_trail("audit", REGION).await;
    let home = json!({ "trailList": [{ "Name": "audit", "HomeRegion": "us-east-1" }] });
    // What else recorded is looked at beside.
    scene.aws.fault("DescribeTrails", 2, Fault::Answer(home));
    scene.aws.fault("StartLogging", 1, Fault::Refuse(400, "InvalidHomeRegionException"));
    scene.aws.fault("GetTrailStatus", 2, Fault::Answer(json!({ "IsLogging": false })));
    scene.aws.fault("StartLogging", 1, Fault::Answer(json!({})));
    scene.aws.fault("GetTrailStatus", 1, Fault::Answer(json!({ "IsLogging": true })));
    scene.handle(stop("e-1", "audit")).await;
    let regions: Vec<_> = scene.aws.calls("StartLogging").into_iter().map(|call| call.region).collect();
    assert_eq!(regions, [REGION, "us-east-1"]);
    assert!(scene.slack.texts().await[0].contains("restarted and verified"));
    scene.worker.stop().await;
}

#[tokio::test]
async fn an_event_that_says_nowhere_what_was_stopped_is_told_and_becomes_a_dead_letter() {
    let scene = Scene::start().await;
    let mut event = stop("e-1", "audit");
    event["detail"]["requestParameters"] = Value::Null;
    event["detail"]["awsRegion"] = Value::Null;
    event["region"] = Value::Null;
    scene.handle(event).await;
    let told = "The event names neither a trail nor a Region: look for the trail, and restart it by hand.";
    assert!(scene.slack.texts().await[0].contains(told));
    assert_eq!(attribute(&scene.aws.dead_letters().await[0], "reason"), Some("restore-refused"));
    scene.worker.stop().await;
}

#[tokio::test]
async fn throttling_is_retried_from_where_it_stopped() {
    let scene = Scene::start().await;
    scene.aws.stopped_trail("audit", REGION).await;
    scene.aws.fault("StartLogging", 2, Fault::Refuse(400, "ThrottlingException"));
    scene.handle(stop("e-1", "audit")).await;
    assert_eq!(scene.aws.calls("StartLogging").len(), 3);
    let texts = scene.slack.texts().await;
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].contains("restarted and verified"));
    scene.worker.stop().await;
}

#[tokio::test]
async fn a_restart_that_takes_long_is_told_at_once_and_again_when_it_ends() {
    let scene = Scene::start().await;
    scene.aws.stopped_trail("audit", REGION).await;
    scene.aws.fault("StartLogging", 1, Fault::Delay(std::time::Duration::from_secs(6)));
    scene.handle(stop("e-1", "audit")).await;
    let texts = scene.slack.texts().await;
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].contains("LOGGING IS STILL OFF: the restart is not done yet"), "{texts:?}");
    assert!(texts[1].contains("restarted and verified"), "{texts:?}");
    scene.worker.stop().await;
}

#[tokio::test]
async fn an_event_tried_as_often_as_allowed_is_told_and_becomes_a_dead_letter() {
    let scene = Scene::start_with(|args| args.set("TRAILKEEPER_MAX_ATTEMPTS", "3")).await;
    scene.aws.stopped_trail("audit", REGION).await;
    scene.aws.break_down("StartLogging", Fault::Refuse(500, "InternalFailure"));
    scene.handle(stop("e-1", "audit")).await;
    assert_eq!(scene.aws.calls("StartLogging").len(), 3);
    let last = scene.slack.texts().await.pop().expect("told");
    assert!(last.contains("LOGGING IS STILL OFF: giving up after 3 attempts"), "{last}");
    let letters = scene.aws.dead_letters().await;
    assert_eq!(attribute(&letters[0], "reason"), Some("attempts-exhausted"));
    assert_eq!(attribute(&letters[0], "attempts"), Some("3"));
    scene.worker.stop().await;
}

#[tokio::test]
async fn in_notify_mode_people_are_told_and_nothing_is_restarted() {
    let scene = Scene::start_with(|args| args.set("TRAILKEEPER_MODE", "notify")).await;
    scene.aws.stopped_trail("audit", REGION).await;
    scene.handle(stop("e-1", "audit")).await;
    assert!(!scene.aws.is_logging("audit", REGION).await);
    assert!(scene.slack.texts().await[0].contains("only notifies"));
    scene.worker.stop().await;
}

#[tokio::test]
async fn in_a_dry_run_nothing_is_restarted_and_nobody_is_told() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    let mut args = args(&aws, &slack);
    args.set("TRAILKEEPER_MODE", "dry-run");
    args.set("TRAILKEEPER_SLACK_WEBHOOK_URL", "");
    let worker = Worker::start_with(&aws, &args);
    let scene = Scene { aws, slack, worker };
    scene.aws.stopped_trail("audit", REGION).await;
    scene.handle(stop("e-1", "audit")).await;
    assert!(!scene.aws.is_logging("audit", REGION).await);
    assert!(scene.slack.posts().await.is_empty());
    scene.worker.stop().await;
}

/// Every recorded event gets its right outcome; the folder is beside the checkout on some machines only.
#[tokio::test]
async fn recorded_events_get_their_right_outcome() {
    let Some(events) = recorded() else { return };
    for (path, record) in events {
        let event = in_envelope(record);
        let detail = &event["detail"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        // A denied call names its trail in the error message alone, and an ARN has the last word.
        let message = text(&detail["errorMessage"]);
        let denied = TrailArn::find(&message).filter(|_| detail["requestParameters"].is_null());
        let account = detail["recipientAccountId"].as_str().or(event["account"].as_str());
        let account = denied.as_ref().map(|arn| arn.account().as_str()).or(account).expect("an account");
        let region = text(&detail["awsRegion"]);
        let named = text(&detail["requestParameters"]["name"]);
        let trail = named.rsplit('/').next().unwrap_or_default().to_owned();
        let failed = detail["errorCode"].is_string();
        let name = text(&detail["eventName"]);
        let aws = Aws::start_as(account).await;
        if !trail.is_empty() {
            aws.stopped_trail(&trail, &region).await;
        }
        let slack = Slack::start().await;
        let worker = Worker::start(&aws, &slack);
        let scene = Scene { aws, slack, worker };
        scene.handle(&event).await;
        let texts = scene.slack.texts().await;
        let expected = match (name.as_str(), failed) {
            ("StartLogging", _) => None,
            ("StopLogging", false) => Some("Logging was restarted and verified"),
            (_, true) => Some("tried to"),
            // It only switches on what it names.
            ("UpdateTrail", false) => Some("called UpdateTrail on Regulatory"),
            (_, false) => Some("weakened CloudTrail"),
        };
        match expected {
            None => assert!(texts.is_empty(), "{}: {texts:?}", path.display()),
            Some(part) => {
                assert!(texts.len() == 1 && texts[0].contains(part), "{}: {texts:?}", path.display());
            }
        }
        if expected.is_some() {
            assert!(texts[0].contains(&format!("in account {account}")), "{}: {texts:?}", path.display());
        }
        if name == "StopLogging" && !failed {
            assert!(scene.aws.is_logging(&trail, &region).await, "{}", path.display());
        }
        assert_eq!(scene.aws.depth("poison"), 0, "{}", path.display());
        scene.worker.stop().await;
    }
}

/// The fixture is what the tests say it is.
#[test]
fn the_fixture_is_whole() {
    let event = trailkeeper::event::parse(&fixture("stop_logging").to_string()).expect("an event");
    assert_eq!(event.kind, trailkeeper::event::Kind::Stopped);
}
