//! Where CloudTrail is asked: with the worker's own credentials, or through a role in the trail's account.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_cloudtrail::Client;
use aws_sdk_cloudtrail::config::{IdentityCache, Region as SdkRegion};
use tokio::time::Instant;

use super::organization::{self, Listed};
use super::refusal::Refusal;
use super::role::{MemberRole, role_name};
use super::sessions::{Session, Sessions};
use crate::aws;
use crate::event::{AccountId, Region};
use crate::retry::Failure;

/// Clients kept at most, some 20 KiB each: for the Regions of accounts that are at work. Beyond that, or where accounts and Regions are
/// somebody's invention, they are made anew, which is cheap.
const MAX_CLIENTS: usize = 64;
/// For the question who we are. Without an answer the worker starts all the same.
const WHO_AM_I_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two such questions.
const WHO_AM_I_AGAIN: Duration = Duration::from_secs(15);

/// The accounts that the worker can act in: its own, and with a member role those that have it. Without, it reaches an
/// organization's trails alone, by their whole ARN, if CloudTrail lets it: as a member to look at them, as a delegated administrator
/// also to start them.
#[derive(Debug)]
pub struct Accounts {
    sdk: SdkConfig,
    /// Nothing while nobody could say.
    own: OnceLock<Own>,
    /// When it was asked last; held while it is asked.
    asked: tokio::sync::Mutex<Option<Instant>>,
    members: Option<Sessions>,
    clients: Mutex<HashMap<Place, Reached>>,
}

/// Whose credentials the worker has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    pub account: AccountId,
    /// As STS says it: of a session, or of a user.
    pub arn: String,
}

/// Whose trails, none for those that the worker's own credentials reach, and in which Region.
type Place = (Option<AccountId>, Region);

#[derive(Debug)]
struct Reached {
    client: Client,
    /// When the session was opened that it goes by, if it goes by one.
    opened_at: Option<Instant>,
}

/// Where calls about an account's trails are made.
pub(super) struct Site {
    pub(super) client: Client,
    /// It is asked through the account's own role.
    pub(super) by_role: bool,
    /// Why not, where there should be one: then it is asked with the worker's own credentials, as a delegated administrator may.
    pub(super) without_role: Option<Refusal>,
}

impl Accounts {
    /// Asks STS whose credentials these are. If it does not say, trails are restarted all the same, with the worker's own credentials
    /// and by their whole ARN, and it is asked again.
    pub async fn discover(sdk: &SdkConfig, member: Option<MemberRole>) -> Self {
        let accounts = Self::of(sdk, None, member);
        accounts.identify().await;
        accounts
    }

    /// The same, for who has asked already.
    #[must_use]
    pub fn of(sdk: &SdkConfig, own: Option<Own>, member: Option<MemberRole>) -> Self {
        let members = member.map(|role| Sessions::new(sdk, role));
        let own = own.map(OnceLock::from).unwrap_or_default();
        Self {
            sdk: sdk.clone(),
            own,
            asked: tokio::sync::Mutex::default(),
            members,
            clients: Mutex::default(),
        }
    }

