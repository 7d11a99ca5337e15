//! AWS over HTTP, in this process: winterbaume's SQS and CloudTrail and a word of STS behind a local port, with
//! every call written down and every fault that a test asks for.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the demo and the benchmark, each of which uses a part"
)]

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::types::{Message, MessageAttributeValue, QueueAttributeName, SendMessageBatchRequestEntry};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;
use trailkeeper::clock;
use winterbaume_core::{MockAws, MockRequest, MockResponse, MockService};

/// The one account that winterbaume knows.
pub const ACCOUNT: &str = "123456789012";
/// Where the worker lives; trails may live elsewhere.
pub const REGION: &str = "eu-west-1";
/// The id of every request.
pub const REQUEST: &str = "79b9da39-b7ae-508a-a6bc-864b2829c622";

/// One call that somebody made.
#[derive(Debug, Clone)]
pub struct Call {
    pub operation: String,
    pub region: String,
    /// The program's name in the user agent: the worker's is `trailkeeper`.
    pub by: Option<String>,
    /// The access key that signed it.
    pub key: String,
    pub body: Value,
}

/// How a call is to go wrong, or differently.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Refused with this status and error code.
    Refuse(u16, &'static str),
    /// Denied, with AWS's reason.
    Deny(&'static str),
    /// Answered with this, and not carried out.
    Answer(Value),
    /// Carried out after this long.
    Delay(Duration),
    /// Carried out at once, and answered after this long.
    Late(Duration),
    /// Carried out, and the connection ends without an answer.
    Lose,
    /// Not answered, and carried out when the test wants it; of DynamoDB's calls alone.
    Stray(Arc<Stray>),
    /// A batch whose entries at these positions are not carried out, and reported as failed with this code.
    FailEntries(&'static [usize], &'static str),
}

/// A request that its caller gives up on, and that arrives all the same.
#[derive(Debug, Default)]
pub struct Stray {
    may_arrive: Notify,
    has_arrived: Notify,
}

impl Stray {
    /// Lets it arrive, and waits until it has been carried out.
    pub async fn arrive(&self) {
        self.may_arrive.notify_one();
        self.has_arrived.notified().await;
    }
}

/// Sees every call, and may let any of them go wrong.
pub trait Watch: Send + Sync {
    /// How this call is to go wrong; asked before it is carried out, unless a rule says so already.
    fn fault(&self, call: &Call) -> Option<Fault>;
    /// The call came through to its service, which gave it this status; the caller may never hear of it.
    fn carried_out(&self, call: &Call, status: u16);
    /// Its answer leaves this long after it came.
    fn answered(&self, _call: &Call, _after: Duration) {}
}

struct Rule {
    operation: &'static str,
    fault: Fault,
    times: usize,
}

/// The running server.
pub struct Aws {
    inner: Arc<Inner>,
    endpoint: String,
    credentials: aws_sdk_sqs::config::SharedCredentialsProvider,
    server: tokio::task::JoinHandle<()>,
}

struct Inner {
    account: String,
    sqs: winterbaume_sqs::SqsService,
    cloudtrail: winterbaume_cloudtrail::CloudTrailService,
    dynamodb: DynamoDb,
    calls: Mutex<Vec<Call>>,
    rules: Mutex<Vec<Rule>>,
    watch: OnceLock<Arc<dyn Watch>>,
    books: Mutex<Books>,
    /// What each call takes on its way, in milliseconds.
    distance_ms: AtomicU64,
    /// How far this AWS's clock is ahead.
    clock_offset_seconds: AtomicI64,
    /// How much longer ago than it was every message is said to have been sent.
    aged_seconds: AtomicI64,
}

/// Which messages are in which queue, from the answers seen: winterbaume counts a message that was hidden and
/// is visible again neither as the one nor as the other.
#[derive(Default)]
struct Books {
    /// By message id, the queue's name.
    queued: HashMap<String, String>,
    /// By receipt handle, the message id.
    received: HashMap<String, String>,
}

impl Books {
    fn keep(&mut self, operation: &str, request: &Value, answer: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        match operation {
            "SendMessage" | "SendMessageBatch" => {
                let queue = text(&request["QueueUrl"]).rsplit('/').next().unwrap_or_default().to_owned();
                for sent in list(&answer["Successful"]).iter().chain([answer]) {
                    if sent["MessageId"].is_string() {
                        self.queued.insert(text(&sent["MessageId"]), queue.clone());
                    }
                }
            }
            "ReceiveMessage" => {
                for message in list(&answer["Messages"]) {
                    self.received.insert(text(&message["ReceiptHandle"]), text(&message["MessageId"]));
                }
            }
            "DeleteMessageBatch" => {
                let done: Vec<_> =
                    list(&answer["Successful"]).iter().map(|entry| text(&entry["Id"])).collect();
                for entry in list(&request["Entries"]) {
                    if done.contains(&text(&entry["Id"]))
                        && let Some(message) = self.received.get(&text(&entry["ReceiptHandle"]))
                    {
                        self.queued.remove(message);
                    }
                }
            }
            _ => {}
        }
    }
}

impl Drop for Aws {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Aws {
    /// A server with a queue `events` and its dead-letter queue `poison`.
    pub async fn start() -> Self {
        Self::start_as(ACCOUNT).await
    }

    /// The same, of another account: its trails' ARNs are taken for those of winterbaume's.
    pub async fn start_as(account: &str) -> Self {
        let aws = Self::serve(account, "127.0.0.1:0").await;
        aws.create_queue("poison", None).await;
        let poison = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:poison");
        let policy = json!({ "deadLetterTargetArn": poison, "maxReceiveCount": 1_000 }).to_string();
        aws.create_queue("events", Some(policy)).await;
        aws
    }

    /// A server without queues, on this address.
    pub async fn serve(account: &str, address: &str) -> Self {
        let inner = Arc::new(Inner {
            account: account.to_owned(),
            sqs: winterbaume_sqs::SqsService::new(),
            cloudtrail: winterbaume_cloudtrail::CloudTrailService::new(),
            dynamodb: DynamoDb::default(),
            calls: Mutex::default(),
            rules: Mutex::default(),
            watch: OnceLock::new(),
            books: Mutex::default(),
            distance_ms: AtomicU64::new(0),
            clock_offset_seconds: AtomicI64::new(0),
            aged_seconds: AtomicI64::new(0),
        });
        let listener = tokio::net::TcpListener::bind(address).await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let numbered = axum::middleware::map_response(async |mut response: Response<Body>| {
            response.headers_mut().insert("x-amzn-requestid", HeaderValue::from_static(REQUEST));
            response
        });
        let router = Router::new().fallback(answer).layer(numbered).with_state(Arc::clone(&inner));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("serving") });
        let credentials = MockAws::builder().build().credentials_provider();
        Self { inner, endpoint, credentials, server }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What the SDK needs to reach this server.
    pub fn sdk_config(&self) -> SdkConfig {
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .endpoint_url(&self.endpoint)
            .credentials_provider(self.credentials.clone())
            .build()
    }

    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.sdk_config())
    }

    pub fn cloudtrail(&self, region: &str) -> aws_sdk_cloudtrail::Client {
        let config = aws_sdk_cloudtrail::config::Builder::from(&self.sdk_config());
        let region = aws_sdk_cloudtrail::config::Region::new(region.to_owned());
        aws_sdk_cloudtrail::Client::from_conf(config.region(region).build())
    }

    pub fn queue_url(&self, name: &str) -> String {
        format!("{}/{ACCOUNT}/{name}", self.endpoint)
    }

    /// Creates the state table, as every worker expects it.
    pub async fn create_table(&self, name: &str) {
        self.inner.dynamodb.create_table(name).await;
    }

    pub async fn create_queue(&self, name: &str, redrive_policy: Option<String>) {
        let mut request = self.sqs().create_queue().queue_name(name);
        if let Some(policy) = redrive_policy {
            request = request.attributes(QueueAttributeName::RedrivePolicy, policy);
        }
        request.send().await.expect("a queue");
    }

    /// The next `times` calls of `operation` go this way.
    pub fn fault(&self, operation: &'static str, times: usize, fault: Fault) {
        self.rules().push(Rule { operation, fault, times });
    }

    /// Every later call of `operation` goes this way.
    pub fn break_down(&self, operation: &'static str, fault: Fault) {
        self.fault(operation, usize::MAX, fault);
    }

    /// All faults are over.
    pub fn heal(&self) {
        self.rules().clear();
    }

    /// From now on each call takes this long on its way, beside what it takes here.
    pub fn move_away(&self, distance: Duration) {
        let millis = distance.as_millis().try_into().expect("a short way");
        self.inner.distance_ms.store(millis, Ordering::Relaxed);
    }

    /// Sets this AWS's clock ahead, or back.
    pub fn set_clock(&self, offset_seconds: i64) {
        self.inner.clock_offset_seconds.store(offset_seconds, Ordering::Relaxed);
    }

    /// Every message that is received was sent this much longer ago.
    pub fn age_messages(&self, seconds: i64) {
        self.inner.aged_seconds.store(seconds, Ordering::Relaxed);
    }

    /// Sets attributes of a queue.
    pub async fn set_queue(&self, name: &str, attributes: &[(&str, &str)]) {
        let mut request = self.sqs().set_queue_attributes().queue_url(self.queue_url(name));
        for (name, value) in attributes {
            request = request.attributes(QueueAttributeName::from(*name), *value);
        }
        request.send().await.expect("set");
    }

    /// Switches the state table's TTL on.
    pub async fn expire(&self, table: &str, attribute: &str) {
        let specification = json!({ "AttributeName": attribute, "Enabled": true });
        let body = json!({ "TableName": table, "TimeToLiveSpecification": specification });
        self.dynamodb("UpdateTimeToLive", &body).await;
    }

    /// From now on `watch` sees every call. There is one at most.
    pub fn watch(&self, watch: Arc<dyn Watch>) {
        assert!(self.inner.watch.set(watch).is_ok(), "somebody watches already");
    }

    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.inner.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every call of `operation` so far.
    pub fn calls(&self, operation: &str) -> Vec<Call> {
        let calls = self.inner.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.iter().filter(|call| call.operation == operation).cloned().collect()
    }

    /// Every call so far.
    pub fn all_calls(&self) -> Vec<Call> {
        self.inner.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets the calls so far.
    pub fn forget(&self) {
        self.inner.calls.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Carries out an operation of DynamoDB; its answer.
    pub async fn dynamodb(&self, operation: &str, body: &Value) -> Value {
        let done = self.inner.dynamodb.call(REGION, operation, body).await;
        assert_eq!(done.status, 200, "{:?}", done.body);
        serde_json::from_slice(&done.body).unwrap_or_default()
    }

    /// Creates a trail that logs, and stops it.
    pub async fn stopped_trail(&self, name: &str, region: &str) {
        let cloudtrail = self.cloudtrail(region);
        cloudtrail.create_trail().name(name).s3_bucket_name("logs").send().await.expect("a trail");
        cloudtrail.start_logging().name(name).send().await.expect("started");
        cloudtrail.stop_logging().name(name).send().await.expect("stopped");
        self.forget();
    }

    pub async fn is_logging(&self, name: &str, region: &str) -> bool {
        let status = self.cloudtrail(region).get_trail_status().name(name).send().await.expect("a status");
        status.is_logging() == Some(true)
    }

    pub async fn send(&self, body: impl Into<String>) {
        let queue = self.queue_url("events");
        self.sqs().send_message().queue_url(queue).message_body(body).send().await.expect("sent");
    }

    /// Sends messages to a queue, ten at a time.
    pub async fn send_many(&self, queue: &str, bodies: impl Iterator<Item = String>) {
        let bodies: Vec<_> = bodies.collect();
        for batch in bodies.chunks(10) {
            let mut request = self.sqs().send_message_batch().queue_url(self.queue_url(queue));
            for (position, body) in batch.iter().enumerate() {
                let entry =
                    SendMessageBatchRequestEntry::builder().id(position.to_string()).message_body(body);
                request = request.entries(entry.build().expect("whole"));
            }
            request.send().await.expect("sent");
        }
    }

    /// Sends a message that comes back from the dead-letter queue, its reason still on it.
    pub async fn send_redriven(&self, body: impl Into<String>, reason: &str) {
        let reason = MessageAttributeValue::builder().data_type("String").string_value(reason).build();
        let request = self.sqs().send_message().queue_url(self.queue_url("events")).message_body(body);
        let request = request.message_attributes("trailkeeper.reason", reason.expect("whole"));
        request.send().await.expect("sent");
    }

    /// Messages in the queue, hidden ones included.
    pub fn depth(&self, queue: &str) -> usize {
        let books = self.inner.books.lock().unwrap_or_else(PoisonError::into_inner);
        books.queued.values().filter(|name| *name == queue).count()
    }

    /// Takes every dead letter there is.
    pub async fn dead_letters(&self) -> Vec<Message> {
        self.take("poison").await
    }

    /// Looks at every message of a queue that is not hidden, and leaves it as it was.
    pub async fn messages(&self, queue: &str) -> Vec<Message> {
        let messages = self.take(queue).await;
        self.show(queue, &messages).await;
        messages
    }

    /// Makes every message that was ever received from a queue visible again.
    pub async fn show_all(&self, queue: &str) {
        let receipts: Vec<_> = {
            let books = self.inner.books.lock().unwrap_or_else(PoisonError::into_inner);
            let there = |message: &String| books.queued.get(message).is_some_and(|name| name == queue);
            books
                .received
                .iter()
                .filter(|(_, message)| there(message))
                .map(|(receipt, _)| receipt.clone())
                .collect()
        };
        for receipt in receipts {
            // Only the newest receipt of a message is good.
            let _ = self.hide(queue, receipt, 0).await;
        }
    }

    async fn take(&self, queue: &str) -> Vec<Message> {
        let mut all = Vec::new();
        loop {
            let request = self.sqs().receive_message().queue_url(self.queue_url(queue));
            let request =
                request.max_number_of_messages(10).message_attribute_names("All").wait_time_seconds(0);
            let messages = request.send().await.expect("received").messages.unwrap_or_default();
            if messages.is_empty() {
                return all;
            }
            all.extend(messages);
        }
    }

    async fn show(&self, queue: &str, messages: &[Message]) {
        for message in messages {
            let receipt = message.receipt_handle().expect("a receipt").to_owned();
            self.hide(queue, receipt, 0).await.expect("shown");
        }
    }

    async fn hide(&self, queue: &str, receipt: String, seconds: i32) -> Result<(), aws_sdk_sqs::Error> {
        let request = self.sqs().change_message_visibility().queue_url(self.queue_url(queue));
        request.receipt_handle(receipt).visibility_timeout(seconds).send().await?;
        Ok(())
    }
}

/// A dead letter's attribute.
pub fn attribute<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.message_attributes()?.get(&format!("trailkeeper.{name}"))?.string_value()
}

