//! `trailkeeper dlq`: the dead letters are shown and left alone, and put back without losing any.

use std::time::Duration;

use aws_sdk_sqs::types::{Message, MessageAttributeValue};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::support::aws::{ACCOUNT, Aws, Fault, REGION, attribute};
use crate::support::events::stop;
use crate::support::eventually;
use crate::support::process::{Ended, configured, ended};
use crate::support::slack::Slack;
use crate::support::terminal::on_a_terminal;
use crate::support::worker::{Scene, Worker, args};

/// Puts a dead letter where the worker puts them.
pub(crate) async fn bury(aws: &Aws, body: impl ToString, label: &[(&str, &str)]) {
    let mut request =
        aws.sqs().send_message().queue_url(aws.queue_url("poison")).message_body(body.to_string());
    for (name, value) in label {
        let value = MessageAttributeValue::builder().data_type("String").string_value(*value).build();
        request = request.message_attributes(format!("trailkeeper.{name}"), value.expect("whole"));
    }
    request.send().await.expect("sent");
}

/// Five dead letters of three reasons, and one that SQS moved.
async fn graveyard() -> (Aws, Slack) {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    for number in 1..=2 {
        let id = format!("e-{number}");
        let label = [
            ("reason", "restore-refused"),
            (
                "detail",
                "StartLogging: AccessDeniedException; allow cloudtrail:StartLogging on this trail to the worker's role",
            ),
            ("attempts", "1"),
            ("event_id", &id),
            ("source_message_id", "m-1"),
            ("failed_at", "2026-11-20T09:15:10Z"),
        ];
        bury(&aws, stop(&id, "audit"), &label).await;
    }
    let label =
        [("reason", "attempts-exhausted"), ("detail", "StartLogging: \u{7f}Throttling"), ("attempts", "10")];
    bury(&aws, stop("e-3", "audit"), &label).await;
    bury(
        &aws,
        "{\"very\":\"private\"}",
        &[("reason", "malformed"), ("detail", "no detail"), ("attempts", "1")],
    )
    .await;
    bury(&aws, stop("e-4", "audit"), &[]).await;
    (aws, slack)
}

async fn dlq(aws: &Aws, slack: &Slack, args: &[&str]) -> Ended {
    ended(configured(aws, slack, &[&["dlq"], args].concat())).await
}

/// The events of what is in a queue, in order; a body that names none is told as it is.
async fn events(aws: &Aws, queue: &str) -> Vec<String> {
    let event = |message: &Message| {
        let body: Value = serde_json::from_str(message.body().expect("a body")).expect("JSON");
        body["detail"]["eventID"].as_str().unwrap_or("malformed").to_owned()
    };
    let mut all: Vec<_> = aws.messages(queue).await.iter().map(event).collect();
    all.sort();
    all
}

#[tokio::test]
async fn dead_letters_are_shown_by_reason_and_stay_where_they_are() {
    let (aws, slack) = graveyard().await;
    // The age is a column, as wide as its words. For a minute from now on all are as old as each other.
    aws.age_messages(3_600);
    let listed = dlq(&aws, &slack, &["list"]).await;
    assert_eq!((listed.status, listed.stderr.as_str()), (Some(0), ""));
    let shown: Vec<_> = listed.stdout.lines().map(without_ids).collect();
    insta::assert_snapshot!(shown.join("\n"));
    assert!(!listed.stdout.contains("private"), "a body is shown");
    // They were given back, for the next who looks.
    assert_eq!(aws.messages("poison").await.len(), 5);
    assert_eq!(aws.depth("events"), 0);
}

