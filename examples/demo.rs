//! The whole loop, on this machine and in a few seconds: `cargo run --example demo`.
//!
//! A trailkeeper runs between an AWS in this process (SQS and CloudTrail behind a local port) and a stand-in
//! for Slack. A tap on each of its two connections passes every call on and notes it with its answer. The
//! timeline shows what went through the taps, at the time it did, and what the demo then finds in the queues:
//! no line is there because trailkeeper says so. The demo exits with 0 if it saw all that it expects, and with
//! 1 if not. It needs no network; where `HTTP_PROXY` is set, set `NO_PROXY=127.0.0.1` too.
//!
//! In reading order: `demo` sets the scene, the methods of `Demo` are the story, `Call` is what can be seen,
//! and `Tap` is how.

use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use trailkeeper::app::{self, StartError};
use trailkeeper::args::Args;
use trailkeeper::clock;
use trailkeeper::config::Config;
use trailkeeper::consumer::Shutdown;
use trailkeeper::telemetry::Metrics;

use aws::{ACCOUNT, Aws, Fault, REGION, attribute};
use slack::Slack;

#[path = "../tests/it/support/aws.rs"]
mod aws;
#[path = "../tests/it/support/events.rs"]
mod events;
#[path = "../tests/it/support/slack.rs"]
mod slack;

/// For each of the five parts of the story. The longest takes some two seconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// For the demo as a whole: enough for every part to lose its patience.
const LONGEST: Duration = Duration::from_secs(30);
/// Of a line of quoted text, in characters; with its margin it stays below 100.
const QUOTE_WIDTH: usize = 72;
/// An event that was cut off on its way.
const POISON: &str = r#"{"detail-type": "AWS API Call via CloudTrail", "detail": {"eventName": "Sto"#;

/// A trailkeeper at work, and how it ended.
type Running = JoinHandle<Result<(), StartError>>;

/// Not the worker's. Its trails are in the same AWS here.
const OTHER_ACCOUNT: &str = "200000044445";

/// What the demo must see, in the order of the summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Taken,
    Restarted,
    Verified,
    Told,
    DuplicateDropped,
    ThrottledRetried,
    RoleTaken,
    PoisonKept,
    NothingTwice,
    Drained,
}

const EXPECTED: [(Expected, &str); 10] = [
    (Expected::Taken, "the event of the stopped trail was taken from the queue"),
    (Expected::Restarted, "the trail was restarted (StartLogging was accepted)"),
    (Expected::Verified, "the restart was verified (GetTrailStatus then said that it logs)"),
    (Expected::Told, "Slack was told who did it and how it ended"),
    (Expected::DuplicateDropped, "a duplicate of the event was deleted, and nothing else was done about it"),
    (Expected::ThrottledRetried, "a throttled restart was tried again, and told once it was verified"),
    (Expected::RoleTaken, "a trail in another account was restarted through the role there"),
    (Expected::PoisonKept, "poison went to the dead-letter queue unchanged, with its reason"),
    (Expected::NothingTwice, "in all: three trails stopped, three restarts, three Slack messages"),
    (Expected::Drained, "told to shut down, trailkeeper ended well and left the queue empty"),
];

#[tokio::main]
async fn main() -> ExitCode {
    // In a task of its own, so that a panic is a failed demo like any other.
    match timeout(LONGEST, tokio::spawn(demo())).await {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => ExitCode::FAILURE,
        Ok(Err(panic)) => failed(&format!("the demo itself broke: {panic}")),
        Err(_elapsed) => failed(&format!("the demo did not end within {} s", LONGEST.as_secs())),
    }
}

fn failed(why: &str) -> ExitCode {
    println!("{why}");
    ExitCode::FAILURE
}

/// Sets the scene, plays the story, and says whether all of it was seen.
async fn demo() -> bool {
    println!("trailkeeper between an in-process AWS and a stand-in for Slack; nothing leaves this machine.");
    println!("No emulator makes an event of StopLogging: the demo sends it, the way EventBridge would.");
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    let (noted, calls) = mpsc::unbounded_channel();
    let aws_tap = Tap::start(aws.endpoint().to_owned(), noted.clone()).await;
    let slack_tap = Tap::start(slack.webhook(), noted).await;

    let sdk_config = aws.sdk_config().into_builder().endpoint_url(aws_tap).build();
    let shutdown = Shutdown::default();
    let config = config(aws.queue_url("events"), slack_tap);
    let running = tokio::spawn(app::run(config, sdk_config, Metrics::off(), shutdown.clone()));

    let mut demo = Demo::new(aws, calls);
    demo.a_trail_is_stopped().await;
    demo.the_event_comes_twice().await;
    demo.cloudtrail_is_throttled().await;
    demo.a_trail_is_stopped_in_another_account().await;
    demo.poison_arrives().await;
    demo.trailkeeper_is_shut_down(shutdown, running).await;
    demo.summary()
}

