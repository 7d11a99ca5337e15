//! CloudTrail clients by region, in the account that the worker's credentials belong to.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_cloudtrail::Client;
use aws_sdk_cloudtrail::config::Region as SdkRegion;

use crate::aws;
use crate::event::{AccountId, Region, TrailArn};

/// Clients kept at most. There are some forty regions; names beyond them are somebody's invention, and the
/// cache then starts anew.
const MAX_CLIENTS: usize = 64;
/// For the question who we are. Without an answer the worker starts all the same.
const WHO_AM_I_TIMEOUT: Duration = Duration::from_secs(5);

/// The accounts that the worker can act in: its own.
#[derive(Debug)]
pub struct Accounts {
    sdk: SdkConfig,
    /// `None` if nobody could say: every account is then taken for the own one.
    own: Option<AccountId>,
    /// A client costs connections, and is made when its Region is first asked.
    clients: Mutex<HashMap<Region, Client>>,
}

/// The trail is in an account that the worker has no role in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the trail is in account {account}, and this worker acts only in its own, {own}")]
pub struct NotOurs {
    account: AccountId,
    own: AccountId,
}

impl Accounts {
    /// Asks STS whose credentials these are. If it does not say, every account is taken for the own one: a
    /// trail is always named by its whole ARN, so the worst that comes of it is a refusal by CloudTrail.
    pub async fn discover(sdk: &SdkConfig) -> Self {
        let config = aws_sdk_sts::config::Builder::from(sdk)
            .interceptor(aws::Traced)
            .retry_config(RetryConfig::disabled())
            .timeout_config(aws::timeouts(WHO_AM_I_TIMEOUT));
        let answer = aws_sdk_sts::Client::from_conf(config.build()).get_caller_identity().send().await;
        let own = match answer {
            Ok(identity) => identity.account().and_then(AccountId::parse),
            Err(error) => {
                let error = aws::describe(&error);
                tracing::warn!(%error, "STS did not say which account this is: trailkeeper cannot tell events of other accounts apart");
                None
            }
        };
        Self::of(sdk, own)
    }

    /// The same, for who has asked already.
    #[must_use]
    pub fn of(sdk: &SdkConfig, own: Option<AccountId>) -> Self {
        Self { sdk: sdk.clone(), own, clients: Mutex::default() }
    }

    /// Whether the trail's account is the own one, or none is known to be.
    #[must_use]
    pub fn owns(&self, trail: &TrailArn) -> bool {
        self.own.as_ref().is_none_or(|own| own == trail.account())
    }

    /// A client for `region`, with the trail's account checked.
    pub fn client(&self, trail: &TrailArn, region: &Region) -> Result<Client, NotOurs> {
        match &self.own {
            Some(own) if !self.owns(trail) => {
                Err(NotOurs { account: trail.account().clone(), own: own.clone() })
            }
            _ => Ok(self.client_in(region)),
        }
    }

    /// A client for `region`, in the own account.
    pub fn client_in(&self, region: &Region) -> Client {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= MAX_CLIENTS && !clients.contains_key(region) {
            clients.clear();
        }
        let new = || {
            let config = aws_sdk_cloudtrail::config::Builder::from(&self.sdk)
                .region(SdkRegion::new(region.as_str().to_owned()))
                .interceptor(aws::Traced)
                // The message is tried again as a whole: one retry budget, not two on top of each other.
                .retry_config(RetryConfig::disabled())
                .timeout_config(aws::timeouts(aws::ANSWER_TIMEOUT));
            Client::from_conf(config.build())
        };
        clients.entry(region.clone()).or_insert_with(new).clone()
    }
}
