//! The real binary: its exit status, its signals, its endpoints, its logs.

use std::time::Duration;

use serde_json::{Value, json};
use trailkeeper::args::{Args, NOT_YET};
use trailkeeper::config::{Config, Respond};
use trailkeeper::tell::slack::Slack as Channel;
use wiremock::ResponseTemplate;

use crate::support::aws::{ACCOUNT, Aws, Fault, REGION};
use crate::support::events::stop;
use crate::support::eventually;
use crate::support::process::{Process, configured, ended, trailkeeper};
use crate::support::slack::Slack;

async fn ready(process: &Process) {
    let ready = async || process.get("/readyz").await.filter(|(status, _)| *status == 200).map(drop);
    eventually("the worker to be ready", ready).await;
}

#[tokio::test]
async fn every_fault_of_the_configuration_is_named_in_one_go() {
    let mut command = trailkeeper(&["run", "--concurrency", "0"]);
    command
        .env("TRAILKEEPER_DLQ_URL", "nonsense")
        .env("TRAILKEEPER_MODE", "sometimes")
        .env("TRAILKEEPER_WAIT_SECONDS", "21")
        .env("TRAILKEEPER_VISIBILITY_TIMEOUT_SECONDS", "-1")
        .env("TRAILKEEPER_MAX_ATTEMPTS", "many")
        .env("TRAILKEEPER_RETRY_BASE_SECONDS", "400")
        .env("TRAILKEEPER_HTTP_ADDR", "9090")
        .env("TRAILKEEPER_METRICS", "statsd")
        .env("TRAILKEEPER_LOG", "inof")
        .env("TRAILKEEPER_LOG_FORMAT", "xml")
        .env("TRAILKEEPER_SLACK_WEBHOOK_URL", "hooks/very-secret")
        .env("TRAILKEEPER_SLACK_BOT_TOKEN", "xoxb-very-secret")
        .env("TRAILKEEPER_MEMBER_ROLE", "a role")
        .env("TRAILKEEPER_EXTERNAL_ID", "?")
        .env("TRAILKEEPER_NAME", "a name")
        .env("TRAILKEEPER_SWEEP_INTERVAL_SECONDS", "100000")
        .env("TRAILKEEPER_TASK_PROTECTION", "perhaps")
        // An empty variable is an absent one.
        .env("TRAILKEEPER_POLICY", "");
    let ended = ended(command).await;
    assert_eq!(ended.status, Some(2));
    assert!(!ended.stderr.contains("very-secret"));
    insta::assert_snapshot!(ended.stderr);
}

/// Whoever sets one expects something of it, whatever the command.
#[tokio::test]
async fn no_variable_of_a_later_version_is_ignored() {
    for (name, harmless) in NOT_YET {
        let (aws, slack) = (Aws::start().await, Slack::start().await);
        for command in [&["run"][..], &["check"], &["replay", "--dry-run", "-"], &["dlq", "list"]] {
            let mut command = configured(&aws, &slack, command);
            command.env(name, "very-secret");
            let refused = ended(command).await;
            assert_eq!(refused.status, Some(2), "{name}");
            assert_eq!(
                refused.stderr,
                format!("trailkeeper: {name} is set, and this version does not support it yet: unset it\n")
            );
        }
        if let Some(harmless) = harmless {
            let mut command = configured(&aws, &slack, &["dlq", "list"]);
            command.env(name, harmless);
            assert_eq!(ended(command).await.status, Some(0), "{name}");
        }
    }
}