/// What a user sets, with waits that are short enough to watch.
fn config(queue_url: String, slack_webhook_url: String) -> Config {
    let mut args = Args::default();
    args.set("TRAILKEEPER_QUEUE_URL", queue_url);
    args.set("TRAILKEEPER_SLACK_WEBHOOK_URL", slack_webhook_url);
    args.set("TRAILKEEPER_WAIT_SECONDS", "1");
    args.set("TRAILKEEPER_SWEEP_INTERVAL_SECONDS", "0");
    args.set("TRAILKEEPER_RETRY_MAX_SECONDS", "1");
    let policy = format!("version = 1\n[accounts]\nsource = \"list\"\nlist = [\"{OTHER_ACCOUNT}\"]\n");
    args.set("TRAILKEEPER_POLICY_TOML", policy);
    args.set("TRAILKEEPER_MEMBER_ROLE", "trailkeeper-member");
    args.set("TRAILKEEPER_SHUTDOWN_GRACE_SECONDS", "3");
    args.set("TRAILKEEPER_HTTP_ADDR", "127.0.0.1:0");
    // Whatever is set around the demo is left out of it.
    Config::read(&args, |_variable| None).expect("a configuration that holds")
}

/// The story, and what has been seen of it.
struct Demo {
    started_at: Instant,
    aws: Aws,
    /// From both taps, not looked at yet.
    calls: UnboundedReceiver<Call>,
    /// Looked at, whether or not they are part of the story.
    seen: Vec<Call>,
    /// Of the part of the story that is being watched.
    patience_ends: Instant,
    observed: Vec<Expected>,
}

impl Demo {
    fn new(aws: Aws, calls: UnboundedReceiver<Call>) -> Self {
        let now = Instant::now();
        Self { started_at: now, aws, calls, seen: Vec::new(), patience_ends: now, observed: Vec::new() }
    }

    async fn a_trail_is_stopped(&mut self) {
        begin("A trail is stopped");
        self.stop_trail("audit").await;
        self.aws.send(stop_event("audit")).await;
        self.tell("EventBridge", "puts the event on the queue: StopLogging on audit, by mallory");
        self.watch(async |demo| {
            let receipt = demo.see_taken("stop-of-audit", "takes it from the queue").await?;
            demo.observed.push(Expected::Taken);
            demo.see_restart("audit").await?;
            demo.observed.push(Expected::Restarted);
            demo.see_verified("audit").await?;
            demo.observed.push(Expected::Verified);
            demo.see_alert().await?;
            demo.observed.push(Expected::Told);
            demo.see_deleted(&receipt, "deletes the message: done").await
        })
        .await;
    }

    async fn the_event_comes_twice(&mut self) {
        begin("The same event comes again: EventBridge and SQS deliver at least once");
        let seen_before = self.seen.len();
        self.aws.send(stop_event("audit")).await;
        self.tell("EventBridge", "puts the event on the queue once more");
        self.watch(async |demo| {
            let receipt = demo.see_taken("stop-of-audit", "takes it from the queue").await?;
            demo.see_deleted(&receipt, "deletes it").await?;
            if demo.seen[seen_before..].iter().any(Call::is_effect) {
                return None;
            }
            demo.tell("trailkeeper", "has done nothing else, for it is a duplicate: no restart, no message");
            demo.observed.push(Expected::DuplicateDropped);
            Some(())
        })
        .await;
    }

    async fn cloudtrail_is_throttled(&mut self) {
        begin("Another trail is stopped, while CloudTrail is throttled");
        self.stop_trail("payments").await;
        self.aws.fault("StartLogging", 1, Fault::Refuse(400, "ThrottlingException"));
        self.aws.send(stop_event("payments")).await;
        self.tell("EventBridge", "puts the event on the queue: StopLogging on payments, by mallory");
        self.watch(async |demo| {
            let receipt = demo.see_taken("stop-of-payments", "takes it from the queue").await?;
            demo.see_refusal("payments").await?;
            demo.see_hidden(&receipt).await?;
            let receipt = demo.see_taken("stop-of-payments", "takes it from the queue again").await?;
            demo.see_restart("payments").await?;
            demo.see_verified("payments").await?;
            demo.see_alert().await?;
            demo.see_deleted(&receipt, "deletes the message: done").await?;
            demo.observed.push(Expected::ThrottledRetried);
            Some(())
        })
        .await;
    }