/// A table's row without what differs from run to run: message ids.
fn without_ids(line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().collect();
    let is_id = |at: &usize| *at > 0 && words[at - 1] == "message";
    (0..words.len()).filter(|at| !is_id(at)).map(|at| words[at]).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn machines_get_json_and_a_reason_or_an_event_narrows_the_list() {
    let (aws, slack) = graveyard().await;
    let list = async |args: &[&str]| {
        let listed = dlq(&aws, &slack, &[&["list", "--json"], args].concat()).await;
        assert_eq!(listed.status, Some(0), "{}", listed.stderr);
        let letters: Vec<Value> = serde_json::from_str(&listed.stdout).expect("JSON");
        letters
    };
    assert_eq!(list(&[]).await.len(), 5);
    let refused = list(&["--reason", "restore-refused"]).await;
    assert_eq!(refused.len(), 2);
    assert_eq!(refused[0]["attempts"], 1);
    assert_eq!(refused[0]["event_name"], "StopLogging");
    assert_eq!(refused[0]["resource"], "audit");
    assert_eq!(refused[0]["account"], "123456789012");
    assert!(refused[0]["age_seconds"].is_u64() && refused[0]["sent_at"].is_string());
    let moved = list(&["--reason", "none"]).await;
    assert_eq!(
        (moved.len(), &moved[0]["event_id"], &moved[0]["reason"]),
        (1, &Value::from("e-4"), &Value::Null)
    );
    assert_eq!(list(&["--event", "e-3"]).await.len(), 1);
    assert_eq!(list(&["--event", "e-3", "--reason", "malformed"]).await.len(), 0);
    // A script whose variable is not set must not mean everything.
    for nothing in [["--reason", ""], ["--event", ""], ["--reason", "bad"]] {
        assert_eq!(dlq(&aws, &slack, &[&["redrive"], nothing.as_slice()].concat()).await.status, Some(2));
    }
}

#[tokio::test]
async fn a_redrive_puts_back_what_is_wanted_with_its_label_and_leaves_the_rest() {
    let (aws, slack) = graveyard().await;
    let done = dlq(&aws, &slack, &["redrive", "--reason", "restore-refused"]).await;
    assert_eq!((done.status, done.stderr.as_str()), (Some(0), ""));
    assert_eq!(done.stdout, "put 2 dead letters back; left 3 others\n");
    let back = aws.messages("events").await;
    assert_eq!(back.len(), 2);
    for message in &back {
        assert_eq!(attribute(message, "reason"), Some("restore-refused"));
        assert_eq!(attribute(message, "attempts"), Some("1"));
        assert_eq!(attribute(message, "failed_at"), Some("2026-11-20T09:15:10Z"));
    }
    let done = dlq(&aws, &slack, &["redrive", "--event", "e-4"]).await;
    assert_eq!(done.stdout, "put 1 dead letters back; left 2 others\n");
    assert_eq!(events(&aws, "poison").await, ["e-3", "malformed"]);
    // Who asks for one and does not get it, is told.
    let typo = dlq(&aws, &slack, &["redrive", "--event", "e-33"]).await;
    assert_eq!((typo.status, typo.stdout.as_str()), (Some(1), "put 0 dead letters back; left 2 others\n"));
    assert!(typo.stderr.contains("of event e-33"), "{}", typo.stderr);
}

/// What was looked at comes again after some minutes; that is no sign that all was seen.
#[tokio::test]
async fn those_that_come_again_hide_none_behind_them() {
    let (aws, slack) = graveyard().await;
    for (message, receipt) in [("m-1", "r-1"), ("m-2", "r-2"), ("m-1", "r-3"), ("m-2", "r-4")] {
        let reason = json!({ "DataType": "String", "StringValue": "malformed" });
        let answer = json!({ "Messages": [{
            "MessageId": message, "ReceiptHandle": receipt, "Body": "{}",
            "MessageAttributes": { "trailkeeper.reason": reason },
        }] });
        aws.fault("ReceiveMessage", 1, Fault::Answer(answer));
    }
    let done = dlq(&aws, &slack, &["redrive", "--reason", "restore-refused"]).await;
    assert_eq!(done.stdout, "put 2 dead letters back; left 5 others\n");
    // The newest receive is the one that counts.
    let given_back: String =
        aws.calls("ChangeMessageVisibilityBatch").iter().map(|call| call.body.to_string()).collect();
    let named = ["r-1", "r-2", "r-3", "r-4"].map(|receipt| given_back.contains(receipt));
    assert_eq!(named, [false, false, true, true], "{given_back}");
}

/// One queue has several names; poison would go round in it for ever.
#[tokio::test]
async fn a_dead_letter_queue_that_is_the_queue_itself_is_refused() {
    let (aws, slack) = graveyard().await;
    for same in [aws.queue_url("events"), format!("{}/", aws.queue_url("events"))] {
        let mut command = configured(&aws, &slack, &["dlq", "redrive", "--yes"]);
        command.env("TRAILKEEPER_DLQ_URL", &same);
        let refused = ended(command).await;
        assert_eq!(refused.status, Some(2), "{same}");
        assert!(refused.stderr.contains("is the queue itself"), "{}", refused.stderr);
    }
}

#[tokio::test]
async fn everything_is_put_back_only_if_that_is_meant() {
    let (aws, slack) = graveyard().await;
    let refused = dlq(&aws, &slack, &["redrive"]).await;
    assert_eq!(refused.status, Some(2));
    assert!(refused.stderr.contains("add --yes if you mean that"), "{}", refused.stderr);
    assert_eq!(aws.depth("poison"), 5);
    let done = dlq(&aws, &slack, &["redrive", "--yes"]).await;
    assert_eq!((done.status, done.stdout.as_str()), (Some(0), "put 5 dead letters back\n"));
    assert_eq!((aws.depth("poison"), aws.depth("events")), (0, 5));
}

/// The same on a terminal, where there is somebody to ask.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_it_asks_first() {
    let (aws, slack) = graveyard().await;
    for (answer, told, left) in [("n", "nothing was put back", 5), ("y", "put 5 dead letters back", 0)] {
        on_a_terminal(&aws, &slack, &["dlq", "redrive"], move |terminal| {
            terminal.exp_string("Put all of about 5 dead letters of ")?;
            terminal.exp_string("[y/N]")?;
            terminal.send_line(answer)?;
            terminal.exp_string(told)?;
            terminal.exp_eof().map(drop)
        })
        .await;
        assert_eq!(aws.depth("poison"), left, "after {answer}");
    }
}

