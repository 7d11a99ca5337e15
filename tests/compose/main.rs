//! The image and the stack of docker-compose.yml, as users run them. Needs Docker, and the image `trailkeeper`:
//! `just compose-test` makes it and runs these.

mod aws;
#[path = "../it/support/events.rs"]
mod events;
mod observability;
mod slack;
mod stack;

use std::process::{Command, Stdio};
use std::time::Duration;

use aws_sdk_sqs::types::Message;
use serde_json::{Value, json};
use tokio::time::Instant;
use trailkeeper::event::{Kind, parse};

use aws::{DEAD_LETTERS, QUEUE};
use events::stop;
use stack::{Stack, docker, eventually, inspect, log_lines};

/// For tests in which a message has to be visible again.
const SHORT_VISIBILITY: &str = "tests/compose/short-visibility.yml";

/// Numbered trails, and the events of their being stopped.
fn trails(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("trail-{number}")).collect()
}

fn stops_of(trails: &[String]) -> Vec<Value> {
    trails.iter().map(|trail| stop(&event_of(trail), trail)).collect()
}

fn event_of(trail: &str) -> String {
    format!("stop-of-{trail}")
}

impl Stack {
    /// Waits until every one of the trails logs.
    async fn restarted(&self, trails: &[String]) {
        let mut stopped = trails.to_vec();
        eventually("every trail to log", async || {
            stopped = self.aws.still_stopped(&stopped).await;
            stopped.is_empty().then_some(())
        })
        .await;
    }

    /// Demands that of each trail's event there is exactly one message, and that it tells of a good end.
    async fn assert_told_once(&self, trails: &[String]) {
        let messages = self.slack.messages().await;
        for trail in trails {
            let told = slack::told_of(&messages, &event_of(trail));
            assert!(
                matches!(told.as_slice(), [text] if text.contains("Logging was restarted and verified")),
                "of {trail}: {told:?}"
            );
        }
    }

    async fn assert_no_dead_letters(&self) {
        let letters = self.aws.dead_letters().await;
        assert!(letters.is_empty(), "{letters:?}");
    }
}

#[test]
fn the_worker_understands_every_event_that_the_rule_lets_through() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/infra/modules/pipeline/event-pattern.json");
    let pattern: Value =
        serde_json::from_str(&std::fs::read_to_string(path).expect("readable")).expect("JSON");
    let names = pattern["detail"]["eventName"].as_array().expect("a list").clone();
    assert!(names.contains(&json!("StopLogging")));
    for name in names {
        let mut event = stop("by-name", "audit");
        assert_eq!(pattern["source"], json!([event["source"]]));
        assert_eq!(pattern["detail-type"], json!([event["detail-type"]]));
        assert_eq!(pattern["detail"]["eventSource"], json!([event["detail"]["eventSource"]]));
        event["detail"]["eventName"] = name;
        let parsed = parse(&event.to_string()).expect("an event");
        assert!(matches!(parsed.kind, Kind::Stopped | Kind::Weakened), "{parsed:?}");
    }
}

#[test]
#[ignore = "needs Docker: just compose-test"]
fn the_image_is_small_runs_its_commands_and_has_no_shell() {
    // What is pulled: registries keep layers compressed.
    let saved = Command::new("sh").args(["-c", "docker save trailkeeper | gzip | wc --bytes"]).output();
    let saved = String::from_utf8(saved.expect("docker runs").stdout).expect("a number");
    let bytes: u64 = saved.trim().parse().expect("a number");
    println!("the image has {bytes} bytes, compressed");
    assert!((1..=30_000_000).contains(&bytes), "{bytes} bytes");
    let status = |args: &[&str]| {
        let run = Command::new("docker").args(["run", "--rm", "--read-only"]).args(args).output();
        run.expect("docker runs").status.code()
    };
    assert!(docker(&["run", "--rm", "trailkeeper", "--help"]).contains("healthcheck"));
    assert_eq!(status(&["trailkeeper", "healthcheck"]), Some(1), "no worker is there to be healthy");
    assert_eq!(status(&["trailkeeper"]), Some(2), "run is the default, and nothing is configured");
    assert_eq!(status(&["--entrypoint", "/bin/sh", "trailkeeper"]), Some(127), "there is a shell");
}

#[tokio::test]
#[ignore = "needs Docker: just compose-test"]
async fn an_event_on_the_bus_ends_as_a_restarted_trail_and_one_message() {
    let stack = Stack::up(1).await;
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
    eventually("the duplicate to be dropped", async || (stack.outcomes().len() >= 2).then_some(())).await;
    stack.settled().await;
    stack.assert_told_once(&trails).await;
    stack.assert_no_dead_letters().await;
    assert_eq!(stack.outcomes(), ["restored", "duplicate"], "the rule lets others through");
}

