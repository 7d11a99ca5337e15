//! What kills, stops and pauses nothing, on one stack. So each test has trails and events of its own.

use std::process::Command;

use aws_sdk_sqs::types::Message;
use serde_json::{Value, json};
use tokio::time::Instant;
use trailkeeper::clock;
use trailkeeper::text::stamp;

use crate::aws::{DEAD_LETTERS, MEMBER_ACCOUNT, MEMBER_TRAIL, QUEUE, REGION};
use crate::events::stop;
use crate::stack::{Stack, docker, eventually, inspect, log_lines};
use crate::{event_of, stops_of, trails};

#[tokio::test]
#[ignore = "needs Docker: just compose-test"]
async fn an_event_on_the_bus_ends_as_a_restarted_trail_and_one_message() {
    let stack = Stack::shared().await;
    let before = stack.outcomes().len();
    let trails = ["audit".to_owned()];
    assert!(stack.aws.is_logging("audit").await, "the init hook starts it");
    stack.aws.stop_trail("audit").await;
    let of_another_service =
        json!({ "source": "aws.s3", "detail-type": "AWS API Call via CloudTrail", "detail": {} });
    let mut harmless = stop("harmless", "audit");
    harmless["detail"]["eventName"] = json!("DescribeTrails");
    stack.aws.publish(&[of_another_service, harmless]).await;
    stack.aws.publish(&stops_of(&trails)).await;
    stack.restarted(&trails).await;
    stack.settled().await;
    stack.aws.publish(&stops_of(&trails)).await;
    eventually("the duplicate to be dropped", async || (stack.outcomes().len() >= before + 2).then_some(()))
        .await;
    stack.settled().await;
    stack.assert_told_once(&trails).await;
    stack.assert_no_dead_letters().await;
    assert_eq!(stack.outcomes()[before..], ["restored", "duplicate"], "the rule lets others through");
}

#[tokio::test]
#[ignore = "needs Docker: just compose-test"]
async fn the_queues_are_as_in_production_and_the_worker_is_locked_in() {
    let stack = Stack::shared().await;
    let (queue, dead_letters) = (stack.aws.attributes(QUEUE).await, stack.aws.attributes(DEAD_LETTERS).await);
    assert_eq!(queue["VisibilityTimeout"], "40");
    assert_eq!(queue["ReceiveMessageWaitTimeSeconds"], "20");
    assert_eq!(queue["MessageRetentionPeriod"], "345600");
    assert_eq!(dead_letters["MessageRetentionPeriod"], "1209600");
    let redrive: Value =
        serde_json::from_str(queue["RedrivePolicy"].as_str().expect("a policy")).expect("JSON");
    assert_eq!(redrive["deadLetterTargetArn"], dead_letters["QueueArn"]);
    assert_eq!(redrive["maxReceiveCount"], 20);
    for worker in stack.containers("worker") {
        assert_eq!(inspect(&worker, "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}"), "true [ALL]");
        assert_eq!(inspect(&worker, "{{.Config.User}}"), "nonroot");
        assert_eq!(inspect(&worker, "{{.HostConfig.PortBindings}}"), "map[]");
    }
    for service in ["localstack", "moto", "slack"] {
        let bound = inspect(
            &stack.container(service),
            "{{range .HostConfig.PortBindings}}{{(index . 0).HostIp}}{{end}}",
        );
        assert_eq!(bound, "127.0.0.1", "{service}");
    }
}

#[tokio::test]
#[ignore = "needs Docker: just compose-test"]
async fn the_incident_plays_to_a_good_end() {
    let stack = Stack::shared().await;
    let account = stack.compose(&["run", "--rm", "incident"]);
    println!("{account}");
    assert!(account.contains("audit is logging again"), "{account}");
    assert!(account.contains("| mallory turned off CloudTrail logging in account 123456789012"), "{account}");
    assert!(!account.contains("MISSING"), "{account}");
    assert_eq!(stack.slack.messages().await.len(), 1);
}

#[tokio::test]
#[ignore = "needs Docker: just compose-test"]
async fn three_workers_share_300_events_and_their_duplicates() {
    let stack = Stack::shared().await;
    let trails = trails(300);
    stack.aws.stopped_trails(&trails).await;
    let events = stops_of(&trails);
    let started_at = Instant::now();
    for part in events.chunks(50) {
        // Each event, and a third of them once more while they are worked on.
        stack.aws.publish(part).await;
        stack.aws.publish(&part[..part.len() / 3]).await;
    }
    stack.restarted(&trails).await;
    stack.settled().await;
    println!("300 events and 96 duplicates took {:.1} s", started_at.elapsed().as_secs_f64());
    stack.assert_told_once(&trails).await;
    stack.assert_no_dead_letters().await;
    for worker in stack.containers("worker") {
        let of_these = |line: &Value| trails.iter().any(|trail| line["event_id"] == event_of(trail));
        let lines = log_lines(&worker);
        let restored = lines.iter().filter(|line| line["outcome"] == "restored" && of_these(line)).count();
        println!("{restored} restored by {}", &worker[..12]);
        assert!(restored > 0, "a worker had no share of it");
    }
}