async fn answer(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let came_at = Instant::now();
    tokio::time::sleep(Duration::from_millis(inner.distance_ms.load(Ordering::Relaxed))).await;
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // Credential=KEY/20261122/eu-west-1/sqs/aws4_request
    let mut scope = header("authorization").split('/');
    let key = scope.next().unwrap_or_default().rsplit('=').next().unwrap_or_default().to_owned();
    let mut scope = scope.skip(1);
    let region = scope.next().unwrap_or(REGION).to_owned();
    let prefix = scope.next().unwrap_or_default();
    let mut agent = header("x-amz-user-agent").split(' ');
    let by = agent.find_map(|part| part.strip_prefix("app/")).map(str::to_owned);
    // STS speaks another protocol, and names the operation in the body.
    let to_sts = String::from_utf8_lossy(body.strip_prefix(b"Action=").unwrap_or_default()).into_owned();
    let target = match to_sts.split('&').next() {
        Some(operation) if !operation.is_empty() => format!("STS.{operation}"),
        _ => header("x-amz-target").to_owned(),
    };
    let (service, operation) = target.rsplit_once('.').unwrap_or_default();
    note_call(by.as_deref(), prefix, operation);
    let asked = if service == "STS" {
        url::form_urlencoded::parse(&body).into_owned().map(|(name, value)| (name, json!(value))).collect()
    } else {
        serde_json::from_slice(&body).unwrap_or_default()
    };
    let call = Call { operation: operation.to_owned(), region: region.clone(), by, key, body: asked };
    inner.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call.clone());
    if service == "STS" {
        return inner.sts(&call).await;
    }
    let mut request = MockRequest { method: "POST".to_owned(), uri: String::new(), headers, body };
    let mut failed = Vec::new();
    let fault = inner.next_fault(&call);
    match &fault {
        Some(Fault::Refuse(status, code)) => return refusal(*status, code),
        Some(Fault::Deny(reason)) => {
            return respond(400, &json!({ "__type": "AccessDeniedException", "message": reason }));
        }
        Some(Fault::Answer(answer)) => return respond(200, answer),
        Some(Fault::Delay(delay)) => tokio::time::sleep(*delay).await,
        Some(Fault::Stray(stray)) => {
            let stray = Arc::clone(stray);
            tokio::spawn(async move {
                stray.may_arrive.notified().await;
                inner.dynamodb.call(&region, &call.operation, &call.body).await;
                stray.has_arrived.notify_one();
            });
            return std::future::pending().await;
        }
        Some(Fault::FailEntries(positions, code)) => {
            let mut body = call.body.clone();
            let entries = body["Entries"].as_array().cloned().unwrap_or_default();
            let fails = |at: &usize| positions.contains(at);
            failed = entries
                .iter()
                .enumerate()
                .filter(|(at, _)| fails(at))
                .map(|(_, entry)| json!({ "Id": entry["Id"], "SenderFault": false, "Code": code }))
                .collect();
            let kept: Vec<&Value> =
                entries.iter().enumerate().filter(|(at, _)| !fails(at)).map(|(_, entry)| entry).collect();
            body["Entries"] = json!(kept);
            request.body = body.to_string().into();
        }
        Some(Fault::Late(_) | Fault::Lose) | None => {}
    }
    let mut answered = if service.contains("DynamoDB") {
        inner.dynamodb.call(&region, operation, &call.body).await
    } else if service.contains("CloudTrail") {
        request.uri = format!("https://cloudtrail.{region}.amazonaws.com/");
        request.body = of_the_one_account(&String::from_utf8_lossy(&request.body), &inner.account).into();
        inner.cloudtrail.handle(request).await
    } else {
        request.uri = format!("https://sqs.{REGION}.amazonaws.com/");
        inner.sqs(request, operation, &call.body).await
    };
    let mut body: Value = serde_json::from_slice(&answered.body).unwrap_or_default();
    inner.books.lock().unwrap_or_else(PoisonError::into_inner).keep(operation, &call.body, &body);
    let aged_seconds = inner.aged_seconds.load(Ordering::Relaxed);
    if operation == "ReceiveMessage" && aged_seconds != 0 {
        age(&mut body, aged_seconds);
        answered.body = body.to_string().into();
    }
    if let Some(watch) = inner.watch.get() {
        watch.carried_out(&call, answered.status);
    }
    match fault {
        Some(Fault::Late(delay)) => tokio::time::sleep(delay).await,
        Some(Fault::Lose) => return lost(),
        _ => {}
    }
    if let Some(watch) = inner.watch.get() {
        watch.answered(&call, came_at.elapsed());
    }
    if failed.is_empty() {
        return passed_on(answered);
    }
    body["Failed"] = json!(failed);
    respond(answered.status, &body)
}

