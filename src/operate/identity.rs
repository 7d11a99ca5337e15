//! Whose credentials these are, and what AWS's clock says.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_sts::config::ProvideCredentials;
use aws_sdk_sts::error::ProvideErrorMetadata;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::DateTime;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::date_time::Format;
use time::OffsetDateTime;

use crate::aws;
use crate::clock;
use crate::retry::Failure;

/// What AWS says of credentials that it does not take.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html>
const REFUSED: [&str; 10] = [
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "MissingAuthenticationToken",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) arn: String,
    pub(super) account: String,
}

/// What STS answered.
pub(super) struct Answer {
    /// Who asks.
    pub(super) who: Result<Identity, Failure>,
    /// How far this machine's clock is from STS's, where there was an answer that says the time, whether or not it was
    /// a good one.
    pub(super) offset: Option<Duration>,
}

/// Asks STS who we are.
///
/// # Errors
/// When there are no credentials to ask with.
pub(super) async fn ask(sdk: &SdkConfig) -> Result<Answer, String> {
    if let Some(provider) = sdk.credentials_provider() {
        // A process that is asked for them, or a login, may never answer.
        let provided = tokio::time::timeout(aws::ANSWER_TIMEOUT, provider.provide_credentials()).await;
        let seconds = aws::ANSWER_TIMEOUT.as_secs();
        let provided =
            provided.map_err(|_elapsed| format!("their provider did not answer in {seconds} s"))?;
        provided.map_err(|error| aws::causes(&error))?;
    }
    let offset = ClockOffset::default();
    let config = aws_sdk_sts::config::Builder::from(sdk)
        .retry_config(RetryConfig::standard())
        .timeout_config(aws::timeouts(aws::ANSWER_TIMEOUT))
        .interceptor(offset.clone());
    let answer = aws_sdk_sts::Client::from_conf(config.build()).get_caller_identity().send().await;
    let who = answer.map(|answer| Identity {
        arn: answer.arn.unwrap_or_default(),
        account: answer.account.unwrap_or_default(),
    });
    let who = who.map_err(|error| match error.code() {
        Some(code) if REFUSED.contains(&code) => Failure::permanent(aws::describe(&error)),
        _ => Failure::transient(aws::describe(&error)),
    });
    Ok(Answer { who, offset: offset.seen() })
}

/// Looks at the `Date` of each answer.
#[derive(Debug, Default, Clone)]
struct ClockOffset(Arc<Mutex<Option<Duration>>>);

impl ClockOffset {
    fn seen(&self) -> Option<Duration> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[dyn_dispatch_hint]
impl Intercept for ClockOffset {
    fn name(&self) -> &'static str {
        "ClockOffset"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _settings: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|text| DateTime::from_str(text, Format::HttpDate).ok());
        let theirs = date.and_then(|date| OffsetDateTime::from_unix_timestamp(date.secs()).ok());
        let offset = theirs.map(|theirs| (clock::now() - theirs).unsigned_abs());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = offset;
        Ok(())
    }
}