#[tokio::test]
#[ignore = "needs Docker: just compose-test"]
async fn the_queues_are_as_in_production_and_the_worker_is_locked_in() {
    let stack = Stack::up(1).await;
    let (queue, dead_letters) = (stack.aws.attributes(QUEUE).await, stack.aws.attributes(DEAD_LETTERS).await);
    assert_eq!(queue["VisibilityTimeout"], "120");
    assert_eq!(queue["ReceiveMessageWaitTimeSeconds"], "20");
    assert_eq!(queue["MessageRetentionPeriod"], "345600");
    assert_eq!(dead_letters["MessageRetentionPeriod"], "1209600");
    let redrive: Value =
        serde_json::from_str(queue["RedrivePolicy"].as_str().expect("a policy")).expect("JSON");
    assert_eq!(redrive["deadLetterTargetArn"], dead_letters["QueueArn"]);
    assert_eq!(redrive["maxReceiveCount"], 20);
    let worker = stack.container("worker");
    assert_eq!(inspect(&worker, "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}"), "true [ALL]");
    assert_eq!(inspect(&worker, "{{.Config.User}}"), "nonroot");
    assert_eq!(inspect(&worker, "{{.HostConfig.PortBindings}}"), "map[]");
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
    let stack = Stack::up(1).await;
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
    // A duplicate that meets its event at work is hidden until that claim would end.
    let stack = Stack::up_with(3, Some(SHORT_VISIBILITY)).await;
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
        let restored = log_lines(&worker).iter().filter(|line| line["outcome"] == "restored").count();
        println!("{restored} restored by {}", &worker[..12]);
        assert!(restored > 0, "a worker had no share of it");
    }
}