/// The trails of these accounts are those of the one that winterbaume knows.
fn of_the_one_account(body: &str, own: &str) -> String {
    let mut parts: Vec<_> = body.split(":trail/").map(str::to_owned).collect();
    let last = parts.len() - 1;
    for part in &mut parts[..last] {
        let start = part.len().saturating_sub(ACCOUNT.len());
        if part.get(start..).is_some_and(|account| account == own || account.starts_with(super::events::MANY))
        {
            part.replace_range(start.., ACCOUNT);
        }
    }
    parts.join(":trail/")
}

/// winterbaume's DynamoDB, in the points where it is not the real one put right.
pub struct DynamoDb {
    service: winterbaume_dynamodb::DynamoDbService,
    /// Held for each call: winterbaume looks at a condition and writes in two steps.
    turn: tokio::sync::Mutex<()>,
}

impl Default for DynamoDb {
    fn default() -> Self {
        Self { service: winterbaume_dynamodb::DynamoDbService::new(), turn: tokio::sync::Mutex::default() }
    }
}

impl DynamoDb {
    /// Creates a table, as every worker expects it.
    pub async fn create_table(&self, name: &str) {
        let body = json!({
            "TableName": name,
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }],
            "AttributeDefinitions": [{ "AttributeName": "pk", "AttributeType": "S" }],
        });
        let created = self.call(REGION, "CreateTable", &body).await;
        assert_eq!(created.status, 200, "{:?}", created.body);
    }

    /// Carries out one operation. winterbaume does not show the item that failed a condition: it is asked for,
    /// and put into the refusal.
    pub async fn call(&self, region: &str, operation: &str, body: &Value) -> MockResponse {
        let _turn = self.turn.lock().await;
        let mut answered = self.handle(region, operation, body).await;
        let mut refusal: Value = serde_json::from_slice(&answered.body).unwrap_or_default();
        let failed = refusal["__type"].as_str().is_some_and(|kind| kind.contains("ConditionalCheckFailed"));
        if operation == "UpdateItem" && failed && body["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD" {
            let get = json!({ "TableName": body["TableName"], "Key": body["Key"] });
            let got = self.handle(region, "GetItem", &get).await;
            let item: Value = serde_json::from_slice(&got.body).unwrap_or_default();
            refusal["Item"] = item["Item"].clone();
            answered.body = refusal.to_string().into();
        }
        answered
    }

    async fn handle(&self, region: &str, operation: &str, body: &Value) -> MockResponse {
        let mut headers = HeaderMap::new();
        let target = format!("DynamoDB_20120810.{operation}");
        headers.insert("x-amz-target", target.parse().expect("a header"));
        let uri = format!("https://dynamodb.{region}.amazonaws.com/");
        let request = MockRequest { method: "POST".to_owned(), uri, headers, body: body.to_string().into() };
        self.service.handle(request).await
    }
}

