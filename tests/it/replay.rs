//! `trailkeeper replay`: what is read, what is sent, and what is told without sending.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::support::aws::{Aws, Fault};
use crate::support::events::{fixture, stop};
use crate::support::process::{Ended, configured, ended, trailkeeper};
use crate::support::slack::Slack;
use crate::support::terminal::on_a_terminal;

/// A folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("replay").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn file(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(text.as_bytes()).expect("packed");
    packed.finish().expect("packed")
}

/// A CloudTrail record as a log file has it.
fn record(id: &str, name: &str) -> Value {
    let mut record = stop(id, "audit")["detail"].clone();
    record["eventName"] = json!(name);
    record
}

async fn replay(aws: &Aws, slack: &Slack, args: &[&str]) -> Ended {
    ended(configured(aws, slack, &[&["replay"], args].concat())).await
}

/// The bodies in the queue, by event.
async fn sent(aws: &Aws) -> Vec<Value> {
    let mut all = Vec::new();
    while aws.depth("events") > all.len() {
        let received = aws.sqs().receive_message().queue_url(aws.queue_url("events"));
        let received = received.max_number_of_messages(10).send().await.expect("received");
        all.extend(
            received
                .messages()
                .iter()
                .map(|message| serde_json::from_str::<Value>(message.body().expect("a body")).expect("JSON")),
        );
    }
    all.sort_by_key(|body| body["detail"]["eventID"].to_string());
    all
}

#[tokio::test]
async fn envelopes_records_and_log_files_are_sent_packed_or_not() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    let here = folder("forms");
    let envelope = stop("e-1", "audit");
    let log = json!({ "Records": [
        record("e-3", "StopLogging"), record("e-4", "DescribeTrails"), record("e-5", "DeleteTrail"),
    ] });
    let files = [
        file(&here, "envelope.json", envelope.to_string()),
        file(&here, "record.json", format!("{:#}", record("e-2", "StartLogging"))),
        file(&here, "log.json.gz", gzip(&log.to_string())),
    ];
    let done = replay(&aws, &slack, &files.each_ref().map(String::as_str)).await;
    assert_eq!((done.status, done.stderr.as_str()), (Some(0), ""), "{}", done.stdout);
    let queue = aws.queue_url("events");
    let told = format!(
        "sent 4 events of 3 files to {queue}; left out 1 events that neither stop nor weaken CloudTrail\n"
    );
    assert_eq!(done.stdout, told);
    let sent = sent(&aws).await;
    let ids: Vec<_> = sent.iter().map(|body| body["detail"]["eventID"].as_str().expect("an id")).collect();
    assert_eq!(ids, ["e-1", "e-2", "e-3", "e-5"]);
    assert_eq!(sent[0], envelope, "an envelope is sent as it is");
    assert_eq!(sent[2]["detail"], log["Records"][0], "a record is put into one");
    assert_eq!(sent[2]["detail-type"], "AWS API Call via CloudTrail");
    assert!(
        aws.calls("SendMessageBatch").iter().all(|call| call.by.as_deref() == Some("trailkeeper-replay"))
    );
}

#[tokio::test]
async fn standard_input_is_read_and_a_worker_then_does_the_rest() {
    let scene = crate::support::worker::Scene::start().await;
    scene.aws.stopped_trail("audit", crate::support::aws::REGION).await;
    let mut command = configured(&scene.aws, &scene.slack, &["replay", "-"]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("it starts");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(stop("e-1", "audit").to_string().as_bytes()).await.expect("written");
    drop(input);
    assert!(child.wait().await.expect("an end").success());
    scene.settled().await;
    assert!(scene.aws.is_logging("audit", crate::support::aws::REGION).await);
    assert_eq!(scene.slack.posts().await.len(), 1);
    scene.worker.stop().await;
}

#[tokio::test]
async fn many_events_go_ten_to_a_request_and_what_fails_is_sent_again() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    let records: Vec<_> = (0..95).map(|number| record(&format!("e-{number:02}"), "StopLogging")).collect();
    let log = file(&folder("many"), "log.json", json!({ "Records": records }).to_string());
    aws.fault("SendMessageBatch", 1, Fault::FailEntries(&[0, 9], "InternalError"));
    aws.fault("SendMessageBatch", 1, Fault::Refuse(503, "ServiceUnavailable"));
    let done = replay(&aws, &slack, &[&log]).await;
    assert_eq!((done.status, done.stderr.as_str()), (Some(0), ""));
    assert_eq!(sent(&aws).await.len(), 95);
    assert_eq!(aws.calls("SendMessageBatch").len(), 12, "ten, and two again");
}