    /// Asks who we are, unless that is known or was asked a short while ago.
    pub async fn identify(&self) {
        if self.own.get().is_some() {
            return;
        }
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|asked| asked.elapsed() < WHO_AM_I_AGAIN) || self.own.get().is_some() {
            return;
        }
        let config = aws_sdk_sts::config::Builder::from(&self.sdk)
            .interceptor(aws::Traced)
            .retry_config(RetryConfig::disabled())
            .timeout_config(aws::timeouts(WHO_AM_I_TIMEOUT));
        let client = aws_sdk_sts::Client::from_conf(config.build());
        match Box::pin(client.get_caller_identity().send()).await {
            Ok(identity) => {
                if let Some(account) = identity.account().and_then(AccountId::parse) {
                    let _ = self.own.set(Own { account, arn: identity.arn().unwrap_or_default().to_owned() });
                }
            }
            Err(error) => {
                let error = aws::describe(&error);
                tracing::warn!(%error, "STS did not say which account this is: trailkeeper cannot tell events of other accounts apart");
            }
        }
        *asked = Some(Instant::now());
    }

    /// The own account, where it is known.
    #[must_use]
    pub fn own(&self) -> Option<&AccountId> {
        self.own.get().map(|own| &own.account)
    }

    /// The worker's own Region.
    pub(super) fn region(&self) -> Option<Region> {
        self.sdk.region().and_then(|region| Region::parse(region.as_ref()))
    }

    /// Whether there is a role to act with in other accounts.
    #[must_use]
    pub fn has_member_role(&self) -> bool {
        self.members.is_some()
    }

    /// Whether an ARN of IAM's is whose the worker's credentials are.
    #[must_use]
    pub fn is_own_identity(&self, arn: &str) -> bool {
        self.own.get().is_some_and(|own| {
            // arn:aws:sts::111122223333:assumed-role/worker/session
            let mut parts = own.arn.splitn(6, ':').nth(5).unwrap_or_default().split('/');
            let is_role = parts.next() == Some("assumed-role");
            let account = arn.split(':').nth(4) == Some(own.account.as_str());
            own.arn == arn
                || is_role && account && role_name(arn).is_some_and(|name| parts.next() == Some(name))
        })
    }

    /// Whether an ARN of IAM's is the member role's, in whatever account.
    #[must_use]
    pub fn is_member_role(&self, arn: &str) -> bool {
        self.members.as_ref().is_some_and(|members| members.is_role(arn))
    }

    /// The accounts of the organization.
    ///
    /// # Errors
    /// As [`organization::list`].
    pub async fn list(&self) -> Result<Vec<Listed>, Failure> {
        let listed = organization::list(&self.sdk).await?;
        if self.own().is_some_and(|own| listed.iter().all(|one| one.id != *own)) {
            let detail =
                "organizations:ListAccounts: the list lacks the worker's own account, so it is not believed";
            return Err(Failure::transient(detail));
        }
        Ok(listed)
    }

    /// Where the worker's own credentials ask.
    pub(super) fn own_site(&self, region: &Region) -> Site {
        Site { client: self.client(None, region), by_role: false, without_role: None }
    }

    /// Where the trails of an account are reached, from a Region.
    pub(super) async fn site(&self, account: &AccountId, region: &Region) -> Site {
        let Some(members) = self.members.as_ref().filter(|_| self.own() != Some(account)) else {
            return self.own_site(region);
        };
        if self.own().is_none() {
            // It may be the own account, in which nobody has the role; or one that the policy does not concern.
            let refusal = Refusal::unknown_caller(account);
            return Site { without_role: Some(refusal), ..self.own_site(region) };
        }
        match members.of(account, region).await {
            Ok(session) => {
                let client = self.client(Some((account, session)), region);
                Site { client, by_role: true, without_role: None }
            }
            Err(refusal) => Site { without_role: Some(refusal), ..self.own_site(region) },
        }
    }

    /// The next call in this account begins a session of its own.
    pub(super) fn forget(&self, account: &AccountId) {
        if let Some(members) = &self.members {
            members.forget(account);
        }
    }

    fn client(&self, by_role: Option<(&AccountId, Session)>, region: &Region) -> Client {
        let opened_at = by_role.as_ref().map(|(_, session)| session.opened_at);
        let place = (by_role.as_ref().map(|(account, _)| (*account).clone()), region.clone());
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reached) = clients.get(&place).filter(|reached| reached.opened_at == opened_at) {
            return reached.client.clone();
        }
        if clients.len() >= MAX_CLIENTS {
            clients.clear();
        }
        let mut config = aws_sdk_cloudtrail::config::Builder::from(&self.sdk)
            .region(SdkRegion::new(region.as_str().to_owned()))
            .interceptor(aws::Traced)
            // The message is tried again as a whole: one retry budget, not two on top of each other.
            .retry_config(RetryConfig::disabled())
            .timeout_config(aws::timeouts(aws::ANSWER_TIMEOUT));
        if let Some((_, session)) = by_role {
            // They are opened anew before they end, and the SDK's own cache would keep all that there ever were.
            config =
                config.credentials_provider(session.credentials).identity_cache(IdentityCache::no_cache());
        }
        let client = Client::from_conf(config.build());
        clients.insert(place, Reached { client: client.clone(), opened_at });
        client
    }
}
