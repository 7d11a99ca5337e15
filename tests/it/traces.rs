//! Traces, as a collector gets them from the real program.

mod collector;

use std::collections::BTreeSet;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use self::collector::{Answer, Collector, Span};
use crate::support::aws::{Aws, Fault, REGION, REQUEST};
use crate::support::events::stop;
use crate::support::eventually;
use crate::support::process::{Ended, Process, ended, trailkeeper};
use crate::support::slack::Slack;

const ENDPOINT: &str = "TRAILKEEPER_OTLP_ENDPOINT";
const TABLE: (&str, &str) = ("TRAILKEEPER_STATE_TABLE", "state");
/// Nothing is sent by the clock: what arrives was sent at the end.
const AT_THE_END: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "3600000");
/// Everything is sent as it happens.
const AT_ONCE: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "1");

/// A worker's surroundings.
struct Stage {
    aws: Aws,
    slack: Slack,
    collector: Collector,
}

impl Stage {
    async fn with(collector: Collector) -> Self {
        let (aws, slack) = (Aws::start().await, Slack::start().await);
        aws.stopped_trail("audit", REGION).await;
        aws.create_table("state").await;
        Self { aws, slack, collector }
    }

    fn run(&self, variables: &[(&str, &str)]) -> Process {
        let endpoint = [(ENDPOINT, self.collector.uri.as_str())];
        Process::start(&self.aws, &self.slack, &[&endpoint, variables].concat())
    }

    /// The whole life of a worker that handles what is there and then these messages, one after the other.
    async fn handle(&self, variables: &[(&str, &str)], bodies: &[String]) -> Ended {
        let process = self.run(variables);
        self.settled().await;
        for body in bodies {
            self.aws.send(body.clone()).await;
            self.settled().await;
        }
        end(process).await
    }

    async fn settled(&self) {
        let empty = async || (self.aws.depth("events") == 0).then_some(());
        eventually("the queue to be empty", empty).await;
    }

    /// That no span holds what must be in none.
    fn assert_discreet(&self) {
        let calls = ["DeleteMessageBatch", "ChangeMessageVisibilityBatch"].map(|name| self.aws.calls(name));
        let entries = calls.iter().flatten().filter_map(|call| call.body["Entries"].as_array().cloned());
        let receipts = entries.flatten().map(|entry| entry["ReceiptHandle"].as_str().map(str::to_owned));
        let mut secrets: Vec<String> = receipts.map(|receipt| receipt.expect("a receipt handle")).collect();
        assert!(!secrets.is_empty());
        // The webhook's path, the caller's key, and what stands in the body of an event.
        secrets.extend(["very-secret", "T000", "AKIAEXAMPLE", "mallory", "203.0.113.7"].map(str::to_owned));
        let sent: Vec<u8> =
            self.collector.received().iter().flat_map(|request| request.body.clone()).collect();
        let holds = |text: &str| sent.windows(text.len()).any(|bytes| bytes == text.as_bytes());
        assert!(holds("trailkeeper.event_id"), "looked for in the wrong place");
        for secret in secrets {
            assert!(!holds(&secret), "{secret} was sent to the collector");
        }
    }
}

async fn end(process: Process) -> Ended {
    process.terminate().await;
    let ended = process.ended().await;
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    ended
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn only<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found = named(spans, name);
    assert_eq!(found.len(), 1, "{name} in {spans:#?}");
    found[0]
}

fn children<'a>(spans: &'a [Span], parent: &Span) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.parent == parent.id && span.trace == parent.trace).collect()
}

fn names<'a>(spans: &[&'a Span]) -> Vec<&'a str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

/// The attributes whole, those left out whose values nobody can know.
fn attributes(span: &Span) -> Value {
    let known = |name: &str| !matches!(name, "server.port" | "messaging.message.id");
    span.attributes.iter().filter(|(name, _)| known(name)).map(|(name, text)| (name, text.as_str())).collect()
}

