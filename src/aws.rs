//! What every AWS adapter shares: the connection settings, a span for each call, and an SDK error in words.

use std::error::Error;
use std::time::Duration;

use aws_config::timeout::{TimeoutConfig, TimeoutConfigBuilder};
use aws_config::{AppName, Region, SdkConfig};
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
    FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, Metadata};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use serde::Deserialize;
use tracing::Span;
use url::Url;

use crate::spans;

/// How AWS is reached: region, credentials, endpoints. Only adapters look inside.
pub(crate) use aws_config::SdkConfig as Sdk;

/// For one answer. The SDK has no read timeout of its own.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// For a TCP and TLS connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Causes shown of one error; deeper ones repeat their parents.
const MAX_CAUSES: usize = 6;
/// The longest error code that is taken for one.
const MAX_CODE_BYTES: usize = 64;

/// An HTTP client with connections of its own, on the one TLS stack: rustls with aws-lc-rs.
pub(crate) fn http_client() -> SharedHttpClient {
    let tls = Provider::Rustls(CryptoMode::AwsLc);
    aws_smithy_http_client::Builder::new().tls_provider(tls).build_https()
}

/// The same with a name in the user agent of every call: whoever reads CloudTrail sees who it was.
pub(crate) fn named(sdk: SdkConfig, name: &'static str) -> SdkConfig {
    let mut named = sdk.into_builder();
    named.set_app_name(AppName::new(name).ok());
    named.build()
}

/// Timeouts that bound every attempt at a request.
pub(crate) fn timeouts(answer: Duration) -> TimeoutConfig {
    TimeoutConfigBuilder::new().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(answer).build()
}

/// An error and what caused it, in a line.
pub(crate) fn causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    let texts = causes.take(MAX_CAUSES).map(ToString::to_string);
    let all: Vec<_> = std::iter::once(error.to_string()).chain(texts).collect();
    // Some of the SDK's have several lines.
    all.join(": ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What went wrong, in a line: the service's error code, or why there is none. Never the answer itself, which
/// may hold messages.
pub(crate) fn describe<E>(error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(refusal) => match refusal.err().code() {
            Some(code) => code.to_owned(),
            None => format!("HTTP status {} without an error code", refusal.raw().status().as_u16()),
        },
        SdkError::TimeoutError(_) => "no answer in time".to_owned(),
        SdkError::ResponseError(answer) => {
            format!("an answer that cannot be read, HTTP status {}", answer.raw().status().as_u16())
        }
        // Nothing was received, so the causes speak of connections and credentials only.
        other => causes(other),
    }
}

/// Makes a span of each call of the client that it is given to.
#[derive(Debug)]
pub(crate) struct Traced;

/// The span of a call that is under way; it ends with the call, and with a call that is dropped.
#[derive(Debug)]
struct CallSpan(Span);

impl Storable for CallSpan {
    type Storer = StoreReplace<Self>;
}

#[dyn_dispatch_hint]
impl Intercept for Traced {
    fn name(&self) -> &'static str {
        "Traced"
    }

    /// The first hook that knows which operation it is.
    fn read_before_serialization(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        call: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let span = call.load::<Metadata>().map(|call| spans::call(call.service(), call.name()));
        if let Some(span) = span.filter(|span| !span.is_disabled()) {
            call.interceptor_state().store_put(CallSpan(span));
        }
        Ok(())
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        call: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(CallSpan(span)) = call.load::<CallSpan>()
            && let Ok(url) = Url::parse(context.request().uri())
        {
            let region = call.load::<Region>().map(AsRef::as_ref);
            spans::addressed(span, url.host_str().unwrap_or_default(), url.port_or_known_default(), region);
        }
        Ok(())
    }

    fn read_after_execution(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        call: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(CallSpan(span)) = call.load::<CallSpan>() else { return Ok(()) };
        if let Some(answer) = context.response() {
            spans::answered(span, answer.status().as_u16(), answer.headers().get("x-amzn-requestid"));
        }
        if let Some(Err(error)) = context.output_or_error() {
            let code = if error.is_timeout_error() {
                "timeout".to_owned()
            } else if error.is_connector_error() {
                "unreachable".to_owned()
            } else {
                context.response().map_or_else(|| "_OTHER".to_owned(), code_in)
            };
            spans::call_failed(span, &code);
        }
        Ok(())
    }
}

/// The error code in an answer of one of AWS's JSON protocols, or else the status. The SDK's own is in an error
/// whose type differs with every operation. Nothing else of an answer gets into a span.
fn code_in(answer: &HttpResponse) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        #[serde(rename = "__type")]
        kind: String,
    }
    let refusal = answer.body().bytes().and_then(|body| serde_json::from_slice::<Refusal>(body).ok());
    let code = refusal.and_then(|refusal| refusal.kind.rsplit('#').next().map(str::to_owned));
    let plain = |code: &String| {
        code.len() <= MAX_CODE_BYTES && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
    };
    code.filter(plain).unwrap_or_else(|| answer.status().as_u16().to_string())
}