    async fn a_trail_is_stopped_in_another_account(&mut self) {
        begin("A trail is stopped in another account");
        self.stop_trail("shop").await;
        let session = json!({
            "AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "example", "SessionToken": "example",
            "Expiration": "2099-01-01T00:00:00Z",
        });
        self.aws.fault("AssumeRole", 1, Fault::Answer(session));
        self.aws.send(stop_event_in(OTHER_ACCOUNT, "shop")).await;
        self.tell(
            "EventBridge",
            &format!("puts the event on the queue: StopLogging on shop of {OTHER_ACCOUNT}"),
        );
        self.watch(async |demo| {
            let receipt = demo.see_taken("stop-of-shop", "takes it from the queue").await?;
            let assumed = demo.next(|call| call.operation == "AssumeRole" && call.status == 200).await?;
            demo.show(&assumed, "trailkeeper", "assumes its role there: AssumeRole");
            demo.see_restart("shop").await?;
            demo.see_verified("shop").await?;
            demo.see_alert().await?;
            demo.see_deleted(&receipt, "deletes the message: done").await?;
            demo.observed.push(Expected::RoleTaken);
            Some(())
        })
        .await;
    }

    async fn poison_arrives(&mut self) {
        begin("A message arrives that nobody can read");
        self.aws.send(POISON).await;
        self.tell("operator", "puts an event on the queue that was cut off on its way");
        self.watch(async |demo| {
            let receipt = demo.see_taken(POISON, "takes it from the queue").await?;
            let copied = demo.next(|call| call.operation == "SendMessage" && call.status == 200).await?;
            demo.show(&copied, "trailkeeper", "copies it to the dead-letter queue");
            demo.see_deleted(&receipt, "deletes it from the queue").await?;
            demo.find_dead_letter().await?;
            demo.observed.push(Expected::PoisonKept);
            Some(())
        })
        .await;
    }

    async fn trailkeeper_is_shut_down(&mut self, shutdown: Shutdown, running: Running) {
        begin("trailkeeper is shut down");
        shutdown.drain.cancel();
        self.tell("operator", "tells trailkeeper to shut down, as SIGTERM does");
        let ended = match timeout(PATIENCE, running).await {
            Ok(Ok(ended)) => ended.map_err(|error| error.to_string()),
            Ok(Err(panic)) => Err(panic.to_string()),
            Err(_elapsed) => Err(format!("no end within {} s", PATIENCE.as_secs())),
        };
        if let Err(why) = ended {
            return self.tell("trailkeeper", &format!("has not ended well: {why}"));
        }
        let left = self.aws.depth("events");
        self.tell("trailkeeper", &format!("has ended well; messages left in the queue: {left}"));
        if left == 0 {
            self.observed.push(Expected::Drained);
        }
        if self.nothing_happened_twice() {
            self.observed.push(Expected::NothingTwice);
        }
    }

    /// To be asked once trailkeeper has ended, and no call is under way any more.
    fn nothing_happened_twice(&mut self) -> bool {
        while let Ok(call) = self.calls.try_recv() {
            self.seen.push(call);
        }
        let restarts = self.seen.iter().filter(|call| call.operation == "StartLogging" && call.status == 200);
        let posts = self.seen.iter().filter(|call| call.post().is_some());
        restarts.count() == 3 && posts.count() == 3
    }

    /// Prints each expectation and whether it was observed; true if all were.
    fn summary(&self) -> bool {
        println!("\nSummary");
        for (expected, what) in EXPECTED {
            let verdict = if self.observed.contains(&expected) { "observed" } else { "NOT OBSERVED" };
            println!("  {verdict:<12}  {what}");
        }
        let all = EXPECTED.iter().all(|(expected, _)| self.observed.contains(expected));
        println!("{}", if all { "All of it was observed." } else { "Not all of it was observed." });
        all
    }

    /// Creates a trail that logs, and stops it.
    async fn stop_trail(&self, trail: &str) {
        self.aws.stopped_trail(trail, REGION).await;
        self.tell("operator", &format!("creates and starts the trail {trail}, and stops it: StopLogging"));
        let now = if self.aws.is_logging(trail, REGION).await { "is still" } else { "is no longer" };
        self.tell("CloudTrail", &format!("answers GetTrailStatus: {trail} {now} logging"));
    }