#[tokio::test]
async fn a_folder_is_read_with_all_below_and_files_share_requests() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    let here = folder("folder");
    for number in 0..20 {
        let below = here.join(format!("2026/11/{number:02}"));
        std::fs::create_dir_all(&below).expect("a folder");
        let log = json!({ "Records": [record(&format!("e-{number:02}"), "StopLogging")] });
        file(&below, "log.json.gz", gzip(&log.to_string()));
    }
    std::os::unix::fs::symlink(&here, here.join("2026/round")).expect("a link");
    // CloudTrail's digests hold no events.
    std::fs::create_dir_all(here.join("CloudTrail-Digest")).expect("a folder");
    file(&here.join("CloudTrail-Digest"), "digest.json.gz", gzip("{\"logFiles\": []}"));
    let here = here.to_str().expect("UTF-8");
    let done = replay(&aws, &slack, &[here]).await;
    assert_eq!((done.status, done.stderr.as_str()), (Some(0), ""));
    assert!(done.stdout.starts_with("sent 20 events of 20 files to "), "{}", done.stdout);
    assert_eq!(sent(&aws).await.len(), 20);
    assert_eq!(aws.calls("SendMessageBatch").len(), 2);
    let dry = ended(trailkeeper(&["replay", "--dry-run", here])).await;
    let events = dry.stdout.lines().filter(|line| line.starts_with(here));
    let ids: Vec<_> = events.filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(ids, (0..20).map(|number| format!("e-{number:02}")).collect::<Vec<_>>(), "sorted");
}

#[tokio::test]
async fn after_a_refusal_nothing_more_is_read_and_what_is_on_its_way_counts() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    let here = folder("refused");
    for number in 0..50 {
        let records: Vec<_> = (0..10).map(|at| record(&format!("e-{number}-{at}"), "StopLogging")).collect();
        file(&here, &format!("{number:02}.json"), json!({ "Records": records }).to_string());
    }
    aws.fault("SendMessageBatch", 1, Fault::Delay(Duration::from_millis(500)));
    aws.break_down("SendMessageBatch", Fault::Refuse(400, "QueueDoesNotExist"));
    let done = replay(&aws, &slack, &[here.to_str().expect("UTF-8")]).await;
    assert_eq!(done.status, Some(1));
    assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
    assert!(done.stderr.contains("sending to the queue: there is no such queue"), "{}", done.stderr);
    assert!(done.stdout.starts_with("sent 10 events of "), "{}", done.stdout);
    assert!(!done.stdout.contains("of 50 files"), "{}", done.stdout);
    assert!(aws.calls("SendMessageBatch").len() <= 4, "as many as go at once");
    aws.heal();
    assert_eq!(sent(&aws).await.len(), 10);
}