/// It is copied from the table, so it is in one piece on the narrowest terminal.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_not_broken() {
    const ID: &str = "3b8f0a52-0000-4000-8000-000000000001";
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    let detail = "allow it ".repeat(30);
    let label = [("reason", "restore-refused"), ("detail", detail.as_str())];
    bury(&aws, stop(ID, &"long-".repeat(20)), &label).await;
    on_a_terminal(&aws, &slack, &["dlq", "list"], |terminal| {
        terminal.exp_string(ID)?;
        terminal.exp_eof().map(drop)
    })
    .await;
}

/// What was tried before it was put back counts on.
#[tokio::test]
async fn attempts_are_counted_on_over_the_rounds() {
    let scene = Scene::start_with(|args| args.set("TRAILKEEPER_MAX_ATTEMPTS", "2")).await;
    scene.aws.stopped_trail("audit", REGION).await;
    scene.aws.break_down("StartLogging", Fault::Refuse(500, "InternalFailure"));
    scene.handle(stop("e-1", "audit")).await;
    for expected in ["2", "4"] {
        let dead = scene.aws.messages("poison").await;
        assert_eq!(dead.len(), 1);
        assert_eq!(attribute(&dead[0], "attempts"), Some(expected));
        let one = dlq(&scene.aws, &scene.slack, &["redrive", "--event", "e-1"]).await;
        assert_eq!(one.status, Some(0), "{}", one.stderr);
        let dead_again =
            async || (scene.aws.depth("events") == 0 && scene.aws.depth("poison") == 1).then_some(());
        eventually("the event to be dead again", dead_again).await;
    }
    // Put back once more, now that CloudTrail takes it.
    scene.aws.heal();
    dlq(&scene.aws, &scene.slack, &["redrive", "--yes"]).await;
    let restored = async || scene.aws.is_logging("audit", REGION).await.then_some(());
    eventually("the trail to be restarted", restored).await;
    scene.settled().await;
    assert_eq!(scene.aws.depth("poison"), 0);
    scene.worker.stop().await;
}

/// A worker that refuses it again at once does not make it go round.
#[tokio::test]
async fn what_comes_back_while_it_runs_is_left() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    bury(&aws, "nonsense", &[("reason", "malformed")]).await;
    let worker = Worker::start_with(&aws, &args(&aws, &slack));
    let done = dlq(&aws, &slack, &["redrive", "--yes"]).await;
    assert_eq!(done.status, Some(0), "{}", done.stderr);
    assert!(done.stdout.starts_with("put 1 dead letters back"), "{}", done.stdout);
    assert_eq!(aws.calls("SendMessageBatch").len(), 1);
    worker.stop().await;
    assert_eq!(aws.messages("poison").await.len(), 1);
}