#[tokio::test]
async fn a_restored_event_is_a_trace_linked_to_its_receive_and_its_delete() {
    let stage = Stage::with(Collector::start().await).await;
    stage.handle(&[TABLE, AT_THE_END], &[stop("e-1", "audit").to_string()]).await;
    let spans = stage.collector.spans();

    let process = only(&spans, "process events");
    assert_eq!((process.kind, process.failed), (SpanKind::Consumer, false));
    assert!(process.parent.is_empty(), "a trace of its own");
    assert_eq!(
        attributes(process),
        json!({
            "messaging.system": "aws_sqs",
            "messaging.destination.name": "events",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "trailkeeper.event_id": "e-1",
            "trailkeeper.outcome": "restored",
            "trailkeeper.attempt": "1",
            "trailkeeper.receive_count": "1",
        })
    );
    assert!(!process.attributes["messaging.message.id"].is_empty());
    // Beside the restart, at its own time.
    let (beside, effects): (Vec<_>, Vec<_>) =
        children(&spans, process).into_iter().partition(|span| span.name == "CloudTrail.DescribeTrails");
    assert_eq!(beside.len(), 1);
    assert_eq!(
        names(&effects),
        [
            "DynamoDB.UpdateItem",
            "CloudTrail.GetTrailStatus",
            "CloudTrail.StartLogging",
            "CloudTrail.GetTrailStatus",
            "DynamoDB.UpdateItem",
            "POST",
            "DynamoDB.UpdateItem",
        ]
    );
    for effect in &effects {
        assert_eq!((effect.kind, effect.failed), (SpanKind::Client, false), "{effect:#?}");
        assert!(process.nanos.0 <= effect.nanos.0 && effect.nanos.1 <= process.nanos.1, "{effect:#?}");
    }
    assert_eq!(
        attributes(effects[2]),
        json!({
            "rpc.system": "aws-api",
            "rpc.service": "CloudTrail",
            "rpc.method": "StartLogging",
            "cloud.region": REGION,
            "server.address": "127.0.0.1",
            "http.response.status_code": "200",
            "aws.request_id": REQUEST,
        })
    );
    assert!(effects[2].attributes.contains_key("server.port"));
    assert_eq!(
        attributes(effects[5]),
        json!({
            "http.request.method": "POST",
            "url.full": format!("{}/REDACTED", stage.slack.uri()),
            "server.address": "127.0.0.1",
            "http.response.status_code": "200",
        })
    );

    let receive =
        spans.iter().find(|span| process.links == std::slice::from_ref(&span.id)).expect("linked to a span");
    assert_eq!((receive.name.as_str(), receive.kind), ("receive events", SpanKind::Client));
    assert_ne!(receive.trace, process.trace);
    assert!(receive.nanos.1 <= process.nanos.0, "a poll ends before the work begins");
    assert_eq!(
        attributes(receive),
        json!({
            "messaging.system": "aws_sqs",
            "messaging.destination.name": "events",
            "messaging.operation.name": "receive",
            "messaging.operation.type": "receive",
            "messaging.batch.message_count": "1",
        })
    );
    assert_eq!(names(&children(&spans, receive)), ["SQS.ReceiveMessage"]);

    let delete = only(&spans, "delete events");
    assert_eq!((delete.kind, delete.failed), (SpanKind::Client, false));
    assert_eq!(delete.links, std::slice::from_ref(&process.id));
    assert!(process.nanos.1 <= delete.nanos.0, "the work ends before its message is deleted");
    assert_eq!(
        attributes(delete),
        json!({
            "messaging.system": "aws_sqs",
            "messaging.destination.name": "events",
            "messaging.operation.name": "delete",
            "messaging.operation.type": "settle",
            "messaging.batch.message_count": "1",
        })
    );
    assert_eq!(names(&children(&spans, delete)), ["SQS.DeleteMessageBatch"]);
    stage.assert_discreet();
}

