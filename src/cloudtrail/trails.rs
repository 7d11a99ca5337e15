//! CloudTrail's calls.

use std::time::Duration;

use aws_sdk_cloudtrail::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cloudtrail::primitives::DateTime;
use aws_sdk_cloudtrail::types::{Trail, TrailInfo};
use time::OffsetDateTime;

use super::accounts::{Accounts, Site};
use super::refusal::{Answer, Meaning, Refusal, WORKER};
use crate::aws;
use crate::event::{AccountId, Region, TrailArn, partition_of};
use crate::incident::{DeliveryErrors, Glimpse};
use crate::turns::Turns;

/// The longest delivery error kept, in characters.
const MAX_DELIVERY_ERROR_CHARS: usize = 200;

/// Pages of the trails of an account: five trails a Region are far fewer.
const MAX_PAGES: usize = 20;

/// The longest that a start waits for its turn with a message in hand: a Region has five trails at most. What would wait longer goes
/// back to the queue, and keeps nobody else from work.
const LONGEST_TURN: Duration = Duration::from_secs(2);
/// And a call of the event history, which nobody waits for.
const LONGEST_LOOKUP_TURN: Duration = Duration::from_secs(10);
/// After a throttle that came all the same: others use the same quota.
const THROTTLED: Duration = Duration::from_secs(1);

/// The trails that the worker can reach.
#[derive(Debug)]
pub struct Trails {
    accounts: Accounts,
    /// CloudTrail takes one `StartLogging` a second of an account in a Region, and AWS raises that for nobody.
    turns: Turns<(AccountId, Region)>,
    /// And two `LookupEvents`, of which others take their part.
    lookups: Turns<(AccountId, Region)>,
}

/// `GetTrailStatus`, as far as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub logging: bool,
    pub started_at: Option<OffsetDateTime>,
    pub stopped_at: Option<OffsetDateTime>,
    pub delivery: DeliveryErrors,
}

impl Status {
    #[must_use]
    pub fn glimpse(&self) -> Glimpse {
        Glimpse { logging: self.logging, started_at: self.started_at, stopped_at: self.stopped_at }
    }
}

/// What became of a start that was asked for where it cannot happen, by somebody who has the right to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// It did not happen.
    Refused,
    /// It may have happened, though it should not.
    Accepted,
}

impl Trails {
    /// The trails that the clients of `accounts` reach.
    #[must_use]
    pub fn new(accounts: Accounts) -> Self {
        Self { accounts, turns: Turns::new(LONGEST_TURN), lookups: Turns::new(LONGEST_LOOKUP_TURN) }
    }

    /// Every trail that `account` sees in `region`, those that live elsewhere included, and where each lives. Without an account:
    /// those that the worker's own credentials show.
    pub async fn all(
        &self,
        account: Option<&AccountId>,
        region: &Region,
    ) -> Result<Vec<(TrailArn, Option<Region>)>, Refusal> {
        let site = match account {
            Some(account) => self.accounts.site(account, region).await,
            None => self.accounts.own_site(region),
        };
        if let Some(refusal) = site.without_role {
            // The worker's own trails are not meant.
            return Err(refusal);
        }
        let answer = site.client.describe_trails().include_shadow_trails(true).send().await;
        let answer = answer.map_err(|error| self.refusal(&error, "DescribeTrails", account, &site))?;
        let read = |trail: &Trail| {
            let home = trail.home_region().and_then(Region::parse);
            TrailArn::parse(trail.trail_arn()?).map(|arn| (arn, home))
        };
        Ok(answer.trail_list().iter().filter_map(read).collect())
    }

