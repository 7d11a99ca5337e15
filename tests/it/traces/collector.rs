//! A collector on this machine: takes OTLP over HTTP, and keeps what it is sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Span as Sent, span::SpanKind, status::StatusCode as Status};
use prost::Message;

/// How a collector answers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    /// With this status.
    Status(u16),
    /// Never.
    Never,
}

/// One request, as it came.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) path: String,
    pub(super) authorization: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) body: Bytes,
}

/// A span, as far as the tests read it.
#[derive(Debug, Clone)]
pub(super) struct Span {
    pub(super) trace: Vec<u8>,
    pub(super) id: Vec<u8>,
    pub(super) parent: Vec<u8>,
    pub(super) name: String,
    pub(super) kind: SpanKind,
    /// By name, numbers as text; a name that comes twice is a mistake.
    pub(super) attributes: BTreeMap<String, String>,
    /// The spans it links to.
    pub(super) links: Vec<Vec<u8>>,
    pub(super) failed: bool,
    pub(super) detail: String,
    pub(super) nanos: (u64, u64),
}

pub(super) struct Collector {
    inner: Arc<Inner>,
    pub(super) uri: String,
    server: tokio::task::JoinHandle<()>,
}

struct Inner {
    answer: Answer,
    received: Mutex<Vec<Received>>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Collector {
    /// One that takes everything.
    pub(super) async fn start() -> Self {
        Self::answering(Answer::Status(200)).await
    }

    pub(super) async fn answering(answer: Answer) -> Self {
        let inner = Arc::new(Inner { answer, received: Mutex::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let uri = format!("http://{}", listener.local_addr().expect("bound"));
        let router = Router::new().fallback(take).with_state(Arc::clone(&inner));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("serving") });
        Self { inner, uri, server }
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.inner.received().clone()
    }

    /// What the sender says of itself.
    pub(super) fn resource(&self) -> BTreeMap<String, String> {
        let batches = self.received().into_iter().map(|request| batch(&request));
        let mut resources = batches.flat_map(|batch| batch.resource_spans).filter_map(|spans| spans.resource);
        attributes(resources.next().expect("a resource").attributes)
    }

    /// Every span so far, in the order of their beginnings.
    pub(super) fn spans(&self) -> Vec<Span> {
        let batches = self.received().into_iter().map(|request| batch(&request));
        let scopes = batches.flat_map(|batch| batch.resource_spans).flat_map(|spans| spans.scope_spans);
        let mut spans: Vec<_> = scopes.flat_map(|scope| scope.spans).map(span).collect();
        spans.sort_by_key(|span| span.nanos);
        spans
    }
}

impl Inner {
    fn received(&self) -> MutexGuard<'_, Vec<Received>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn take(State(inner): State<Arc<Inner>>, uri: Uri, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (authorization, content_type) = (header("authorization"), header("content-type"));
    let path = uri.path().to_owned();
    inner.received().push(Received { path, authorization, content_type, body });
    match inner.answer {
        Answer::Status(status) => StatusCode::from_u16(status).expect("a status"),
        Answer::Never => std::future::pending().await,
    }
}

fn batch(request: &Received) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(request.body.clone()).expect("OTLP")
}

fn span(sent: Sent) -> Span {
    let status = sent.status.clone().unwrap_or_default();
    Span {
        kind: sent.kind(),
        trace: sent.trace_id,
        id: sent.span_id,
        parent: sent.parent_span_id,
        name: sent.name,
        attributes: attributes(sent.attributes),
        links: sent.links.into_iter().map(|link| link.span_id).collect(),
        failed: status.code() == Status::Error,
        detail: status.message,
        nanos: (sent.start_time_unix_nano, sent.end_time_unix_nano),
    }
}

fn attributes(pairs: Vec<KeyValue>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for KeyValue { key, value, .. } in pairs {
        let text = match value.and_then(|value| value.value) {
            Some(Value::StringValue(text)) => text,
            Some(Value::IntValue(number)) => number.to_string(),
            other => panic!("{key} is {other:?}"),
        };
        assert!(all.insert(key.clone(), text).is_none(), "{key} comes twice");
    }
    all
}
