//! `/healthz`, `/readyz` and `/metrics`, and the question that `trailkeeper healthcheck` asks.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::consumer::Health;
use crate::state::Answers;
use crate::telemetry::Metrics;

/// Connections at once: a few scrapers and health checks. Others wait to be accepted.
const MAX_CONNECTIONS: usize = 32;
/// From one request to the next, headers included; a connection that idles longer is closed.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// The whole of a request's headers, in bytes; hyper's least is 8 KiB.
const MAX_HEADER_BYTES: usize = 8_192;
/// After an accept that fails, as when file descriptors run out.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// For the health check's question, below the platform's own timeout.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);

/// What is asked for.
struct Shown {
    health: Arc<Health>,
    /// Whether the state table answers; none in a dry run.
    state: Option<Arc<Answers>>,
    metrics: Metrics,
}

/// Starts serving; ends when the handle is aborted.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    health: Arc<Health>,
    state: Option<Arc<Answers>>,
    metrics: Metrics,
) -> std::io::Result<JoinHandle<()>> {
    let listener = TcpListener::bind(address).await?;
    Ok(tokio::spawn(accept(listener, Arc::new(Shown { health, state, metrics }))))
}

async fn accept(listener: TcpListener, shown: Arc<Shown>) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        let Ok((stream, _peer)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_REST).await;
            continue;
        };
        let shown = Arc::clone(&shown);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let answer = answer(&request, &shown);
                async { Ok::<_, Infallible>(answer) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_buf_size(MAX_HEADER_BYTES)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(permit);
        });
    }
}

fn answer(request: &Request<Incoming>, shown: &Shown) -> Response<Full<Bytes>> {
    let Shown { health, state, metrics } = shown;
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return json_response(StatusCode::METHOD_NOT_ALLOWED, &json!({ "error": "only GET is answered" }));
    }
    match request.uri().path() {
        "/healthz" => {
            let polling = health.is_polling();
            checked(polling, &json!({ "polling": polling_check(health, polling) }))
        }
        "/readyz" => {
            let polled = health.since_answer().is_some();
            let draining = health.is_draining();
            let mut checks = json!({
                "first_poll": { "ok": polled },
                "not_draining": { "ok": !draining },
            });
            // A worker without it restarts what is off all the same.
            if let Some(state) = state {
                let (ok, silence) = (state.is_available(), state.silence().as_secs());
                checks["state"] = json!({ "ok": ok, "seconds_since_answer": silence });
            }
            checked(polled && !draining, &checks)
        }
        "/metrics" => match metrics.render() {
            Some(text) => response(StatusCode::OK, "text/plain; version=0.0.4", text),
            None => json_response(
                StatusCode::NOT_FOUND,
                &json!({ "error": "TRAILKEEPER_METRICS is not prometheus" }),
            ),
        },
        _ => json_response(
            StatusCode::NOT_FOUND,
            &json!({ "error": "there are /healthz, /readyz and /metrics" }),
        ),
    }
}

fn polling_check(health: &Health, ok: bool) -> Value {
    json!({
        "ok": ok,
        "seconds_since_answer": health.since_answer().map(|since| since.as_secs()),
        "draining": health.is_draining(),
    })
}

fn checked(ok: bool, checks: &Value) -> Response<Full<Bytes>> {
    let (status, word) =
        if ok { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "unavailable") };
    json_response(status, &json!({ "status": word, "checks": checks }))
}

fn json_response(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    response(status, "application/json", body.to_string())
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Asks the worker that listens on `address` on this machine whether it is healthy.
///
/// # Errors
/// When there is no answer.
pub async fn ask_health(address: SocketAddr) -> anyhow::Result<bool> {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let url = format!("http://{}/healthz", SocketAddr::new(ip, address.port()));
    // A proxy that is configured for the outside has no business with this.
    let http = reqwest::Client::builder().timeout(ASK_TIMEOUT).no_proxy().build()?;
    Ok(http.get(url).send().await?.status().is_success())
}