/// Outside of ECS there is nobody who could protect anything; that is no reason not to watch over trails.
#[tokio::test]
async fn protection_that_nobody_gives_is_told() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    let process = Process::start(&aws, &slack, &[("TRAILKEEPER_TASK_PROTECTION", "on")]);
    ready(&process).await;
    process.terminate().await;
    let ended = process.ended().await;
    assert_eq!(ended.status, Some(0));
    assert!(ended.stderr.contains("ECS_AGENT_URI is not set"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_bare_start_says_what_is_required() {
    let ended = ended(trailkeeper(&["run"])).await;
    assert_eq!(ended.status, Some(2));
    insta::assert_snapshot!(ended.stderr);
}

#[tokio::test]
async fn an_unknown_flag_or_command_is_exit_2_and_help_is_exit_0() {
    for args in [&["run", "--colour"][..], &["walk"], &[]] {
        assert_eq!(ended(trailkeeper(args)).await.status, Some(2), "{args:?}");
    }
    for command in ["run", "check"] {
        let mut command = trailkeeper(&[command, "--help"]);
        command.env("TRAILKEEPER_SLACK_WEBHOOK_URL", "https://hooks.slack.com/very-secret");
        command.env("TRAILKEEPER_OTLP_ENDPOINT", "http://very-secret@collector:4318");
        let help = ended(command).await;
        assert_eq!(help.status, Some(0));
        assert!(!help.stdout.contains("very-secret"), "help shows the secret that is set");
    }
}

#[tokio::test]
async fn without_a_dead_letter_queue_the_worker_refuses_to_start() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    aws.create_queue("bare", None).await;
    let url = aws.queue_url("bare");
    let ended = Process::start(&aws, &slack, &[("TRAILKEEPER_QUEUE_URL", &url)]).ended().await;
    assert_eq!(ended.status, Some(2));
    assert!(
        ended.stderr.contains("TRAILKEEPER_DLQ_URL is not set, and the queue has no redrive policy"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn a_queue_that_is_not_there_is_named() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    let url = aws.queue_url("missing");
    let ended = Process::start(&aws, &slack, &[("TRAILKEEPER_QUEUE_URL", &url)]).ended().await;
    assert_eq!(ended.status, Some(1));
    assert!(
        ended.stderr.contains(&format!("{url}: reading the queue's attributes: there is no such queue")),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn the_main_job_by_the_real_program_with_logs_metrics_and_a_clean_end() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    aws.stopped_trail("audit", REGION).await;
    let process = Process::start(&aws, &slack, &[("TRAILKEEPER_LOG", "trace")]);
    ready(&process).await;
    for body in [
        stop("e-1", "audit").to_string(),
        stop("e-1", "audit").to_string(),
        "{\"very\":\"private\"}".to_owned(),
    ] {
        aws.send(body).await;
        eventually("the queue to be empty", async || (aws.depth("events") == 0).then_some(())).await;
    }
    let healthy = ended_with("healthcheck", &process.http).await;
    assert_eq!(healthy, Some(0));
    let (status, metrics) = process.get("/metrics").await.expect("metrics");
    assert_eq!(status, 200);
    for sample in [
        "trailkeeper_messages_received_total 3",
        "trailkeeper_messages_deleted_total 3",
        "trailkeeper_messages_total{outcome=\"restored\"} 1",
        "trailkeeper_messages_total{outcome=\"duplicate\"} 1",
        "trailkeeper_messages_total{outcome=\"dead_lettered\"} 1",
        "trailkeeper_messages_total{outcome=\"already_logging\"} 0",
        "trailkeeper_messages_total{outcome=\"notified\"} 0",
        "trailkeeper_messages_total{outcome=\"attempt\"} 0",
        "trailkeeper_messages_total{outcome=\"ignored\"} 0",
        "trailkeeper_messages_total{outcome=\"retried\"} 0",
        "trailkeeper_messages_total{outcome=\"released\"}",
        "trailkeeper_dead_letters_total{reason=\"malformed\"} 1",
        "trailkeeper_dead_letters_total{reason=\"restore-refused\"} 0",
        "trailkeeper_messages_in_flight 0",
        "trailkeeper_pollers ",
        "trailkeeper_sqs_requests_total{operation=\"receive\",result=\"ok\"}",
        "trailkeeper_slack_posts_total{result=\"ok\"} 1",
        "trailkeeper_restore_total{result=\"restored\"} 1",
        "trailkeeper_leases_lost_total 0",
        "trailkeeper_queue_delay_seconds_bucket{le=",
        "trailkeeper_processing_seconds_bucket{le=",
        "trailkeeper_time_to_restore_seconds_count 1",
        "trailkeeper_slack_post_seconds_count 1",
    ] {
        assert!(metrics.contains(sample), "{sample} is missing in\n{metrics}");
    }
    assert_eq!(process.get("/nothing").await.expect("an answer").0, 404);
    process.terminate().await;
    let ended = process.ended().await;
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.is_empty());
    assert!(!ended.stderr.contains("very-secret") && !ended.stderr.contains("private"), "{}", ended.stderr);
    let lines: Vec<Value> =
        ended.stderr.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let decided: Vec<_> = lines.iter().filter(|line| line["message"] == "decided").collect();
    assert_eq!(decided.len(), 3, "one line for each decision: {decided:#?}");
    let restored = decided.iter().find(|line| line["outcome"] == "restored").expect("restored");
    assert_eq!(restored["event_id"], "e-1");
    assert_eq!(restored["trail"], "audit");
    assert_eq!(restored["account"], "123456789012");
    assert_eq!(restored["attempt"], 1);
    assert!(restored["ms"].is_number());
}

/// SQS would give up first, without a word: that is said at start, wherever the dead-letter queue is named.
#[tokio::test]
async fn a_queue_that_gives_up_before_the_worker_is_told_and_does_not_keep_it_from_starting() {
    for named in [false, true] {
        for (max_attempts, is_told) in [("3", false), ("4", true)] {
            let (aws, slack) = (Aws::start().await, Slack::start().await);
            let poison = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:poison");
            let hasty = json!({ "deadLetterTargetArn": poison, "maxReceiveCount": 3 }).to_string();
            aws.set_queue("events", &[("RedrivePolicy", &hasty)]).await;
            let dead_letters = named.then(|| aws.queue_url("poison"));
            let process = Process::start(
                &aws,
                &slack,
                &[
                    ("TRAILKEEPER_MAX_ATTEMPTS", max_attempts),
                    ("TRAILKEEPER_DLQ_URL", dead_letters.as_deref().unwrap_or_default()),
                ],
            );
            eventually("a poll", async || aws.calls("ReceiveMessage").pop()).await;
            process.terminate().await;
            let log = process.ended().await.stderr;
            assert_eq!(
                log.contains("maxReceiveCount is below the attempts"),
                is_told,
                "{named} {max_attempts}: {log}"
            );
        }
    }
}

/// Whoever is paged for retries reads in the log what failed.
#[tokio::test]
async fn the_line_of_a_retry_says_what_failed() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    aws.stopped_trail("audit", REGION).await;
    aws.fault("StartLogging", 1, Fault::Refuse(500, "InternalFailure"));
    let process = Process::start(&aws, &slack, &[]);
    aws.send(stop("e-1", "audit").to_string()).await;
    eventually("the queue to be empty", async || (aws.depth("events") == 0).then_some(())).await;
    process.terminate().await;
    let log = process.ended().await.stderr;
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let retried = lines.into_iter().find(|line| line["outcome"] == "retried").expect("a retry");
    assert_eq!(retried["detail"], "StartLogging: InternalFailure");
}

/// `trailkeeper 0.1.0 (1a2b3c4 2026-11-24)`, where there is a repository.
#[tokio::test]
async fn the_version_names_commit_and_date() {
    let told = ended(trailkeeper(&["--version"])).await.stdout;
    let words: Vec<_> = told.trim().split(['(', ')', ' ']).filter(|word| !word.is_empty()).collect();
    let git = std::process::Command::new("git").args(["rev-parse", "HEAD"]).output();
    if !git.is_ok_and(|git| git.status.success()) {
        assert!(told.contains("(of an unknown commit)"), "{told}");
        return;
    }
    let [name, version, commit, date] = words[..] else { panic!("{told}") };
    assert_eq!((name, version), ("trailkeeper", env!("CARGO_PKG_VERSION")));
    assert!(commit.len() >= 7 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{told}");
    assert_eq!(date.split('-').map(str::len).collect::<Vec<_>>(), [4, 2, 2], "{told}");
}

#[tokio::test]
async fn a_manual_page_names_flags_variables_and_examples() {
    let page = ended(trailkeeper(&["man", "run"])).await.stdout;
    for part in ["trailkeeper\\-run", "TRAILKEEPER_QUEUE_URL", "\\-\\-queue\\-url", "Examples:"] {
        assert!(page.contains(part), "{part} is missing in\n{page}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let completions = ended(trailkeeper(&["completions", shell])).await;
        assert!(completions.status == Some(0) && completions.stdout.contains("redrive"), "{shell}");
    }
}

#[test]
fn a_webhook_is_not_shown_by_debug() {
    let mut args = Args::default();
    args.set("TRAILKEEPER_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/1/q");
    args.set("TRAILKEEPER_SLACK_WEBHOOK_URL", "https://hooks.slack.com/services/very-secret");
    args.set("TRAILKEEPER_OTLP_ENDPOINT", "http://collector:4318/very-secret");
    let config = Config::read(&args, |_| None).expect("a configuration that holds");
    let Respond::Act { webhook, .. } = config.respond.clone() else { panic!("{config:?}") };
    let slack = Channel::new(webhook, None);
    for shown in [format!("{args:?}"), format!("{config:?}"), format!("{slack:?}")] {
        assert!(!shown.contains("very-secret"), "{shown}");
    }
}

async fn ended_with(command: &str, address: &str) -> Option<i32> {
    ended(trailkeeper(&[command, "--http-addr", address])).await.status
}

#[tokio::test]
async fn a_healthcheck_without_a_worker_is_exit_1() {
    assert_eq!(ended_with("healthcheck", "127.0.0.1:1").await, Some(1));
    let why = ended(trailkeeper(&["healthcheck", "--http-addr", "127.0.0.1:1"])).await.stderr;
    assert!(why.contains("Connection refused"), "{why}");
    assert_eq!(ended_with("healthcheck", "nowhere").await, Some(2));
}

#[tokio::test]
async fn a_queue_that_no_longer_answers_is_unhealthy() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    let process = Process::start(&aws, &slack, &[]);
    ready(&process).await;
    assert_eq!(process.get("/healthz").await.expect("an answer").0, 200);
    aws.break_down("ReceiveMessage", Fault::Delay(Duration::from_mins(1)));
    let unhealthy = async || process.get("/healthz").await.filter(|(status, _)| *status == 503);
    let (_, body) = eventually("it to be unhealthy", unhealthy).await;
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(body["checks"]["polling"]["ok"], false);
    assert_eq!(ended_with("healthcheck", &process.http).await, Some(1));
}

#[tokio::test]
async fn a_worker_that_drains_is_healthy_and_not_ready() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    aws.stopped_trail("audit", REGION).await;
    aws.fault("StartLogging", 1, Fault::Delay(Duration::from_secs(4)));
    let process = Process::start(&aws, &slack, &[]);
    aws.send(stop("e-1", "audit").to_string()).await;
    eventually("work to begin", async || aws.calls("StartLogging").pop()).await;
    process.terminate().await;
    let draining = async || process.get("/readyz").await.filter(|(status, _)| *status == 503);
    eventually("it to drain", draining).await;
    assert_eq!(process.get("/healthz").await.expect("an answer").0, 200);
    let ended = process.ended().await;
    assert_eq!(ended.status, Some(0));
    assert_eq!(aws.depth("events"), 0, "what had begun was finished");
    assert_eq!(slack.posts().await.len(), 1);
}

/// A state table that does not do what it is asked for is shown and measured, and makes no worker unready.
#[tokio::test]
async fn a_state_table_that_is_not_available_is_shown_and_measured() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    aws.create_table("claims").await;
    let process = Process::start(&aws, &slack, &[("TRAILKEEPER_STATE_TABLE", "claims")]);
    ready(&process).await;
    let shown = async |is_available: bool| {
        let (status, body) = process.get("/readyz").await?;
        let body: Value = serde_json::from_str(&body).expect("JSON");
        let state = &body["checks"]["state"];
        assert!(status == 200 && state["seconds_since_answer"].is_u64(), "{status}: {body}");
        let (_, metrics) = process.get("/metrics").await?;
        let measured = metrics.contains(&format!("trailkeeper_state_available {}\n", u8::from(is_available)));
        (state["ok"] == is_available && measured).then_some(())
    };
    eventually("it to be available", async || shown(true).await).await;
    aws.break_down("UpdateItem", Fault::Refuse(500, "InternalServerError"));
    aws.send(stop("e-1", "none").to_string()).await;
    eventually("it not to be", async || shown(false).await).await;
    aws.heal();
    eventually("it to be available again", async || shown(true).await).await;
}

/// Work that goes on without the table, for longer than half a lease, is no answer of the table's.
#[tokio::test]
async fn a_claim_in_memory_that_is_kept_is_no_answer_of_the_state_table() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    aws.create_table("claims").await;
    aws.stopped_trail("audit", REGION).await;
    let variables = [("TRAILKEEPER_STATE_TABLE", "claims"), ("TRAILKEEPER_VISIBILITY_TIMEOUT_SECONDS", "2")];
    let process = Process::start(&aws, &slack, &variables);
    ready(&process).await;
    aws.break_down("UpdateItem", Fault::Refuse(500, "InternalServerError"));
    aws.fault("StartLogging", 1, Fault::Delay(Duration::from_secs(4)));
    aws.send(stop("e-1", "audit").to_string()).await;
    eventually("work without the table", async || aws.calls("StartLogging").pop()).await;
    eventually("the end of it", async || {
        let (_, body) = process.get("/readyz").await?;
        let body: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(body["checks"]["state"]["ok"], false, "{body}");
        (aws.depth("events") == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sigterm_during_a_long_poll_ends_with_the_poll() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    let process = Process::start(&aws, &slack, &[("TRAILKEEPER_WAIT_SECONDS", "5")]);
    ready(&process).await;
    process.terminate().await;
    assert_eq!(process.ended().await.status, Some(0));
}

#[tokio::test]
async fn sigterm_while_settling_flushes() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    aws.fault("DeleteMessageBatch", 1, Fault::Delay(Duration::from_secs(3)));
    let process = Process::start(&aws, &slack, &[]);
    aws.send(stop("e-1", "gone").to_string()).await;
    eventually("the delete", async || aws.calls("DeleteMessageBatch").pop()).await;
    process.terminate().await;
    assert_eq!(process.ended().await.status, Some(0));
    assert_eq!(aws.depth("events"), 0);
}

#[tokio::test]
async fn past_the_grace_work_is_given_back_and_the_exit_is_still_0() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    aws.stopped_trail("audit", REGION).await;
    aws.fault("GetTrailStatus", 1, Fault::Delay(Duration::from_secs(9)));
    let process = Process::start(&aws, &slack, &[("TRAILKEEPER_SHUTDOWN_GRACE_SECONDS", "1")]);
    aws.send(stop("e-1", "audit").to_string()).await;
    eventually("work to begin", async || aws.calls("GetTrailStatus").pop()).await;
    process.terminate().await;
    let ended = process.ended().await;
    assert_eq!(ended.status, Some(0));
    assert!(ended.stderr.contains("\"given_back\":1"), "{}", ended.stderr);
    let given_back = aws.calls("ChangeMessageVisibilityBatch").pop().expect("given back");
    assert_eq!(given_back.body["Entries"][0]["VisibilityTimeout"], 0);
    // The next worker takes it at once.
    let next = Process::start(&aws, &slack, &[]);
    eventually("the next worker to finish it", async || (aws.depth("events") == 0).then_some(())).await;
    assert!(aws.is_logging("audit", REGION).await);
    next.terminate().await;
    assert_eq!(next.ended().await.status, Some(0));
}

#[tokio::test]
async fn embedded_metrics_are_written_to_standard_output() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    let process = Process::start(&aws, &slack, &[("TRAILKEEPER_METRICS", "emf")]);
    ready(&process).await;
    assert_eq!(process.get("/metrics").await.expect("an answer").0, 404);
    aws.send(stop("e-1", "gone").to_string()).await;
    eventually("the queue to be empty", async || (aws.depth("events") == 0).then_some(())).await;
    process.terminate().await;
    let ended = process.ended().await;
    assert_eq!(ended.status, Some(0));
    let documents: Vec<Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let restores =
        documents.iter().find(|document| document["trailkeeper_restore_total"] == 1).expect("a count");
    assert_eq!(restores["result"], "not_found");
    assert_eq!(restores["_aws"]["CloudWatchMetrics"][0]["Namespace"], "trailkeeper");
}