#[tokio::test]
async fn what_fails_says_so_and_why() {
    let stage = Stage::with(Collector::start().await).await;
    // Of the table's probe, at the start.
    stage.aws.fault("UpdateItem", 1, Fault::Delay(Duration::from_secs(3)));
    stage.aws.fault("ReceiveMessage", 1, Fault::Refuse(503, "com.amazonaws.sqs#ServiceUnavailable"));
    stage.aws.fault("StartLogging", 1, Fault::Lose);
    stage.aws.fault("DeleteMessageBatch", 1, Fault::FailEntries(&[0], "InternalError"));
    stage.slack.next(1, ResponseTemplate::new(500)).await;
    let event = stop("e-1", "audit").to_string();
    stage.handle(&[TABLE, AT_THE_END], &[event.clone(), event]).await;
    let spans = stage.collector.spans();

    let probe = &named(&spans, "DynamoDB.UpdateItem")[0];
    assert!(probe.failed);
    assert_eq!(probe.attributes["error.type"], "timeout");
    let receive = &named(&spans, "receive events")[0];
    assert!(receive.failed && receive.detail.contains("ServiceUnavailable"), "{receive:#?}");
    assert_eq!(receive.attributes["error.type"], "transient");
    let call = children(&spans, receive)[0];
    assert!(call.failed);
    assert_eq!(call.attributes["error.type"], "ServiceUnavailable");
    assert_eq!(call.attributes["http.response.status_code"], "503");

    let works = named(&spans, "process events");
    let told = |name: &str| -> Vec<String> {
        let told = works.iter().map(|work| work.attributes.get(name).cloned().unwrap_or_default());
        told.collect()
    };
    // The restart it lost the answer of was carried out; the next look finds logging on. Slack then fails.
    assert_eq!(told("trailkeeper.outcome"), ["retried", "retried", "already_logging", "duplicate"]);
    assert_eq!(told("trailkeeper.attempt"), ["1", "2", "3", ""]);
    assert_eq!(told("error.type"), ["failed", "failed", "", ""]);
    assert_eq!(works.iter().map(|work| work.failed).collect::<Vec<_>>(), [true, true, false, false]);
    assert!(works[0].detail.contains("StartLogging"), "{:?}", works[0]);
    assert_eq!(works[1].detail, "Slack answered 500");

    let start = children(&spans, works[0]).into_iter().find(|span| span.name == "CloudTrail.StartLogging");
    let start = start.expect("a start");
    assert!(start.failed);
    assert_eq!(start.attributes["error.type"], "unreachable");
    let post = children(&spans, works[1]).into_iter().find(|span| span.name == "POST").expect("a post");
    assert!(post.failed);
    assert_eq!(post.attributes["error.type"], "500");
    assert_eq!(post.attributes["http.response.status_code"], "500");
    // A conditional write that is refused is how the table says that somebody was here before.
    let is_refused =
        |span: &&Span| span.attributes.get("http.response.status_code").is_some_and(|code| code == "400");
    let writes = named(&spans, "DynamoDB.UpdateItem");
    let refused = writes.into_iter().find(is_refused).expect("the write that tries the table");
    assert!(!refused.failed && !refused.attributes.contains_key("error.type"), "{refused:#?}");

    // Each retry hides its message, and each of those links to the work that asked for it.
    let hides: Vec<_> =
        named(&spans, "change_visibility events").iter().flat_map(|hide| &hide.links).collect();
    assert_eq!(hides, [&works[0].id, &works[1].id]);
    let deletes = named(&spans, "delete events");
    assert_eq!(deletes.iter().map(|delete| delete.failed).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(deletes[0].attributes["error.type"], "transient");
    assert_eq!(deletes[1].links, std::slice::from_ref(&works[2].id));
    stage.assert_discreet();
}

#[tokio::test]
async fn a_dead_letter_names_its_reason_and_its_copy_is_part_of_its_trace() {
    let stage = Stage::with(Collector::start().await).await;
    stage.aws.send(stop("e-1", "audit").to_string()).await;
    stage.aws.send("{\"mallory\":true}").await;
    stage.aws.fault("StartLogging", 1, Fault::Refuse(400, "AccessDeniedException"));
    stage.aws.fault("SendMessage", 1, Fault::Refuse(500, "InternalFailure"));
    stage.handle(&[AT_THE_END], &[]).await;
    let spans = stage.collector.spans();
    let mut works = named(&spans, "process events");
    works.sort_by_key(|work| work.attributes.get("trailkeeper.event_id"));
    let expected = [("malformed", ""), ("restore-refused", "AccessDeniedException")];
    assert_eq!(works.len(), expected.len());
    let mut failed = 0;
    for (work, (reason, detail)) in works.into_iter().zip(expected) {
        assert!(work.failed && work.detail.contains(detail), "{work:#?}");
        assert_eq!(work.attributes["trailkeeper.outcome"], "dead_lettered");
        assert_eq!(work.attributes["trailkeeper.reason"], reason);
        assert_eq!(work.attributes["error.type"], reason);
        let copies = children(&spans, work).into_iter().filter(|span| span.name == "send poison");
        let (bad, good): (Vec<_>, Vec<_>) = copies.partition(|send| send.failed);
        failed += bad.len();
        for send in bad {
            assert_eq!(send.attributes["error.type"], "transient");
        }
        let [send] = good[..] else { panic!("one copy: {good:#?}") };
        assert_eq!(send.kind, SpanKind::Client);
        assert_eq!(
            attributes(send),
            json!({
                "messaging.system": "aws_sqs",
                "messaging.destination.name": "poison",
                "messaging.operation.name": "send",
                "messaging.operation.type": "send",
            })
        );
        assert_eq!(names(&children(&spans, send)), ["SQS.SendMessage"]);
    }
    assert_eq!(failed, 1, "the copy that was made again");
    stage.assert_discreet();
}

#[tokio::test]
async fn a_heartbeat_links_to_the_work_that_it_keeps() {
    let stage = Stage::with(Collector::start().await).await;
    stage.aws.fault("StartLogging", 1, Fault::Delay(Duration::from_secs(2)));
    let short = ("TRAILKEEPER_VISIBILITY_TIMEOUT_SECONDS", "2");
    stage.handle(&[AT_THE_END, short], &[stop("e-1", "audit").to_string()]).await;
    let spans = stage.collector.spans();
    let process = only(&spans, "process events");
    let beats = named(&spans, "extend events");
    assert!(!beats.is_empty());
    for beat in beats {
        assert_eq!(beat.attributes["messaging.operation.name"], "extend");
        assert!(!beat.attributes.contains_key("messaging.operation.type"), "it settles nothing");
        assert_eq!(beat.links, std::slice::from_ref(&process.id));
        assert_eq!(names(&children(&spans, beat)), ["SQS.ChangeMessageVisibilityBatch"]);
    }
    stage.assert_discreet();
}

#[tokio::test]
async fn work_on_a_message_that_is_somebody_elses_says_so() {
    let stage = Stage::with(Collector::start().await).await;
    stage.aws.fault("StartLogging", 1, Fault::Delay(Duration::from_secs(9)));
    let lost = Fault::FailEntries(&[0], "ReceiptHandleIsInvalid");
    stage.aws.fault("ChangeMessageVisibilityBatch", 1, lost);
    let short = ("TRAILKEEPER_VISIBILITY_TIMEOUT_SECONDS", "2");
    stage.handle(&[AT_THE_END, short], &[stop("e-1", "audit").to_string()]).await;
    let spans = stage.collector.spans();
    let works = named(&spans, "process events");
    assert!(works[0].failed);
    assert_eq!(works[0].attributes["error.type"], "lost");
    assert!(!works[1].failed);
    assert_eq!(works[1].attributes["trailkeeper.outcome"], "restored");
    let beat = named(&spans, "extend events")[0];
    assert!(!beat.failed, "the queue answered: {beat:#?}");
}

#[tokio::test]
async fn the_endpoint_is_a_base_and_the_variables_of_the_standard_hold() {
    let mut stage = Stage::with(Collector::start().await).await;
    stage.collector.uri.push_str("/otlp/");
    let standard = [
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20token"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
    ];
    stage.handle(&standard, &[stop("e-1", "audit").to_string()]).await;
    let requests = stage.collector.received();
    assert!(!requests.is_empty());
    for request in requests {
        assert_eq!(request.path, "/otlp/v1/traces");
        assert_eq!(request.content_type.as_deref(), Some("application/x-protobuf"));
        assert_eq!(request.authorization.as_deref(), Some("Bearer token"));
    }
    let resource = stage.collector.resource();
    assert_eq!(resource["service.name"], "trailkeeper");
    assert_eq!(resource["service.version"], env!("TRAILKEEPER_VERSION"));
    assert_eq!(resource["service.instance.id"].len(), 32);
    assert_eq!(resource["deployment.environment.name"], "test");

    let stage = Stage::with(Collector::start().await).await;
    let named = [("OTEL_SERVICE_NAME", "watchman")];
    stage.handle(&named, &[stop("e-1", "audit").to_string()]).await;
    assert_eq!(stage.collector.resource()["service.name"], "watchman");
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_one_is_a_fault_and_not_repeated() {
    for (endpoint, told) in [
        ("very-secret:4318", "TRAILKEEPER_OTLP_ENDPOINT is not a URL like http://localhost:4318"),
        ("http://very-secret@collector/v1/traces/", "TRAILKEEPER_OTLP_ENDPOINT ends in /v1/traces"),
        ("http://very-secret@collector", "TRAILKEEPER_OTLP_ENDPOINT holds a user or a password"),
    ] {
        let mut command = trailkeeper(&["run", "--mode", "dry-run", "--otlp-endpoint", endpoint]);
        command.env("TRAILKEEPER_QUEUE_URL", "http://localhost/1/events");
        let ended = ended(command).await;
        assert_eq!(ended.status, Some(2));
        assert!(ended.stderr.contains(told) && !ended.stderr.contains("very-secret"), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn without_an_endpoint_nobody_is_connected_to() {
    let stage = Stage::with(Collector::start().await).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("set");
    let nobody = format!("http://{}", listener.local_addr().expect("bound"));
    // The standard's own variable turns nothing on, and an empty one of ours is an absent one.
    let variables = [AT_ONCE, (ENDPOINT, ""), ("OTEL_EXPORTER_OTLP_ENDPOINT", nobody.as_str())];
    let process = Process::start(&stage.aws, &stage.slack, &variables);
    stage.aws.send(stop("e-1", "audit").to_string()).await;
    stage.settled().await;
    end(process).await;
    let connected = listener.accept().map(drop).map_err(|error| error.kind());
    assert_eq!(connected, Err(std::io::ErrorKind::WouldBlock));
}

/// A collector that answers nothing, one that refuses, and none at all.
#[tokio::test]
async fn a_collector_that_takes_nothing_changes_neither_the_work_nor_its_end() {
    for answer in [Some(Answer::Never), Some(Answer::Status(503)), Some(Answer::Status(401)), None] {
        let collector = Collector::answering(answer.unwrap_or(Answer::Never)).await;
        let mut stage = Stage::with(collector).await;
        if answer.is_none() {
            "http://127.0.0.1:1".clone_into(&mut stage.collector.uri);
        }
        let process = stage.run(&[AT_ONCE]);
        if answer.is_some() {
            // From here on there is always something that the collector does not take.
            let asked = async || (!stage.collector.received().is_empty()).then_some(());
            eventually("the collector to be asked", asked).await;
        }
        for number in 0..3 {
            stage.aws.send(stop(&format!("e-{number}"), "audit").to_string()).await;
        }
        stage.settled().await;
        assert!(stage.aws.is_logging("audit", REGION).await, "{answer:?}");
        assert_eq!(stage.slack.posts().await.len(), 3, "{answer:?}");
        // The collector that never answers would keep a worker that waited for it until the test gives up.
        let ended = end(process).await;
        let lines: Vec<_> = ended.stderr.lines().filter(|line| line.contains("collector")).collect();
        assert!(
            (1..=2).contains(&lines.len()),
            "{answer:?}: one for the trouble, one for the end: {lines:#?}"
        );
    }
}

#[tokio::test]
async fn a_line_in_the_log_is_the_same_with_traces_and_without() {
    let stage = Stage::with(Collector::start().await).await;
    let trace = ("TRAILKEEPER_LOG", "trace");
    let mut runs = Vec::new();
    for (number, endpoint) in ["", &stage.collector.uri].into_iter().enumerate() {
        let process = Process::start(&stage.aws, &stage.slack, &[trace, AT_ONCE, (ENDPOINT, endpoint)]);
        let cloudtrail = stage.aws.cloudtrail(REGION);
        cloudtrail.stop_logging().name("audit").send().await.expect("stopped");
        for body in [stop(&format!("e-{number}"), "audit").to_string(), "malformed".to_owned()] {
            stage.aws.send(body).await;
            stage.settled().await;
        }
        let ended = end(process).await;
        let lines = ended.stderr.lines().map(|line| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            let fields: BTreeSet<String> = line.as_object().expect("an object").keys().cloned().collect();
            (line["level"].clone(), line["target"].clone(), line["message"].clone(), fields)
        });
        runs.push(lines.collect::<Vec<_>>());
    }
    assert!(!stage.collector.spans().is_empty(), "traces were on");
    assert_eq!(runs[0], runs[1]);
    let decided = runs[1].iter().find(|(_, _, message, _)| message == "decided").expect("a decision");
    assert!(!decided.3.contains("span") && !decided.3.contains("spans"), "{decided:?}");
}