#[tokio::test]
#[ignore = "needs Docker: just compose-test"]
async fn poison_is_kept_with_its_reason() {
    let stack = Stack::shared().await;
    let torn = r#"{"detail-type": "AWS API Call via CloudTrail", "detail": {"eventName": "Sto"#;
    stack.aws.send(torn).await;
    eventually("a dead letter", async || {
        let count = stack.aws.attributes(DEAD_LETTERS).await;
        (count["ApproximateNumberOfMessages"] == "1").then_some(())
    })
    .await;
    stack.settled().await;
    let letters = stack.aws.dead_letters().await;
    let attribute = |letter: &Message, name: &str| {
        let attributes = letter.message_attributes.as_ref();
        let value = attributes.and_then(|all| all.get(&format!("trailkeeper.{name}")));
        value.and_then(|value| value.string_value()).unwrap_or_default().to_owned()
    };
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!(attribute(letter, "reason"), "malformed");
    assert_eq!(letter.body(), Some(torn), "unchanged");
    for name in ["detail", "attempts", "source_message_id", "failed_at"] {
        assert_ne!(attribute(letter, name), "", "{name}");
    }
    assert!(stack.slack.messages().await.is_empty(), "nobody is told of what nobody can read");
}

#[tokio::test]
#[ignore = "needs Docker: just compose-test"]
async fn an_account_that_the_policy_does_not_concern_is_reported_and_not_touched() {
    let stack = Stack::shared().await;
    let elsewhere = "arn:aws:cloudtrail:eu-west-1:999999999999:trail/theirs";
    stack.aws.publish(&[stop("of-another-account", elsewhere)]).await;
    let told = eventually("a report", async || {
        Some(stack.slack.told_of("of-another-account").await).filter(|told| !told.is_empty())
    })
    .await;
    stack.settled().await;
    assert!(matches!(told.as_slice(), [text] if text.contains("is not in the policy's list")), "{told:?}");
    stack.assert_no_dead_letters().await;
}

#[tokio::test]
#[ignore = "needs Docker: just compose-test"]
async fn a_member_account_is_acted_in_through_its_role_with_an_event_and_without_one() {
    let stack = Stack::shared().await;
    let member = stack.aws.member().await;
    let stop_it = async || member.stop_logging().name(MEMBER_TRAIL).send().await.expect("stopped");
    let is_on = async || {
        let status = member.get_trail_status().name(MEMBER_TRAIL).send().await.expect("a status");
        (status.is_logging() == Some(true)).then_some(())
    };
    stop_it().await;
    let trail = format!("arn:aws:cloudtrail:{REGION}:{MEMBER_ACCOUNT}:trail/{MEMBER_TRAIL}");
    let mut forwarded = stop("forwarded", &trail);
    forwarded["detail"]["eventTime"] = json!(stamp(clock::now()));
    stack.aws.publish(&[forwarded]).await;
    eventually("the member's trail to log", is_on).await;
    stack.settled().await;
    let told = stack.slack.told_of("forwarded").await;
    assert!(
        matches!(told.as_slice(), [text] if text.contains("Logging was restarted and verified")),
        "{told:?}"
    );

    // Once more, and no event comes of it. CloudTrail's times are read in seconds.
    let stopped_by = clock::now().unix_timestamp();
    eventually("another second", async || (clock::now().unix_timestamp() > stopped_by).then_some(())).await;
    stop_it().await;
    let swept = stack.compose(&["run", "--rm", "--no-deps", "-T", "worker", "sweep"]);
    assert!(swept.contains("differs: a look is sent"), "{swept}");
    eventually("the member's trail to log without an event", is_on).await;
    stack.settled().await;
    let messages = stack.slack.messages().await;
    let texts: Vec<_> = messages.iter().filter_map(|message| message["text"].as_str()).collect();
    let found: Vec<_> = texts.iter().filter(|text| text.contains("No event of it has arrived")).collect();
    assert!(
        matches!(found.as_slice(), [text] if text.contains("Logging was restarted and verified") && text.contains(MEMBER_ACCOUNT)),
        "{texts:?}"
    );
}

/// What people run beside the worker, in its own image and on queues that are not winterbaume's.
#[tokio::test]
#[ignore = "needs Docker: just compose-test"]
async fn the_commands_work_in_the_image() {
    let stack = Stack::shared().await;
    let run = |args: &[&str]| stack.compose(&[&["run", "--rm", "--no-deps", "-T", "worker"], args].concat());
    let version = docker(&["run", "--rm", "trailkeeper", "--version"]);
    let git = Command::new("git").args(["rev-parse", "HEAD"]).output();
    let has_commit = git.is_ok_and(|git| git.status.success());
    assert_eq!(version.contains("unknown"), !has_commit, "{version}");
    let checked: Value = serde_json::from_str(&run(&["check", "--json"])).expect("JSON");
    let bad: Vec<_> = checked["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .filter(|check| check["status"] != "ok")
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
    assert!(stack.slack.messages().await.is_empty(), "the check posted");

    // What nobody can read becomes a dead letter, and is one again after it was put back.
    stack.aws.send("nothing that anybody can read").await;
    let dead = async |before: &str| {
        eventually("a dead letter", async || {
            let letters: Value = serde_json::from_str(&run(&["dlq", "list", "--json"])).expect("JSON");
            let id = letters.get(0)?["message_id"].as_str()?.to_owned();
            (id != before).then_some(id)
        })
        .await
    };
    let first = dead("").await;
    let told = run(&["dlq", "redrive", "--reason", "malformed"]);
    // The worker may be fast enough for it to be back already.
    assert!(told.starts_with("put 1 dead letters back"), "{told}");
    dead(&first).await;
}
