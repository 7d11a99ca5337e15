//! Every span's name and attributes, in one place: OpenTelemetry's conventions for
//! [messaging](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), the
//! [AWS SDK](https://opentelemetry.io/docs/specs/semconv/cloud-providers/aws-sdk/) and
//! [HTTP](https://opentelemetry.io/docs/specs/semconv/http/http-spans/).
//!
//! | span | kind | one for each | parent | links to |
//! |---|---|---|---|---|
//! | `receive QUEUE` | client | poll | none | |
//! | `process QUEUE` | consumer | delivery | none | the `receive` that brought it |
//! | `delete QUEUE`, `change_visibility QUEUE` | client | batch of answers | none | the `process` of each message |
//! | `extend QUEUE` | client | batch of heartbeats | none | the `process` of each message |
//! | `send DEAD-LETTER-QUEUE` | client | copy of a dead letter | its `process` | |
//! | `SERVICE.OPERATION` | client | call to AWS | whatever makes it | |
//! | `POST` | client | post to Slack | its `process` | |
//!
//! Spans are `tracing`'s, under one target that logs never see. Without an endpoint for traces nobody listens to
//! that target: no span is made and no text is put together. A span holds no body, no receipt handle and no secret.

use tracing::field::Empty;
use tracing::{Level, Span, span};

/// The target of every span, and of nothing else.
pub(crate) const TARGET: &str = "trailkeeper::spans";

const SYSTEM: &str = "aws_sqs";
/// The refusal of a conditional write is how the table says no: an answer, and nothing that went wrong.
const ANSWERED_NO: &str = "ConditionalCheckFailedException";

/// One poll of the queue.
pub(crate) fn receive(queue: &str) -> Span {
    span!(
        target: TARGET,
        parent: None,
        Level::INFO,
        "receive",
        otel.name = format!("receive {queue}"),
        otel.kind = "client",
        otel.status_description = Empty,
        messaging.system = SYSTEM,
        messaging.destination.name = queue,
        messaging.operation.name = "receive",
        messaging.operation.r#type = "receive",
        messaging.batch.message_count = Empty,
        error.r#type = Empty,
    )
}

/// A poll brought this many messages.
pub(crate) fn received(receive: &Span, count: usize) {
    receive.record("messaging.batch.message_count", whole(count));
}

/// One delivery of one message, the root of a trace of its own: the poll that brought it brought others too.
pub(crate) fn process(queue: &str, message_id: &str, receive_count: u32, receive: &Span) -> Span {
    let span = span!(
        target: TARGET,
        parent: None,
        Level::INFO,
        "process",
        otel.name = format!("process {queue}"),
        otel.kind = "consumer",
        otel.status_description = Empty,
        messaging.system = SYSTEM,
        messaging.destination.name = queue,
        messaging.operation.name = "process",
        messaging.operation.r#type = "process",
        messaging.message.id = message_id,
        trailkeeper.receive_count = i64::from(receive_count),
        trailkeeper.event_id = Empty,
        trailkeeper.attempt = Empty,
        trailkeeper.outcome = Empty,
        trailkeeper.reason = Empty,
        error.r#type = Empty,
    );
    span.follows_from(receive);
    span
}

/// The message is about this event.
pub(crate) fn names(process: &Span, event_id: &str) {
    process.record("trailkeeper.event_id", event_id);
}

/// This is the event's execution number `attempt`.
pub(crate) fn began(process: &Span, attempt: u32) {
    process.record("trailkeeper.attempt", i64::from(attempt));
}

/// What became of the message.
pub(crate) fn outcome(process: &Span, outcome: &'static str) {
    process.record("trailkeeper.outcome", outcome);
}

/// Why the message becomes a dead letter.
pub(crate) fn dead_letter(process: &Span, reason: &'static str) {
    process.record("trailkeeper.reason", reason);
}

/// A batch of answers to the queue: `operation` is `delete` or `change_visibility`.
pub(crate) fn settle<'a>(
    queue: &str,
    operation: &'static str,
    count: usize,
    processes: impl Iterator<Item = &'a Span>,
) -> Span {
    of_batch(queue, operation, Some("settle"), count, processes)
}