#[tokio::test]
#[ignore = "needs Docker: just compose-test"]
async fn what_a_killed_worker_held_is_done_by_another() {
    let stack = Stack::up_with(2, Some(SHORT_VISIBILITY)).await;
    let trails = trails(40);
    stack.aws.stopped_trails(&trails).await;
    // With CloudTrail and the state table standing still nothing can be finished, so all 40 are in flight. A
    // worker takes 32 at most: each has 8 at least.
    let moto = stack.container("moto");
    docker(&["pause", &moto]);
    stack.aws.publish(&stops_of(&trails)).await;
    eventually("every event to be in flight", async || (stack.aws.depth().await.hidden == 40).then_some(()))
        .await;
    let killed = &stack.containers("worker")[0];
    docker(&["kill", killed]);
    docker(&["unpause", &moto]);
    stack.restarted(&trails).await;
    stack.settled().await;
    assert_eq!(inspect(killed, "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
    stack.assert_told_once(&trails).await;
    stack.assert_no_dead_letters().await;
}

#[tokio::test]
#[ignore = "needs Docker: just compose-test"]
async fn workers_outlive_a_queue_that_goes_away_under_load() {
    let stack = Stack::up(2).await;
    let trails = trails(200);
    stack.aws.stopped_trails(&trails).await;
    let events = stops_of(&trails);
    stack.aws.publish(&events).await;
    eventually("the work to have begun", async || (!stack.slack.messages().await.is_empty()).then_some(()))
        .await;
    stack.compose(&["stop", "--timeout", "0", "localstack"]);
    let told = stack.slack.messages().await.len();
    assert!(told < trails.len(), "all was over before the queue went away");
    eventually("a worker to find the queue gone", async || {
        let lines = stack.containers("worker").iter().flat_map(|id| log_lines(id)).collect::<Vec<_>>();
        lines.iter().any(|line| line["level"] == "WARN").then_some(())
    })
    .await;
    stack.compose(&["start", "localstack"]);
    let localstack = stack.container("localstack");
    let healthy = async || (inspect(&localstack, "{{.State.Health.Status}}") == "healthy").then_some(());
    eventually("LocalStack to be healthy again", healthy).await;
    // LocalStack keeps no messages. EventBridge, which has the events, delivers at least once: all come again,
    // those that are done and those that were cut off in the middle.
    stack.aws.publish(&events).await;
    stack.restarted(&trails).await;
    stack.settled().await;
    stack.assert_told_once(&trails).await;
    stack.assert_no_dead_letters().await;
    for worker in stack.containers("worker") {
        assert_eq!(inspect(&worker, "{{.RestartCount}} {{.State.Status}}"), "0 running");
    }
}

#[tokio::test]
#[ignore = "needs Docker: just compose-test"]
async fn poison_is_kept_with_its_reason() {
    let stack = Stack::up(1).await;
    let torn = r#"{"detail-type": "AWS API Call via CloudTrail", "detail": {"eventName": "Sto"#;
    stack.aws.send(torn).await;
    // An account in which the worker has no business: STS has told it its own.
    let elsewhere = "arn:aws:cloudtrail:eu-west-1:999999999999:trail/theirs";
    stack.aws.publish(&[stop("of-another-account", elsewhere)]).await;
    eventually("two dead letters", async || {
        let count = stack.aws.attributes(DEAD_LETTERS).await;
        (count["ApproximateNumberOfMessages"] == "2").then_some(())
    })
    .await;
    stack.settled().await;
    let letters = stack.aws.dead_letters().await;
    let attribute = |letter: &Message, name: &str| {
        let attributes = letter.message_attributes.as_ref();
        let value = attributes.and_then(|all| all.get(&format!("trailkeeper.{name}")));
        value.and_then(|value| value.string_value()).unwrap_or_default().to_owned()
    };
    let by_reason = |reason: &str| {
        let letter = letters.iter().find(|letter| attribute(letter, "reason") == reason);
        letter.unwrap_or_else(|| panic!("no dead letter for {reason} among {letters:?}"))
    };
    let malformed = by_reason("malformed");
    assert_eq!(malformed.body(), Some(torn), "unchanged");
    for name in ["detail", "attempts", "source_message_id", "failed_at"] {
        assert_ne!(attribute(malformed, name), "", "{name}");
    }
    let refused = by_reason("restore-refused");
    assert_eq!(attribute(refused, "event_id"), "of-another-account");
    assert!(attribute(refused, "detail").contains("999999999999"));
    let told = stack.slack.told_of("of-another-account").await;
    assert!(matches!(told.as_slice(), [text] if text.contains("LOGGING IS STILL OFF")), "{told:?}");
    assert_eq!(stack.slack.messages().await.len(), 1, "nobody is told of what nobody can read");
}

/// What people run beside the worker, in its own image and on queues that are not winterbaume's.
#[tokio::test]
#[ignore = "needs Docker: just compose-test"]
async fn the_commands_work_in_the_image() {
    let stack = Stack::up(1).await;
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

    // An event that nobody may act on becomes a dead letter, and is one again after it was put back.
    let elsewhere = "arn:aws:cloudtrail:eu-west-1:999999999999:trail/theirs";
    stack.aws.publish(&[stop("of-another-account", elsewhere)]).await;
    let dead = async |attempts: u64| {
        eventually("a dead letter", async || {
            let letters: Value = serde_json::from_str(&run(&["dlq", "list", "--json"])).expect("JSON");
            let letter = letters.get(0)?;
            (letter["attempts"] == attempts && letter["event_id"] == "of-another-account").then_some(())
        })
        .await;
    };
    dead(1).await;
    let told = run(&["dlq", "redrive", "--reason", "restore-refused"]);
    // The worker may be fast enough for it to be back already.
    assert!(told.starts_with("put 1 dead letters back"), "{told}");
    dead(2).await;
}

#[tokio::test]
#[ignore = "needs Docker: just compose-test"]
async fn docker_stop_drains_within_its_grace() {
    let stack = Stack::up(1).await;
    let trails = trails(40);
    stack.aws.stopped_trails(&trails).await;
    let (worker, moto) = (stack.container("worker"), stack.container("moto"));
    // As above: 32 in flight, and none of them can be finished before the worker has been told to stop.
    docker(&["pause", &moto]);
    stack.aws.publish(&stops_of(&trails)).await;
    eventually("the worker to be full", async || (stack.aws.depth().await.hidden == 32).then_some(())).await;
    let started_at = Instant::now();
    let mut stopping =
        stack.command(&["stop", "worker"]).stderr(Stdio::null()).spawn().expect("compose runs");
    let draining = async || log_lines(&worker).iter().any(|line| line["message"] == "draining").then_some(());
    eventually("the worker to drain", draining).await;
    docker(&["unpause", &moto]);
    let stopped = async || stopping.try_wait().expect("it can be asked");
    assert!(eventually("the worker to stop", stopped).await.success());
    let took = started_at.elapsed();
    println!("docker stop took {:.1} s", took.as_secs_f64());
    assert!(took < Duration::from_secs(100), "{took:?}");
    assert_eq!(inspect(&worker, "{{.State.ExitCode}} {{.State.OOMKilled}}"), "0 false");
    let depth = stack.aws.depth().await;
    let told = stack.slack.messages().await.len();
    assert_eq!((depth.hidden, depth.visible), (0, 8), "finished what it had begun, and took on nothing more");
    assert_eq!(told, 32);
    docker(&["start", &worker]);
    stack.restarted(&trails).await;
    stack.settled().await;
    stack.assert_told_once(&trails).await;
    stack.assert_no_dead_letters().await;
}