#[tokio::test]
async fn an_event_that_sqs_does_not_take_is_named_and_the_others_are_sent() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    let refused = |positions: std::ops::Range<usize>| {
        let failed = positions.map(|position| {
            json!({ "Id": position.to_string(), "SenderFault": true, "Code": "InvalidMessageContents" })
        });
        Fault::Answer(json!({ "Successful": [], "Failed": failed.collect::<Vec<_>>() }))
    };
    let log = |name: &str, events: usize| {
        let records: Vec<_> = (0..events).map(|at| record(&format!("e-{at}"), "StopLogging")).collect();
        file(&folder(name), "log.json", json!({ "Records": records }).to_string())
    };
    aws.fault("SendMessageBatch", 1, refused(1..2));
    let done = replay(&aws, &slack, &[&log("one-refused", 3)]).await;
    assert_eq!(done.status, Some(1));
    assert_eq!(done.stderr, "trailkeeper: event e-1: SQS refused it: InvalidMessageContents\n");
    assert!(done.stdout.starts_with("sent 2 events of 1 files to "), "{}", done.stdout);
    let ids: Vec<_> = sent(&aws).await.iter().map(|body| body["detail"]["eventID"].to_string()).collect();
    assert_eq!(ids, ["\"e-0\"", "\"e-2\""]);
    aws.break_down("SendMessageBatch", refused(0..10));
    let done = replay(&aws, &slack, &[&log("all-refused", 95)]).await;
    assert_eq!(done.status, Some(1));
    assert!(done.stdout.starts_with("sent 0 events of 1 files to "), "{}", done.stdout);
    let faults: Vec<_> = done.stderr.lines().collect();
    assert_eq!((faults.len(), faults[20]), (21, "trailkeeper: and 75 more"), "{}", done.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_a_bar_fills() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    let records: Vec<_> = (0..95).map(|number| record(&format!("e-{number:02}"), "StopLogging")).collect();
    let log = file(&folder("bar"), "log.json", json!({ "Records": records }).to_string());
    aws.fault("SendMessageBatch", 4, Fault::Late(Duration::from_secs(1)));
    on_a_terminal(&aws, &slack, &["replay", &log], |terminal| {
        terminal.exp_string("0/1 0 sent, ")?;
        terminal.exp_string("sent 95 events of 1 files")?;
        terminal.exp_eof().map(drop)
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_read_is_named_and_the_rest_is_sent() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    let here = folder("faults");
    let good = file(&here, "good.json", stop("e-1", "audit").to_string());
    let broken_off = json!({ "Records": [record("e-8", "StopLogging")] }).to_string();
    let odd = json!({ "Records": [
        record("e-2", "StopLogging"), { "eventID": "e-3", "secret": 1 }, "secret", {}, record("e-4", "StopLogging"),
    ] });
    let files = [
        file(&here, "broken-off.json", format!("{}\n{}", stop("e-9", "audit"), &broken_off[..40])),
        file(&here, "broken-off.gz", &gzip(&broken_off)[..20]),
        file(&here, "empty.json", ""),
        file(&here, "foreign.json", "{\"private\": \"very\"}"),
        file(&here, "picture.json", [0xff, 0xd8, 0xff]),
        file(&here, "odd.json", format!("\u{feff}{odd}")),
        here.join("missing.json").to_str().expect("UTF-8").to_owned(),
        good,
    ];
    let done = replay(&aws, &slack, &files.each_ref().map(String::as_str)).await;
    assert_eq!(done.status, Some(1));
    insta::assert_snapshot!(done.stderr.replace(here.to_str().expect("UTF-8"), "."));
    let ids: Vec<_> = sent(&aws).await.iter().map(|body| body["detail"]["eventID"].to_string()).collect();
    assert_eq!(ids, ["\"e-1\"", "\"e-2\"", "\"e-4\""], "nothing of a file that broke off");
}

/// Whoever can write a log file can write a million records that are none into it.
#[tokio::test]
async fn a_file_full_of_faults_is_one_fault() {
    let here = folder("odd");
    let odd = format!("{{\"Records\":[{}1]}}", "1,".repeat(100_000));
    let done = ended(trailkeeper(&["replay", "--dry-run", &file(&here, "odd.json", gzip(&odd))])).await;
    assert_eq!(done.status, Some(1));
    assert!(done.stderr.contains("record 1: it is neither"), "{}", done.stderr);
    assert!(done.stderr.ends_with("; and 100000 other records are no events either\n"), "{}", done.stderr);
}

/// Names of files are chosen by whoever can write to the bucket.
#[tokio::test]
async fn no_name_of_a_file_steers_a_terminal() {
    let here = folder("names");
    file(&here, "a\u{1b}[2J\nb.json", stop("e-1", "audit").to_string());
    file(&here, "c\u{9b}2J.json", "");
    let done = ended(trailkeeper(&["replay", "--dry-run", here.to_str().expect("UTF-8")])).await;
    for text in [&done.stdout, &done.stderr] {
        assert!(!text.chars().any(|char| char.is_control() && char != '\n'), "{text:?}");
    }
    assert!(done.stdout.contains("a\u{fffd}[2J\u{fffd}b.json: e-1"), "{}", done.stdout);
    assert!(done.stderr.contains("c\u{fffd}2J.json: it is empty"), "{}", done.stderr);
}

/// Nothing read is not nothing to do.
#[tokio::test]
async fn a_folder_without_files_and_a_link_that_leads_nowhere_are_told() {
    let here = folder("nothing");
    let name = here.to_str().expect("UTF-8");
    let empty = ended(trailkeeper(&["replay", "--dry-run", name])).await;
    assert_eq!(empty.status, Some(1));
    assert!(empty.stderr.contains("the named folders hold no file"), "{}", empty.stderr);
    std::os::unix::fs::symlink("gone", here.join("link.json")).expect("linked");
    let dangling = ended(trailkeeper(&["replay", "--dry-run", name])).await;
    assert_eq!(dangling.status, Some(1));
    assert!(dangling.stderr.contains("link.json: No such file"), "{}", dangling.stderr);
}

/// `2>&1 | head -1` closes both.
#[tokio::test]
async fn whoever_stops_reading_crashes_nothing() {
    let here = folder("unread");
    file(&here, "empty.json", "");
    let mut command = trailkeeper(&["replay", "--dry-run", here.to_str().expect("UTF-8")]);
    let mut child = command.spawn().expect("it starts");
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().await.expect("an end").code(), Some(1));
    let mut child = trailkeeper(&["run"]).spawn().expect("it starts");
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().await.expect("an end").code(), Some(2));
}