/// One that is too long to carry a label says nothing of which message it was.
#[tokio::test]
async fn one_without_a_label_does_not_go_round_either() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    bury(&aws, "x".repeat(1_048_576), &[]).await;
    let worker = Worker::start_with(&aws, &args(&aws, &slack));
    // The first, which is put back, is followed by those that the worker refuses: each looks until one came back.
    aws.fault("DeleteMessageBatch", 1, Fault::Late(Duration::from_secs(1)));
    let done = dlq(&aws, &slack, &["redrive", "--yes"]).await;
    assert_eq!(done.status, Some(0), "{}", done.stderr);
    assert_eq!(
        done.stdout,
        "put 1 dead letters back; 1 became dead letters again meanwhile, and were left: see dlq list\n"
    );
    assert_eq!(aws.calls("SendMessageBatch").len(), 1);
    worker.stop().await;
}

/// No list is a part of the whole without saying so.
#[tokio::test]
async fn more_than_can_be_held_are_told() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    for hundred in 0..21 {
        let entries = (0..100).map(|number| format!("{{\"number\":{}}}", hundred * 100 + number));
        aws.send_many("poison", entries).await;
    }
    let listed = dlq(&aws, &slack, &["list", "--json"]).await;
    assert_eq!(listed.status, Some(1));
    assert!(listed.stderr.contains("stopped after 2000 dead letters"), "{}", listed.stderr);
    let done = dlq(&aws, &slack, &["redrive", "--event", "e-1"]).await;
    assert_eq!(done.status, Some(1));
    assert!(done.stdout.starts_with("put 0 dead letters back; left 20"), "{}", done.stdout);
    // What is put back is not held.
    let done = dlq(&aws, &slack, &["redrive", "--yes"]).await;
    assert_eq!(
        (done.status, done.stdout.as_str()),
        (Some(0), "put 2100 dead letters back\n"),
        "{}",
        done.stderr
    );
}

/// After somebody was killed, or while a colleague looks.
#[tokio::test]
async fn dead_letters_that_are_hidden_are_not_none() {
    let (aws, slack) = graveyard().await;
    aws.dead_letters().await;
    aws.break_down("GetQueueAttributes", Fault::Answer(json!({ "Attributes": {
        "RedrivePolicy": json!({ "deadLetterTargetArn": format!("arn:aws:sqs:{REGION}:{ACCOUNT}:poison"), "maxReceiveCount": 20 }).to_string(),
        "ApproximateNumberOfMessagesNotVisible": "5",
    } })));
    for (args, told) in [(&["list"][..], ""), (&["redrive", "--yes"], "put 0 dead letters back\n")] {
        let done = dlq(&aws, &slack, args).await;
        assert_eq!((done.status, done.stdout.as_str()), (Some(1), told));
        assert!(done.stderr.contains("about 5 hidden dead letters"), "{}", done.stderr);
    }
    // Those that are seen beside them, and hidden by that, are not among them.
    for event in ["e-8", "e-9"] {
        bury(&aws, stop(event, "audit"), &[]).await;
    }
    let listed = dlq(&aws, &slack, &["list"]).await;
    assert_eq!((listed.status, listed.stdout.contains("e-8")), (Some(0), true), "{}", listed.stdout);
    assert!(listed.stderr.contains("about 3 hidden dead letters"), "{}", listed.stderr);
}

/// JSON is for machines, and is looked at on terminals.
#[tokio::test]
async fn no_json_steers_a_terminal() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    let name = "a\u{9b}2J\u{202e}\u{7f}\u{e0001}z";
    bury(&aws, stop("e-1", name), &[]).await;
    let listed = dlq(&aws, &slack, &["list", "--json"]).await;
    let plain = |char: char| char == '\n' || (' '..='~').contains(&char);
    assert!(listed.stdout.chars().all(plain), "{}", listed.stdout);
    let letters: Value = serde_json::from_str(&listed.stdout).expect("JSON");
    assert_eq!(letters[0]["resource"], name);
}