    /// The trails that an account has, in all Regions, and where each lives; of its organization's too. That one request is enough is what
    /// AWS's quotas and public tools say, and not the API's page.
    pub async fn of_account(&self, account: &AccountId) -> Result<Vec<(TrailArn, Region)>, Refusal> {
        let Some(region) = self.accounts.region() else {
            return Err(Refusal::new(Meaning::Impossible, "the worker's own Region is not known".to_owned()));
        };
        let site = self.accounts.site(account, &region).await;
        if let Some(refusal) = site.without_role {
            return Err(refusal);
        }
        let (mut listed, mut next) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let answer = site.client.list_trails().set_next_token(next).send().await;
            let answer = answer.map_err(|error| self.refusal(&error, "ListTrails", account, &site))?;
            let read = |trail: &TrailInfo| {
                let arn = TrailArn::parse(trail.trail_arn()?)?;
                let home = trail.home_region().and_then(Region::parse);
                let home = home.unwrap_or_else(|| arn.region().clone());
                Some((arn, home))
            };
            listed.extend(answer.trails().iter().filter_map(read));
            next = answer.next_token.filter(|next| !next.is_empty());
            if next.is_none() {
                break;
            }
        }
        Ok(listed)
    }

    /// Where the trail lives, as CloudTrail describes it from the region of its ARN.
    pub async fn home_region(&self, trail: &TrailArn) -> Result<Option<Region>, Refusal> {
        let site = self.accounts.site(trail.account(), trail.region()).await;
        let answer = site.client.describe_trails().trail_name_list(trail.to_string()).send().await;
        let answer =
            answer.map_err(|error| self.refusal(&error, "DescribeTrails", trail.account(), &site))?;
        let described = answer.trail_list().first();
        Ok(described.and_then(|trail| trail.home_region()).and_then(Region::parse))
    }

    /// Whether the trail logs, as seen in `region`.
    pub async fn status(&self, trail: &TrailArn, region: &Region) -> Result<Status, Refusal> {
        self.status_from(trail.account(), trail, region).await
    }

    /// The same, as `account` sees it: its organization's trail, say.
    pub async fn status_from(
        &self,
        account: &AccountId,
        trail: &TrailArn,
        region: &Region,
    ) -> Result<Status, Refusal> {
        let site = self.accounts.site(account, region).await;
        let answer = site.client.get_trail_status().name(trail.to_string()).send().await;
        let answer = answer.map_err(|error| self.refusal(&error, "GetTrailStatus", account, &site))?;
        let time = |time: &DateTime| OffsetDateTime::from_unix_timestamp(time.secs()).ok();
        let error = |error: Option<&str>| {
            let error = error.filter(|error| !error.is_empty());
            error.map(|error| error.chars().take(MAX_DELIVERY_ERROR_CHARS).collect())
        };
        Ok(Status {
            logging: answer.is_logging() == Some(true),
            started_at: answer.start_logging_time().and_then(time),
            stopped_at: answer.stop_logging_time().and_then(time),
            delivery: DeliveryErrors {
                log_files: error(answer.latest_delivery_error()),
                digest_files: error(answer.latest_digest_delivery_error()),
                log_group: error(answer.latest_cloud_watch_logs_delivery_error()),
                notifications: error(answer.latest_notification_error()),
            },
        })
    }

    /// A turn to start a trail of this account in this Region.
    ///
    /// # Errors
    /// As [`Turns::take`].
    pub(super) fn turn(&self, trail: &TrailArn, region: &Region) -> Result<Duration, Duration> {
        self.turns.take((trail.account().clone(), region.clone()))
    }

    /// A start was throttled: the next turn comes in this long.
    pub(super) fn throttled(&self, trail: &TrailArn, region: &Region) -> Duration {
        self.turns.quiet((trail.account().clone(), region.clone()), THROTTLED)
    }

    /// Waits for a turn to ask the event history of a trail's account and Region.
    ///
    /// # Errors
    /// If that would take long: others are before this one.
    pub(super) async fn lookup_turn(&self, trail: &TrailArn) -> Result<(), Refusal> {
        match self.lookups.take((trail.account().clone(), trail.region().clone())) {
            Ok(wait) => {
                tokio::time::sleep(wait).await;
                Ok(())
            }
            Err(_) => Err(Refusal::new(
                Meaning::Throttled,
                "LookupEvents: the event history takes few calls a second, and others are before this one"
                    .to_owned(),
            )),
        }
    }

    /// Starts the trail, which happens in its home region alone.
    pub async fn start(&self, trail: &TrailArn, region: &Region) -> Result<(), Refusal> {
        let site = self.accounts.site(trail.account(), region).await;
        let answer = site.client.start_logging().name(trail.to_string()).send().await;
        answer.map(drop).map_err(|error| self.refusal(&error, "StartLogging", trail.account(), &site))
    }

    #[must_use]
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// The own account, where it is known.
    #[must_use]
    pub fn own_account(&self) -> Option<&AccountId> {
        self.accounts.own()
    }

    /// Whether the trails of an account can be asked for: it is the own one, or there may be a role in it.
    #[must_use]
    pub fn reaches(&self, account: &AccountId) -> bool {
        self.accounts.has_member_role() || self.own_account() == Some(account)
    }

    /// What an error about a trail of `account` means. Where the own account is not known, every trail may be another's.
    pub(super) fn refusal<'a, E>(
        &self,
        error: &SdkError<E>,
        call: &'static str,
        account: impl Into<Option<&'a AccountId>>,
        site: &Site,
    ) -> Refusal
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let (code, message) = (error.code(), error.message().unwrap_or_default());
        let (told, account) = (aws::describe(error), account.into());
        let by_role = account.filter(|_| site.by_role);
        if let (Some(account), Some("ExpiredToken" | "ExpiredTokenException")) = (by_role, code) {
            self.accounts.forget(account);
            let detail =
                format!("{call}: {told}: the session in account {account} has ended, and another is opened");
            return Refusal::new(Meaning::Passing, detail);
        }
        let by = by_role.map(|account| format!("the member role in account {account}"));
        let another = account.filter(|account| by_role.is_none() && self.own_account() != Some(account));
        let answer = Answer { call, by: by.as_deref().unwrap_or(WORKER), code, message, told };
        let refusal = Refusal::of(answer, another);
        match &site.without_role {
            // Not a delegated administrator's to see: what counts is that the role is missing.
            Some(role) if matches!(refusal.meaning, Meaning::NotSeenFromHere | Meaning::Denied) => {
                role.clone()
            }
            _ => refusal,
        }
    }

    /// Whether the trail might be started, found out without starting it: `StartLogging` is asked for in `elsewhere`,
    /// a region that is not the trail's home. CloudTrail refuses that with `InvalidHomeRegionException`; that it looks
    /// at the right before is what AWS's services do, and is not documented for this one.
    pub async fn may_start(&self, trail: &TrailArn, elsewhere: &Region) -> Result<Asked, Refusal> {
        match self.start(trail, elsewhere).await {
            Err(Refusal { meaning: Meaning::Elsewhere | Meaning::Gone, .. }) => Ok(Asked::Refused),
            Err(Refusal { meaning: Meaning::NotSeenFromHere, .. }) if self.own_account().is_none() => {
                Ok(Asked::Refused)
            }
            answer => answer.map(|()| Asked::Accepted),
        }
    }
}

/// A region of the same partition that no account can have switched off; none where none is known.
#[must_use]
pub fn another_region(home: &Region) -> Option<Region> {
    let (first, second) = match partition_of(home) {
        "aws" => ("us-east-1", "us-west-2"),
        "aws-us-gov" => ("us-gov-west-1", "us-gov-east-1"),
        "aws-cn" => ("cn-north-1", "cn-northwest-1"),
        _ => return None,
    };
    Region::parse(if home.as_str() == first { second } else { first })
}