/// Writes down who makes this call: an empty file for each, from the whole suite. The task role in infra/ and the
/// tables of docs/permissions.md are held to them.
fn note_call(by: Option<&str>, prefix: &str, operation: &str) {
    if let (Some(by), Some(folder)) = (by, option_env!("CARGO_TARGET_TMPDIR")) {
        let calls = Path::new(folder).join("calls").join(by);
        std::fs::create_dir_all(&calls).expect("a folder");
        std::fs::write(calls.join(format!("{prefix}:{operation}")), "").expect("written");
    }
}

impl Inner {
    /// winterbaume refuses a batch of visibility changes as a whole where one handle is stale, and SQS only that
    /// entry: a refused batch is made again, entry by entry.
    async fn sqs(&self, request: MockRequest, operation: &str, body: &Value) -> MockResponse {
        let again = request.clone();
        let answered = self.sqs.handle(request).await;
        let entries = body["Entries"].as_array().map(Vec::as_slice).unwrap_or_default();
        if operation != "ChangeMessageVisibilityBatch" || answered.status == 200 || entries.len() < 2 {
            return answered;
        }
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        for entry in entries {
            let mut one = again.clone();
            one.body = json!({ "QueueUrl": body["QueueUrl"], "Entries": [entry] }).to_string().into();
            if self.sqs.handle(one).await.status == 200 {
                successful.push(json!({ "Id": entry["Id"] }));
            } else {
                failed.push(
                    json!({ "Id": entry["Id"], "SenderFault": true, "Code": "ReceiptHandleIsInvalid" }),
                );
            }
        }
        let body = json!({ "Successful": successful, "Failed": failed }).to_string();
        MockResponse { status: 200, body: body.into(), ..answered }
    }

