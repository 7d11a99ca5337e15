//! CloudTrail's calls.

use aws_sdk_cloudtrail::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cloudtrail::primitives::DateTime;
use aws_sdk_cloudtrail::types::Trail;
use time::OffsetDateTime;

use super::accounts::Accounts;
use super::refusal::{Answer, Meaning, Refusal};
use crate::aws;
use crate::event::{AccountId, Region, TrailArn, partition_of};
use crate::incident::DeliveryErrors;

/// The longest delivery error kept, in characters.
const MAX_DELIVERY_ERROR_CHARS: usize = 200;

/// The trails that the worker can reach.
#[derive(Debug)]
pub struct Trails {
    accounts: Accounts,
}

/// `GetTrailStatus`, as far as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub logging: bool,
    pub started_at: Option<OffsetDateTime>,
    pub stopped_at: Option<OffsetDateTime>,
    pub delivery: DeliveryErrors,
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
        Self { accounts }
    }

    /// Every trail that is seen in `region`, those that live elsewhere included, and where each lives.
    pub async fn all(&self, region: &Region) -> Result<Vec<(TrailArn, Option<Region>)>, Refusal> {
        let request = self.accounts.client(region).describe_trails().include_shadow_trails(true);
        let answer = request.send().await.map_err(|error| refusal(&error, "DescribeTrails", None))?;
        let read = |trail: &Trail| {
            let home = trail.home_region().and_then(Region::parse);
            TrailArn::parse(trail.trail_arn()?).map(|arn| (arn, home))
        };
        Ok(answer.trail_list().iter().filter_map(read).collect())
    }

    /// Where the trail lives, as CloudTrail describes it from the region of its ARN.
    pub async fn home_region(&self, trail: &TrailArn) -> Result<Option<Region>, Refusal> {
        let request =
            self.accounts.client(trail.region()).describe_trails().trail_name_list(trail.to_string());
        let answer = request.send().await.map_err(|error| self.refusal(&error, "DescribeTrails", trail))?;
        let described = answer.trail_list().first();
        Ok(described.and_then(|trail| trail.home_region()).and_then(Region::parse))
    }

    /// Whether the trail logs, as seen in `region`.
    pub async fn status(&self, trail: &TrailArn, region: &Region) -> Result<Status, Refusal> {
        let request = self.accounts.client(region).get_trail_status().name(trail.to_string());
        let answer = request.send().await.map_err(|error| self.refusal(&error, "GetTrailStatus", trail))?;
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

    /// Starts the trail, which happens in its home region alone.
    pub async fn start(&self, trail: &TrailArn, region: &Region) -> Result<(), Refusal> {
        let request = self.accounts.client(region).start_logging().name(trail.to_string());
        request.send().await.map(drop).map_err(|error| self.refusal(&error, "StartLogging", trail))
    }

    /// The own account, where it is known.
    #[must_use]
    pub fn own_account(&self) -> Option<&AccountId> {
        self.accounts.own()
    }

    /// What an error about a trail means. Where the own account is not known, every trail may be another's.
    fn refusal<E>(&self, error: &SdkError<E>, call: &'static str, trail: &TrailArn) -> Refusal
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        refusal(error, call, Some(trail.account()).filter(|account| self.own_account() != Some(account)))
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

fn refusal<E>(error: &SdkError<E>, call: &'static str, another: Option<&AccountId>) -> Refusal
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let (code, message) = (error.code(), error.message().unwrap_or_default());
    Refusal::of(Answer { call, code, message, told: aws::describe(error) }, another)
}