/// `replay --dry-run | head -1`: the files behind the first are read all the same, and what is wrong with them is said.
#[tokio::test]
async fn a_preview_that_nobody_reads_on_ends_as_if_it_had_been_read() {
    let here = folder("unread-preview");
    let many: Vec<_> = (0..2_000).map(|number| record(&format!("e-{number}"), "StopLogging")).collect();
    let many = json!({ "Records": many }).to_string();
    let many = file(&here, "many.json", many);
    for (files, status, said) in [
        (vec![many.as_str()], Some(0), ""),
        (vec![many.as_str(), "missing.json"], Some(1), "missing.json: No such file"),
    ] {
        let mut child =
            trailkeeper(&[&["replay", "--dry-run"], &files[..]].concat()).spawn().expect("it starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().await.expect("an end");
        let told = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), status, "{told}");
        assert!(told.contains(said) && told.lines().count() == usize::from(!said.is_empty()), "{told}");
    }
}

#[tokio::test]
async fn a_queue_that_is_not_there_is_told() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    let good = file(&folder("no-queue"), "good.json", stop("e-1", "audit").to_string());
    let mut command = configured(&aws, &slack, &["replay", &good]);
    command.env("TRAILKEEPER_QUEUE_URL", aws.queue_url("missing"));
    let done = ended(command).await;
    assert_eq!(done.status, Some(1));
    assert!(done.stderr.contains("sending to the queue: there is no such queue"), "{}", done.stderr);
    assert!(done.stdout.starts_with("sent 0 events of 1 files"), "{}", done.stdout);
    let unnamed = ended(trailkeeper(&["replay", &good])).await;
    assert_eq!(unnamed.status, Some(2));
    assert!(unnamed.stderr.contains("TRAILKEEPER_QUEUE_URL is required"), "{}", unnamed.stderr);
}

/// No AWS, no Slack, no configuration: all that a dry run takes is the file.
#[tokio::test]
async fn a_dry_run_prints_decision_and_message_of_each_event() {
    let here = folder("dry-run");
    let mut denied = fixture("stop_logging");
    denied["detail"]["eventID"] = json!("e-3");
    denied["detail"]["errorCode"] = json!("AccessDenied");
    let mut untargeted = stop("e-4", "audit");
    untargeted["detail"]["requestParameters"] = json!(null);
    let mut old = stop("e-1", "audit");
    old["detail"]["eventTime"] = json!("2020-01-01T00:00:00Z");
    let mut renamed = stop("e-5", "audit");
    renamed["detail"]["userIdentity"]["userName"] = json!("eve\u{1b}[2J<!channel>");
    renamed["detail"]["eventTime"] = json!("2020-01-01T00:00:00Z");
    let events = [
        &old,
        &record("e-2", "DeleteTrail"),
        &denied,
        &untargeted,
        &old,
        &record("e-6", "StartLogging"),
        &renamed,
    ];
    let lines = events.map(|event| format!("{event}\n")).concat();
    let events = file(&here, "events.json", lines);
    let dry = ended(trailkeeper(&["replay", "--dry-run", &events])).await;
    assert_eq!((dry.status, dry.stderr.as_str()), (Some(0), ""));
    insta::assert_snapshot!("dry_run", dry.stdout.replace(here.to_str().expect("UTF-8"), "."));
    let tells = ended(trailkeeper(&["replay", "--dry-run", "--mode", "notify", &events])).await;
    assert!(
        tells.stdout.contains("decision  notify, since TRAILKEEPER_MODE is notify, after a look at arn:")
    );
    assert!(!tells.stdout.contains("restarted and verified"), "{}", tells.stdout);
    let log = file(&here, "log.json", json!({ "Records": [record("e-7", "DescribeTrails")] }).to_string());
    let none = ended(trailkeeper(&["replay", "--dry-run", &log])).await;
    let told = "previewed 0 events of 1 files; left out 1 events that neither stop nor weaken CloudTrail\n";
    assert_eq!((none.status, none.stdout.as_str()), (Some(0), told));
}
