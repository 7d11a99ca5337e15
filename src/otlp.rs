//! Traces, over OTLP. This file alone knows OpenTelemetry: the spans are `tracing`'s (see `spans.rs`), and the
//! layer made here turns them into OpenTelemetry's and sends them to a collector.
//!
//! Whatever the collector does, the work goes on: a span that finds the queue full is dropped, and a batch that
//! cannot be sent is dropped after a few tries. OpenTelemetry's own variables hold where there is no flag of ours:
//! `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::SdkTracerProvider;
use secrecy::{ExposeSecret, SecretString};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::{Layer, Registry};
use url::Url;

use crate::spans;

const NAME: &str = "trailkeeper";
/// What a base endpoint is completed with.
const TRACES: [&str; 2] = ["v1", "traces"];
/// For one try, connection included; no try begins later than this after the first.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// For what is left at the end, whatever the collector does.
const LAST_FLUSH: Duration = Duration::from_secs(5);
/// Between two lines in the log about a collector that takes nothing.
const TELL_AGAIN: Duration = Duration::from_mins(10);

/// Sends spans until the end of the program; nothing without an endpoint.
#[derive(Debug)]
pub struct Traces(Option<SdkTracerProvider>);

/// What listens to spans.
pub(crate) type SpanLayer = Box<dyn Layer<Registry> + Send + Sync>;

impl Traces {
    /// No traces, no layer, and nothing else.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// Starts sending to the collector whose base endpoint this is. Needs the runtime to run on.
    pub(crate) fn start(endpoint: &SecretString) -> anyhow::Result<(Self, SpanLayer)> {
        let endpoint = Url::parse(endpoint.expose_secret())?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Sender::new()?)
            .with_endpoint(for_traces(endpoint))
            .with_timeout(SEND_TIMEOUT)
            .build()
            .map_err(|error| anyhow::anyhow!("traces: {error}"))?;
        let provider =
            SdkTracerProvider::builder().with_resource(resource()).with_batch_exporter(exporter).build();
        let layer = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(NAME))
            // Where in the code a span was made, and on which thread, is nobody's question here.
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(Targets::new().with_target(spans::TARGET, LevelFilter::INFO));
        Ok((Self(Some(provider)), Box::new(layer)))
    }

    /// Sends what is left, for as long as that may take and no longer.
    pub async fn flush(self) {
        let Some(provider) = self.0 else { return };
        // It blocks, and what it waits for runs on this thread.
        let flushed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_FLUSH)).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!("the collector did not take the last spans in time");
        }
    }
}

/// OTLP's own path, below the base endpoint's.
fn for_traces(mut url: Url) -> String {
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(TRACES);
    }
    url.into()
}

/// Who sends; what the environment says of it goes before.
fn resource() -> Resource {
    let named = std::env::var("OTEL_SERVICE_NAME").ok().filter(|name| !name.is_empty());
    let whole = Resource::builder_empty()
        .with_service_name(NAME)
        .with_attribute(KeyValue::new("service.version", env!("TRAILKEEPER_VERSION")))
        // Which of the workers.
        .with_attribute(KeyValue::new("service.instance.id", format!("{:032x}", fastrand::u128(..))))
        .with_detectors(&[Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())]);
    match named {
        Some(name) => whole.with_service_name(name).build(),
        None => whole.build(),
    }
}

/// Sends batches on the worker's runtime: the thread that asks for it has no runtime of its own.
#[derive(Debug)]
struct Sender {
    http: reqwest::Client,
    runtime: Handle,
    told_at: Arc<Mutex<Option<Instant>>>,
}

impl Sender {
    fn new() -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(SEND_TIMEOUT)
            // Whoever redirects would be sent the headers, which may hold a token.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| anyhow::anyhow!("setting up TLS for traces: {error}"))?;
        Ok(Self { http, runtime: Handle::current(), told_at: Arc::default() })
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (http, told_at) = (self.http.clone(), Arc::clone(&self.told_at));
        let sent = self.runtime.spawn(async move {
            let answered = send(&http, request).await.map_err(reqwest::Error::without_url);
            match &answered {
                Ok(answer) if answer.status().is_success() => {}
                Ok(answer) => tell(&told_at, &format!("it answered {}", answer.status().as_u16())),
                Err(error) if error.is_timeout() => tell(&told_at, "no answer in time"),
                Err(error) if error.is_connect() => tell(&told_at, "no connection"),
                Err(error) => tell(&told_at, &error.to_string()),
            }
            answered
        });
        Ok(sent.await??)
    }
}

/// The answer's body is let go: it would only say which spans were refused.
async fn send(http: &reqwest::Client, request: Request<Bytes>) -> reqwest::Result<Response<Bytes>> {
    let answer = http.execute(request.try_into()?).await?;
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = answer.status();
    answer.headers().clone_into(response.headers_mut());
    Ok(response)
}

/// A line now and then: a collector that is down for hours is no news after the first minute.
fn tell(told_at: &Mutex<Option<Instant>>, why: &str) {
    let mut told_at = told_at.lock().unwrap_or_else(PoisonError::into_inner);
    if told_at.is_none_or(|told_at| told_at.elapsed() >= TELL_AGAIN) {
        *told_at = Some(Instant::now());
        tracing::warn!(why, "the collector does not take the traces: spans are lost until it does");
    }
}