/// A heartbeat: keeps a batch of messages hidden. It settles none of them, so it has none of the conventions' types.
pub(crate) fn extend<'a>(queue: &str, count: usize, processes: impl Iterator<Item = &'a Span>) -> Span {
    of_batch(queue, "extend", None, count, processes)
}

fn of_batch<'a>(
    queue: &str,
    operation: &'static str,
    operation_type: Option<&'static str>,
    count: usize,
    processes: impl Iterator<Item = &'a Span>,
) -> Span {
    let span = span!(
        target: TARGET,
        parent: None,
        Level::INFO,
        "batch",
        otel.name = format!("{operation} {queue}"),
        otel.kind = "client",
        otel.status_description = Empty,
        messaging.system = SYSTEM,
        messaging.destination.name = queue,
        messaging.operation.name = operation,
        messaging.operation.r#type = operation_type,
        messaging.batch.message_count = whole(count),
        error.r#type = Empty,
    );
    for process in processes {
        span.follows_from(process);
    }
    span
}

/// The copy of a message to the dead-letter queue. It carries no context of ours, so it is a client's span.
pub(crate) fn send(queue: &str, process: &Span) -> Span {
    span!(
        target: TARGET,
        parent: process,
        Level::INFO,
        "send",
        otel.name = format!("send {queue}"),
        otel.kind = "client",
        otel.status_description = Empty,
        messaging.system = SYSTEM,
        messaging.destination.name = queue,
        messaging.operation.name = "send",
        messaging.operation.r#type = "send",
        error.r#type = Empty,
    )
}

/// One call to AWS, in whatever span it is made.
pub(crate) fn call(service: &str, operation: &str) -> Span {
    span!(
        target: TARGET,
        Level::INFO,
        "call",
        otel.name = format!("{service}.{operation}"),
        otel.kind = "client",
        otel.status_description = Empty,
        rpc.system = "aws-api",
        rpc.service = service,
        rpc.method = operation,
        cloud.region = Empty,
        server.address = Empty,
        server.port = Empty,
        http.response.status_code = Empty,
        aws.request_id = Empty,
        error.r#type = Empty,
    )
}

/// Whom a call is made to, and in which of AWS's regions.
pub(crate) fn addressed(call: &Span, host: &str, port: Option<u16>, region: Option<&str>) {
    call.record("server.address", host);
    if let Some(port) = port {
        call.record("server.port", i64::from(port));
    }
    if let Some(region) = region {
        call.record("cloud.region", region);
    }
}

/// AWS's answer to a call.
pub(crate) fn answered(call: &Span, status: u16, request_id: Option<&str>) {
    call.record("http.response.status_code", i64::from(status));
    if let Some(request_id) = request_id {
        call.record("aws.request_id", request_id);
    }
}

/// A call to AWS did not go well: the service's error code, or why there is none.
pub(crate) fn call_failed(call: &Span, code: &str) {
    if code != ANSWERED_NO {
        failed(call, code, "");
    }
}

/// One post to a host whose path is a secret, and is not in `url`.
pub(crate) fn post(url: &str, host: Option<&str>, port: Option<u16>) -> Span {
    span!(
        target: TARGET,
        Level::INFO,
        "post",
        otel.name = "POST",
        otel.kind = "client",
        otel.status_description = Empty,
        http.request.method = "POST",
        url.full = url,
        server.address = host,
        server.port = port.map(i64::from),
        http.response.status_code = Empty,
        error.r#type = Empty,
    )
}

/// The answer to the post whose span this is in.
pub(crate) fn post_answered(status: u16) {
    let span = current();
    span.record("http.response.status_code", i64::from(status));
    if status >= 300 {
        failed(&span, &status.to_string(), "");
    }
}

/// What is done in this span did not go well. `kind` is one of a few; `detail` says what happened, to people.
pub(crate) fn failed(span: &Span, kind: &str, detail: &str) {
    span.record("error.type", kind);
    // Makes the status an error, too.
    span.record("otel.status_description", detail);
}

/// The span that the code which asks runs in; none, and nothing looked up, while nobody listens.
pub(crate) fn current() -> Span {
    if tracing::span_enabled!(target: TARGET, Level::INFO) { Span::current() } else { Span::none() }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