    /// As STS says who asks, by this AWS's clock. There is no role that anybody could assume, unless a watch answers with
    /// credentials.
    async fn sts(&self, call: &Call) -> Response<Body> {
        let account = &self.account;
        let no_role = call.operation != "GetCallerIdentity";
        let mut fault = self.next_fault(call);
        if let Some(Fault::Delay(delay)) = fault {
            tokio::time::sleep(delay).await;
            fault = None;
        }
        let fault = fault.or_else(|| no_role.then_some(Fault::Refuse(403, "AccessDenied")));
        let (status, body) = match fault {
            Some(Fault::Refuse(status, code)) => (
                status,
                format!(
                    "<ErrorResponse><Error><Code>{code}</Code><Message>as the test asked for</Message></Error></ErrorResponse>"
                ),
            ),
            Some(Fault::Answer(given)) => {
                let of =
                    |name: &str| format!("<{name}>{}</{name}>", given[name].as_str().unwrap_or_default());
                let given = ["AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"].map(of).concat();
                let result =
                    format!("<AssumeRoleResult><Credentials>{given}</Credentials></AssumeRoleResult>");
                let space = "https://sts.amazonaws.com/doc/2011-06-15/";
                (200, format!("<AssumeRoleResponse xmlns=\"{space}\">{result}</AssumeRoleResponse>"))
            }
            _ => (
                200,
                format!(
                    "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
                     <Arn>arn:aws:sts::{account}:assumed-role/worker/1</Arn><UserId>AROA:1</UserId>\
                     <Account>{account}</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
                ),
            ),
        };
        let offset = time::Duration::seconds(self.clock_offset_seconds.load(Ordering::Relaxed));
        let now = aws_smithy_types::DateTime::from_secs((clock::now() + offset).unix_timestamp());
        let date = now.fmt(aws_smithy_types::date_time::Format::HttpDate).expect("a date");
        let response = Response::builder().status(status).header("content-type", "text/xml");
        response.header("date", date).body(Body::from(body)).expect("a response")
    }

