//! Sessions of the member role: one an account, good in every Region.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_sts::Client;
use aws_sdk_sts::config::{Credentials, Region as SdkRegion};
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use secrecy::ExposeSecret;
use tokio::time::Instant;

use super::refusal::Refusal;
use super::role::MemberRole;
use super::trails::another_region;
use crate::aws;
use crate::clock;
use crate::event::{AccountId, Region, partition_of};
use crate::telemetry::{self, AssumeResult};

/// For one session. A trail is waiting, and STS answers in less than a second.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// As long as a session lasts at most that was opened by another role's.
const LASTS: Duration = Duration::from_hours(1);
/// Before its end a session is opened anew: the work on one event takes less.
const RENEWED_BEFORE: Duration = Duration::from_mins(5);
/// Sessions kept at most, some 2 KiB each; beyond that all are opened anew.
const MAX_SESSIONS: usize = 2_048;

/// The member role's sessions by account.
#[derive(Debug)]
pub(super) struct Sessions {
    role: MemberRole,
    /// STS in the worker's own Region, and in another for accounts that have switched that one off.
    sts: Vec<Client>,
    /// Each is locked while it is opened, so that events of one account open one.
    by_account: Mutex<HashMap<AccountId, Arc<tokio::sync::Mutex<Slot>>>>,
}

/// What there is of an account.
#[derive(Debug, Default)]
struct Slot {
    session: Option<Session>,
    /// The last that was refused, and when: it is the answer to all who were waiting for it.
    refused: Option<(Refusal, Instant)>,
}

/// A session, while it lasts.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) credentials: Credentials,
    pub(super) opened_at: Instant,
    good_until: Instant,
}

impl Sessions {
    pub(super) fn new(sdk: &SdkConfig, role: MemberRole) -> Self {
        let own = sdk.region().and_then(|region| Region::parse(region.as_ref()));
        let another = own.as_ref().and_then(another_region);
        let config = || {
            aws_sdk_sts::config::Builder::from(sdk)
                .interceptor(aws::Traced)
                .retry_config(RetryConfig::disabled())
                .timeout_config(aws::timeouts(ANSWER_TIMEOUT))
        };
        let another = another.map(|region| config().region(SdkRegion::new(region.as_str().to_owned())));
        let all = std::iter::once(config()).chain(another);
        let sts = all.map(|config| Client::from_conf(config.build())).collect();
        Self { role, sts, by_account: Mutex::default() }
    }

    /// Whether an ARN of IAM's is the member role's, in whatever account.
    pub(super) fn is_role(&self, arn: &str) -> bool {
        self.role.template.is(arn)
    }

    /// A session in an account; `region` says in which partition that is.
    pub(super) async fn of(&self, account: &AccountId, region: &Region) -> Result<Session, Refusal> {
        let kept = {
            let mut all = self.by_account.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= MAX_SESSIONS && !all.contains_key(account) {
                all.clear();
            }
            Arc::clone(all.entry(account.clone()).or_default())
        };
        let waiting_since = Instant::now();
        let mut kept = kept.lock().await;
        if let Some(session) = kept.session.as_ref().filter(|session| Instant::now() < session.good_until) {
            return Ok(session.clone());
        }
        if let Some((refusal, _)) = kept.refused.as_ref().filter(|(_, at)| *at > waiting_since) {
            return Err(refusal.clone());
        }
        let arn = self.role.template.arn(account, partition_of(region));
        // Rarely, and much: it is not to be a part of all work on trails.
        let opened = Box::pin(self.open(&arn, account)).await;
        telemetry::assumed(match &opened {
            Ok(_) => AssumeResult::Ok,
            Err(refusal) if refusal.may_pass() => AssumeResult::Failed,
            Err(_) => AssumeResult::Denied,
        });
        match opened {
            Ok(session) => {
                *kept = Slot { session: Some(session.clone()), refused: None };
                Ok(session)
            }
            Err(refusal) => {
                *kept = Slot { session: None, refused: Some((refusal.clone(), Instant::now())) };
                Err(refusal)
            }
        }
    }

    /// Opens the account's next session anew: this one is no longer taken.
    pub(super) fn forget(&self, account: &AccountId) {
        self.by_account.lock().unwrap_or_else(PoisonError::into_inner).remove(account);
    }

    async fn open(&self, arn: &str, account: &AccountId) -> Result<Session, Refusal> {
        let mut refused = None;
        for sts in &self.sts {
            match self.assume(sts, arn).await {
                Ok(session) => return Ok(session),
                Err(error) => {
                    let is_disabled = error.code() == Some("RegionDisabledException");
                    refused = Some(Refusal::of_role(error.code(), &aws::describe(&error), arn, account));
                    if !is_disabled {
                        break;
                    }
                }
            }
        }
        Err(refused.unwrap_or_else(|| Refusal::of_role(None, "no Region to ask in", arn, account)))
    }

    async fn assume(&self, sts: &Client, arn: &str) -> Result<Session, SdkError<AssumeRoleError>> {
        let external_id = self.role.external_id.as_ref().map(|id| id.expose_secret().to_owned());
        let opened_at = Instant::now();
        let answer = sts
            .assume_role()
            .role_arn(arn)
            .role_session_name(&self.role.session)
            .set_external_id(external_id)
            .duration_seconds(LASTS.as_secs().try_into().unwrap_or(i32::MAX))
            .send()
            .await?;
        let Some(given) = answer.credentials() else {
            return Err(SdkError::construction_failure("an answer without credentials"));
        };
        // By the other side's clock, which may differ from ours.
        let left = given.expiration().secs() - clock::now().unix_timestamp();
        let lasts = Duration::from_secs(left.try_into().unwrap_or_default()).min(LASTS);
        let good_until = opened_at + lasts.saturating_sub(RENEWED_BEFORE.min(lasts / 2));
        let credentials = Credentials::new(
            given.access_key_id(),
            given.secret_access_key(),
            Some(given.session_token().to_owned()),
            None,
            "TrailkeeperMemberRole",
        );
        Ok(Session { credentials, opened_at, good_until })
    }
}
