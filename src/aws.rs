//! What every AWS adapter shares: the connection settings, and an SDK error in words.

use std::error::Error;
use std::time::Duration;

use aws_config::timeout::{TimeoutConfig, TimeoutConfigBuilder};
use aws_config::{AppName, SdkConfig};
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

/// How AWS is reached: region, credentials, endpoints. Only adapters look inside.
pub(crate) use aws_config::SdkConfig as Sdk;

/// For one answer. The SDK has no read timeout of its own.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// For a TCP and TLS connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Causes shown of one error; deeper ones repeat their parents.
const MAX_CAUSES: usize = 6;

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
        other => {
            let causes = std::iter::successors(other.source(), |cause| (*cause).source());
            let texts = causes.take(MAX_CAUSES).map(ToString::to_string);
            std::iter::once(other.to_string()).chain(texts).collect::<Vec<_>>().join(": ")
        }
    }
}
