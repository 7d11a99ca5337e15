//! CloudTrail clients by region, with the worker's own credentials.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_cloudtrail::Client;
use aws_sdk_cloudtrail::config::Region as SdkRegion;

use crate::aws;
use crate::event::{AccountId, Region};

/// Clients kept at most. There are some forty regions; names beyond them are somebody's invention, and the
/// cache then starts anew.
const MAX_CLIENTS: usize = 64;
/// For the question who we are. Without an answer the worker starts all the same.
const WHO_AM_I_TIMEOUT: Duration = Duration::from_secs(5);

/// The accounts that the worker can act in: its own. Of another it reaches an organization's trails, by their whole ARN, if
/// CloudTrail lets it: as a member to look at them, as a delegated administrator also to start them.
#[derive(Debug)]
pub struct Accounts {
    sdk: SdkConfig,
    /// `None` if nobody could say.
    own: Option<AccountId>,
    /// A client costs connections, and is made when its Region is first asked.
    clients: Mutex<HashMap<Region, Client>>,
}

impl Accounts {
    /// Asks STS whose credentials these are. If it does not say, trails are restarted all the same: a trail is always named
    /// by its whole ARN, so the worst that comes of it is a refusal by CloudTrail.
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

    /// The own account, where it is known.
    #[must_use]
    pub fn own(&self) -> Option<&AccountId> {
        self.own.as_ref()
    }

    /// A client for `region`, with the worker's own credentials.
    pub fn client(&self, region: &Region) -> Client {
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