    /// Sees the message with `text` in it received, and returns its receipt handle.
    async fn see_taken(&mut self, text: &str, what: &str) -> Option<String> {
        let taken = self.next(|call| call.receipt_of(text).is_some()).await?;
        self.show(&taken, "trailkeeper", what);
        taken.receipt_of(text).map(str::to_owned)
    }

    async fn see_refusal(&mut self, trail: &str) -> Option<()> {
        let refused = self.next(|call| call.starts(trail) && call.status == 400).await?;
        let code = refused.answer["__type"].as_str()?;
        self.show(&refused, "trailkeeper", &format!("tries to restart the trail: StartLogging on {trail}"));
        self.show(&refused, "CloudTrail", &format!("refuses: {code}"));
        (code == "ThrottlingException").then_some(())
    }

    async fn see_hidden(&mut self, receipt: &str) -> Option<()> {
        let hidden = self.next(|call| call.settles("ChangeMessageVisibilityBatch", receipt)).await?;
        let seconds = &hidden.request["Entries"][0]["VisibilityTimeout"];
        self.show(&hidden, "trailkeeper", &format!("hides the message for {seconds} s, to try again then"));
        Some(())
    }

    async fn see_restart(&mut self, trail: &str) -> Option<()> {
        let started = self.next(|call| call.starts(trail) && call.status == 200).await?;
        self.show(&started, "trailkeeper", &format!("restarts the trail: StartLogging on {trail}"));
        Some(())
    }

    /// To be called once the restart has been seen: it looks only at what comes after.
    async fn see_verified(&mut self, trail: &str) -> Option<()> {
        let verified = self.next(|call| call.says_that_it_logs(trail)).await?;
        self.show(&verified, "trailkeeper", "looks whether it worked: GetTrailStatus");
        self.show(&verified, "CloudTrail", &format!("answers: {trail} is logging"));
        Some(())
    }

    async fn see_alert(&mut self) -> Option<()> {
        let posted = self.next(|call| call.post().is_some()).await?;
        let text = posted.post()?;
        self.show(&posted, "Slack", "shows a message:");
        quote(text);
        (text.contains("mallory turned off") && text.contains("restarted and verified")).then_some(())
    }

    async fn see_deleted(&mut self, receipt: &str, what: &str) -> Option<()> {
        let deleted = self.next(|call| call.settles("DeleteMessageBatch", receipt)).await?;
        self.show(&deleted, "trailkeeper", what);
        Some(())
    }

    /// Looks into the dead-letter queue: the poison has to be there, alone, unchanged and with its reason.
    async fn find_dead_letter(&self) -> Option<()> {
        let letters = self.aws.dead_letters().await;
        let [letter] = letters.as_slice() else { return None };
        let (reason, detail) = (attribute(letter, "reason")?, attribute(letter, "detail")?);
        self.tell("operator", "finds it in the dead-letter queue, with the reason:");
        quote(&format!("{reason}: {detail}"));
        (letter.body() == Some(POISON) && reason == "malformed").then_some(())
    }

    /// Plays a part of the story, which ends early if what it looks for does not happen.
    async fn watch(&mut self, part: impl AsyncFnOnce(&mut Self) -> Option<()>) {
        self.patience_ends = Instant::now() + PATIENCE;
        if part(self).await.is_none() {
            self.tell("demo", "has not seen what it expects here");
        }
    }

    /// The next call that `is_it`, unless the patience for this part of the story ends before.
    async fn next(&mut self, is_it: impl Fn(&Call) -> bool) -> Option<Call> {
        loop {
            let call = timeout_at(self.patience_ends, self.calls.recv()).await.ok()??;
            self.seen.push(call.clone());
            if is_it(&call) {
                return Some(call);
            }
        }
    }

    /// A line about what the demo has done or found itself, just now.
    fn tell(&self, who: &str, what: &str) {
        self.line(Instant::now(), who, what);
    }

    /// A line about a call, with the time at which it was answered.
    fn show(&self, call: &Call, who: &str, what: &str) {
        self.line(call.answered_at, who, what);
    }

    fn line(&self, at: Instant, who: &str, what: &str) {
        println!("{:7.2} s  {who:<11}  {what}", (at - self.started_at).as_secs_f64());
    }
}

/// Begins a part of the story.
fn begin(part: &str) {
    println!("\n{part}");
}

/// Prints `text` in lines of its own, under the line that it belongs to.
fn quote(text: &str) {
    let print = |line: &str| println!("{:24}| {line}", "");
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > QUOTE_WIDTH {
            print(&std::mem::take(&mut line));
        }
        line.push_str(if line.is_empty() { "" } else { " " });
        line.push_str(word);
    }
    print(&line);
}