    fn next_fault(&self, call: &Call) -> Option<Fault> {
        self.next_rule(&call.operation).or_else(|| self.watch.get()?.fault(call))
    }

    fn next_rule(&self, operation: &str) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let rule = rules.iter_mut().find(|rule| rule.operation == operation && rule.times > 0)?;
        rule.times -= 1;
        Some(rule.fault.clone())
    }
}

fn age(received: &mut Value, seconds: i64) {
    for message in received["Messages"].as_array_mut().into_iter().flatten() {
        let sent = &mut message["Attributes"]["SentTimestamp"];
        if let Some(millis) = sent.as_str().and_then(|millis| millis.parse::<i64>().ok()) {
            *sent = json!((millis - seconds * 1_000).to_string());
        }
    }
}

fn passed_on(answered: MockResponse) -> Response<Body> {
    let mut response = Response::new(Body::from(answered.body));
    *response.status_mut() = StatusCode::from_u16(answered.status).expect("a status");
    *response.headers_mut() = answered.headers;
    response
}

fn respond(status: u16, body: &Value) -> Response<Body> {
    let response = Response::builder().status(status).header("content-type", "application/x-amz-json-1.0");
    response.body(Body::from(body.to_string())).expect("a response")
}

/// An answer that breaks off before its first byte: the client sees the connection end.
pub fn lost() -> Response<Body> {
    let broken = Err::<Bytes, _>(std::io::Error::from(std::io::ErrorKind::ConnectionAborted));
    Response::new(Body::from_stream(futures_util::stream::iter([broken])))
}

fn refusal(status: u16, code: &str) -> Response<Body> {
    respond(status, &json!({ "__type": code, "message": "as the test asked for" }))
}
