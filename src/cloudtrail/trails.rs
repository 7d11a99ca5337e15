//! CloudTrail's calls, and what its errors mean.

use aws_sdk_cloudtrail::Client;
use aws_sdk_cloudtrail::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cloudtrail::primitives::DateTime;
use time::OffsetDateTime;

use super::accounts::Accounts;
use crate::aws;
use crate::event::{Region, TrailArn, partition_of};

/// The longest `LatestDeliveryError` kept, in characters.
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
    /// What is logged cannot be delivered: CloudTrail's own word for why.
    pub delivery_error: Option<String>,
}

/// What an error of CloudTrail means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    Passing,
    /// The trail lives in another region.
    Elsewhere,
    Gone,
    Denied,
    Impossible,
}

/// What became of a start that was asked for where it cannot happen, by somebody who has the right to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// It did not happen.
    Refused,
    /// It may have happened, though it should not.
    Accepted,
}

/// An error of CloudTrail, understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    pub meaning: Meaning,
    /// What was refused, why, and what to do.
    pub detail: String,
}

impl Refusal {
    pub(super) fn new(meaning: Meaning, detail: String) -> Self {
        Self { meaning, detail }
    }
}

impl Trails {
    /// The trails that the clients of `accounts` reach.
    #[must_use]
    pub fn new(accounts: Accounts) -> Self {
        Self { accounts }
    }

    /// Every trail that is seen in `region`, those that live elsewhere included.
    pub async fn all(&self, region: &Region) -> Result<Vec<TrailArn>, Refusal> {
        let request = self.accounts.client_in(region).describe_trails().include_shadow_trails(true);
        let answer = request.send().await.map_err(|error| refusal(&error, "DescribeTrails"))?;
        Ok(answer.trail_list().iter().filter_map(|trail| TrailArn::parse(trail.trail_arn()?)).collect())
    }

    /// Where the trail lives, as CloudTrail describes it from the region of its ARN.
    pub async fn home_region(&self, trail: &TrailArn) -> Result<Option<Region>, Refusal> {
        let client = self.client(trail, trail.region())?;
        let answer = client
            .describe_trails()
            .trail_name_list(trail.to_string())
            .send()
            .await
            .map_err(|error| refusal(&error, "DescribeTrails"))?;
        let described = answer.trail_list().first();
        Ok(described.and_then(|trail| trail.home_region()).and_then(Region::parse))
    }

    /// Whether the trail logs, as seen in `region`.
    pub async fn status(&self, trail: &TrailArn, region: &Region) -> Result<Status, Refusal> {
        let request = self.client(trail, region)?.get_trail_status().name(trail.to_string());
        let answer = request.send().await.map_err(|error| refusal(&error, "GetTrailStatus"))?;
        let time = |time: &DateTime| OffsetDateTime::from_unix_timestamp(time.secs()).ok();
        let delivery_error = answer.latest_delivery_error().filter(|error| !error.is_empty());
        Ok(Status {
            logging: answer.is_logging() == Some(true),
            started_at: answer.start_logging_time().and_then(time),
            stopped_at: answer.stop_logging_time().and_then(time),
            delivery_error: delivery_error
                .map(|error| error.chars().take(MAX_DELIVERY_ERROR_CHARS).collect()),
        })
    }

    /// Starts the trail, which happens in its home region alone.
    pub async fn start(&self, trail: &TrailArn, region: &Region) -> Result<(), Refusal> {
        let request = self.client(trail, region)?.start_logging().name(trail.to_string());
        request.send().await.map(drop).map_err(|error| refusal(&error, "StartLogging"))
    }

    /// Whether the worker can act on the trail at all: not if it is another account's, as an organization's is to its
    /// members.
    #[must_use]
    pub fn owns(&self, trail: &TrailArn) -> bool {
        self.accounts.owns(trail)
    }

    /// Whether the trail might be started, found out without starting it: `StartLogging` is asked for in `elsewhere`,
    /// a region that is not the trail's home. CloudTrail refuses that with `InvalidHomeRegionException`; that it looks
    /// at the right before is what AWS's services do, and is not documented for this one.
    pub async fn may_start(&self, trail: &TrailArn, elsewhere: &Region) -> Result<Asked, Refusal> {
        match self.start(trail, elsewhere).await {
            Err(Refusal { meaning: Meaning::Elsewhere | Meaning::Gone, .. }) => Ok(Asked::Refused),
            answer => answer.map(|()| Asked::Accepted),
        }
    }

    /// The client for `region`, which may be another than the ARN's.
    fn client(&self, trail: &TrailArn, region: &Region) -> Result<Client, Refusal> {
        self.accounts
            .client(trail, region)
            .map_err(|not_ours| Refusal::new(Meaning::Denied, not_ours.to_string()))
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

fn refusal<E>(error: &SdkError<E>, call: &str) -> Refusal
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let told = aws::describe(error);
    let meaning = meaning(error.code());
    let advice = match meaning {
        Meaning::Denied => format!("; allow cloudtrail:{call} on this trail to the worker's role"),
        _ => String::new(),
    };
    Refusal::new(meaning, format!("{call}: {told}{advice}"))
}

/// What an error code means. A code that is not known is taken as passing: the attempts are bounded, and
/// giving up on a trail that could be restarted is worse than a few calls too many.
/// Codes: <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_StartLogging.html#API_StartLogging_Errors>
fn meaning(code: Option<&str>) -> Meaning {
    match code {
        Some("TrailNotFoundException") => Meaning::Gone,
        Some("InvalidHomeRegionException") => Meaning::Elsewhere,
        Some(
            "AccessDenied"
            | "AccessDeniedException"
            // The region is not enabled for the account, or belongs to another partition.
            | "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "OptInRequired"
            | "OperationNotPermittedException"
            | "NotOrganizationMasterAccountException"
            | "InsufficientDependencyServiceAccessPermissionException",
        ) => Meaning::Denied,
        Some(
            "CloudTrailARNInvalidException"
            | "InvalidTrailNameException"
            | "NoManagementAccountSLRExistsException"
            | "UnsupportedOperationException",
        ) => Meaning::Impossible,
        _ => Meaning::Passing,
    }
}
