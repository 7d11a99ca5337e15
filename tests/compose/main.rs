//! The image and the stack of docker-compose.yml, as users run them. Needs Docker, and the image `trailkeeper`:
//! `just compose-test` makes it and runs these.

mod aws;
#[path = "../it/support/events.rs"]
mod events;
mod observability;
mod shared;
mod slack;
mod stack;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use trailkeeper::clock;
use trailkeeper::event::{Kind, parse};
use trailkeeper::text::stamp;

use aws::region_of;
use events::stop;
use stack::{SHORT_VISIBILITY, Stack, docker, eventually, inspect, log_lines};

/// Numbered trails, and the events of their being stopped.
fn trails(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("trail-{number}")).collect()
}

fn stops_of(trails: &[String]) -> Vec<Value> {
    let stop_of = |trail: &String| {
        let mut event = stop(&event_of(trail), trail);
        event["detail"]["awsRegion"] = json!(region_of(trail));
        event["detail"]["eventTime"] = json!(stamp(clock::now()));
        event
    };
    trails.iter().map(stop_of).collect()
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
fn the_worker_understands_every_event_that_the_rules_let_through() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/infra/modules/pipeline/event-patterns.json");
    let patterns: BTreeMap<String, Value> =
        serde_json::from_str(&std::fs::read_to_string(path).expect("readable")).expect("JSON");
    assert_eq!(patterns["cloudtrail"]["source"], json!([stop("by-name", "audit")["source"]]));
    for pattern in patterns.values() {
        for name in pattern["detail"]["eventName"].as_array().expect("a list") {
            let mut event = stop("by-name", "audit");
            assert_eq!(pattern["detail-type"], json!([event["detail-type"]]));
            event["detail"]["eventSource"] = pattern["detail"]["eventSource"][0].clone();
            event["detail"]["eventName"] = name.clone();
            let parsed = parse(&event.to_string()).expect("an event");
            assert!(matches!(parsed.kind, Kind::Stopped | Kind::Weakened), "{parsed:?}");
        }
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
    let localstack = stack.container("localstack");
    stack.aws.publish(&events).await;
    eventually("the work to have begun", async || (!stack.slack.messages().await.is_empty()).then_some(()))
        .await;
    // Not by compose, which takes a moment to start: all might be over by then.
    docker(&["stop", "-t", "0", &localstack]);
    let told = stack.slack.messages().await.len();
    assert!(told < trails.len(), "all was over before the queue went away");
    eventually("a worker to find the queue gone", async || {
        let lines = stack.containers("worker").iter().flat_map(|id| log_lines(id)).collect::<Vec<_>>();
        lines.iter().any(|line| line["level"] == "WARN").then_some(())
    })
    .await;
    stack.compose(&["start", "localstack"]);
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