/// A message that was put back, and then moved by SQS: the reason on it is of the round before.
#[tokio::test]
async fn what_sqs_moved_has_no_reason_whatever_its_label_says() {
    let (aws, slack) = graveyard().await;
    let text = |value: &str| json!({ "DataType": "String", "StringValue": value });
    let moved = json!({ "Messages": [{
        "MessageId": "m-1", "ReceiptHandle": "r-1", "Body": stop("e-1", "audit").to_string(),
        "Attributes": { "DeadLetterQueueSourceArn": format!("arn:aws:sqs:{REGION}:{ACCOUNT}:events") },
        "MessageAttributes": { "trailkeeper.reason": text("restore-refused"), "trailkeeper.attempts": text("3") },
    }] });
    aws.fault("ReceiveMessage", 1, Fault::Answer(moved));
    let listed = dlq(&aws, &slack, &["list", "--json", "--reason", "none"]).await;
    let letters: Vec<Value> = serde_json::from_str(&listed.stdout).expect("JSON");
    let moved = letters.iter().find(|letter| letter["event_id"] == "e-1").expect("listed");
    assert_eq!((&moved["reason"], &moved["attempts"]), (&Value::Null, &json!(3)));
    assert_eq!(moved["detail"], "received too often; before it was put back: restore-refused");
}

/// One that SQS will not take keeps no other from being put back.
#[tokio::test]
async fn one_that_is_refused_stays_and_is_named() {
    let (aws, slack) = graveyard().await;
    for _ in 0..6 {
        aws.fault("SendMessageBatch", 1, Fault::FailEntries(&[0], "InvalidParameterValue"));
    }
    let done = dlq(&aws, &slack, &["redrive", "--yes"]).await;
    assert_eq!(done.status, Some(1));
    assert!(done.stderr.contains("stays: SQS refused it: InvalidParameterValue"), "{}", done.stderr);
    assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
    assert_eq!((aws.depth("poison"), aws.depth("events")), (1, 4));
}

/// The second signal ends it whatever SQS does.
#[tokio::test]
async fn told_twice_it_ends_at_once() {
    let (aws, slack) = graveyard().await;
    aws.break_down("ChangeMessageVisibilityBatch", Fault::Delay(Duration::from_mins(1)));
    let child = configured(&aws, &slack, &["dlq", "list"]).spawn().expect("it starts");
    eventually("it to give back", async || aws.calls("ChangeMessageVisibilityBatch").pop()).await;
    signal(child.id(), "INT").await;
    signal(child.id(), "TERM").await;
    let output = tokio::time::timeout(Duration::from_secs(10), child.wait_with_output()).await;
    let output = output.expect("an end").expect("it ran");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("stopped at once"));
}

async fn signal(id: Option<u32>, name: &str) {
    let id = id.expect("running").to_string();
    let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().await.expect("kill runs");
    assert!(sent.success());
}

/// Told to stop, it ends with what it has in hand; killed between the two requests, a letter is in both queues.
#[tokio::test]
async fn an_interrupted_redrive_loses_nothing() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    let all: Vec<_> = (10..35).map(|number| format!("e-{number}")).collect();
    for id in &all {
        bury(&aws, stop(id, "gone"), &[("reason", "attempts-exhausted"), ("event_id", id)]).await;
    }
    aws.fault("SendMessageBatch", 1, Fault::Late(Duration::from_secs(1)));
    let child = configured(&aws, &slack, &["dlq", "redrive", "--yes"]).spawn().expect("it starts");
    eventually("the first request", async || aws.calls("SendMessageBatch").pop()).await;
    signal(child.id(), "INT").await;
    let output = child.wait_with_output().await.expect("an end");
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(told.contains("put 10 dead letters back"), "{told}");
    assert_eq!((aws.depth("poison"), aws.depth("events")), (15, 10));

    aws.fault("DeleteMessageBatch", 1, Fault::Delay(Duration::from_mins(1)));
    let mut child = configured(&aws, &slack, &["dlq", "redrive", "--yes"]).spawn().expect("it starts");
    eventually("the delete", async || aws.calls("DeleteMessageBatch").get(1).cloned()).await;
    child.kill().await.expect("killed");
    assert_eq!((aws.depth("poison"), aws.depth("events")), (15, 20), "ten are in both");
    aws.heal();
    aws.show_all("poison").await;

    let last = dlq(&aws, &slack, &["redrive", "--yes"]).await;
    assert_eq!(last.status, Some(0), "{}", last.stderr);
    assert_eq!((aws.depth("poison"), aws.depth("events")), (0, 35));
    // The ten that came twice are handled once.
    let mut args = args(&aws, &slack);
    args.set("TRAILKEEPER_VISIBILITY_TIMEOUT_SECONDS", "3");
    let worker = Worker::start_with(&aws, &args);
    eventually("the queue to be empty", async || (aws.depth("events") == 0).then_some(())).await;
    worker.stop().await;
    assert_eq!(slack.posts().await.len(), all.len());
}