/// Protection is set when work begins and lifted when it has ended, once each.
#[tokio::test]
async fn a_task_at_work_is_protected_from_scale_in() {
    let (aws, slack, agent) = (Aws::start().await, Slack::start().await, Slack::start().await);
    let protected = ResponseTemplate::new(200).set_body_json(json!({ "protection": {} }));
    agent.next(10, protected).await;
    let protection = [("TRAILKEEPER_TASK_PROTECTION", "on"), ("ECS_AGENT_URI", &agent.uri())];
    let process = Process::start(&aws, &slack, &protection);
    for number in 0..3 {
        aws.send(stop(&format!("e-{number}"), "gone").to_string()).await;
    }
    let both = async || Some(agent.posts().await).filter(|posts| posts.len() >= 2);
    let puts = eventually("protection to be set and lifted", both).await;
    assert_eq!(
        puts,
        [json!({ "ProtectionEnabled": true, "ExpiresInMinutes": 60 }), json!({ "ProtectionEnabled": false })]
    );
    assert_eq!(agent.paths().await, ["/task-protection/v1/state"; 2]);
    process.terminate().await;
    assert_eq!(process.ended().await.status, Some(0));
}

/// One that does not answer, and one that answers 200 to what ECS has refused.
#[tokio::test]
async fn an_agent_that_protects_nothing_is_harmless() {
    let (aws, slack, refusing) = (Aws::start().await, Slack::start().await, Slack::start().await);
    let failure = json!({ "failure": { "Arn": "task", "Reason": "DEPLOYMENT_BLOCKED", "Detail": null } });
    refusing.next(10, ResponseTemplate::new(200).set_body_json(failure)).await;
    for (agent, told) in
        [("http://127.0.0.1:1/agent", "error sending"), (&refusing.uri(), "DEPLOYMENT_BLOCKED")]
    {
        let protection = [("TRAILKEEPER_TASK_PROTECTION", "on"), ("ECS_AGENT_URI", agent)];
        let process = Process::start(&aws, &slack, &protection);
        aws.send(stop(&told.replace(' ', "-"), "gone").to_string()).await;
        eventually("the queue to be empty", async || (aws.depth("events") == 0).then_some(())).await;
        process.terminate().await;
        let ended = process.ended().await;
        assert_eq!(ended.status, Some(0));
        assert!(ended.stderr.contains("task protection could not be changed"), "{}", ended.stderr);
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
    }
}