/// `StopLogging` on `trail` just now, as EventBridge sends it. The event's id is the same for the same trail.
fn stop_event(trail: &str) -> String {
    stop_event_in(ACCOUNT, trail)
}

/// The same in this account.
fn stop_event_in(account: &str, trail: &str) -> String {
    let mut event = events::stop_in(account, &format!("stop-of-{trail}"), trail);
    let now = clock::now().replace_nanosecond(0).ok().and_then(|now| now.format(&Rfc3339).ok());
    event["time"] = json!(now);
    event["detail"]["eventTime"] = json!(now);
    event.to_string()
}

/// A call that trailkeeper made, and how it was answered.
#[derive(Debug, Clone)]
struct Call {
    answered_at: Instant,
    /// Of AWS; empty for Slack, which has but one.
    operation: String,
    request: Value,
    status: u16,
    answer: Value,
}

impl Call {
    /// The receipt handle of the message with `text` in it, if the call received one.
    fn receipt_of(&self, text: &str) -> Option<&str> {
        let messages = self.answer["Messages"].as_array()?;
        let has_text = |message: &&Value| message["Body"].as_str().is_some_and(|body| body.contains(text));
        messages.iter().find(has_text)?["ReceiptHandle"].as_str()
    }

    /// Whether it is this operation on this message, and succeeded.
    fn settles(&self, operation: &str, receipt: &str) -> bool {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        self.operation == operation
            && self.status == 200
            && list(&self.answer["Failed"]).is_empty()
            && list(&self.request["Entries"]).iter().any(|entry| entry["ReceiptHandle"] == receipt)
    }

    fn names(&self, trail: &str) -> bool {
        self.request["Name"].as_str().is_some_and(|arn| arn.ends_with(&format!(":trail/{trail}")))
    }

    fn starts(&self, trail: &str) -> bool {
        self.operation == "StartLogging" && self.names(trail)
    }

    fn says_that_it_logs(&self, trail: &str) -> bool {
        self.operation == "GetTrailStatus" && self.names(trail) && self.answer["IsLogging"] == true
    }

    /// The text of a message that Slack took.
    fn post(&self) -> Option<&str> {
        self.request["text"].as_str().filter(|_| self.operation.is_empty() && self.status == 200)
    }

    /// Whether anything but the queue is different after it.
    fn is_effect(&self) -> bool {
        self.operation == "StartLogging" || self.post().is_some()
    }
}

/// Stands between trailkeeper and a service, passes every call on, and notes it once it is answered.
#[derive(Debug, Clone)]
struct Tap {
    service: String,
    http: reqwest::Client,
    noted: UnboundedSender<Call>,
}

impl Tap {
    /// Starts a tap in front of `service` and returns the address to call in its place.
    async fn start(service: String, noted: UnboundedSender<Call>) -> String {
        let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let router = Router::new().fallback(pass_on).with_state(Self { service, http, noted });
        tokio::spawn(async move { axum::serve(listener, router).await.expect("serving") });
        address
    }

    /// Passes a call on: the status, headers and body of the answer.
    async fn ask(&self, headers: HeaderMap, body: Bytes) -> reqwest::Result<(StatusCode, HeaderMap, Bytes)> {
        let answer = self.http.post(&self.service).headers(headers).body(body).send().await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        Ok((status, headers, answer.bytes().await?))
    }
}

async fn pass_on(
    State(tap): State<Tap>,
    mut headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, HeaderMap, Bytes), StatusCode> {
    // AmazonSQS.ReceiveMessage
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let mut operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    // STS names it in the body.
    if let Some(asked) = body.strip_prefix(b"Action=") {
        let name = asked.split(|byte| *byte == b'&').next().unwrap_or_default();
        operation = String::from_utf8_lossy(name).into_owned();
    }
    let request = serde_json::from_slice(&body).unwrap_or_default();
    headers.remove(header::HOST);
    let (status, headers, answer) =
        tap.ask(headers, body).await.map_err(|_unreachable| StatusCode::BAD_GATEWAY)?;
    let call = Call {
        answered_at: Instant::now(),
        operation,
        request,
        status: status.as_u16(),
        answer: serde_json::from_slice(&answer).unwrap_or_default(),
    };
    // Once the demo is over nobody listens any more, and nothing is missed.
    let _ = tap.noted.send(call);
    Ok((status, headers, answer))
}