#[tokio::test]
async fn queues_that_fail_are_told_and_nothing_is_lost() {
    let (aws, slack) = graveyard().await;
    aws.fault("SendMessageBatch", 1, Fault::Refuse(403, "AccessDeniedException"));
    let refused = dlq(&aws, &slack, &["redrive", "--yes"]).await;
    assert_eq!(refused.status, Some(1));
    assert!(refused.stderr.contains("AccessDeniedException"), "{}", refused.stderr);
    assert_eq!(aws.messages("poison").await.len(), 5);
    aws.show_all("poison").await;
    // A message that SQS takes at the second try is put back too.
    aws.fault("SendMessageBatch", 1, Fault::FailEntries(&[0], "InternalError"));
    let done = dlq(&aws, &slack, &["redrive", "--yes"]).await;
    assert_eq!(
        (done.status, done.stdout.as_str()),
        (Some(0), "put 5 dead letters back\n"),
        "{}",
        done.stderr
    );
    aws.create_queue("bare", None).await;
    let mut command = configured(&aws, &slack, &["dlq", "list"]);
    command.env("TRAILKEEPER_QUEUE_URL", aws.queue_url("bare"));
    let bare = ended(command).await;
    assert_eq!(bare.status, Some(1));
    assert!(bare.stderr.contains("set TRAILKEEPER_DLQ_URL"), "{}", bare.stderr);
    let empty = dlq(&aws, &slack, &["list"]).await;
    assert_eq!(empty.stdout, "no dead letters\n");
}

/// `trailkeeper dlq redrive | true`: whoever does not read on gets all that was asked for, and the same exit status.
#[tokio::test]
async fn a_reader_that_goes_away_changes_nothing() {
    let unread = async |aws: &Aws, slack: &Slack, args: &[&str]| {
        let mut child = configured(aws, slack, args).spawn().expect("it starts");
        drop(child.stdout.take());
        let mut said = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut said).await.expect("read");
        (child.wait().await.expect("an end").code(), said)
    };
    let (aws, slack) = graveyard().await;
    let listed = unread(&aws, &slack, &["dlq", "list"]).await;
    assert_eq!(listed, (Some(0), String::new()));
    let redriven = unread(&aws, &slack, &["dlq", "redrive", "--yes"]).await;
    assert_eq!(redriven, (Some(0), String::new()));
    assert_eq!((aws.depth("poison"), aws.depth("events")), (0, 5));
    // What fails when it is read fails when it is not.
    let (status, said) = unread(&aws, &slack, &["dlq", "redrive", "--event", "e-none"]).await;
    assert_eq!(status, Some(1));
    assert!(said.contains("no dead letter that was seen is of event"), "{said}");
    for page in [&["completions", "bash"][..], &["man", "run"], &["--help"], &["--version"]] {
        assert_eq!(unread(&aws, &slack, page).await, (Some(0), String::new()), "{page:?}");
    }
}

/// What a later version sent, and nobody has known for 15 minutes: as a dead letter, and put back, it is still of its kind.
#[tokio::test]
async fn a_message_of_a_later_version_keeps_its_kind() {
    let scene = Scene::start().await;
    scene.aws.age_messages(15 * 60 + 1);
    let kind = MessageAttributeValue::builder().data_type("String").string_value("show-incident").build();
    let request = scene.aws.sqs().send_message().queue_url(scene.aws.queue_url("events"));
    let request = request.message_body("{}").message_attributes("trailkeeper.kind", kind.expect("whole"));
    request.send().await.expect("sent");
    let is_dead = async |attempts: u32| {
        eventually("a dead letter", async || {
            let listed = dlq(&scene.aws, &scene.slack, &["list", "--json"]).await;
            let letters: Value = serde_json::from_str(&listed.stdout).ok()?;
            let letter = letters.get(0)?;
            (letter["reason"] == "unsupported" && letter["attempts"] == attempts).then_some(())
        })
        .await;
    };
    is_dead(1).await;
    let redriven = dlq(&scene.aws, &scene.slack, &["redrive", "--reason", "unsupported"]).await;
    assert!(
        redriven.stdout.starts_with("put 1 dead letters back"),
        "{redriven:?}",
        redriven = redriven.stdout
    );
    // Read as anything else it would be malformed.
    is_dead(2).await;
    scene.worker.stop().await;
}
